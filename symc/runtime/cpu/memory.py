"""Host memory for programs."""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np

from symc.core.dtypes import ALIGNMENT
from symc.core.errors import AllocationError
from symc.core.shapes import FullShape
from symc.loopir.callout import Seen

# Large blocks lie in pages of 2 MB where Linux has them: kernels walk dozens of lines at once, more than a core knows
# the pages of, and pages of 4 KB lie anywhere in L2. NumPy itself asks for them from 4 MB on.
HUGE_BYTES = 2 << 20
LEAST_HUGE_BYTES = HUGE_BYTES // 2  # of a block, and of its end beyond the last whole page


class HostBlock:
    """Zeroed bytes at a 64-byte boundary; `array` shows them (uint8)."""

    __slots__ = ("address", "array")

    def __init__(self, size_bytes: int) -> None:
        is_huge = size_bytes >= LEAST_HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE")
        try:
            room = _in_huge_pages(size_bytes) if is_huge else np.zeros(size_bytes + 2 * ALIGNMENT, np.uint8)
        except (MemoryError, OSError, OverflowError, ValueError):  # beyond this machine, beyond any
            raise AllocationError(f"cannot allocate {size_bytes} bytes for what kernels leave to one another") from None
        start = -room.ctypes.data % ALIGNMENT
        self.array = room[start : start + max(size_bytes, ALIGNMENT)]
        self.address: int = self.array.ctypes.data

    def write(self, data: np.ndarray) -> None:
        """Copies a contiguous array to its beginning."""
        self.array[: data.nbytes] = data.view(np.uint8)

    def copy_from(self, other: HostBlock) -> None:
        """Copies a block of the same size."""
        self.array[...] = other.array


def _in_huge_pages(size_bytes: int) -> np.ndarray:
    """So many zeroed bytes (uint8), or more, that begin with a huge page."""
    mapping = mmap.mmap(-1, size_bytes + 2 * HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    room = np.frombuffer(mapping, np.uint8)
    start = -room.ctypes.data % HUGE_BYTES
    with suppress(OSError):  # a kernel that was built without them
        mapping.madvise(mmap.MADV_HUGEPAGE, start, (size_bytes + LEAST_HUGE_BYTES) // HUGE_BYTES * HUGE_BYTES)
    return room[start:]


class HostMemory:
    """Allocates from the process's heap."""

    def zeros(self, size_bytes: int) -> HostBlock:
        """A block of zeros; its pages are taken when first touched."""
        return HostBlock(size_bytes)

    def shadow(self, data: np.ndarray) -> None:
        """None: kernels see the host's memory."""

    def wait(self) -> None:
        """Returns at once: a run returns when it is done."""

    def seen(self, address: int, shape: FullShape, dtype: str, owner: object) -> Seen:
        """The memory at an address, which `owner` keeps alive."""
        return Seen(np.asarray(_Lent(address, shape, np.dtype(dtype), owner)), self)


class _Lent:
    """What NumPy makes an array of without a copy; the array holds it."""

    def __init__(self, address: int, shape: FullShape, dtype: np.dtype, owner: object) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}
        self.owner = owner
