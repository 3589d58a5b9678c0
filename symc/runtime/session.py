"""One compiled program over bound arrays: keeps prepared parameters fresh and makes instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from symc.core.locks import new_lock
from symc.ir.kernels import HELD

from .compiler import Compiled
from .instance import Instance, Kept
from .program import FIRST_ARRAY, Slot


class Array(Protocol):
    """What is needed of a bound NDArray: where it lies, and a number that changes with every write."""

    @property
    def _address(self) -> int: ...

    @property
    def _version(self) -> int: ...

    def _touch(self) -> None: ...


Arrays = Mapping[tuple[str, str], Array]  # (place, key) -> the caller's array


class Session:
    """A program and the arrays it works on.

    Parameters that the program has prepared (packed, folded) are prepared again when their arrays were written:
    `refresh` compares version numbers, which every write through the NDArray interface changes.

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
        self.prepared = compiled.loaded.new_prepared()
        self._watched = [bound[s.place, s.key] for s in self._prepared_from()]
        self._versions: list[int] | None = None
        self._lock = new_lock()
        self._preparing: Instance | None = None

    def _prepared_from(self) -> Iterator[Slot]:
        """The parameters and states that `prepare` reads; all of them where the device keeps copies.

        A state that training updates would have all be prepared again.
        """
        keeps = self.compiled.loaded.device.runner.keeps_parameters
        for number, slot in enumerate(self.program.slots, FIRST_ARRAY):
            if slot.place in HELD and (keeps or number in self.program.prepared_from):
                yield slot

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
        """Prepares the parameters when they have changed since the last time."""
        if self._versions == [a._version for a in self._watched]:
            return
        with self._lock:
            versions = [a._version for a in self._watched]
            if self._versions != versions:
                self._preparing = self._preparing or self.new_instance()
                self._preparing.run("prepare")
                self._versions = versions

    def reseed(self, instance: Instance, seeds: np.random.Generator) -> None:
        """A new key for the random operators of the next run."""
        if self.program.is_random:
            instance.reseed(int(seeds.integers(0, 2**62)))
