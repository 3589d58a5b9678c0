"""The memory plan: no live values overlap, in place only where legal, near the lower bound; on random programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from symc.core.dtypes import ALIGNMENT
from symc.ir.kernels import ArenaPlan, HeadInfo, KernelGraph, KernelNode, Storage, View
from symc.loopir.expr import Axis, load, reduce
from symc.loopir.kernel import Buffer, Nest, Store
from symc.passes.plan_memory import Life, aligned, lower_bound, place, plan_memory

from .simulate import simulate


def kernel(reads: list[Buffer], write: Buffer, kind: str, number: int) -> KernelNode:
    """Writes a mixture of its operands: elementwise, mirrored (never legal in place) or through a reduction."""
    axis = Axis("i0", write.shape[0])
    total = None
    for b in reads:
        clip = axis if b.shape == write.shape else 0
        if kind == "mirrored" and b.shape == write.shape:
            term = load(b.name, (-axis + (write.shape[0] - 1),), "float32")
        elif kind == "reduced":
            k = Axis("k", b.shape[0])
            term = reduce("sum", (k,), load(b.name, (k,), "float32")) + load(b.name, (clip,), "float32")
        else:
            term = load(b.name, (clip,), "float32")
        total = term * 0.5 if total is None else total + term * 0.5
    nest = Nest((*reads, write), (Store(write.name, (axis,), total + float(number), (axis,)),))
    return KernelNode(
        nest, "forward", (f"n{number}",), ("op",), "", tuple(b.name for b in reads), (write.name,)
    )  # fmt: skip


@st.composite
def programs(draw) -> KernelGraph:
    """A random straight-line program over 1-D storage; the last values are heads."""
    n = draw(st.integers(2, 14))
    sizes = [3, 16, 17, 40]
    storages = {"x": Storage("x", 16, "float32", "argument", "x")}
    buffers = [Buffer.dense("x.buf", (16,), "float32")]
    views = {"x.buf": View("x")}
    kernels = []
    heads = []
    for k in range(n):
        reads = draw(st.lists(st.sampled_from(buffers), min_size=1, max_size=3, unique=True))
        same_size = draw(st.booleans())
        size = reads[0].shape[0] if same_size else draw(st.sampled_from(sizes))
        is_head = k == n - 1
        name = f"s{k}"
        storages[name] = Storage(name, size, "float32", "head" if is_head else "arena", "0" if is_head else "")
        views[f"{name}.buf"] = View(name)
        write = Buffer.dense(f"{name}.buf", (size,), "float32")
        kernels.append(kernel(reads, write, draw(st.sampled_from(["plain", "plain", "mirrored", "reduced"])), k))
        buffers.append(write)
        if is_head:
            heads.append(HeadInfo("y", (size,), "float32"))
    return KernelGraph(tuple(kernels), storages, views, tuple(heads))


def naive(kernels: KernelGraph) -> KernelGraph:
    """The same program with memory of its own for every storage."""
    offsets, at = {}, 0
    for s in kernels.storages.values():
        if s.place == "arena":
            offsets[s.name] = at
            at += aligned(s.size_bytes)
    return replace(kernels, arena=ArenaPlan(offsets, at, at, 0))


@settings(max_examples=150, deadline=None)
@given(programs())
def test_planned_memory_gives_the_same_result(kernels: KernelGraph) -> None:
    x = np.linspace(-1, 1, 16, dtype=np.float32)
    planned = plan_memory(kernels)
    results = [simulate(k, {("argument", "x"): x.copy()})["head", "0"] for k in (planned, naive(kernels))]
    np.testing.assert_array_equal(results[0], results[1])
    assert planned.arena.lower_bound_bytes <= planned.arena.size_bytes <= aligned_naive(kernels)


def aligned_naive(kernels: KernelGraph) -> int:
    return sum(aligned(s.size_bytes) for s in kernels.storages.values() if s.place == "arena")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 8), st.integers(1, 5000)), max_size=40))
def test_placed_spans_never_overlap_while_alive(raw) -> None:
    spans = [Life([str(k)], size, first, first + length) for k, (first, length, size) in enumerate(raw)]
    offsets, total = place(spans)
    assert total >= lower_bound(spans)
    for a, at_a in zip(spans, offsets):
        assert at_a % ALIGNMENT == 0 and at_a + a.size_bytes <= total
        for b, at_b in zip(spans, offsets):
            if a is not b and a.first <= b.last and b.first <= a.last:
                assert at_a + a.size_bytes <= at_b or at_b + b.size_bytes <= at_a


def test_chain_runs_in_place() -> None:
    storages = {"x": Storage("x", 16, "float32", "argument", "x")}
    views = {"x.buf": View("x")}
    buffers = [Buffer.dense("x.buf", (16,), "float32")]
    kernels = []
    for k in range(4):
        storages[f"s{k}"] = Storage(f"s{k}", 16, "float32", "arena" if k < 3 else "head", "" if k < 3 else "0")
        views[f"s{k}.buf"] = View(f"s{k}")
        buffers.append(Buffer.dense(f"s{k}.buf", (16,), "float32"))
        kernels.append(kernel([buffers[-2]], buffers[-1], "plain", k))
    plan = plan_memory(KernelGraph(tuple(kernels), storages, views, ())).arena
    assert plan.size_bytes == 64 and plan.naive_bytes == 192
    assert plan.in_place == {"s1": "s0", "s2": "s1"}


def test_the_simulation_notices_a_wrong_plan() -> None:
    """The helper must fail where it should: two live values at one place."""
    storages = {"x": Storage("x", 16, "float32", "argument", "x")}
    views, buffers = {"x.buf": View("x")}, [Buffer.dense("x.buf", (16,), "float32")]
    for name, place_ in (("a", "arena"), ("b", "arena"), ("y", "head")):
        storages[name] = Storage(name, 16, "float32", place_, "0" if name == "y" else "")
        views[f"{name}.buf"] = View(name)
        buffers.append(Buffer.dense(f"{name}.buf", (16,), "float32"))
    x, a, b, y = buffers
    kernels = (kernel([x], a, "plain", 1), kernel([x], b, "mirrored", 2), kernel([a, b], y, "plain", 3))
    good = plan_memory(KernelGraph(kernels, storages, views, ()))
    wrong = replace(good, arena=replace(good.arena, offsets={"a": 0, "b": 0}))
    source = {("argument", "x"): np.arange(16, dtype=np.float32)}
    right, bad = (simulate(k, dict(source))["head", "0"] for k in (good, wrong))
    assert not np.array_equal(right, bad)
