"""Arrays packed into buckets: one message for each, whatever the arrays' sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from symc.core.dtypes import ALIGNMENT

from .communicator import Communicator, Pending

BUCKET_BYTES = 1 << 22  # a bucket that has as many is full; large enough that latency does not count

Fact = tuple[tuple[int, ...], np.dtype]  # shape and dtype


class Bucket:
    """Arrays that are summed by one message. float16 is summed in float32.

    positions   of its arrays among all
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.positions: list[int] = []
        self.pending: Pending | None = None
        self._starts: dict[int, int] = {}
        self._size = 0
        self._packed: set[int] = set()

    def add(self, position: int, size: int) -> None:
        """Another array, which begins at a multiple of 64 bytes."""
        self.positions.append(position)
        self._starts[position] = self._size
        self._size += -(-size * self.dtype.itemsize // ALIGNMENT) * ALIGNMENT // self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        return self._size * self.dtype.itemsize

    def allocate(self, facts: Sequence[Fact]) -> None:
        """Makes the memory, when all arrays are known."""
        self.buffer = np.zeros(self._size, self.dtype)
        self._places = {
            k: self.buffer[start : start + math.prod(facts[k][0])].reshape(facts[k][0])
            for k, start in self._starts.items()
        }

    def has(self, position: int) -> bool:
        """Whether an array was packed since the last sum."""
        return position in self._packed

    def pack(self, position: int, array: np.ndarray) -> None:
        """Copies an array into the bucket."""
        self._places[position][...] = array
        self._packed.add(position)

    @property
    def is_packed(self) -> bool:
        return len(self._packed) == len(self.positions)

    def start(self, communicator: Communicator) -> None:
        """Begins to sum what is packed."""
        self.pending = communicator.start_sum(self.buffer)

    def finish(self) -> None:
        """Waits for the sum."""
        assert self.pending is not None
        self.pending.wait()
        self.pending = None
        self._packed.clear()

    def total(self, position: int, dtype: np.dtype) -> np.ndarray:
        """The sum of an array, in memory that the next sum overwrites."""
        return self._places[position].astype(dtype, copy=False)


def filled(facts: Sequence[Fact], order: Sequence[int]) -> list[Bucket]:
    """Arrays in this order in as few buckets as their dtypes and BUCKET_BYTES allow."""
    done: list[Bucket] = []
    unfilled: dict[np.dtype, Bucket] = {}
    for position in order:
        shape, dtype = facts[position]
        summed_as = np.dtype(np.float32) if dtype == np.float16 else dtype
        bucket = unfilled.setdefault(summed_as, Bucket(summed_as))
        bucket.add(position, math.prod(shape))
        if bucket.n_bytes >= BUCKET_BYTES:
            done.append(unfilled.pop(summed_as))
    done += unfilled.values()
    for bucket in done:
        bucket.allocate(facts)
    return done
