"""Runs a kernel graph with NumPy: every buffer a strided view into poisoned memory placed by the memory plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from symc.codegen.contraction.panels import panels_of
from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.contraction.winograd import WinogradPanels
from symc.codegen.cpu import preferences
from symc.core.shapes import FullShape, size_of
from symc.ir.kernels import KernelGraph, KernelNode
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Contraction, Packing, buffer_of
from symc.loopir.routine import Routine

POISON = 0xA5


@dataclass(frozen=True)
class PlainBackend:
    """A machine that reads every operand as it lies, and is otherwise like the CPU."""

    layout_of = staticmethod(preferences.layout_of)
    fits_prologue = staticmethod(preferences.fits_prologue)
    channels_together = staticmethod(preferences.channels_together)
    fits_epilogue = staticmethod(preferences.fits_epilogue)
    fits_sections = staticmethod(preferences.fits_sections)
    keeps_near = staticmethod(preferences.keeps_near)
    near_bytes = preferences.NEAR_BYTES
    gap_behind = staticmethod(preferences.gap_behind)

    def wants_columns(self, n_rows: int, weight_bytes: int, dtype: str) -> bool:
        return False

    def plan(self, contraction: Contraction, is_reused: bool) -> ContractionPlan | None:
        return None

    def scratch(self, routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
        return routine.scratch([b.shape for b in ins])


@dataclass(frozen=True)
class PackingBackend(PlainBackend):
    """A machine that wants weights in panels, as the CPU's register tile does."""

    panel_columns: int = 4

    def plan(self, contraction: Contraction, is_reused: bool) -> ContractionPlan | None:
        if contraction.kind == "weight_gradient":
            return None
        dtype = buffer_of(contraction, contraction.lhs).dtype
        return planned(panels_of(contraction, dtype, self.panel_columns))


@dataclass(frozen=True)
class WinogradBackend(PackingBackend):
    """A machine that transforms every 3x3 weight that serves many runs."""

    def plan(self, contraction: Contraction, is_reused: bool) -> ContractionPlan | None:
        if not is_reused or contraction.window.kernel != (3, 3):
            return super().plan(contraction, is_reused)
        dtype = buffer_of(contraction, contraction.lhs).dtype
        n_tiles = contraction.batch * size_of([-(-n // 2) for n in contraction.window.out_extents])
        packing = WinogradPanels(2, dtype, contraction.in_channels, contraction.out_channels, self.panel_columns)
        return planned(packing, (n_tiles, packing.transforms.n_frequencies, contraction.in_channels))


def planned(packing: Packing, scratch: FullShape = ()) -> ContractionPlan:
    """A plan that nobody carries out."""
    return ContractionPlan(algorithm="interpreted", cycles=0.0, why="", packing=packing, scratch=scratch)


Arrays = dict[tuple[str, str], np.ndarray]


def simulate(kernels: KernelGraph, arrays: Arrays, phases=("prepare", "forward", "backward")) -> Arrays:
    """Executes the kernels, phase by phase, over `arrays` ((place, key) -> array), which outputs are added to."""
    arena = np.full((kernels.arena.size_bytes if kernels.arena else 0) + 64, POISON, np.uint8)
    memory: dict[str, np.ndarray] = {}
    for s in kernels.storages.values():
        if s.place == "arena":
            start = kernels.arena.offsets[s.name]
            memory[s.name] = arena[start : start + s.size_bytes].view(s.dtype)
        elif s.place == "prepared":
            memory[s.name] = np.full(s.size_bytes, POISON, np.uint8).view(s.dtype)
        elif s.place == "seed":
            memory[s.name] = np.zeros(1, np.int64)
        else:
            if (s.place, s.key) not in arrays:
                arrays[s.place, s.key] = np.full(s.size_bytes, POISON, np.uint8).view(s.dtype)
            memory[s.name] = arrays[s.place, s.key].reshape(-1)
    for phase in phases:
        _run(kernels, memory, [node for node in kernels.kernels if node.phase == phase], {})
    return arrays


def _run(kernels: KernelGraph, memory: dict[str, np.ndarray], nodes: list[KernelNode], rounds: dict[str, int]) -> None:
    """Kernels that lie in the loops of which `rounds` says how many rounds are done."""
    for loops, inside in groupby(nodes, lambda n: n.loops[len(rounds) : len(rounds) + 1]):
        members = list(inside)
        for t in range(loops[0].count if loops else 0):
            flag = loops[0].flag
            if flag is not None and not memory[kernels.views[flag].storage][kernels.views[flag].offset]:
                break
            _run(kernels, memory, members, {**rounds, loops[0].name: t})
        for node in members if not loops else ():
            interpret(node.kernel, {b.name: _view(kernels, memory, b, rounds) for b in node.kernel.buffers})


def _view(kernels: KernelGraph, memory: dict[str, np.ndarray], buffer: Buffer, rounds: dict[str, int]) -> np.ndarray:
    view = kernels.views[buffer.name]
    moved = sum(move.moved(rounds[move.loop]) for move in view.moves)
    flat = memory[view.storage][view.offset + moved + buffer.offset :]
    strides = tuple(s * flat.itemsize for s in buffer.strides)
    return np.lib.stride_tricks.as_strided(flat, buffer.shape, strides)
