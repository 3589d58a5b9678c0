"""Reductions over NDArrays with MXNet's rules: the dtype is kept, and a full reduction has shape (1,)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError

from .elementwise import DIVIDE
from .ndarray import NDArray

Axis = int | tuple[int, ...] | list[int] | None


def sum(data: NDArray, axis: Axis = None, keepdims: bool = False, exclude: bool = False) -> NDArray:
    """The sum over `axis` (all axes by default, all others with `exclude`); integers wrap, float16 adds in float32."""
    return _reduce(_sum, data, axis, keepdims, exclude)


def prod(data: NDArray, axis: Axis = None, keepdims: bool = False, exclude: bool = False) -> NDArray:
    """The product over `axis`, as `sum`."""
    return _reduce(lambda x, **how: np.multiply.reduce(x, dtype=_accumulator(x), **how), data, axis, keepdims, exclude)


def mean(data: NDArray, axis: Axis = None, keepdims: bool = False, exclude: bool = False) -> NDArray:
    """The mean over `axis`; for integers, the wrapped sum divided toward zero."""

    def mean_of(x: np.ndarray, **how: Any) -> np.ndarray:
        total = np.asarray(_sum(x, **how))
        count = np.asarray(x.size // total.size if total.size else 1).astype(total.dtype)
        result = np.empty_like(total)
        DIVIDE(total, count, result)
        return result

    return _reduce(mean_of, data, axis, keepdims, exclude)


def max(data: NDArray, axis: Axis = None, keepdims: bool = False, exclude: bool = False) -> NDArray:
    """The largest element over `axis`; NaN where there is one."""
    return _reduce(np.maximum.reduce, data, axis, keepdims, exclude)


def min(data: NDArray, axis: Axis = None, keepdims: bool = False, exclude: bool = False) -> NDArray:
    """The smallest element over `axis`; NaN where there is one."""
    return _reduce(np.minimum.reduce, data, axis, keepdims, exclude)


def norm(data: NDArray, ord: int = 2, axis: Axis = None, keepdims: bool = False) -> NDArray:
    """The sum of absolute values (`ord` 1) or the Euclidean norm (2) over `axis`; raises ArgumentError for others."""
    if ord not in (1, 2):
        raise ArgumentError(f"norm only supports ord=1 and ord=2, got {ord}")

    def norm_of(x: np.ndarray, **how: Any) -> np.ndarray:
        wide = x.astype(np.float64 if x.dtype.kind in "iub" else _accumulator(x))
        return _sum(np.abs(wide), **how) if ord == 1 else np.sqrt(_sum(np.square(wide), **how))

    return _reduce(norm_of, data, axis, keepdims, exclude=False)


def argmax(data: NDArray, axis: int | None = None, keepdims: bool = False) -> NDArray:
    """The index of the first largest element along `axis` (of the flattened array by default), in data's dtype."""
    return _arg(np.argmax, data, axis, keepdims)


def argmin(data: NDArray, axis: int | None = None, keepdims: bool = False) -> NDArray:
    """The index of the first smallest element along `axis`, as `argmax`."""
    return _arg(np.argmin, data, axis, keepdims)


def _reduce(function: Callable[..., np.ndarray], data: NDArray, axis: Axis, keepdims: bool, exclude: bool) -> NDArray:
    axes = _axes(data.ndim, axis, exclude)
    with np.errstate(all="ignore"):
        result = np.asarray(function(data._data, axis=axes, keepdims=keepdims))
    return _finish(result, data)


def _arg(function: Callable[..., np.ndarray], data: NDArray, axis: int | None, keepdims: bool) -> NDArray:
    if axis is not None:
        if not isinstance(axis, int):
            raise ArgumentError(f"expected an axis number or None, got {axis!r}")
        (axis,) = _axes(data.ndim, axis, exclude=False)
    return _finish(np.asarray(function(data._data, axis=axis, keepdims=keepdims)), data)


def _finish(result: np.ndarray, data: NDArray) -> NDArray:
    """The result as an NDArray of data's dtype with at least one dimension."""
    return NDArray._copy_of(result.reshape(result.shape or (1,)), data.context, data._data.dtype)


def _axes(ndim: int, axis: Axis, exclude: bool) -> tuple[int, ...]:
    """The axes to reduce, in order; None and () mean all. Raises ArgumentError for one out of range or given twice."""
    given = (axis,) if isinstance(axis, int) else tuple(axis or ())
    axes = sorted(a + ndim if a < 0 else a for a in given)
    if any(not 0 <= a < ndim for a in axes) or len(set(axes)) < len(axes):
        raise ArgumentError(f"reduction axis {axis} does not fit an array of {ndim} dimensions")
    if not axes:
        return tuple(range(ndim))
    return tuple(a for a in range(ndim) if (a in axes) != exclude)


def _accumulator(x: np.ndarray) -> np.dtype:
    """The dtype to add in: float32 for float16, else the array's own."""
    return np.dtype(np.float32) if x.dtype == np.float16 else x.dtype


def _sum(x: np.ndarray, **how: Any) -> np.ndarray:
    return np.add.reduce(x, dtype=_accumulator(x), **how)
