"""Runs kernels that were compiled for this machine, with vectors of every width that it has."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping

import numpy as np

from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import Target, host_target
from symc.codegen.kernel import KernelCall, Ref, Table, float_bits

_addresses: dict[tuple[str, Target], int] = {}


def targets() -> list[Target]:
    """This machine and what it can be narrowed to."""
    widest = host_target().vector_bits
    return [host_target(bits) for bits in (512, 256, 128) if bits <= widest]


def address_of(call: KernelCall, target: Target) -> int:
    """Compiles a kernel once per structure."""
    key = (call.code.name, target)
    if key not in _addresses:
        data = compile_function(call.code.build(), call.code.name, target)
        _addresses[key] = load_objects({call.code.name: data})[call.code.name]
    return _addresses[key]


def run_call(
    call: KernelCall, target: Target, pointers: Mapping[str, int], n_chunks: int, chunks: Iterable[int] | None = None
) -> None:
    """Runs all of `n_chunks`, or `chunks` of them in this order, on buffers at the addresses `pointers`."""
    words: list[int] = []
    bufs: list[int] = []
    tables: list[np.ndarray] = []  # kept alive
    for word in call.words:
        if isinstance(word, Ref):
            words += [len(bufs), word.offset_bytes]
            bufs.append(pointers[word.buffer])
        elif isinstance(word, Table):
            tables.append(np.ascontiguousarray(word.data))
            words += [len(bufs), 0]
            bufs.append(tables[-1].ctypes.data)
        else:
            words.append(float_bits(word) if isinstance(word, float) else word)
    desc, slots = np.array(words, np.int64), np.array(bufs, np.int64)
    types = (ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
    kernel = ctypes.CFUNCTYPE(None, *types)(address_of(call, target))
    for chunk in range(n_chunks) if chunks is None else chunks:
        kernel(chunk, n_chunks, desc.ctypes.data, slots.ctypes.data)
