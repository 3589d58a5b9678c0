"""Sums many arrays over all ranks, packed into a few buckets: one message for each, whatever the arrays' sizes."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from symc.core.dtypes import ALIGNMENT

from .communicator import Communicator, Pending

BUCKET_BYTES = 1 << 22  # a bucket is closed when it has as many; large enough that latency does not count


@dataclass
class Traffic:
    """What a rank has sent into sums, and how long it waited for them."""

    n_sums: int = 0
    n_buckets: int = 0
    n_bytes: int = 0
    wait_s: float = 0.0
    begin_s: float | None = None  # of the first
    end_s: float = 0.0  # of the last

    @property
    def wait_share(self) -> float:
        """Of the time from the beginning of the first sum to the end of the last, how much was spent waiting."""
        return self.wait_s / max(self.end_s - (self.begin_s or 0.0), 1e-9)

    def __str__(self) -> str:
        n = max(self.n_sums, 1)
        return (
            f"{self.n_sums} sums of {self.n_bytes / n / 1e6:.3g} MB in {self.n_buckets / n:.3g} buckets, waited for "
            f"{self.wait_s / n * 1e3:.3g} ms each ({self.wait_share:.1%} of the time)"
        )


@dataclass
class Bucket:
    """Arrays that are summed by one message: their positions, and where each begins in the buffer."""

    dtype: np.dtype
    positions: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    size: int = 0
    buffer: np.ndarray = field(default_factory=lambda: np.empty(0))
    pending: Pending | None = None

    def add(self, position: int, size: int) -> None:
        """Another array, at a multiple of 64 bytes."""
        self.positions.append(position)
        self.starts.append(self.size)
        self.size += -(-size * self.dtype.itemsize // ALIGNMENT) * ALIGNMENT // self.dtype.itemsize


class BucketedSum:
    """Sums over all ranks of arrays that have the same shapes and dtypes each time.

    order   the positions of the arrays as they become ready, the same on all ranks
    float16 is summed in float32.
    """

    def __init__(
        self, communicator: Communicator, arrays: Sequence[np.ndarray], order: Sequence[int], traffic: Traffic
    ) -> None:
        self._communicator = communicator
        self._traffic = traffic
        self._facts = [(a.shape, a.dtype) for a in arrays]
        self._buckets = _filled(self._facts, order)
        self._place = {}  # of each position: its bucket and part of the buffer
        for bucket in self._buckets:
            for position, start in zip(bucket.positions, bucket.starts):
                shape = self._facts[position][0]
                self._place[position] = bucket.buffer[start : start + math.prod(shape)].reshape(shape)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The sums, in memory that the next call overwrites."""
        traffic = self._traffic
        start_s = time.perf_counter()
        traffic.begin_s = start_s if traffic.begin_s is None else traffic.begin_s
        for bucket in self._buckets:
            for position in bucket.positions:
                self._place[position][...] = arrays[position]
            bucket.pending = self._communicator.start_sum(bucket.buffer)
            self._advance()
        wait_s = time.perf_counter()
        for bucket in self._buckets:
            assert bucket.pending is not None
            bucket.pending.wait()
            bucket.pending = None
        traffic.end_s = time.perf_counter()
        traffic.wait_s += traffic.end_s - wait_s
        traffic.n_sums += 1
        traffic.n_buckets += len(self._buckets)
        traffic.n_bytes += sum(b.buffer.nbytes for b in self._buckets)
        return [self._place[k].astype(dtype, copy=False) for k, (_, dtype) in enumerate(self._facts)]

    def _advance(self) -> None:
        for bucket in self._buckets:
            if bucket.pending is not None:
                bucket.pending.advance()


def _filled(facts: Sequence[tuple[tuple[int, ...], np.dtype]], order: Sequence[int]) -> list[Bucket]:
    """The arrays in their order in as few buckets as their dtypes and BUCKET_BYTES allow."""
    done: list[Bucket] = []
    open_buckets: dict[np.dtype, Bucket] = {}
    for position in order:
        shape, dtype = facts[position]
        summed_as = np.dtype(np.float32) if dtype == np.float16 else dtype
        bucket = open_buckets.setdefault(summed_as, Bucket(summed_as))
        bucket.add(position, math.prod(shape))
        if bucket.size * summed_as.itemsize >= BUCKET_BYTES:
            done.append(open_buckets.pop(summed_as))
    done += open_buckets.values()
    for bucket in done:
        bucket.buffer = np.zeros(bucket.size, bucket.dtype)
    return done
