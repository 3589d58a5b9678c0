"""Whether an array fits the place it is given for: the one check before memory of the caller is read or written."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.core.dtypes import CODES, NATIVE
from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.core.shapes import FullShape

if TYPE_CHECKING:
    from .ndarray import NDArray


@cache
def _ndarray() -> type[NDArray]:
    from .ndarray import NDArray  # late: it asks here what fits

    return NDArray


def is_usable(data: np.ndarray) -> bool:
    """Whether kernels can work on this memory: C-contiguous, aligned, writable, a known dtype in native byte order."""
    return data.flags.carray and data.dtype in NATIVE


def require_usable(data: Any) -> np.ndarray:
    """The array; raises ArgumentTypeError for what is none, ArgumentError for memory that no kernel can use."""
    if not isinstance(data, np.ndarray):
        raise ArgumentTypeError(f"an NDArray is made of a NumPy array, got {type(data).__name__}; see mx.nd.array")
    if not is_usable(data):
        flags = data.flags
        raise ArgumentError(
            f"an NDArray cannot use this memory as it is: dtype {data.dtype.str}, C-contiguous {flags.c_contiguous}, "
            f"aligned {flags.aligned}, writable {flags.writeable}; expected a dtype of {', '.join(CODES)} "
            "in this machine's byte order, and all three; mx.nd.array(...) makes a copy"
        )
    return data


def require_fit(what: str, array: Any, shape: FullShape | None = None, dtype: np.dtype | str | None = None) -> NDArray:
    """The array, which must be an NDArray of this shape and dtype (None: any); `what` names it in errors.

    Raises ArgumentTypeError for what is no NDArray, ArgumentError for another shape or dtype.
    """
    if not isinstance(array, _ndarray()):
        raise ArgumentTypeError(f"{what}: expected an NDArray, got {type(array).__name__}; see mx.nd.array")
    if shape is not None and array.shape != shape:
        raise ArgumentError(f"{what} has shape {array.shape}, expected {shape}")
    if dtype is not None and array._dtype != dtype:
        raise ArgumentError(f"{what} is {array._dtype.name}, expected {np.dtype(dtype).name}; cast it with astype()")
    return array
