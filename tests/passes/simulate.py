"""Runs a kernel graph with NumPy: every buffer a strided view into poisoned memory placed by the memory plan."""

from __future__ import annotations

import numpy as np

from symc.ir.kernels import KernelGraph
from symc.loopir.interpret import interpret

POISON = 0xA5


def simulate(kernels: KernelGraph, arrays: dict[tuple[str, str], np.ndarray], phases=("prepare", "forward", "backward")):
    """Executes the kernels of the given phases over `arrays` ((place, key) -> array), which outputs are added to."""
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
    for node in kernels.kernels:
        if node.phase in phases:
            interpret(node.kernel, {b.name: _view(kernels, memory, b) for b in node.kernel.buffers})
    return arrays


def _view(kernels: KernelGraph, memory: dict[str, np.ndarray], buffer):
    view = kernels.views[buffer.name]
    flat = memory[view.storage][view.offset + buffer.offset :]
    strides = tuple(s * flat.itemsize for s in buffer.strides)
    return np.lib.stride_tricks.as_strided(flat, buffer.shape, strides)
