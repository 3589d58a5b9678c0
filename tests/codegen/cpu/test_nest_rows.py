"""Compiled reductions against the interpreter: over every axis, behind each other, rows walked several times."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from symc.codegen.cpu.nest import schedule_nest
from symc.codegen.cpu.target import Target, host_target
from symc.loopir.expr import Axis, Expr, load, param, prim, reduce
from symc.loopir.kernel import Buffer, Nest, Store
from tests.codegen.kernels import run_call
from tests.codegen.nests import Memory, axes, check, f32, rand


@pytest.mark.parametrize("combiner", ["sum", "prod", "max", "min"])
def test_reductions_over_every_axis_subset(target: Target, combiner: str) -> None:
    for shape in ((3, 5, 37), (2, 33, 7), (1, 4, 100)):
        a = axes(*shape)
        x = Buffer.dense("x", shape, "float32")
        for size in range(1, 4):
            for subset in itertools.combinations(range(3), size):
                kept = tuple(a[k] for k in range(3) if k not in subset)
                y = Buffer.dense("y", tuple(k.extent for k in kept), "float32")
                value = reduce(combiner, tuple(a[k] for k in subset), f32("x", *a))
                nest = Nest((x, y), (Store("y", kept, value, kept),))
                data = rand(shape) * (0.2 if combiner == "prod" else 1) + (1 if combiner == "prod" else 0)
                check(nest, {"x": data}, target, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 1), (5, 7), (2, 16), (3, 37), (2, 17_000)])
def test_a_row_keeps_what_several_walks_need(target: Target, shape: tuple[int, int], dtype: str) -> None:
    """Exponentials for their sum and for the result, squares of these for another sum; of long rows nothing is kept."""
    n, m = axes(*shape)
    k, q, o = (Axis(name, shape[1]) for name in "kqo")

    def x(j: Axis) -> Expr:
        return load("x", (n, j), dtype) + load("w", (j,), dtype)

    def e(j: Axis) -> Expr:
        return prim("exp", x(j) - reduce("max", (k,), x(k)))

    y = e(m) / reduce("sum", (q,), e(q)) + reduce("sum", (o,), prim("sqrt", e(o)) * e(o) * reduce("sum", (q,), e(q)))
    buffers = (
        Buffer.dense("x", shape, dtype),
        Buffer.dense("w", shape[1:], dtype),
        Buffer.dense("y", shape, dtype),
        Buffer.dense("z", shape, dtype),
    )
    nest = Nest(buffers, (Store("y", (n, m), y, (n, m)), Store("z", (n, m), e(m), (n, m))))
    if shape[1] < 100:  # the interpreter evaluates reductions inside each other on their whole grid
        calls = check(nest, {"x": rand(shape, dtype), "w": rand(shape[1:], dtype)}, target, rtol=2e-5)
    else:
        calls = schedule_nest(nest, target)
    keeps = sum(line.startswith("keep") for c in calls for line in c.code.structure.splitlines())
    assert keeps == (1 < shape[1] < 10_000)


@pytest.mark.parametrize("columns", [7, 300, 17_000])
def test_a_row_of_float16_that_three_walks_read_is_kept_widened(target: Target, columns: int) -> None:
    n, m = axes(4, columns)
    k, q = Axis("k", columns), Axis("q", columns)

    def deviation(j: Axis) -> Expr:
        return f32("x", n, j) - reduce("sum", (k,), f32("x", n, k)) / float(columns)

    twice, thrice = deviation(m), deviation(m) / reduce("sum", (q,), deviation(q) * deviation(q))
    for value, is_kept in ((twice, False), (thrice, columns < 10_000)):
        buffers = (Buffer.dense("x", (4, columns), "float16"), Buffer.dense("y", (4, columns), "float16"))
        nest = Nest(buffers, (Store("y", (n, m), value, (n, m)),))
        if columns < 1000:
            calls = check(nest, {"x": rand((4, columns), "float16")}, target, rtol=2e-3)
        else:
            calls = schedule_nest(nest, target)
        assert any(line.startswith("keep") for c in calls for line in c.code.structure.splitlines()) == is_kept


def test_what_changes_while_a_row_is_walked_is_not_kept(target: Target) -> None:
    """A reduction for every element of a column, inside the loop that stores it, walks another row each time."""
    i, j, c = axes(3, 5, 40)
    k, q = Axis("k", 40), Axis("q", 40)

    def e(a: Axis) -> Expr:
        return prim("exp", f32("x", i, a) * f32("s", j))

    y = e(c) / reduce("sum", (k,), e(k)) + reduce("max", (q,), f32("x", i, q))
    buffers = tuple(
        Buffer.dense(name, shape, "float32")
        for name, shape in (("x", (3, 40)), ("s", (5,)), ("t", (7,)), ("y", (3, 5, 40)), ("z", (3, 5, 40)))
    )
    nest = Nest(buffers, (Store("y", (i, j, c), y, (i, j, c)), Store("z", (i, j, c), y * 2.0, (i, j, c))))
    check(nest, {"x": rand((3, 40)), "s": rand((5,)), "t": rand((7,))}, target, rtol=2e-5)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float64", "bool", "int16"])
@pytest.mark.parametrize("combiner", ["sum", "max", "min", "prod"])
def test_reductions_of_other_types(dtype: str, combiner: str) -> None:
    if dtype == "bool" and combiner in ("max", "min"):
        pytest.skip("the definition has no neutral element")
    i, j = axes(5, 77)
    for kept, gone in (((i,), (j,)), ((j,), (i,)), ((), (i, j))):
        nest = Nest(
            (Buffer.dense("x", (5, 77), dtype), Buffer.dense("y", tuple(k.extent for k in kept), dtype)),
            (Store("y", kept, reduce(combiner, gone, load("x", (i, j), dtype)), kept),),
        )
        check(nest, {"x": rand((5, 77), dtype)}, host_target(), rtol=1e-12)


def softmax(x: Expr, inner: Callable[[Axis], Expr], k: Axis) -> Expr:
    top = reduce("max", (k,), inner(k))
    total = reduce("sum", (k,), prim("exp", inner(k) - top))
    return prim("exp", x - top) / total


def test_walks_ask_for_the_next_row_where_several_fit_l1(target: Target) -> None:
    for columns in (64, 300, 5000):
        i, j = axes(3, columns)
        k = Axis("r", columns)
        value = softmax(f32("x", i, j) + f32("w", j), lambda r: f32("x", i, r) + f32("w", r), k)  # noqa: B023
        x, y = (Buffer.dense(name, (3, columns), "float32") for name in "xy")
        nest = Nest((x, Buffer.dense("w", (columns,), "float32"), y), (Store("y", (i, j), value, (i, j)),))
        (call,) = schedule_nest(nest, target)
        assert ("asks ahead" in call.code.structure) == (columns == 300)
        if columns == 300:
            check(nest, {"x": rand((3, columns)), "w": rand((columns,))}, target, rtol=2e-5)


@pytest.mark.parametrize("is_scaled", [False, True])  # scaled alike, two rows are stored in one loop
@pytest.mark.parametrize(("n_rows", "columns"), [(4, 37), (6, 300), (5, 300), (4, 5000)])
def test_walks_of_two_rows_take_turns(target: Target, n_rows: int, columns: int, is_scaled: bool) -> None:
    i, j = axes(n_rows, columns)
    value = softmax(f32("x", i, j), lambda r: f32("x", i, r), Axis("r", columns))
    x, y = (Buffer.dense(name, (n_rows, columns), "float32") for name in "xy")
    stored = value * f32("w", j) if is_scaled else value
    nest = Nest((x, Buffer.dense("w", (columns,), "float32"), y), (Store("y", (i, j), stored, (i, j)),))
    (call,) = schedule_nest(nest, target)
    assert ("2 rows abreast" in call.code.structure) == (n_rows % 2 == 0 and columns < 5000)
    if columns < 5000:
        check(nest, {"x": rand((n_rows, columns)), "w": rand((columns,))}, target, rtol=2e-5)


# Shape and axis decide how a row is walked, whatever its formula is: the logarithm is seen in one shape.
@pytest.mark.parametrize(
    "log, shape",
    [
        pytest.param(log, shape, marks=[pytest.mark.slow] * (log and shape != (2, 33, 40)))
        for log in (False, True)
        for shape in ((3, 7, 5), (2, 33, 40), (4, 100, 1), (2, 3, 1000))
    ],
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_along_every_axis(target: Target, shape: tuple[int, ...], axis: int, log: bool) -> None:
    a = axes(*shape)
    k = Axis("r", shape[axis])

    def at(r: Axis) -> Expr:
        return f32("x", *(r if d == axis else a[d] for d in range(3)))

    value = softmax(f32("x", *a), at, k)
    if log:
        top = reduce("max", (k,), at(k))
        value = f32("x", *a) - top - prim("log", reduce("sum", (k,), prim("exp", at(k) - top)))
    nest = Nest((Buffer.dense("x", shape, "float32"), Buffer.dense("y", shape, "float32")), (Store("y", a, value, a),))
    check(nest, {"x": rand(shape) * 5}, target)


def test_softmax_with_one_axis_object_and_twice_the_same_reduction() -> None:
    i, k = axes(5, 37)
    value = softmax(f32("x", i, k), lambda r: f32("x", i, r), k)
    other = reduce("max", (Axis("other", 37),), f32("x", i, Axis("other", 37)))
    nest = Nest(
        (Buffer.dense("x", (5, 37), "float32"), Buffer.dense("y", (5, 37), "float32")),
        (Store("y", (i, k), value + other, (i, k)),),
    )
    (call,) = check(nest, {"x": rand((5, 37))}, host_target())
    assert call.code.structure.count("max over") == 1


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_batch_norm_statistics_and_result_in_one_kernel(target: Target, layout: str) -> None:
    sizes = {"N": 3, "C": 19, "H": 5, "W": 7}
    a = {k: Axis(k, e) for k, e in sizes.items()}
    r = {k: Axis("r" + k, e) for k, e in sizes.items()}
    shape = tuple(sizes[k] for k in layout)
    index = tuple(a[k] for k in layout)
    inner = tuple(a[k] if k == "C" else r[k] for k in layout)
    over = (r["N"], r["H"], r["W"])
    mean = reduce("sum", over, f32("x", *inner)) * param(1 / 105, "float32")
    centred = f32("x", *inner) - mean
    var = reduce("sum", over, centred * centred) * param(1 / 105, "float32")
    scale = f32("g", a["C"]) / prim("sqrt", var + param(1e-5, "float32"))
    buffers = (
        Buffer.dense("x", shape, "float32"),
        *(Buffer.dense(b, (19,), "float32") for b in ("g", "b", "mean", "var")),
        Buffer.dense("y", shape, "float32"),
    )
    stores = (
        Store("mean", (a["C"],), mean, (a["C"],)),
        Store("var", (a["C"],), var, (a["C"],)),
        Store("y", index, (f32("x", *index) - mean) * scale + f32("b", a["C"]), index),
    )
    check(
        Nest(buffers, stores),
        {"x": rand(shape) + 3, "g": rand((19,)), "b": rand((19,))},
        target,
        rtol=1e-5,
        atol=1e-5,
        n_calls=1,
    )


def test_nested_reduce_that_depends_on_the_outer_one(target: Target) -> None:
    i, j, k = axes(4, 9, 21)
    value = reduce("sum", (j,), prim("exp", reduce("max", (k,), f32("x", i, j, k))) * f32("w", j))
    nest = Nest(
        (
            Buffer.dense("x", (4, 9, 21), "float32"),
            Buffer.dense("w", (9,), "float32"),
            Buffer.dense("y", (4,), "float32"),
        ),
        (Store("y", (i,), value, (i,)),),
    )
    check(nest, {"x": rand((4, 9, 21)), "w": rand((9,))}, target, rtol=1e-5)


def test_long_sums_are_accurate() -> None:
    n = 1_000_000
    data = np.full(n, 0.1, "float32")
    i, j = Axis("i", n), Axis("j", 3)
    total = Nest(
        (Buffer.dense("x", (n,), "float32"), Buffer.dense("y", (), "float32")),
        (Store("y", (), reduce("sum", (i,), f32("x", i)), ()),),
    )
    columns = Nest(
        (Buffer.dense("x", (n, 3), "float32"), Buffer.dense("y", (3,), "float32")),
        (Store("y", (j,), reduce("sum", (i,), f32("x", i, j)), (j,)),),
    )
    rng = np.random.default_rng(0)
    for nest, x in (
        (total, data),
        (total, rng.random(n).astype("float32")),
        (columns, rng.random((n, 3)).astype("float32")),
    ):
        memory = Memory(nest, {"x": x}, {})
        for call in schedule_nest(nest, host_target()):
            run_call(call, host_target(), memory.pointers(), call.launch.n_chunks)
        np.testing.assert_allclose(memory.views["y"], x.astype("float64").sum(0), rtol=1e-6 if x is not data else 3e-6)


def test_source_explains_itself() -> None:
    i, k = axes(5, 37)
    nest = Nest(
        (Buffer.dense("x", (5, 37), "float32"), Buffer.dense("y", (5, 37), "float32")),
        (Store("y", (i, k), softmax(f32("x", i, k), lambda r: f32("x", i, r), k), (i, k)),),
    )
    (call,) = schedule_nest(nest, host_target())
    assert "max[j<37]" in call.code.source and "Schedule: row" in call.code.source
    assert "def kernel(chunk, n_chunks, desc, bufs):" in call.code.source
