"""One compiled program over bound arrays: keeps prepared parameters fresh and makes instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from symc.ir.kernels import HELD

from . import prepared
from .compiler import Compiled
from .instance import Instance, Kept
from .prepared import Array
from .program import FIRST_ARRAY, Slot

Arrays = Mapping[tuple[str, str], Array]  # (place, key) -> the caller's array


class Session:
    """A program and the arrays it works on.

    Parameters that the program has prepared (packed, folded) are prepared again when their arrays were written:
    `refresh` compares version numbers, which every write through the NDArray interface changes. Sessions that prepare
    the same of the same arrays share it, but on a device that keeps copies of these.

    kept   what `own_instance` keeps for Python code from run to run, shared with other sessions (see Instance)
    """

    def __init__(
        self, compiled: Compiled, bound: Arrays, n_threads: int | None = None, kept: Kept | None = None
    ) -> None:
        self.compiled = compiled
        self.program = compiled.program
        self.bound = bound
        self.n_threads = n_threads
        self.kept = kept
        self._keeps_parameters = compiled.loaded.device.runner.keeps_parameters
        pieces = [[self.program.slots[number - FIRST_ARRAY] for number in p.sources] for p in self.program.pieces]
        sources = [[bound[slot.place, slot.key] for slot in slots] for slots in pieces]
        find = prepared.alone if self._keeps_parameters else prepared.shared
        self.prepared = find(compiled.loaded.device, self.program, sources)
        watched = list(self._prepared_from())
        self._watched = [bound[slot.place, slot.key] for _, slot in watched]
        positions = {number: k for k, (number, _) in enumerate(watched)}
        self._positions = [[positions[number] for number in p.sources] for p in self.program.pieces]  # among these
        self._versions: list[int] | None = None
        self._preparing: Instance | None = None

    def _prepared_from(self) -> Iterator[tuple[int, Slot]]:
        """The parameters and states that `prepare` reads, numbered; all of them where the device keeps copies.

        A state that training updates would have all be prepared again.
        """
        for number, slot in self.program.numbered_slots():
            if slot.place in HELD and (self._keeps_parameters or number in self.program.prepared_from):
                yield number, slot

    def own_instance(self) -> Instance:
        """The one instance that runs with what is kept."""
        return self.new_instance(self.kept)

    def new_instance(self, kept: Kept | None = None) -> Instance:
        """An instance whose buffers are the bound arrays."""
        instance = Instance(self.compiled.loaded, self.prepared, self.n_threads, kept=kept)
        instance.owner = self.bound
        for number, slot in self.program.numbered_slots():
            array = self.bound.get((slot.place, slot.key))
            if array is not None:
                instance.bufs[number] = array._address
        return instance

    def refresh(self) -> None:
        """Prepares what was made of parameters that have changed since the last time."""
        if self._versions == [a._version for a in self._watched]:
            return
        with self.prepared.lock:
            self._make_current()

    def _make_current(self) -> None:
        watched = [a._version for a in self._watched]
        versions = [[watched[k] for k in positions] for positions in self._positions]
        pieces = self.prepared.pieces
        old = [k for k, made in enumerate(pieces) if made.versions != versions[k]]
        self._prepare(old)
        for k in old:
            pieces[k].versions = versions[k]
        self._versions = watched

    def _prepare(self, old: Sequence[int]) -> None:
        """Makes pieces, by their numbers."""
        self._preparing = self._preparing or self.new_instance()
        if self._keeps_parameters or len(old) == len(self.program.pieces):
            self._preparing.run("prepare")
        elif old:
            self._preparing.run_some("prepare", sorted(step for k in old for step in self.program.pieces[k].steps))

    def reseed(self, instance: Instance, seeds: np.random.Generator) -> None:
        """A new key for the random operators of the next run."""
        if self.program.is_random:
            instance.reseed(int(seeds.integers(0, 2**62)))
