"""The arrays of an executor under other shapes: their memory is shared where it suffices."""

from __future__ import annotations

from symc.core.errors import SymcError
from symc.core.shapes import FullShape, size_of
from symc.ndarray.ndarray import NDArray
from symc.ndarray.storage import zeros_aligned


def resized(name: str, array: NDArray, shape: FullShape, may_change: bool, may_grow: bool) -> NDArray:
    """The array of a reshaped executor in place of a bound one; raises SymcError where it may not be such."""
    if array.shape != shape and not may_change:
        raise SymcError(
            f"Shape of unspecified array arg: {name} changed from {array.shape} to {shape}. This can cause the "
            "new executor to not share parameters with the old one. Please check for error in network. If this "
            "is intended, set partial_shaping=True to suppress this warning."
        )
    if size_of(shape) > array.size and not may_grow:
        raise SymcError(
            f"New shape of arg: {name} is larger than original: {shape}, was {array.shape}. First making a big "
            "executor and then down sizing it is more efficient than the reverse. If you really want to up "
            "size, set allow_up_sizing=True to enable allocation of new arrays."
        )
    return shared(array, shape)


def shared(array: NDArray, shape: FullShape) -> NDArray:
    """The start of an array's memory under another shape; new memory when it does not suffice."""
    size = size_of(shape)
    if size > array.size:
        return NDArray(zeros_aligned(shape, array._dtype), array.context)
    return array._view(array._memory.reshape(-1)[:size].reshape(shape))
