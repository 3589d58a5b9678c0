"""The memory behind NDArrays: aligned allocation, and counters that say when something was written."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ctypes import addressof, c_char
from typing import ClassVar

import numpy as np

from symc.core.dtypes import ALIGNMENT
from symc.core.errors import AllocationError, ArgumentError
from symc.core.shapes import require_axes

from .recycled import LEAST_BYTES, MOST_BYTES, PAGE_BYTES, RECYCLER

_ticks = itertools.count(1)


class WriteCounter:
    """The write counter of one piece of memory, shared by every NDArray that views it.

    `version` changes with each write to this memory, `write_epoch` with each write to any: whoever remembers the epoch
    learns from one integer comparison that nothing has changed. Both take numbers that are never given twice,
    so two threads that write at once cannot hide a write from a reader that compares for equality.
    """

    write_epoch: ClassVar[int] = 0
    version = 0  # of the class until the first write: most results are never written, and a call makes one

    def touch(self) -> None:
        """Records a write; called after the memory has changed."""
        self.version = WriteCounter.write_epoch = next(_ticks)


def touch_all(counters: Iterable[WriteCounter]) -> None:
    """Records one write to several pieces of memory."""
    tick = next(_ticks)
    for counter in counters:
        counter.version = tick
    WriteCounter.write_epoch = tick


def empty_aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A C-contiguous array at a 64-byte boundary, a large one in the middle of a page; contents undefined."""
    size_bytes = math.prod(shape) * dtype.itemsize
    if not LEAST_BYTES <= size_bytes <= MOST_BYTES:
        return _aligned(np.empty, shape, dtype)
    try:
        return RECYCLER.array(shape, dtype)
    except MemoryError:
        raise AllocationError(f"cannot allocate {size_bytes} bytes for an array of shape {shape}, {dtype}") from None


def allocation(shape: tuple[int, ...], dtype: np.dtype) -> Callable[[tuple[int, ...], np.dtype], np.ndarray]:
    """The function that makes arrays of this shape and dtype for results: `empty_aligned`, but NumPy's for small ones.

    A boundary costs 1.2 us, more than it gives a kernel that writes less than 128 KB.
    """
    return np.empty if math.prod(shape) * dtype.itemsize < LEAST_BYTES else empty_aligned


def zeros_aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A C-contiguous array of zeros, placed like an empty one; its pages are taken when first touched."""
    return _aligned(np.zeros, shape, dtype)


def address_of(array: np.ndarray) -> int:
    """Where an array begins; 0.4 us where it is writable and in one piece, else 1 us."""
    try:
        return addressof(c_char.from_buffer(array))
    except (TypeError, ValueError, BufferError):  # read-only, strided, of a dtype without a buffer, empty
        return array.ctypes.data


def require_dense(stype: str | None) -> None:
    """Raises ArgumentError for a storage type that is not dense, the only kind there is."""
    if stype not in (None, "default"):
        raise ArgumentError(f"storage type {stype!r} is not supported; symc's arrays are dense ('default')")


@contextmanager
def allocating(what: str) -> Iterator[None]:
    """Where NumPy makes arrays of a caller's sizes: raises AllocationError with the name of what needs them."""
    try:
        yield
    except MemoryError as error:
        raise AllocationError(f"{what}: {error}") from None


def _aligned(allocate, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:  # type: ignore[no-untyped-def]
    require_axes(shape)
    n = math.prod(shape)
    step, place = (PAGE_BYTES, PAGE_BYTES // 2) if n * dtype.itemsize >= LEAST_BYTES else (ALIGNMENT, 0)
    try:
        room = allocate(n + step // dtype.itemsize, dtype)
    except (MemoryError, ValueError):  # beyond this machine, beyond any
        size_bytes = n * dtype.itemsize
        raise AllocationError(f"cannot allocate {size_bytes} bytes for an array of shape {shape}, {dtype}") from None
    start = (place - address_of(room)) % step // dtype.itemsize
    return room[start : start + n].reshape(shape)
