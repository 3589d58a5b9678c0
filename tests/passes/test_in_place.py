"""In place only where no store reads what another has overwritten."""

from __future__ import annotations

import numpy as np

from symc.ir.kernels import HeadInfo, KernelGraph, KernelNode, Storage, View
from symc.loopir.expr import Axis, Expr, load
from symc.loopir.kernel import Buffer, Nest, Store
from symc.passes.plan_memory import plan_memory

from .simulate import simulate

I = Axis("i0", 16)  # noqa: E741


def read(name: str) -> Expr:
    return load(name, (I,), "float32")


def program(*kernels: dict[str, Expr]) -> KernelGraph:
    """Each kernel stores expressions into new values; x is given, y* are heads."""
    storages = {"x": Storage("x", 16, "float32", "argument", "x")}
    nodes = []
    for stores in kernels:
        for name in stores:
            head = name.startswith("y")
            storages[name] = Storage(name, 16, "float32", "head" if head else "arena", name if head else "")
        used = sorted({n for n in storages if any(f"{n}[" in str(e) for e in stores.values())} - set(stores))
        buffers = tuple(Buffer.dense(n, (16,), "float32") for n in (*used, *stores))
        nest = Nest(buffers, tuple(Store(n, (I,), e, (I,)) for n, e in stores.items()))
        nodes.append(KernelNode(nest, "forward", ("n",), ("op",), "", tuple(used), tuple(stores)))
    heads = tuple(HeadInfo(s.name, (16,), "float32") for s in storages.values() if s.place == "head")
    return KernelGraph(tuple(nodes), storages, {n: View(n) for n in storages}, heads)


def results(kernels: KernelGraph) -> dict[str, np.ndarray]:
    arrays = simulate(kernels, {("argument", "x"): np.linspace(1, 2, 16, dtype=np.float32)})
    return {key: array for (place, key), array in arrays.items() if place == "head"}


def test_a_later_store_that_reads_the_operand_forbids_it():
    """b overwrites a before c reads it; c, stored last, may take a's place."""
    a, b, c = read("x") * 2.0, read("a") + 1.0, read("a") * read("a")
    p = program({"a": a}, {"b": b, "c": c}, {"y": read("b") + read("c")})
    planned = plan_memory(p)
    assert planned.arena.in_place == {"c": "a"}
    x = np.linspace(1, 2, 16, dtype=np.float32)
    np.testing.assert_allclose(results(planned)["y"], (2 * x + 1) + 4 * x * x, rtol=1e-6)


def test_one_operand_is_taken_over_once():
    """b is written and never read: its life ends where it began, as a's does."""
    p = program({"a": read("x") * 2.0}, {"b": read("x") + 1.0, "c": read("a") * 3.0}, {"y": read("c") + 0.0})
    dead_first = plan_memory(p)
    x = np.linspace(1, 2, 16, dtype=np.float32)
    np.testing.assert_allclose(results(dead_first)["y"], 6 * x, rtol=1e-6)
    both = program({"a": read("x") * 2.0}, {"c": read("a") * 3.0, "d": read("a") * 0.0}, {"y": read("c") + 0.0})
    np.testing.assert_allclose(results(plan_memory(both))["y"], 6 * x, rtol=1e-6)
