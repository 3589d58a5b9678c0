"""Conditions on reduced axes become bounds of their loops, and kernels with bounds compute what the definition says."""

from __future__ import annotations

import math

import pytest

from symc.codegen.cpu.target import Target
from symc.codegen.nest.bounds import bounded
from symc.loopir.expr import Axis, Expr, index_value, prim, reduce, select
from symc.loopir.kernel import Buffer, Nest, Store

from ..nests import check, f32, rand


def over_window(position: Expr, extent: int, k: Axis, combiner: str, outside: float, *around: Axis) -> Expr:
    """x[position, *around] combined over k, where the position is inside."""
    clamped = prim("minimum", prim("maximum", position, 0), extent - 1)
    inside = prim("and", position >= 0, position < extent)
    return reduce(combiner, (k,), select(inside, f32("x", clamped, *around), outside))


def test_conditions_become_bounds_and_clamps_go():
    i, k = Axis("i", 28), Axis("k", 3)
    value = over_window(index_value(i + k - 1), 28, k, "sum", 0.0)
    body, bound = bounded(Store("y", (i,), value, (i,))).value.args
    assert str(body) == "x[i + k + -1]"
    assert str(bound) == "{t0 = maximum(0, (-1*i + 1)); bound(t0, maximum(t0, minimum(3, (-1*i + 29))))}"
    assert bound.data is k


@pytest.mark.parametrize(
    "value",
    [
        lambda i, k: over_window(index_value(i + k - 1), 28, k, "max", 0.0),  # the padding counts
        lambda i, k: over_window(prim("mod", index_value(i + k), 5), 28, k, "sum", 0.0),  # not linear in k
        lambda i, k: reduce("sum", (k,), select(f32("x", i) > 0.0, f32("x", k), 0.0)),  # not about positions
    ],
)
def test_other_conditions_stay(value):
    i, k = Axis("i", 28), Axis("k", 3)
    store = Store("y", (i,), value(i, k), (i,))
    assert bounded(store) is store


@pytest.mark.parametrize("channels", [1, 5, 70])
@pytest.mark.parametrize(
    "taps, stride, pad, extent", [(3, 1, 1, 9), (5, 2, 3, 11), (2, 3, 0, 8), (7, 1, 3, 2), (200, 1, 99, 7)]
)
def test_windows(target: Target, channels: int, taps: int, stride: int, pad: int, extent: int) -> None:
    """Lanes along channels, or along the windows themselves, whose bounds then differ from lane to lane."""
    n_out = 1 + (extent + 2 * pad - taps) // stride
    i, c, k = Axis("i", n_out), Axis("c", channels), Axis("k", taps)
    buffers = tuple(
        Buffer.dense(*b) for b in (("x", (extent, channels), "float32"), ("y", (n_out, channels), "float32"))
    )
    for combiner, outside in (("sum", 0.0), ("max", -math.inf)):
        value = over_window(index_value(i * stride + k - pad), extent, k, combiner, outside, c)
        check(Nest(buffers, (Store("y", (i, c), value, (i, c)),)), {"x": rand((extent, channels))}, target)


def test_windows_that_cover_an_element(target: Target) -> None:
    """Steps other than one along the reduced axis: its bounds are quotients, rounded inwards."""
    p, j, c = Axis("p", 23), Axis("j", 4), Axis("c", 20)
    buffers = tuple(Buffer.dense(n, (e, 20), "float32") for n, e in (("x", 9), ("y", 23)))
    for step in (-3, -2, 2, 3):
        tap = index_value(p * 1 + j * step - 4)
        inside = prim("and", tap >= 0, tap < 9)
        clamped = prim("minimum", prim("maximum", tap, 0), 8)
        value = reduce("sum", (j,), select(inside, f32("x", clamped, c), 0.0))
        assert bounded(Store("y", (p, c), value, (p, c))).value is not value
        check(Nest(buffers, (Store("y", (p, c), value, (p, c)),)), {"x": rand((9, 20))}, target)


def test_some_conditions_are_bounds_and_others_stay(target: Target) -> None:
    """A sum over two windows, one of which is limited by a third axis; a number that is the same in all lanes."""
    i, c, k, m = Axis("i", 12), Axis("c", 33), Axis("k", 3), Axis("m", 5)
    first, second = index_value(i + k - 1), index_value(i + m * 2 - k)
    inside = prim("and", prim("and", first >= 0, first < 12), prim("and", second >= 0, second < 12))
    at = [prim("minimum", prim("maximum", x, 0), 11) for x in (first, second)]
    value = reduce("sum", (k, m), select(inside, f32("x", at[0], c) * f32("x", at[1], c), 0.0)) * f32("w", i)
    buffers = tuple(Buffer.dense(n, s, "float32") for n, s in (("x", (12, 33)), ("w", (12,)), ("y", (12, 33))))
    nest = Nest(buffers, (Store("y", (i, c), prim("exp", value - f32("w", i)), (i, c)),))
    check(nest, {"x": rand((12, 33)) * 0.2, "w": rand((12,))}, target, rtol=1e-5)


@pytest.mark.parametrize("is_first", [True, False])
def test_bounds_are_those_of_their_reduction_alone(target: Target, is_first: bool) -> None:
    """Beside a window that is cut at the borders stands one of as many taps that is whole."""
    i, c, k = Axis("i", 12), Axis("c", 33), Axis("k", 3)
    cut = over_window(index_value(i + k - 1), 12, k, "sum", 0.0, c)
    whole = reduce("sum", (k,), f32("w", i + k, c))
    value = cut - whole if is_first else whole - cut
    buffers = tuple(Buffer.dense(n, (rows, 33), "float32") for n, rows in (("x", 12), ("w", 14), ("y", 12)))
    nest = Nest(buffers, (Store("y", (i, c), value, (i, c)),))
    check(nest, {"x": rand((12, 33)), "w": rand((14, 33))}, target)
