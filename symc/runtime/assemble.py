"""Scheduled kernels and the memory plan -> a program: slots are numbered, descriptors resolved, tables shared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from symc.codegen.kernel import KernelCall, Ref, Table, Word, float_bits
from symc.core.dtypes import ALIGNMENT, ITEM_SIZE
from symc.core.errors import GraphError
from symc.ir.kernels import KernelGraph, KernelLoop, KernelNode, Storage
from symc.loopir.callout import callout_of
from symc.loopir.kernel import Template, buffer_of

from .bands import bands_of
from .pieces import pieces_of
from .program import (
    ARENA,
    FIRST_ARRAY,
    SEED_SLOT,
    TABLES,
    CallBack,
    Flag,
    KernelStep,
    Lent,
    Loop,
    Moving,
    Piece,
    Program,
    Slot,
    Step,
)


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
        self.pieces: list[Piece] = []
        self.n_registers = 0
        self.moving: dict[str, dict[tuple[int, int, int], int]] = {}  # by loop: slot, stride and period -> register
        for storage in kernels.storages.values():
            if storage.place == "arena":
                self.slot_of[storage.name] = ARENA
            elif storage.place == "seed":
                self.slot_of[storage.name] = SEED_SLOT
            elif storage.place not in ("argument", "parameter", "prepared"):  # those get one when a kernel reads them
                self.slot_of[storage.name] = self._slot(storage)

    def _slot(self, storage: Storage) -> int:
        slot = Slot(storage.place, storage.key, storage.size, storage.dtype)
        return self.slots.setdefault(slot, len(self.slots) + FIRST_ARRAY)

    def run(self, calls: Sequence[tuple[KernelNode, KernelCall]]) -> Program:
        for node, call in calls:
            self._number(call.words, node.loops)
        self._place_pieces(calls)
        steps = self._steps(calls, 0)
        return Program(
            steps,
            np.array(self.words or [0], dtype=np.int64),
            np.frombuffer(b"".join(self.table_parts) or bytes(ALIGNMENT), dtype=np.uint8),
            tuple(self.slots),
            self.kernels.heads,
            self.kernels.arena.size_bytes if self.kernels.arena else 0,
            any(s.place == "seed" for s in self.kernels.storages.values()),
            tuple(self.pieces),
            self.n_registers,
        )

    def _place_pieces(self, calls: Sequence[tuple[KernelNode, KernelCall]]) -> None:
        """Gives slots to what is prepared, after those of all arrays."""
        for piece in pieces_of(self.kernels, calls):
            size_bytes = 0
            for storage in piece.storages:
                self.slot_of[storage.name] = FIRST_ARRAY + len(self.slots) + len(self.pieces)
                self.offset_of[storage.name] = size_bytes
                size_bytes += -(-storage.size_bytes // ALIGNMENT) * ALIGNMENT
            sources = tuple(self.slot_of[s.name] for s in piece.sources)
            self.pieces.append(Piece(piece.key, size_bytes, sources, tuple(piece.steps)))
        for storage in self.kernels.storages.values():
            if storage.place == "prepared" and not storage.size_bytes:  # no step fills it: of a layer without inputs
                self.slot_of.setdefault(storage.name, ARENA)

    def _number(self, words: Sequence[Word], loops: Sequence[KernelLoop]) -> None:
        """Gives slots to arrays that are met for the first time; registers are numbered after all of them."""
        flags = [Ref(loop.flag) for loop in loops if loop.flag is not None]
        for ref in (*flags, *(word for word in words if isinstance(word, Ref))):
            view = self.kernels.views.get(ref.buffer)
            if view is None:
                raise GraphError(f"a kernel refers to the unknown buffer {ref.buffer!r}")
            storage = self.kernels.storages[view.storage]
            if storage.name not in self.slot_of and storage.place != "prepared":
                self.slot_of[storage.name] = self._slot(storage)

    # -- steps --------------------------------------------------------------------------------------------------------

    def _steps(self, calls: Sequence[tuple[KernelNode, KernelCall]], depth: int) -> tuple[Step, ...]:
        """The steps of calls that all lie in the same `depth` loops."""
        steps: list[Step] = []
        for loops, run in groupby(calls, lambda c: c[0].loops[depth : depth + 1]):
            inside = list(run)
            steps += [self._loop(loops[0], inside, depth)] if loops else [self._step(*c) for c in inside]
        return tuple(steps)

    def _step(self, node: KernelNode, call: KernelCall) -> KernelStep | CallBack:
        if callout_of(node.kernel) is not None:
            return self._call_back(node, call.code.name)
        start = len(self.words)
        for word in call.words:
            self._add(word)
        return KernelStep(call.code.name, start, call.launch, node.phase)

    def _call_back(self, node: KernelNode, name: str) -> CallBack:
        """The step at which Python works on a node's buffers; what no kernel reads in the arena nobody reads."""
        read = {self.kernels.storage_of(buffer).name for kernel in self.kernels.kernels for buffer in kernel.reads}

        def lent(name: str) -> Lent:
            buffer, storage = buffer_of(node.kernel, name), self.kernels.storage_of(name)
            is_read = storage.place != "arena" or storage.name in read
            return Lent(*self._address(Ref(name)), buffer.shape, buffer.dtype, is_read)

        assert isinstance(node.kernel, Template)
        return CallBack(name, node.phase, *(tuple(map(lent, part)) for part in (node.kernel.ins, node.kernel.outs)))

    def _loop(self, loop: KernelLoop, calls: Sequence[tuple[KernelNode, KernelCall]], depth: int) -> Loop:
        moving = self.moving[loop.name] = {}
        counter, steps = self._register(), self._steps(calls, depth + 1)
        flag = None
        if loop.flag is not None:
            slot, offset = self._address(Ref(loop.flag))
            flag = Flag(slot, offset, self.kernels.storage_of(loop.flag).dtype)
        rows = tuple(Moving(register, *moved) for moved, register in moving.items())
        return Loop(steps, loop.count, counter, rows, flag, calls[0][0].phase, bands_of(self.kernels, calls))

    def _register(self) -> int:
        self.n_registers += 1
        return FIRST_ARRAY + len(self.slots) + len(self.pieces) + self.n_registers - 1

    # -- words --------------------------------------------------------------------------------------------------------

    def _address(self, ref: Ref) -> tuple[int, int]:
        """Slot and byte offset; the slot of what moves in loops is the register of the innermost of them."""
        view = self.kernels.views[ref.buffer]
        storage = self.kernels.storages[view.storage]
        item = ITEM_SIZE[storage.dtype]
        slot = self.slot_of[storage.name]
        for loop, stride, period in view.moves:
            moving, moved = self.moving[loop], (slot, stride * item, period)
            if moved not in moving:
                moving[moved] = self._register()
            slot = moving[moved]
        return slot, view.offset * item + self.offset_of.get(storage.name, 0) + ref.offset_bytes

    def _add(self, word: Word) -> None:
        if isinstance(word, Ref):
            self.words += self._address(word)
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
