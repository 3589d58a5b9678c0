"""Compiled nests against the interpreter: odd sizes, layouts, reductions, dtypes, in-place, ordered stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from symc.codegen.cpu.nest import plan, schedule_nest
from symc.codegen.cpu.target import Target, host_target
from symc.core.errors import CodegenError
from symc.loopir.expr import Axis, Expr, cast, const, index_value, load, param, prim, reduce, select
from symc.loopir.kernel import Buffer, Nest, Store
from tests.codegen.kernels import run_call
from tests.codegen.nests import Memory, assert_nothing_else_changed, axes, check, f32, rand

SIZES = (1, 7, 16, 17, 33, 100, 1000)


@pytest.mark.parametrize("n", SIZES)
def test_elementwise(target: Target, n: int) -> None:
    (i,) = axes(n)
    x, y, z = (Buffer.dense(b, (n,), "float32") for b in "xyz")
    value = prim("sigmoid", f32("x", i) * param(1.5, "float32") + 0.25) * prim("tanh", f32("y", i))
    nest = Nest((x, y, z), (Store("z", (i,), value, (i,)),))
    check(
        nest, {"x": rand((n,)), "y": rand((n,), seed=1)}, target, kind="lane" if n > 1 else "scalar", chunks=(1, 2, 5)
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (7, 3), (16, 33), (5, 100), (33, 16), (64, 64)])
def test_broadcast_and_collapse(target: Target, shape: tuple[int, int]) -> None:
    i, j = axes(*shape)
    n, m = shape
    buffers = (
        Buffer.dense("x", shape, "float32"),
        Buffer.dense("row", (m,), "float32"),
        Buffer.dense("col", (n,), "float32"),
        Buffer.dense("s", (), "float32"),
        Buffer.dense("y", shape, "float32"),
    )
    value = f32("x", i, j) * f32("row", j) + f32("col", i) - f32("s")
    check(
        Nest(buffers, (Store("y", (i, j), value, (i, j)),)),
        {"x": rand(shape), "row": rand((m,)), "col": rand((n,)), "s": rand(())},
        target,
    )
    dense = Nest((buffers[0], buffers[4]), (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)),))
    calls = check(dense, {"x": rand(shape)}, target)
    assert calls[0].code.structure.splitlines()[1].startswith(("outer  vector a0 ", "outer  vector None "))


def test_one_kernel_serves_many_shapes() -> None:
    names = set()
    for shape in ((5, 7, 9), (100, 3, 11), (64, 2, 32)):
        a = axes(*shape)
        buffers = (Buffer.dense("x", shape, "float32"), Buffer.dense("y", shape, "float32"))
        nest = Nest(buffers, (Store("y", a, f32("x", *a) * param(float(shape[0]), "float32"), a),))
        names |= {c.code.name for c in schedule_nest(nest, host_target())}
    assert len(names) == 1


@pytest.mark.parametrize("shape", [(1, 1), (7, 17), (17, 7), (16, 16), (33, 40), (100, 33), (64, 3), (3, 64)])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64", "float16", "bool"])
def test_transpose(target: Target, shape: tuple[int, int], dtype: str) -> None:
    i, j = axes(*shape)
    computed = "float32" if dtype == "float16" else dtype
    nest = Nest(
        (Buffer.dense("x", shape, dtype), Buffer.dense("y", shape[::-1], dtype)),
        (Store("y", (j, i), load("x", (i, j), computed), (j, i)),),
    )
    check(nest, {"x": rand(shape, dtype)}, target)


@pytest.mark.parametrize("shape", [(1, 3, 5, 5), (2, 17, 6, 7), (2, 64, 8, 8), (1, 3, 20, 20)])
def test_layout_change_with_bias(target: Target, shape: tuple[int, ...]) -> None:
    n, c, h, w = (Axis(k, e) for k, e in zip("nchw", shape))
    channels_last = (shape[0], shape[2], shape[3], shape[1])
    buffers = (
        Buffer.dense("x", shape, "float32"),
        Buffer.dense("b", (shape[1],), "float32"),
        Buffer.dense("y", channels_last, "float32"),
    )
    there = Store(
        "y", (n, h, w, c), prim("maximum", f32("x", n, c, h, w) + f32("b", c), const(0, "float32")), (n, h, w, c)
    )
    check(Nest(buffers, (there,)), {"x": rand(shape), "b": rand((shape[1],))}, target)
    back = Nest(
        (Buffer.dense("y", channels_last, "float32"), Buffer.dense("x", shape, "float32")),
        (Store("x", (n, c, h, w), f32("y", n, h, w, c), (n, c, h, w)),),
    )
    check(back, {"y": rand(channels_last)}, target)


@pytest.mark.parametrize("shape", [(2, 3, 2), (3, 2, 5), (2, 4, 16), (1, 3, 33), (2, 3, 100), (2, 2, 9000)])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64", "float16", "bool"])
def test_few_images_become_channels(target: Target, shape: tuple[int, int, int], dtype: str) -> None:
    n, c, pixel = axes(*shape)
    computed = "float32" if dtype == "float16" else dtype
    nest = Nest(
        (Buffer.dense("x", shape, dtype), Buffer.dense("y", (shape[0], shape[2], shape[1]), dtype)),
        (Store("y", (n, pixel, c), load("x", (n, c, pixel), computed), (n, pixel, c)),),
    )
    check(nest, {"x": rand(shape, dtype)}, target, chunks=(1, 2, 5))
    (call,) = schedule_nest(nest, target)
    assert shape[2] < 16 or f"woven {shape[1]}" in call.code.structure


def test_woven_values_are_computed_for_each_channel(target: Target) -> None:
    c, pixel = axes(3, 37)
    value = f32("x", c, pixel) * f32("scale", c) + f32("shade", pixel) + cast(index_value(c), "float32")
    sizes = {"x": (3, 37), "scale": (3,), "shade": (37,), "y": (37, 3), "z": (37, 3)}
    nest = Nest(
        tuple(Buffer.dense(name, shape, "float32") for name, shape in sizes.items()),
        (Store("y", (pixel, c), value, (pixel, c)), Store("z", (pixel, c), value * value, (pixel, c))),
    )
    check(nest, {name: rand(sizes[name], seed=k) for k, name in enumerate(("x", "scale", "shade"))}, target)
    (call,) = schedule_nest(nest, target)
    assert "woven 3" in call.code.structure


def test_strided_and_reversed_views(target: Target) -> None:
    for n in SIZES[:-1]:
        (i,) = axes(n)
        x = Buffer("x", (n,), "float32", (-2,), 2 * (n - 1) + 1)
        y = Buffer("y", (n,), "float32", (3,), 2)
        nest = Nest((x, y), (Store("y", (i,), f32("x", i) + 1.0, (i,)),))
        check(nest, {"x": rand((n,))}, target)
        shifted = Nest(
            (Buffer.dense("x", (2 * n + 1,), "float32"), Buffer.dense("y", (n,), "float32")),
            (Store("y", (i,), f32("x", i * 2 + 1) - f32("x", i * -1 + (n - 1)), (i,)),),
        )
        check(shifted, {"x": rand((2 * n + 1,))}, target)


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


@pytest.mark.parametrize("shape", [(3, 7, 5), (2, 33, 40), (4, 100, 1), (2, 3, 1000)])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("log", [False, True])
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


def test_matrix_product_as_a_nest(target: Target) -> None:
    i, j, k = axes(7, 33, 21)
    nest = Nest(
        (
            Buffer.dense("a", (7, 21), "float32"),
            Buffer.dense("b", (21, 33), "float32"),
            Buffer.dense("y", (7, 33), "float32"),
        ),
        (Store("y", (i, j), reduce("sum", (k,), f32("a", i, k) * f32("b", k, j)), (i, j)),),
    )
    check(nest, {"a": rand((7, 21)), "b": rand((21, 33))}, target, rtol=1e-5, atol=1e-5)


def test_stores_of_different_axes_become_several_calls() -> None:
    i, j = axes(5, 33)
    buffers = (
        Buffer.dense("x", (5, 33), "float32"),
        Buffer.dense("y", (5, 33), "float32"),
        Buffer.dense("z", (5,), "float32"),
    )
    stores = (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)), Store("z", (i,), f32("x", i, 0), (i,)))
    check(Nest(buffers, stores), {"x": rand((5, 33))}, host_target(), n_calls=2)
    chained = (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)), Store("z", (i,), f32("y", i, 32), (i,)))
    check(Nest(buffers, chained), {"x": rand((5, 33))}, host_target(), n_calls=2)


def test_stores_that_share_a_loop() -> None:
    i, j = axes(5, 33)
    buffers = tuple(Buffer.dense(b, (5, 33), "float32") for b in "xyz")
    shared = prim("exp", f32("x", i, j))
    stores = (Store("y", (i, j), shared, (i, j)), Store("z", (i, j), shared * 2.0, (i, j)))
    (call,) = check(Nest(buffers, stores), {"x": rand((5, 33))}, host_target(), n_calls=1)
    assert call.code.structure.count("exp") == 1


def test_in_place(target: Target) -> None:
    i, j = axes(6, 35)
    x, y = (Buffer.dense(b, (6, 35), "float32") for b in "xy")
    same = Nest((x,), (Store("x", (i, j), f32("x", i, j) * 2.0 + 1.0, (i, j)),))
    check(same, {"x": rand((6, 35))}, target)
    aliased = Nest((x, y), (Store("y", (i, j), prim("tanh", f32("x", i, j)) + f32("x", i, j), (i, j)),))
    check(aliased, {"x": rand((6, 35))}, target, aliases={"y": "x"})
    z = Buffer.dense("z", (6, 35), "float32")
    two = Nest(
        (x, y, z), (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)), Store("z", (i, j), f32("x", i, j) * 3.0, (i, j)))
    )
    check(two, {"x": rand((6, 35))}, target, aliases={"y": "x"}, n_calls=1)


@pytest.mark.parametrize("offset", [0, 4, 8, 12])  # in elements: one of them is a boundary of vectors
@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_large_results_are_stored_past_the_caches(target: Target, monkeypatch, dtype: str, offset: int) -> None:
    monkeypatch.setattr(plan, "STREAM_BYTES", 1)
    (i,) = axes(1000)
    x, y = Buffer.dense("x", (1000,), "float32"), replace(Buffer.dense("y", (1000,), dtype), offset=offset)
    nest = Nest((x, y), (Store("y", (i,), cast(f32("x", i) * 2.0 + 1.0, dtype), (i,)),))
    (call,) = check(nest, {"x": rand((1000,))}, target)
    assert call.schedule.endswith("stored past the caches")
    if dtype == "float32" and offset == 0:
        check(nest, {"x": rand((1000,))}, target, aliases={"y": "x"})


@pytest.mark.parametrize("offset", [0, 4])  # at a boundary of vectors, and beside it
@pytest.mark.parametrize("shape", [(32, 32, 9), (35, 19, 18)])  # fewer lines than a tile has; parts of tiles
@pytest.mark.parametrize("is_gradient", [False, True])
def test_tiles_that_are_read_late_are_stored_past_the_caches(
    target: Target, shape: tuple[int, ...], offset: int, is_gradient: bool
) -> None:
    """A weight (O, C, taps) as a forward convolution reads it, O innermost, or a data gradient, mirrored."""
    o, c, t = axes(*shape)
    extents, at = ((2, 1, 0), (t, c, o)) if not is_gradient else ((2, 0, 1), (shape[2] - 1 - t, o, c))
    x = Buffer.dense("x", shape, "float32")
    y = replace(Buffer.dense("y", tuple(shape[k] for k in extents), "float32"), offset=offset)
    near = Nest((x, y), (Store("y", at, f32("x", o, c, t), (o, c, t)),))
    (call,) = check(replace(near, distance_bytes=plan.STREAM_BYTES), {"x": rand(shape)}, target)
    assert call.schedule.endswith("stored past the caches") and ("inside" in call.schedule) == (not is_gradient)
    assert "caches" not in schedule_nest(near, target)[0].schedule


@pytest.mark.parametrize("offset", [0, 4])  # at a boundary of vectors, and beside it
@pytest.mark.parametrize("columns", [48, 17])  # whole vectors, and a rest
def test_rows_that_are_read_late_are_copied_in_the_order_of_memory(target: Target, columns: int, offset: int) -> None:
    """A weight (channel, columns) in panels, as a data gradient reads it."""
    p, c, k = axes(3, 5, columns)
    x = Buffer.dense("x", (5, 3 * columns), "float32")
    y = replace(Buffer.dense("y", (3, 5, columns), "float32"), offset=offset)
    near = Nest((x, y), (Store("y", (p, c, k), f32("x", c, k + columns * p), (p, c, k)),))
    (call,) = check(replace(near, distance_bytes=plan.STREAM_BYTES), {"x": rand(x.shape)}, target)
    assert "in the order of what is read, stored past the caches" in call.schedule
    assert "caches" not in schedule_nest(near, target)[0].schedule


def test_reading_what_is_overwritten_elsewhere_is_an_error() -> None:
    (i,) = axes(5)
    nest = Nest((Buffer.dense("x", (6,), "float32"),), (Store("x", (i,), f32("x", i + 1), (i,)),))
    with pytest.raises(CodegenError, match="stored index only"):
        schedule_nest(nest, host_target())


@pytest.mark.parametrize("width", [1, 7, 16, 33, 100])
def test_embedding_gradient_adds_in_order(target: Target, width: int) -> None:
    t, d = Axis("t", 50), Axis("d", width)
    row = load("idx", (t,), "int64")
    buffers = (
        Buffer.dense("idx", (50,), "int64"),
        Buffer.dense("dy", (50, width), "float32"),
        Buffer.dense("out", (10, width), "float32"),
    )
    nest = Nest(buffers, (Store("out", (row, d), f32("dy", t, d), (t, d), "add"),))
    ids = np.random.default_rng(0).integers(0, 10, 50)
    check(nest, {"idx": ids, "dy": rand((50, width)), "out": rand((10, width))}, target, rtol=0, atol=0)


def test_embedding_forward_and_gather(target: Target) -> None:
    t, d = Axis("t", 23), Axis("d", 37)
    ids = np.random.default_rng(0).integers(0, 10, 23)
    buffers = (
        Buffer.dense("idx", (23,), "int32"),
        Buffer.dense("w", (10, 37), "float32"),
        Buffer.dense("y", (23, 37), "float32"),
    )
    row = cast(load("idx", (t,), "int32"), "int64")
    check(
        Nest(buffers, (Store("y", (t, d), load("w", (row, d), "float32"), (t, d)),)),
        {"idx": ids, "w": rand((10, 37))},
        target,
        rtol=0,
        atol=0,
    )
    pick = Nest(
        (
            Buffer.dense("idx", (23,), "int64"),
            Buffer.dense("x", (23, 10), "float32"),
            Buffer.dense("y", (23,), "float32"),
        ),
        (Store("y", (t,), load("x", (t, load("idx", (t,), "int64")), "float32"), (t,)),),
    )
    check(pick, {"idx": ids, "x": rand((23, 10))}, target, rtol=0, atol=0)
    clamped = prim("minimum", prim("maximum", index_value(t - 3), const(0, "int64")), const(9, "int64"))
    shift = Nest(
        (Buffer.dense("x", (10,), "float32"), Buffer.dense("y", (23,), "float32")),
        (Store("y", (t,), select(index_value(t) < const(13, "int64"), load("x", (clamped,), "float32"), 0.0), (t,)),),
    )
    check(shift, {"x": rand((10,))}, target, rtol=0, atol=0)


def test_scatter_and_overlapping_add(target: Target) -> None:
    t = Axis("t", 40)
    ids = np.random.default_rng(1).integers(0, 12, 40)
    buffers = (
        Buffer.dense("idx", (40,), "int64"),
        Buffer.dense("x", (40,), "float32"),
        Buffer.dense("y", (12,), "float32"),
    )
    for mode in ("set", "add"):
        nest = Nest(buffers, (Store("y", (load("idx", (t,), "int64"),), f32("x", t), (t,), mode),))
        check(nest, {"idx": ids, "x": rand((40,)), "y": rand((12,))}, target, rtol=1e-6)
    n, i, k = axes(3, 20, 4)
    windows = Nest(
        (Buffer.dense("x", (3, 20, 4), "float32"), Buffer.dense("y", (3, 23), "float32")),
        (Store("y", (n, i + k), f32("x", n, i, k), (n, i, k), "add"),),
    )
    check(windows, {"x": rand((3, 20, 4)), "y": rand((3, 23))}, target, rtol=1e-6)


def test_add_to_every_element(target: Target) -> None:
    i, j = axes(5, 35)
    nest = Nest(
        (Buffer.dense("x", (5, 35), "float32"), Buffer.dense("y", (5, 35), "float32")),
        (Store("y", (i, j), f32("x", i, j), (i, j), "add"),),
    )
    check(nest, {"x": rand((5, 35)), "y": rand((5, 35), seed=3)}, target, rtol=0, atol=0)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "uint64", "bool"]
)
def test_dtypes_and_casts(target: Target, dtype: str) -> None:
    for n in (1, 7, 33, 100):
        (i,) = axes(n)
        computed = "float32" if dtype == "float16" else dtype
        x = load("x", (i,), computed)
        buffers = [Buffer.dense("x", (n,), dtype)]
        stores = []
        for k, to in enumerate(("float32", "float16", "uint8", "int32", "bool", "float64")):
            buffers.append(Buffer.dense(f"y{k}", (n,), to))
            stores.append(Store(f"y{k}", (i,), cast(x, "float32" if to == "float16" else to), (i,)))
        check(
            Nest(tuple(buffers), tuple(stores)),
            {"x": rand((n,), dtype) * np.dtype(dtype).type(1)},
            target,
            rtol=1e-7,
            atol=0,
        )


def test_index_values(target: Target) -> None:
    i, j = axes(9, 33)
    value = cast(index_value(i * 100 + j * 3 - 5), "float32") + select(
        index_value(j) <= index_value(i), f32("x", i, j), -1.0
    )
    nest = Nest(
        (Buffer.dense("x", (9, 33), "float32"), Buffer.dense("y", (9, 33), "float32")),
        (Store("y", (i, j), value, (i, j)),),
    )
    check(nest, {"x": rand((9, 33))}, target)


def test_nan_and_infinity_survive() -> None:
    x = np.array([[np.nan, 1, 2, -np.inf] * 9, [np.inf, -np.inf, 3, 4] * 9, [0, -0.0, 1, 2] * 9], "float32")
    i, j = axes(3, 36)
    for combiner in ("max", "min", "sum"):
        nest = Nest(
            (Buffer.dense("x", (3, 36), "float32"), Buffer.dense("y", (3,), "float32")),
            (Store("y", (i,), reduce(combiner, (j,), f32("x", i, j)), (i,)),),
        )
        check(nest, {"x": x}, host_target())
    relu = Nest(
        (Buffer.dense("x", (3, 36), "float32"), Buffer.dense("y", (3, 36), "float32")),
        (Store("y", (i, j), prim("maximum", f32("x", i, j), const(0, "float32")), (i, j)),),
    )
    check(relu, {"x": x}, host_target())


def test_empty_nests_and_empty_reductions() -> None:
    i, j = axes(4, 0)
    x = Buffer.dense("x", (4, 0), "float32")
    assert (
        schedule_nest(
            Nest((x, Buffer.dense("y", (4, 0), "float32")), (Store("y", (i, j), f32("x", i, j), (i, j)),)),
            host_target(),
        )
        == []
    )
    nest = Nest(
        (x, Buffer.dense("y", (4,), "float32")), (Store("y", (i,), reduce("sum", (j,), f32("x", i, j)) + 2.0, (i,)),)
    )
    check(nest, {"x": rand((4, 0))}, host_target())


def test_scalars() -> None:
    nest = Nest(
        (Buffer.dense("x", (), "float32"), Buffer.dense("y", (), "float32")),
        (Store("y", (), prim("exp", f32("x")) * param(2.0, "float32"), ()),),
    )
    check(nest, {"x": rand(())}, host_target(), kind="scalar")


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


def test_chunks_follow_the_work_only() -> None:
    for n, expected in ((10, 1), (1000, 1), (10**6, 11), (10**8, 64)):
        i = Axis("i", n)
        nest = Nest(
            (Buffer.dense("x", (n,), "float32"), Buffer.dense("y", (n,), "float32")),
            (Store("y", (i,), f32("x", i) + 1.0, (i,)),),
        )
        (call,) = schedule_nest(nest, host_target())
        assert expected / 2 <= call.launch.n_chunks <= min(64, 2 * expected)


def test_source_explains_itself() -> None:
    i, k = axes(5, 37)
    nest = Nest(
        (Buffer.dense("x", (5, 37), "float32"), Buffer.dense("y", (5, 37), "float32")),
        (Store("y", (i, k), softmax(f32("x", i, k), lambda r: f32("x", i, r), k), (i, k)),),
    )
    (call,) = schedule_nest(nest, host_target())
    assert "max[j<37]" in call.code.source and "Schedule: row" in call.code.source
    assert "def kernel(chunk, n_chunks, desc, bufs):" in call.code.source


def test_long_and_heavily_shared_expressions() -> None:
    (i,) = axes(20)
    value = f32("x", i)
    for _ in range(30):
        value = value * 0.5 + value * 0.5  # 2**30 nodes as a tree
    for _ in range(200):
        value = value + 0.001
    buffers = (Buffer.dense("x", (20,), "float32"), Buffer.dense("y", (20,), "float32"))
    nest = Nest(buffers, (Store("y", (i,), value, (i,)),))
    memory = Memory(nest, {"x": rand((20,))}, {})
    (call,) = schedule_nest(nest, host_target())
    run_call(call, host_target(), memory.pointers(), 1)
    np.testing.assert_allclose(memory.views["y"], memory.views["x"] + 0.2, rtol=1e-5)
    assert len(call.code.source) < 40_000


def test_the_checker_notices_writes_outside() -> None:
    """The guard check fails for a kernel that writes every element of a buffer where every second one is meant."""
    (i,) = axes(8)
    x, dense, strided = (
        Buffer.dense("x", (8,), "float32"),
        Buffer.dense("y", (8,), "float32"),
        Buffer("y", (8,), "float32", (2,)),
    )
    stores = (Store("y", (i,), f32("x", i) + 1.0, (i,)),)
    meant = Nest((x, strided), stores)
    memory, before = (Memory(meant, {"x": rand((8,))}, {}) for _ in range(2))
    (call,) = schedule_nest(Nest((x, dense), stores), host_target())
    run_call(call, host_target(), memory.pointers(), 1)
    with pytest.raises(AssertionError, match="outside y"):
        assert_nothing_else_changed(meant, memory, before)
