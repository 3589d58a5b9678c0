"""Arrays of the caller that lie on a GPU, and the host memory that stands for them.

An NDArray of a GPU has an address in host memory, as any other: kernels' tables, views and calls name it by that. What
lies there is copied to the GPU when a program wants it, and from there when somebody reads it; in between nothing is.
The system gives no pages to host memory that nobody has touched.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from weakref import WeakValueDictionary

import numpy as np

from symc.core.locks import new_lock

from .block import BorrowedBlock, DeviceBlock
from .driver import Driver


class Shadow:
    """Host memory and its copy on a GPU: the side written last is brought to the other when that is wanted.

    What other libraries share is theirs to write at any time: the host reads it anew, and writes to it at once.
    """

    def __init__(self, shadows: Shadows, data: np.ndarray, block: BorrowedBlock | None = None) -> None:
        self._driver, self._lock = shadows.driver, shadows.lock
        self._bytes = data.reshape(-1).view(np.uint8)
        self._block: DeviceBlock | BorrowedBlock | None = block
        self._is_shared = self._is_there = block is not None
        self._is_here = not self._is_there
        self.start: int = data.ctypes.data
        self.size_bytes = data.nbytes

    def seen(self, part: np.ndarray) -> np.ndarray:
        """The contents of a part of the host memory, read-only."""
        with self._lock:
            self._fetch()
        view = part.view()
        view.flags.writeable = False
        return view

    def open(self) -> None:
        """Makes the host memory what counts: somebody is about to change it in place."""
        with self._lock:
            self._fetch()
            self._is_there = False

    def upload(self, part: np.ndarray, value: np.ndarray) -> bool:
        """Replaces all contents by an array, straight on the GPU; False: it is another one, or just for a part."""
        if part.nbytes != self.size_bytes or value.dtype != part.dtype or value.shape != part.shape:
            return False
        with self._lock:
            self._driver.copy_in(self._room(), np.ascontiguousarray(value))
            self._is_here, self._is_there = False, True
        return True

    def copy(self, part: np.ndarray, source: Shadow, source_part: np.ndarray) -> bool:
        """Makes a part the copy of another's, on the GPU; False where both are not on one, or may overlap."""
        if source is self or source._driver is not self._driver:
            return False
        first = source.bring() + source_part.ctypes.data - source.start
        target = self.bring(is_read=part.nbytes != self.size_bytes) + part.ctypes.data - self.start
        self._driver.copy(target, first, part.nbytes)
        self.written()
        return True

    def bring(self, is_read: bool = True) -> int:
        """The address on the GPU, where a program reads the contents, or overwrites all of them."""
        with self._lock:
            address = self._room()
            if is_read and not self._is_there:
                self._driver.copy_in(address, self._bytes)
                self._is_there = True
            return address

    def written(self) -> None:
        """Makes what lies on the GPU what counts: a program has written there."""
        with self._lock:
            self._is_here, self._is_there = False, True

    def share(self, part: np.ndarray) -> tuple[int, object]:
        """Where a part lies on the GPU, with its contents there from now on, and what keeps it."""
        first = self.bring()
        self._is_shared = True
        return first + part.ctypes.data - self.start, self._block

    def flush(self) -> None:
        """Brings what the host has written to where others read it."""
        if self._is_shared:
            self.bring()

    def wait(self) -> None:
        """Returns when all that was asked of the GPU is done."""
        self._driver.synchronise()

    def _fetch(self) -> None:
        if not self._is_here or (self._is_shared and self._is_there):
            self._driver.copy_out(self._bytes, self._room())
            self._is_here = True

    def _room(self) -> int:
        if self._block is None:
            self._block = DeviceBlock(self._driver, self.size_bytes)
        return self._block.address


class Shadows:
    """All shadows on one GPU, by the host addresses they stand at."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.lock = new_lock()
        self._starts: list[int] = []  # sorted; of some that are gone, too; replaced, as `at` reads it without the lock
        self._alive: WeakValueDictionary[int, Shadow] = WeakValueDictionary()

    def of(self, data: np.ndarray) -> Shadow:
        """The shadow that an array is a part of; a new one where there is none."""
        return self.at(data.ctypes.data) or self._begun(Shadow(self, data))

    def over(self, data: np.ndarray, block: BorrowedBlock) -> Shadow:
        """A new one of memory that lies there already; the array's contents are undefined."""
        return self._begun(Shadow(self, data, block))

    def _begun(self, shadow: Shadow) -> Shadow:
        self._alive[shadow.start] = shadow
        with self.lock:
            starts = self._starts
            if len(starts) > 2 * len(self._alive) + 64:
                self._starts = sorted(self._alive)
                return shadow
            place = bisect_left(starts, shadow.start)
            if starts[place : place + 1] != [shadow.start]:
                self._starts = [*starts[:place], shadow.start, *starts[place:]]
        return shadow

    def at(self, address: int) -> Shadow | None:
        """The shadow that an address in host memory lies in."""
        found = self._alive.get(address)
        if found is not None:
            return found
        starts = self._starts
        for number in range(bisect_right(starts, address) - 1, -1, -1):
            found = self._alive.get(starts[number])
            if found is not None:
                return found if address < found.start + found.size_bytes else None
        return None
