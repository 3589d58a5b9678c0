"""A program with memory: bound kernels, arena and buffer addresses; runs one phase with one native call."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .native import NativeProgram, step_table
from .program import ARENA, PREPARED, SEED_SLOT, TABLES, Program


def aligned_bytes(size: int) -> np.ndarray:
    """Zeroed memory of at least `size` bytes at a 64-byte boundary."""
    room = np.zeros(size + 128, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + max(size, 64)]


class LoadedProgram:
    """A program whose kernels have addresses; shared by all its instances.

    descriptors and tables are kept 64-byte aligned; nothing here changes after construction.
    """

    def __init__(self, program: Program, addresses: Mapping[str, int]) -> None:
        self.program = program
        self.tables = aligned_bytes(program.tables.nbytes)
        self.tables[: program.tables.nbytes] = program.tables
        self.descriptors = program.descriptors
        base = self.descriptors.ctypes.data
        self.steps = {
            phase: step_table(
                (addresses[s.kernel], base + 8 * s.desc_offset, s.n_chunks) for s in program.phase_steps(phase)
            )
            for phase in ("prepare", "forward", "backward")
        }


class Instance:
    """Memory for one run at a time: an arena, and the table of buffer addresses the kernels read.

    `prepared` (what parameters alone decide) is passed in, because several instances share it.
    """

    def __init__(self, loaded: LoadedProgram, prepared: np.ndarray, n_threads: int | None = None) -> None:
        program = loaded.program
        self.loaded = loaded
        self.arena = aligned_bytes(program.arena_bytes)
        self.seed = np.zeros(8, np.int64)
        self.bufs = np.zeros(4 + len(program.slots), np.int64)
        self.bufs[ARENA] = self.arena.ctypes.data
        self.bufs[PREPARED] = prepared.ctypes.data
        self.bufs[TABLES] = loaded.tables.ctypes.data
        self.bufs[SEED_SLOT] = self.seed.ctypes.data
        self._prepared = prepared
        self.phases = {
            phase: NativeProgram(steps, self.bufs, n_threads) if len(steps) else None
            for phase, steps in loaded.steps.items()
        }

    def run(self, phase: str) -> None:
        """Executes one phase; the addresses in `bufs` must be set."""
        native = self.phases[phase]
        if native is not None:
            native.run()

    def run_profiled(self, phase: str) -> np.ndarray:
        """Executes one phase; begin and end of each step in nanoseconds, int64 (n_steps, 2)."""
        native = self.phases[phase]
        return native.run_profiled() if native is not None else np.zeros((0, 2), np.int64)
