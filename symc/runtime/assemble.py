"""Scheduled kernels and the memory plan -> a program: slots are numbered, descriptors resolved, tables shared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from symc.codegen.kernel import KernelCall, Ref, Table, Word, float_bits
from symc.core.dtypes import ALIGNMENT, ITEM_SIZE
from symc.core.errors import GraphError
from symc.ir.kernels import KernelGraph, KernelNode, Storage

from .program import ARENA, FIRST_ARRAY, PREPARED, SEED_SLOT, TABLES, KernelStep, Program, Slot


def assemble(kernels: KernelGraph, calls: Sequence[tuple[KernelNode, KernelCall]]) -> Program:
    """Resolves the descriptors of scheduled kernels, one step for each call, against the memory plan."""
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
        return self.slots.setdefault(slot, len(self.slots) + FIRST_ARRAY)

    def run(self, calls: Sequence[tuple[KernelNode, KernelCall]]) -> Program:
        steps = []
        for node, call in calls:
            start = len(self.words)
            for word in call.words:
                self._add(word)
            steps.append(KernelStep(call.code.name, start, call.launch, node.phase))
        return Program(
            tuple(steps),
            np.array(self.words or [0], dtype=np.int64),
            np.frombuffer(b"".join(self.table_parts) or bytes(ALIGNMENT), dtype=np.uint8),
            tuple(self.slots),
            self.kernels.heads,
            self.kernels.arena.size_bytes if self.kernels.arena else 0,
            self.prepared_bytes,
            any(s.place == "seed" for s in self.kernels.storages.values()),
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
