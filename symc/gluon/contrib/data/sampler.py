"""A sampler that goes in steps."""

from __future__ import annotations

from collections.abc import Iterator

from symc.core.errors import ConflictError
from symc.gluon.data.sampler import Sampler


class IntervalSampler(Sampler):
    """0, interval, 2 * interval, ... below length; with rollover then 1, 1 + interval, ... and so on until all came."""

    def __init__(self, length: int, interval: int, rollover: bool = True) -> None:
        if interval > length:
            raise ConflictError(f"Interval {interval} must be smaller than or equal to length {length}")
        self._length, self._interval, self._rollover = length, interval, rollover

    def __iter__(self) -> Iterator[int]:
        for first in range(self._interval if self._rollover else 1):
            yield from range(first, self._length, self._interval)

    def __len__(self) -> int:
        return self._length if self._rollover else len(range(0, self._length, self._interval))
