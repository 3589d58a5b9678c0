"""Memory of a GPU for programs."""

from __future__ import annotations

import weakref
from weakref import WeakValueDictionary

import numpy as np

from symc.core.errors import DeviceError
from symc.core.shapes import FullShape

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


class DeviceMemory:
    """Allocates what a program owns."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._blocks: WeakValueDictionary[int, DeviceBlock] = WeakValueDictionary()

    def zeros(self, size_bytes: int) -> DeviceBlock:
        """A block of zeros."""
        block = DeviceBlock(self._driver, size_bytes)
        self._driver.clear(block.address, block.size_bytes)
        self._blocks[block.address] = block
        return block

    def info(self) -> tuple[int, int]:
        """(free, total) bytes."""
        return self._driver.memory_info()

    def at(self, address: int) -> DeviceBlock:
        """The block that begins at an address."""
        return self._blocks[address]

    def array(self, address: int, shape: FullShape, dtype: str, owner: object) -> np.ndarray:
        """Refuses: Python does not see this memory."""
        raise DeviceError("Python code inside a program is not yet on this device (gpu); bind on mx.cpu()")
