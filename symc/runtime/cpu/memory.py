"""Host memory for programs."""

from __future__ import annotations

import numpy as np

from symc.core.dtypes import ALIGNMENT
from symc.core.errors import AllocationError
from symc.core.shapes import FullShape


class HostBlock:
    """Zeroed bytes at a 64-byte boundary; `array` shows them (uint8)."""

    __slots__ = ("address", "array")

    def __init__(self, size_bytes: int) -> None:
        try:
            room = np.zeros(size_bytes + 2 * ALIGNMENT, np.uint8)
        except (MemoryError, ValueError):  # beyond this machine, beyond any
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


class HostMemory:
    """Allocates from the process's heap."""

    def zeros(self, size_bytes: int) -> HostBlock:
        """A block of zeros; its pages are taken when first touched."""
        return HostBlock(size_bytes)

    def shadow(self, data: np.ndarray) -> None:
        """None: kernels see the host's memory."""

    def wait(self) -> None:
        """Returns at once: a run returns when it is done."""

    def array(self, address: int, shape: FullShape, dtype: str, owner: object) -> np.ndarray:
        """The memory at an address, which `owner` keeps alive."""
        return np.asarray(_Lent(address, shape, np.dtype(dtype), owner))


class _Lent:
    """What NumPy makes an array of without a copy; the array holds it."""

    def __init__(self, address: int, shape: FullShape, dtype: np.dtype, owner: object) -> None:
        self.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}
        self.owner = owner
