"""The compiled form of a graph: steps over slots, as data; and one instance of it with memory of its own.

A Program holds no address.  Slots 0 to 3 are the arena, the prepared parameters, the offset tables and the random
seed; each further slot is an array of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from symc.codegen.kernel import KernelCall, KernelCode, Ref, Table, Word, float_bits
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import GraphError
from symc.ir.kernels import HeadInfo, KernelGraph, KernelNode, Place, Storage
from symc.passes.phases import PHASES

ARENA, PREPARED, TABLES, SEED_SLOT = range(4)
ALIGNMENT = 64


@dataclass(frozen=True)
class Slot:
    """An array of the caller: which one (argument name, head index ...), and its size."""

    place: Place
    key: str
    size: int
    dtype: str


@dataclass(frozen=True)
class Step:
    """One kernel call of the program."""

    kernel: str
    desc_offset: int  # words into the descriptors
    n_chunks: int
    phase: str
    node: KernelNode = field(repr=False)
    schedule: str = field(repr=False, default="")


@dataclass(frozen=True, eq=False)
class Program:
    """Everything a run needs except memory and kernel addresses."""

    steps: tuple[Step, ...]
    descriptors: np.ndarray  # int64
    tables: np.ndarray  # uint8
    slots: tuple[Slot, ...]
    heads: tuple[HeadInfo, ...]
    arena_bytes: int
    prepared_bytes: int
    is_random: bool
    kernels: KernelGraph
    codes: Mapping[str, KernelCode]

    def slot_number(self, place: str, key: str) -> int:
        """The number of a caller's array in `bufs`; raises KeyError when the program does not touch it."""
        for k, slot in enumerate(self.slots):
            if (slot.place, slot.key) == (place, key):
                return k + 4
        raise KeyError((place, key))

    def needs(self, place: str) -> list[str]:
        """Keys of the caller's arrays of one kind."""
        return [s.key for s in self.slots if s.place == place]

    def phase_steps(self, phase: str) -> list[Step]:
        """Steps of one phase in order."""
        return [s for s in self.steps if s.phase == phase]


def assemble(kernels: KernelGraph, calls: list[tuple[KernelNode, KernelCall]]) -> Program:
    """Resolves the descriptors of scheduled kernels against the memory plan."""
    return _Assembler(kernels).run(calls)


class _Assembler:
    def __init__(self, kernels: KernelGraph) -> None:
        self.kernels = kernels
        self.words: list[int] = []
        self.table_offsets: dict[tuple[str, bytes], int] = {}
        self.table_parts: list[bytes] = []
        self.table_size = 0
        self.slots: dict[Slot, int] = {}  # slot -> its number in `bufs`
        self.slot_of: dict[str, int] = {}
        self.offset_of: dict[str, int] = dict(kernels.arena.offsets) if kernels.arena else {}
        self.prepared_bytes = 0
        for storage in kernels.storages.values():
            if storage.place == "arena":
                self.slot_of[storage.name] = ARENA
            elif storage.place == "prepared":
                self.slot_of[storage.name] = PREPARED
                self.offset_of[storage.name] = self.prepared_bytes
                self.prepared_bytes += -(-storage.size_bytes // ALIGNMENT) * ALIGNMENT
            elif storage.place == "seed":
                self.slot_of[storage.name] = SEED_SLOT
            elif storage.place not in ("argument", "parameter"):  # those get a slot when a kernel reads them
                self.slot_of[storage.name] = self._slot(storage)

    def _slot(self, storage: Storage) -> int:
        slot = Slot(storage.place, storage.key, storage.size, storage.dtype)
        return self.slots.setdefault(slot, len(self.slots) + 4)

    def run(self, calls: list[tuple[KernelNode, KernelCall]]) -> Program:
        steps = []
        order: dict[str, int] = {phase: k for k, phase in enumerate(PHASES)}
        for node, call in sorted(calls, key=lambda c: order[c[0].phase]):
            start = len(self.words)
            for word in call.words:
                self._add(word)
            steps.append(Step(call.code.name, start, call.n_chunks, node.phase, node, call.schedule))
        return Program(
            tuple(steps),
            np.array(self.words or [0], dtype=np.int64),
            np.frombuffer(b"".join(self.table_parts) or bytes(ALIGNMENT), dtype=np.uint8),
            tuple(self.slots),
            self.kernels.heads,
            self.kernels.arena.size_bytes if self.kernels.arena else 0,
            self.prepared_bytes,
            any(s.place == "seed" for s in self.kernels.storages.values()),
            self.kernels,
            {call.code.name: call.code for _, call in calls},
        )

    def _add(self, word: Word) -> None:
        if isinstance(word, Ref):
            view = self.kernels.views.get(word.buffer)
            if view is None:
                raise GraphError(f"a kernel refers to the unknown buffer {word.buffer!r}")
            storage = self.kernels.storages[view.storage]
            if storage.name not in self.slot_of:
                self.slot_of[storage.name] = self._slot(storage)
            offset = view.offset * ITEM_SIZE[storage.dtype] + self.offset_of.get(storage.name, 0)
            self.words += [self.slot_of[storage.name], offset + word.offset_bytes]
        elif isinstance(word, Table):
            self.words += [TABLES, self._table(word)]
        elif isinstance(word, float):
            self.words.append(float_bits(word))
        else:
            self.words.append(int(word))

    def _table(self, table: Table) -> int:
        key = table.content()
        if key not in self.table_offsets:
            data = key[1]
            self.table_offsets[key] = self.table_size
            padded = data + bytes(-len(data) % ALIGNMENT)
            self.table_parts.append(padded)
            self.table_size += len(padded)
        return self.table_offsets[key]
