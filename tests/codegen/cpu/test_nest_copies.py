"""Compiled copies against the interpreter: transposes, woven neighbours, results that go past the caches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from symc.codegen.cpu.nest import plan, schedule_nest
from symc.codegen.cpu.target import Target
from symc.loopir.expr import Axis, cast, const, index_value, load, prim, select
from symc.loopir.kernel import Buffer, Nest, Store
from tests.codegen.nests import axes, check, f32, rand


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


# The way depends on the bytes of an element: images of all sizes have 4 and 1, those of some vectors all dtypes.
@pytest.mark.parametrize(
    "dtype, shape",
    [
        pytest.param(dtype, shape, marks=[pytest.mark.slow] * (dtype in others and shape != (2, 3, 100)))
        for others in [("float64", "float16", "bool")]
        for dtype in ("float32", "uint8", *others)
        for shape in ((2, 3, 2), (3, 2, 5), (2, 4, 16), (1, 3, 33), (2, 3, 100), (2, 2, 9000))
    ],
)
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


def test_channels_that_are_filled_up_are_woven(target: Target) -> None:
    """Three channels become four; with AVX-512 not measured."""
    c, pixel = axes(4, 37)
    value = select(index_value(c) <= 2, f32("x", prim("minimum", index_value(c), 2), pixel), 0.0)
    nest = Nest(
        (Buffer.dense("x", (3, 37), "float32"), Buffer.dense("y", (37, 4), "float32")),
        (Store("y", (pixel, c), value, (pixel, c)),),
    )
    (call,) = check(nest, {"x": rand((3, 37))}, target)
    assert ("woven 4" in call.code.structure) == (target.vector_bits < 512)


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
