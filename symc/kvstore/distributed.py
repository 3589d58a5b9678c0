"""A store over all processes of a job: what is pushed is summed over their contexts and over the processes.

There are no servers: every rank stores everything, and all make the same update from the same sum.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from symc.core.errors import ConflictError
from symc.ndarray import NDArray

from .base import summed
from .communicator import Communicator
from .kvstore import Key, KVStore
from .reduction import Reduction
from .traffic import Traffic

MOST_EARLY = 64  # sets of keys whose sums begin early: each has a communicator, of which MPI allows some 2000


class DistributedKVStore(KVStore):
    """One rank's part of the store; `init` gives all of them what rank 0 has.

    traffic   what was sent, and how long it was waited for: a text by str()
    Raises ConflictError where ranks do not store or push the same keys, shapes and dtypes.
    """

    def __init__(self, name: str, communicator: Communicator) -> None:
        super().__init__(name)
        self.traffic = Traffic()
        self._communicator = communicator
        self._reductions: dict[tuple[Any, ...], Reduction] = {}

    @property
    def rank(self) -> int:
        return self._communicator.rank

    @property
    def num_workers(self) -> int:
        return self._communicator.size

    def barrier(self) -> None:
        """Waits until all workers are here."""
        self._communicator.barrier()

    def init(self, key: Any, value: Any) -> None:
        """Gives keys the first values of rank 0; raises SymcError the second time."""
        keys = [each for each, _ in self._pairs(key, value)]
        super().init(key, value)
        stored = [self._stored[each] for each in keys]
        self._require_same("init", keys, stored)
        for array in stored:
            data = array.asnumpy()
            self._communicator.broadcast(data)
            array[:] = data

    def _summed(self, keys: Sequence[Key], values: Sequence[Sequence[NDArray]]) -> Sequence[NDArray]:
        own = [arrays[0] if len(arrays) == 1 else summed(arrays) for arrays in values]
        known = (*keys, *((x.shape, x._dtype) for x in own))
        if known not in self._reductions:
            self._require_same("push", keys, own)
            n_most = np.array([max(map(len, values))])  # contexts, whose gradients are added up first
            self._communicator.maximum(n_most)
            may_start_early = len(keys) > 1 and n_most[0] == 1 and len(self._reductions) < MOST_EARLY
            self._reductions[known] = Reduction(self._communicator, own, bool(may_start_early), self.traffic)
        return [NDArray(total, x.context) for total, x in zip(self._reductions[known](own), own)]

    def _require_same(self, what: str, keys: Sequence[Key], arrays: Sequence[NDArray]) -> None:
        text = ", ".join(f"{key}: {x._dtype.name} {x.shape}" for key, x in zip(keys, arrays))
        code = zlib.crc32(text.encode())
        ends = np.array([code, -code], np.int64)
        self._communicator.maximum(ends)
        if ends[0] != -ends[1]:
            raise ConflictError(
                f"{what}: the ranks do not have the same arrays; rank {self.rank} of {self.num_workers} has {text}"
            )
