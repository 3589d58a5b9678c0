"""Index keys: what MXNet accepts in `x[key]`, as a key NumPy takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.errors import ArgumentError
from symc.core.shapes import FullShape, row_major_strides
from symc.util import number_shape

from .operators import call, recorded

if TYPE_CHECKING:
    from .ndarray import NDArray

WHOLE = slice(None)


def is_whole(key: Any) -> bool:
    """Whether the key selects the array as it is: `x[:]`, `x[...]`, `x[()]`."""
    if isinstance(key, tuple):
        return key == ()
    return key is Ellipsis or (isinstance(key, slice) and key == WHOLE)


def numpy_index(key: Any, array_type: type[NDArray]) -> tuple[Any, ...]:
    """The key as a tuple for NumPy, index arrays as int64 and an Ellipsis always in it, so that NumPy gives an array.

    As in MXNet, fractional index arrays are truncated, and True and False alone, in lists and in NumPy arrays are the
    numbers 1 and 0; among other parts True selects what is there anyway. Raises ArgumentError for False there, by which
    NumPy selects nothing and MXNet everything, for boolean NDArrays and for anything that is no index.
    """
    parts = tuple(part for part in key if not _is_truth(part)) if isinstance(key, tuple) else (key,)
    index = tuple(_part(part, array_type) for part in parts)
    return index if any(part is Ellipsis for part in index) else (*index, Ellipsis)


def written_index(key: Any, array_type: type[NDArray]) -> tuple[Any, ...]:
    """The same for writing, where True adds an axis, as in MXNet: `x[True] = v` writes all of x."""
    parts = key if isinstance(key, tuple) else (key,)
    return numpy_index(tuple(None if _is_truth(part) else part for part in parts), array_type)


def _is_truth(part: Any) -> bool:
    """Whether a part of a key is True; raises ArgumentError for False."""
    if part is False:
        raise ArgumentError("a False in an index selects everything in MXNet, nothing in NumPy; say what is meant")
    return part is True


def is_advanced(index: tuple[Any, ...]) -> bool:
    """Whether a key from `numpy_index` holds index arrays, so that NumPy gives a copy."""
    return any(isinstance(part, np.ndarray) for part in index)


def _part(part: Any, array_type: type[NDArray]) -> Any:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if isinstance(part, (int, np.integer)):
        return int(part)
    if isinstance(part, array_type):
        part = part._host
        if part.dtype == np.bool_:
            raise ArgumentError("NDArray does not support boolean indexing; select rows by their numbers")
    if not isinstance(part, (np.ndarray, list, tuple, range)):
        raise ArgumentError(f"NDArray does not support slicing with key {part} of type {type(part)}.")
    array = np.asarray(part)
    return array.astype(np.int64) if array.ndim else int(array)


def box(begin: Any, end: Any, step: Any = ()) -> tuple[slice, ...]:
    """The slices from `begin` to `end` by `step`, one for each leading axis; numbers stand for one axis."""
    parts = [(x,) if x is None or isinstance(x, int) else tuple(x) for x in (begin, end, () if step is None else step)]
    steps = (*parts[2], *(None,) * (len(parts[0]) - len(parts[2])))
    if len(parts[0]) != len(parts[1]):
        raise ArgumentError(f"begin {begin} and end {end} must be of one length")
    return tuple(slice(*ends) for ends in zip(parts[0], parts[1], steps))


def picked(array: NDArray, index: tuple[Any, ...]) -> NDArray:
    """`array[index]`, elements picked one by one by registered operators, whose gradients are known."""
    shape = np.broadcast_to(np.empty(()), array.shape)[index].shape or number_shape()
    positions = _positions(index, array.shape).reshape(shape)
    return call("take", call("Reshape", array, shape=(-1,)), type(array)._copy_of(positions, array.context))


def recorded_box(array: NDArray, index: tuple[Any, ...], made: NDArray) -> NDArray:
    """`made`, which is `array[index]` of numbers, slices and new axes, recorded as a box and another shape of it."""
    at = index.index(Ellipsis)
    before, after = [[part for part in parts if part is not None] for parts in (index[:at], index[at + 1 :])]
    parts = (*before, *(WHOLE,) * (array.ndim - len(before) - len(after)), *after)
    begin, end, step = zip(*map(_range, parts, array.shape))
    shape = tuple(len(range(n)[part]) if isinstance(part, slice) else 1 for part, n in zip(parts, array.shape))
    cut = made if shape == made.shape else made._view(made._memory.reshape(shape))
    recorded("slice", array, cut, begin=begin, end=end, step=step)
    return made if cut is made else recorded("Reshape", cut, made, shape=made.shape)


def _positions(index: tuple[Any, ...], shape: FullShape) -> Any:
    """Where the elements at an index lie in row-major memory; takes no more memory than they."""
    total: Any = np.int64(0)
    for axis, stride in enumerate(row_major_strides(shape)):
        numbers = np.arange(shape[axis]).reshape(*[-1 if a == axis else 1 for a in range(len(shape))])
        total = total + stride * np.broadcast_to(numbers, shape)[index]
    return total


def _range(part: int | slice, extent: int) -> tuple[int, int | None, int]:
    """A number or slice of one axis as begin, end and step; an end of None lies before the first element."""
    if isinstance(part, slice):
        begin, end, step = part.indices(extent)
        return begin, None if end < 0 else end, step
    begin = part % extent
    return begin, begin + 1, 1
