"""Runs a kernel graph with NumPy: every buffer a strided view into poisoned memory placed by the memory plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from symc.codegen.cpu import preferences
from symc.core.shapes import size_of
from symc.ir.kernels import KernelGraph
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Contraction
from symc.loopir.packing import Packing, packing_of
from symc.loopir.winograd import WinogradPacking

POISON = 0xA5


@dataclass(frozen=True)
class PlainBackend:
    """A machine that reads every operand as it lies, and is otherwise like the CPU."""

    layout_of = staticmethod(preferences.layout_of)
    fits_prologue = staticmethod(preferences.fits_prologue)
    fits_epilogue = staticmethod(preferences.fits_epilogue)

    def packing(self, contraction: Contraction, is_reused: bool) -> Packing | None:
        return None


@dataclass(frozen=True)
class PackingBackend(PlainBackend):
    """A machine that wants weights in panels, as the CPU's register tile does."""

    panel_columns: int = 4

    def packing(self, contraction: Contraction, is_reused: bool) -> Packing | None:
        if contraction.kind == "weight_gradient":
            return None
        dtype = next(b.dtype for b in contraction.buffers if b.name == contraction.lhs)
        return packing_of(contraction, dtype, self.panel_columns)


@dataclass(frozen=True)
class WinogradBackend(PackingBackend):
    """A machine that transforms every 3x3 weight that serves many runs."""

    def packing(self, contraction: Contraction, is_reused: bool) -> Packing | WinogradPacking | None:
        if not is_reused or contraction.window.kernel != (3, 3):
            return super().packing(contraction, is_reused)
        dtype = next(b.dtype for b in contraction.buffers if b.name == contraction.lhs)
        n_tiles = contraction.batch * size_of([-(-n // 2) for n in contraction.window.out_extents])
        channels = contraction.in_channels, contraction.out_channels
        return WinogradPacking(2, dtype, *channels, vectors=1, lanes=self.panel_columns, rows=1, part_groups=n_tiles)


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
        for node in kernels.kernels:
            if node.phase == phase:
                interpret(node.kernel, {b.name: _view(kernels, memory, b) for b in node.kernel.buffers})
    return arrays


def _view(kernels: KernelGraph, memory: dict[str, np.ndarray], buffer):
    view = kernels.views[buffer.name]
    flat = memory[view.storage][view.offset + buffer.offset :]
    strides = tuple(s * flat.itemsize for s in buffer.strides)
    return np.lib.stride_tricks.as_strided(flat, buffer.shape, strides)
