"""Memory of a GPU for programs."""

from __future__ import annotations

from weakref import WeakValueDictionary

import numpy as np

from symc.core.shapes import FullShape
from symc.loopir.callout import Seen

from .block import BorrowedBlock, DeviceBlock
from .driver import Driver
from .shadow import Shadow, Shadows


class DeviceMemory:
    """Allocates what a program owns, and knows what of the caller's lies there."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.shadows = Shadows(driver)
        self._blocks: WeakValueDictionary[int, DeviceBlock] = WeakValueDictionary()

    def zeros(self, size_bytes: int) -> DeviceBlock:
        """A block of zeros."""
        block = DeviceBlock(self.driver, size_bytes)
        self.driver.clear(block.address, block.size_bytes)
        self._blocks[block.address] = block
        return block

    def info(self) -> tuple[int, int]:
        """(free, total) bytes."""
        return self.driver.memory_info()

    def at(self, address: int) -> DeviceBlock:
        """The block that begins at an address."""
        return self._blocks[address]

    def shadow(self, data: np.ndarray) -> Shadow | None:
        """What keeps an array of the host and its copy on the GPU the same."""
        return self.shadows.of(data) if data.nbytes else None

    def borrowed(self, data: np.ndarray, address: int, owner: object) -> Shadow:
        """What keeps an array of the host, whose contents are undefined, and another library's memory the same."""
        return self.shadows.over(data, BorrowedBlock(address, owner))

    def wait(self) -> None:
        """Returns when all that was asked of the GPU is done."""
        self.driver.synchronise()

    def seen(self, address: int, shape: FullShape, dtype: str, owner: object) -> Seen:
        """An array of the host that stands for what lies at an address, which `owner` keeps alive."""
        data = np.empty(shape, dtype)
        return Seen(data, self, self.borrowed(data, address, owner) if data.nbytes else None)
