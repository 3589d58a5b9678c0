"""Casts between element types, as MXNet makes them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` with another dtype, as C does it: toward zero, and integers wrap around.

    Warns (RuntimeWarning) where a float64 number becomes infinite; NumPy's errstate changes nothing.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore", over=_overflow(array)):
        return _castable(array, dtype).astype(dtype)


def store(target: np.ndarray, index: Any, value: np.ndarray) -> None:
    """`target[index] = value`, cast as `cast` does."""
    if value.dtype is target.dtype:  # nothing to warn of: entering errstate takes longer than storing a few numbers
        target[index] = value
        return
    with np.errstate(all="ignore", over=_overflow(value)):
        target[index] = _castable(value, target.dtype)


def _overflow(array: np.ndarray) -> Literal["warn", "ignore"]:
    """Python's numbers are float64: what is lost of them on the way to float32 is said; a cast of float32 is meant."""
    return "warn" if array.dtype.char == "d" else "ignore"


def _castable(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array, or its way station to a narrow or unsigned integer.

    C leaves float to uint8 undefined beyond 255; by way of int32 it wraps around on every machine (300.0 gives 44).
    """
    if array.dtype.kind != "f" or dtype.kind not in "iu":
        return array
    if dtype.itemsize < 4:
        return array.astype(np.int32)
    return array.astype(np.int64) if dtype.kind == "u" else array
