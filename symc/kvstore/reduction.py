"""Sums of the same arrays over all ranks, step after step, begun while the backward pass still computes.

Buckets are sent in one order on all ranks, each once for a step, whatever a rank does before it asks for the sums:

* While the backward pass runs, a bucket is sent as soon as its gradients and all buckets before it are complete.
* `__call__` sends the others. Then the ranks tell each other whether a gradient was written after it was sent (it was
  clipped, or another pass added to it): such buckets are sent again, and from then on nothing is sent early.

The buckets hold gradients in the order in which the backward pass of rank 0 has first written them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

import numpy as np

from symc.core.arrivals import arrivals
from symc.ndarray import NDArray
from symc.ndarray.ndarray import as_numpy

from .buckets import filled
from .communicator import Communicator
from .traffic import Traffic

N_STEPS_TO_LEARN = 3  # in which rank 0 may see a backward pass write all gradients; then nothing is sent early


class Reduction:
    """`reduction(arrays)` gives their sums over all ranks; arrays have the shapes and dtypes of the first ones.

    may_start_early   whether a backward pass writes these very arrays
    """

    def __init__(
        self, communicator: Communicator, arrays: Sequence[NDArray], may_start_early: bool, traffic: Traffic
    ) -> None:
        self._communicator = communicator.apart() if may_start_early else communicator
        self._traffic = traffic
        self._facts = [(x.shape, x._dtype) for x in arrays]
        self._n_steps_to_learn = N_STEPS_TO_LEARN if may_start_early else 0
        self._is_early = False
        self._arrays: list[NDArray] = []  # those of the step before: the same memory is written in the next one
        self._positions: dict[int, int] = {}  # by address
        self._seen: dict[int, None] = {}  # positions in the order in which the backward pass has written them
        self._versions: dict[int, int | None] = {}  # of what was packed early; None until the pass has ended
        self._arrange(range(len(arrays))[::-1])  # the last layers' gradients come first
        self._thread = threading.get_ident()  # whose backward passes count
        if may_start_early:
            arrivals.listen(self)

    def _arrange(self, order: Sequence[int]) -> None:
        self._buckets = filled(self._facts, order)
        self._bucket_of = {k: bucket for bucket in self._buckets for k in bucket.positions}

    # -- while the backward pass runs ---------------------------------------------------------------------------------

    def written(self, address: int) -> None:
        """A gradient is complete, or, told twice, was not."""
        position = self._positions.get(address)
        if position is None or threading.get_ident() != self._thread:
            return
        self._seen.setdefault(position)
        if not self._is_early:
            return
        if self._bucket_of[position].has(position):
            self._versions[position] = -1  # that of nothing
        else:
            self._pack(position, self._arrays[position])
            self._versions[position] = None
            self._send()

    def complete(self) -> None:
        """The versions that gradients have now are those that were packed."""
        if threading.get_ident() != self._thread:
            return
        for position, version in self._versions.items():
            if version is None:
                self._versions[position] = self._arrays[position]._version

    def _pack(self, position: int, array: NDArray) -> None:
        start_s = time.perf_counter()
        self._bucket_of[position].pack(position, as_numpy(array, "a gradient"))
        self._traffic.own_s += time.perf_counter() - start_s

    def _send(self) -> None:
        """Sends the buckets whose turn it is, and carries on those on their way."""
        is_turn = True
        for bucket in self._buckets:
            if bucket.pending is not None:
                bucket.pending.advance()
            elif is_turn and bucket.is_packed:
                bucket.start(self._communicator)
            else:
                is_turn = False

    # -- a step -------------------------------------------------------------------------------------------------------

    def __call__(self, arrays: Sequence[NDArray]) -> list[np.ndarray]:
        """The sums, in memory that the next call overwrites."""
        traffic, start_s = self._traffic, time.perf_counter()
        traffic.begin_s = traffic.begin_s or start_s
        traffic.n_sums += 1
        traffic.n_early_bytes += sum(b.n_bytes for b in self._buckets if b.pending is not None)
        if self._n_steps_to_learn:
            self._learn()
        late = np.array([self._is_late(number, arrays) for number in range(len(self._buckets))], np.int64)
        self._send()
        wait_s = time.perf_counter()
        self._finish(range(len(self._buckets)))
        if self._is_early:
            self._communicator.maximum(late)
            if late.any():
                self._repeat(np.flatnonzero(late), arrays)
        traffic.end_s = time.perf_counter()
        traffic.wait_s += traffic.end_s - wait_s
        if self._is_early or self._n_steps_to_learn:
            self._remember(arrays)
        return [self._bucket_of[k].total(k, dtype) for k, (_, dtype) in enumerate(self._facts)]

    def _learn(self) -> None:
        """Arranges the buckets as rank 0's backward pass has written their gradients, if it has written all."""
        self._n_steps_to_learn -= 1
        knows = len(self._seen) == len(self._facts)
        told = np.array([knows, *(self._seen if knows else range(len(self._facts)))], np.int64)
        self._communicator.broadcast(told)
        if told[0]:
            self._arrange(told[1:].tolist())
            self._n_steps_to_learn, self._is_early = 0, True
        elif not self._n_steps_to_learn:
            arrivals.ignore(self)

    def _is_late(self, number: int, arrays: Sequence[NDArray]) -> bool:
        """Packs what is missing in a bucket; whether it was sent with other contents than the arrays have now."""
        bucket = self._buckets[number]
        changed = [k for k in bucket.positions if not self._is_current(k, arrays[k])]
        if bucket.pending is not None:
            return bool(changed)
        for position in changed:
            self._pack(position, arrays[position])
        return False

    def _is_current(self, position: int, array: NDArray) -> bool:
        """Whether an array was packed early, and not written since."""
        return self._versions.get(position) == array._version and self._arrays[position]._address == array._address

    def _finish(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._buckets[number].finish()
            self._traffic.n_buckets += 1
            self._traffic.n_bytes += self._buckets[number].n_bytes

    def _repeat(self, numbers: Sequence[int], arrays: Sequence[NDArray]) -> None:
        """Sends buckets again; whoever writes gradients after the backward pass will do so in the next step, too."""
        self._is_early = False
        self._versions.clear()
        arrivals.ignore(self)
        for number in numbers:
            for position in self._buckets[number].positions:
                self._pack(position, arrays[position])
            self._buckets[number].start(self._communicator)
        self._finish(numbers)

    def _remember(self, arrays: Sequence[NDArray]) -> None:
        """Which memory the next backward pass will write."""
        self._thread = threading.get_ident()
        self._arrays = list(arrays)
        self._positions = {x._address: k for k, x in enumerate(arrays)}
        self._seen.clear()
        self._versions.clear()
