"""Index keys: what MXNet accepts in `x[key]`, as a key NumPy takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.errors import ArgumentError

if TYPE_CHECKING:
    from .ndarray import NDArray


def is_whole(key: Any) -> bool:
    """Whether the key selects the array as it is: `x[:]`, `x[...]`, `x[()]`."""
    if isinstance(key, tuple):
        return key == ()
    return key is Ellipsis or (isinstance(key, slice) and key == slice(None))


def numpy_index(key: Any, array_type: type[NDArray]) -> tuple[Any, ...]:
    """The key as a tuple for NumPy, index arrays as int64 and an Ellipsis always in it, so that NumPy gives an array.

    Fractional index arrays are truncated, as MXNet does. Raises ArgumentError for boolean masks and for anything that
    is no index.
    """
    parts = key if isinstance(key, tuple) else (key,)
    index = tuple(_part(part, array_type) for part in parts)
    return index if any(part is Ellipsis for part in index) else (*index, Ellipsis)


def is_advanced(index: tuple[Any, ...]) -> bool:
    """Whether a key from `numpy_index` holds index arrays, so that NumPy gives a copy."""
    return any(isinstance(part, np.ndarray) for part in index)


def _part(part: Any, array_type: type[NDArray]) -> Any:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return int(part)
    if isinstance(part, array_type):
        part = part._data
    if not isinstance(part, (np.ndarray, list, tuple, range)):
        raise ArgumentError(f"NDArray does not support slicing with key {part} of type {type(part)}.")
    array = np.asarray(part)
    if array.dtype == np.bool_:
        raise ArgumentError("NDArray does not support boolean indexing; select rows by their numbers")
    return array.astype(np.int64) if array.ndim else int(array)
