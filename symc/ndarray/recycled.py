"""Memory of large arrays, used again when nobody holds it any more: a fresh 40 MB array costs 10,000 page faults.

Whoever can reach the memory of an array (views, NumPy arrays, DLPack capsules) holds a `_Loan` through NumPy's `base`;
its end is the end of them all. What waits for its next use is bounded, the longest unused is given up first.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from symc.core.locks import new_lock

LEAST_BYTES = 1 << 17  # of an array: smaller ones come from memory that malloc keeps anyway
MOST_BYTES = 1 << 28  # of all that waits for its next use

# A load waits for an earlier store whose address has the same last 12 bits. NumPy's large arrays begin 16 bytes behind
# a page; a result that began a cache line behind one had each of its vectors waited for by the next one's loads.
PAGE_BYTES = 4096


class _Room(NamedTuple):
    """Memory, and its first address in the middle of a page, for arrays of one size."""

    memory: np.ndarray
    first: int


class Recycler:
    """Lends memory for arrays, and takes it back; for any number of threads."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.waiting_bytes = 0
        self._waiting: dict[int, list[_Room]] = {}  # by size in bytes, the size that was used last at the end
        self._lock = new_lock()

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array in the middle of a page, contents undefined; raises what NumPy raises where memory is missing."""
        size_bytes = math.prod(shape) * dtype.itemsize + PAGE_BYTES
        room = self._taken(size_bytes)
        if room is None:
            try:
                memory = np.empty(size_bytes, np.uint8)
            except MemoryError:
                self.clear()
                memory = np.empty(size_bytes, np.uint8)
            room = _Room(memory, memory.ctypes.data + (PAGE_BYTES // 2 - memory.ctypes.data) % PAGE_BYTES)
        return np.asarray(_Loan(self, room, shape, dtype))

    def clear(self) -> None:
        """Gives everything that waits back to the system."""
        with self._lock:
            self._waiting.clear()
            self.waiting_bytes = 0

    def _taken(self, size_bytes: int) -> _Room | None:
        with self._lock:
            rooms = self._waiting.pop(size_bytes, None)
            if rooms is None:
                return None
            room = rooms.pop()  # the youngest, which may still be in a cache
            if rooms:
                self._waiting[size_bytes] = rooms
            self.waiting_bytes -= size_bytes
            return room

    def give(self, room: _Room) -> None:
        """Takes memory back. This may happen anywhere, in `_taken` too: who finds the lock taken lets the memory go."""
        size_bytes = room.memory.nbytes
        if size_bytes > self.most_bytes or self._lock.locked():
            return
        with self._lock:
            rooms = self._waiting.pop(size_bytes, [])
            rooms.append(room)
            self._waiting[size_bytes] = rooms
            self.waiting_bytes += size_bytes
            while self.waiting_bytes > self.most_bytes:
                self._let_go()

    def _let_go(self) -> None:
        """Gives up the longest unused memory of the longest unused size."""
        size_bytes, rooms = next(iter(self._waiting.items()))
        self.waiting_bytes -= size_bytes
        del rooms[0]
        if not rooms:
            del self._waiting[size_bytes]


class _Loan:
    """What all views of an array's memory hold in the end."""

    __slots__ = ("__array_interface__", "_owner", "_room")

    def __init__(self, owner: Recycler, room: _Room, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._owner, self._room = owner, room
        self.__array_interface__: dict[str, Any] = {
            "version": 3, "shape": shape, "typestr": dtype.str, "data": (room.first, False),
        }  # fmt: skip

    def __del__(self) -> None:
        try:
            owner, room = self._owner, self._room
        except AttributeError:  # an interrupt came into __init__
            return
        owner.give(room)


RECYCLER = Recycler(MOST_BYTES)
