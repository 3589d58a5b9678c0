"""Windows that overlap share columns: which do, and that kernels with columns compute what the definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from symc.codegen.cpu.target import Target
from symc.codegen.nest.bounds import bounded
from symc.codegen.nest.form import form_of
from symc.codegen.nest.slide import slide_of
from symc.loopir.expr import Axis, Expr, index_value, prim, reduce, select
from symc.loopir.kernel import Buffer, Nest, Store

from ..nests import check, f32, rand

H, W, C = 6, 11, 37


def windows(combiner: str, taps: int, stride: int, pad: int, sign: int = 1, n_around: int = 1) -> Nest:
    """Rows of windows over an image (H, W, C), padded along W; in a gradient (sign -1) windows go the other way."""
    n_out = 1 + (W + 2 * pad - taps) // stride
    h, w, c, m, k = (
        Axis(n, e) for n, e in (("h", H - n_around), ("w", n_out), ("c", C), ("m", n_around + 1), ("k", taps))
    )
    place = index_value(w * stride + k * sign + (-pad if sign > 0 else taps - 1 - pad))
    inside = prim("and", place >= 0, place < W)
    at = prim("minimum", prim("maximum", place, 0), W - 1)
    outside = {"sum": 0.0, "max": -math.inf, "min": math.inf}[combiner]
    value = reduce(combiner, (m, k), select(inside, f32("x", h + m, at, c), outside))
    buffers = (Buffer.dense("x", (H, W, C), "float32"), Buffer.dense("y", (H - n_around, n_out, C), "float32"))
    return Nest(buffers, (Store("y", (h, w, c), value, (h, w, c)),))


def padded_windows(combiner: str) -> Nest:
    """Windows of 3 x 3 over an image padded along both axes: columns at the upper and lower border lack a tap."""
    h, w, c, k, m = (Axis(n, e) for n, e in (("h", H), ("w", W), ("c", C), ("k", 3), ("m", 3)))
    row, place = index_value(h + k - 1), index_value(w + m - 1)
    inside = prim("and", prim("and", row >= 0, row < H), prim("and", place >= 0, place < W))
    at = tuple(prim("minimum", prim("maximum", x, 0), n - 1) for x, n in ((row, H), (place, W)))
    value = reduce(combiner, (k, m), select(inside, f32("x", *at, c), 0.0 if combiner == "sum" else -math.inf))
    buffers = (Buffer.dense("x", (H, W, C), "float32"), Buffer.dense("y", (H, W, C), "float32"))
    return Nest(buffers, (Store("y", (h, w, c), value, (h, w, c)),))


def step_of(nest: Nest) -> int | None:
    form = form_of([bounded(s) for s in nest.stores], {b.name: b for b in nest.buffers})
    slide = slide_of(form, ["i1"])
    return slide and slide.step


def test_windows_that_overlap_slide():
    assert step_of(windows("sum", 3, 1, 1)) == 1
    assert step_of(windows("max", 5, 2, 0)) == 2
    assert step_of(windows("sum", 3, 1, 1, sign=-1)) == -1
    assert step_of(windows("sum", 2, 2, 0)) is None  # nothing shared
    assert step_of(windows("sum", 9, 1, 4)) is None  # too many to hold


def test_bodies_that_depend_on_the_window_in_another_way_do_not_slide():
    nest = windows("sum", 3, 1, 1)
    (store,) = nest.stores
    w, c = store.axes[1:]
    times = Expr("reduce", (store.value.args[0] * f32("z", w, c),), store.value.data, "float32")
    z = Buffer.dense("z", (W, C), "float32")
    assert step_of(Nest((*nest.buffers, z), (Store("y", store.index, times, store.axes),))) is None
    two = store.value + reduce("sum", (Axis("n", 2),), f32("x", Axis("n", 2), w, c))
    assert step_of(Nest(nest.buffers, (Store("y", store.index, two, store.axes),))) is None


OF_EACH = [(7, 3, 3, 1), (3, 1, 1, -1)]
WINDOWS = [*OF_EACH, (3, 1, 1, 1), (3, 2, 1, 1), (4, 1, 0, 1), (5, 1, 4, -1)]


# Which columns are shared does not depend on how they are combined: sums are of all windows, the others of two.
@pytest.mark.parametrize(
    "combiner, taps, stride, pad, sign",
    [
        pytest.param(combiner, *window, marks=[pytest.mark.slow] * (combiner != "sum" and window not in OF_EACH))
        for combiner in ("sum", "max", "min")
        for window in WINDOWS
    ],
)
def test_columns(target: Target, combiner: str, taps: int, stride: int, pad: int, sign: int) -> None:
    """Also where units of work begin in the middle of a row, and with NaN in the data."""
    for n_around in (0, 2):
        nest = windows(combiner, taps, stride, pad, sign, n_around)
        assert "share columns" in check(nest, {"x": rand((H, W, C))}, target, chunks=(1, 2, 5))[0].schedule
        x = rand((H, W, C))
        x[2, 3, ::5] = np.nan
        check(nest, {"x": x}, target, chunks=(1,))


@pytest.mark.parametrize("combiner", ["sum", "max"])
def test_columns_at_a_border(target: Target, combiner: str) -> None:
    """Columns of few taps are unrolled below 512 bits where a window has all of them."""
    x = rand((H, W, C))
    x[2, 3, ::5] = np.nan
    (call,) = check(padded_windows(combiner), {"x": x}, target, chunks=(1, 5))
    assert ("unrolled" in call.code.structure) == (target.vector_bits < 512)
