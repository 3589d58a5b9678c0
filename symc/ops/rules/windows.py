"""Index arithmetic of windows sliding over spatial axes: what lies under a tap, and which windows cover an element."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod

from symc.core.shapes import FullShape
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, cast, index_value, prim
from symc.loopir.kernel import Window
from symc.loopir.tensor import Tensor

from .numbers import number

Position = IndexLike | Expr


def reaching(p: Position, j: Axis, k: int, w: Window) -> tuple[Position, Expr, list[Expr]]:
    """The j-th window that may cover element p along spatial axis k: its position, which of its taps p is, and the
    conditions under which it really does."""
    n_taps, stride, n_out = w.kernel[k], w.stride[k], w.out_extents[k]
    shifted = index_value(p) + w.pad[k]
    if n_out <= -(-n_taps // stride):  # few windows: try them all
        tap = shifted - index_value(j) * stride
        return j, tap, outside_checks(tap, 0 - (n_out - 1) * stride, w.in_extents[k] - 1 + w.pad[k], n_taps)
    last = shifted if stride == 1 else prim("floordiv", shifted, stride)
    q = last - index_value(j)
    tap = shifted - q * stride
    valid = [q >= 0, prim("lt", q, n_out)]
    return prim("minimum", prim("maximum", q, 0), n_out - 1), tap, valid if stride == 1 else [*valid, tap < n_taps]


def outside_checks(value: Expr, low: int, high: int, extent: int) -> list[Expr]:
    """The conditions for 0 <= value < extent that low <= value <= high leaves open."""
    return [value >= 0] * (low < 0) + [value < extent] * (high >= extent)


def useful_taps(w: Window) -> list[tuple[int, int]]:
    """Of each axis the first tap that lies in the data for some window, and how many follow with it (at least 1).

    A kernel may be as large as its padding allows; what lies in the padding for every window need not be looked at.
    """
    found = []
    for kernel, stride, pad, n_in, n_out in zip(w.kernel, w.stride, w.pad, w.in_extents, w.out_extents):
        first = min(max(0, pad - (n_out - 1) * stride), kernel - 1)
        found.append((first, max(1, min(kernel, pad + n_in) - first)))
    return found


def read(
    x: Tensor, axes: Sequence[int], w: Window, index: Sequence[Position], taps: Sequence[IndexLike]
) -> tuple[Expr, Expr | None]:
    """The element under a tap of the window at an output index, and whether it is one (None: always); where the tap
    lies in the padding the element is any."""
    source, checks = list(index), []
    for k, a in enumerate(axes):
        q, stride, pad, extent = index[a], w.stride[k], w.pad[k], w.in_extents[k]
        position: Position
        if isinstance(q, Expr):
            position = q * stride + index_value(Affine.of(taps[k]) - pad)
        else:
            position = Affine.of(q) * stride + taps[k] - pad
        high = (w.out_extents[k] - 1) * stride + w.kernel[k] - 1 - pad
        found = outside_checks(index_value(position), -pad, high, extent)
        if pad:
            position = prim("maximum", index_value(position), 0)
        if high >= extent:
            position = prim("minimum", index_value(position), extent - 1)
        checks += found
        source[a] = position
    return x(*source), reduce(lambda a, b: prim("and", a, b), checks) if checks else None


def is_padded(w: Window) -> bool:
    """Whether some window reaches beyond the data."""
    return any(w.pad) or any(
        (n_out - 1) * stride + kernel > n_in
        for n_out, stride, kernel, n_in in zip(w.out_extents, w.stride, w.kernel, w.in_extents)
    )


def sees_padding(windows: Sequence[Position], w: Window) -> Expr | None:
    """Whether the window at a spatial position covers some padding (None: never); one past the padded data does not."""
    covers, ends = [], []
    for k, q in enumerate(windows):
        kernel, stride, pad, extent = w.kernel[k], w.stride[k], w.pad[k], w.in_extents[k]
        first, last = index_value(q) * stride, (w.out_extents[k] - 1) * stride
        if pad:
            covers.append(first < pad)
        if pad and last + kernel > extent + pad:
            covers.append(prim("lt", extent + pad - kernel, first))
        if last >= extent + 2 * pad:
            ends.append(first < extent + 2 * pad)
    if not covers:
        return None
    return reduce(lambda a, b: prim("and", a, b), [reduce(lambda a, b: prim("or", a, b), covers), *ends])


def flattened(taps: Sequence[Position], kernel: FullShape) -> Expr:
    """The row-major number of a tap."""
    total = index_value(taps[0])
    for tap, extent in zip(taps[1:], kernel[1:]):
        total = total * extent + index_value(tap)
    return total


def share(windows: Sequence[Position], w: Window, counts_padding: bool, full: bool, dtype: str) -> Expr:
    """What part of an average each element has in the window at the given spatial position; `dtype` is a float.

    A window never reaches further than the padded data; without its padding only the data itself counts.
    """
    fixed, varying = [], []
    for k, q in enumerate(windows):
        kernel, stride, pad, extent = w.kernel[k], w.stride[k], w.pad[k], w.in_extents[k]
        low, high = (-pad, extent + pad) if counts_padding else (0, extent)
        reach = (w.out_extents[k] - 1) * stride + kernel - pad
        if full or (-pad >= low and reach <= high):
            fixed.append(kernel)
            continue
        start = index_value(q) * stride - pad
        stop = prim("minimum", start + kernel, high)
        count = stop - prim("maximum", start, low)
        may_be_empty = (w.out_extents[k] - 1) * stride - pad >= high  # past the data: its sum is 0, not NaN
        varying.append(prim("maximum", count, 1) if may_be_empty else count)
    if not varying:
        return number(1 / prod(fixed), dtype)
    return 1 / cast(reduce(lambda a, b: a * b, varying) * prod(fixed), dtype)


def powered(x: Expr, power: int) -> Expr:
    """x ** power for a power of 1 to 3, without absolute value, as MXNet computes it."""
    return reduce(lambda a, b: a * b, [x] * power)


def root(x: Expr, power: int) -> Expr:
    """The power-th root for a power of 1 to 3."""
    return x if power == 1 else prim("sqrt" if power == 2 else "cbrt", x)
