"""`mx.io.utils`: what scripts import that write iterators over arrays of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symc import ndarray as nd
from symc.core.errors import ConflictError
from symc.ndarray import NDArray

from .arrays import Source, in_order, sources


def _init_data(data: Any, allow_empty: bool, default_name: str) -> list[Source]:
    """Names and arrays of what NDArrayIter takes; raises ConflictError where there are none and some must be."""
    found = sources(data, default_name)
    if not found and not allow_empty:
        raise ConflictError("there are no arrays, expected one or more")
    return found


def _has_instance(data: Sequence[Source], dtype: type) -> bool:
    """Whether one of the arrays is of a class."""
    return any(isinstance(array, dtype) for _, array in data)


def _getdata_by_idx(data: Sequence[Source], idx: np.ndarray) -> list[Source]:
    """The samples with these numbers of each array."""
    return [(name, in_order(array, idx)) for name, array in data]


def _slice_along_batch_axis(data: NDArray, s: slice, batch_axis: int) -> NDArray:
    """The samples from `s.start` to `s.stop`."""
    return nd.slice_axis(data, axis=batch_axis, begin=s.start, end=s.stop)
