"""A piece of a GPU's memory."""

from __future__ import annotations

import weakref
from typing import NamedTuple

import numpy as np

from .driver import Driver


class DeviceBlock:
    """Bytes on a GPU, given back when nobody refers to them any more."""

    __slots__ = ("__weakref__", "address", "driver", "kept", "size_bytes")

    def __init__(self, driver: Driver, size_bytes: int) -> None:
        self.driver, self.size_bytes = driver, max(1, size_bytes)
        self.address = driver.allocate(self.size_bytes)
        self.kept: dict[int, tuple[int, DeviceBlock]] = {}  # of prepared parameters: host address and copy, by slot
        weakref.finalize(self, driver.free, self.address).atexit = False  # the process gives back all

    def write(self, data: np.ndarray) -> None:
        """Copies a contiguous array to its beginning."""
        if data.nbytes:
            self.driver.copy_in(self.address, data)

    def copy_from(self, other: DeviceBlock) -> None:
        """Copies a block of the same size."""
        self.driver.copy(self.address, other.address, self.size_bytes)


class BorrowedBlock(NamedTuple):
    """Bytes on a GPU that are another library's; `owner` keeps them."""

    address: int
    owner: object
