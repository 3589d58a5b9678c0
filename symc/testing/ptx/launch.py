"""Loads a module into a device's memory, and runs grids of its kernels batch by batch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.bounded import BoundedCache

from .faults import KernelFault, PtxError
from .machine import Dim3, Machine, Shape, place_params, place_shared
from .memory import GlobalMemory
from .parser import parse
from .program import Function, Module
from .run import Codes
from .traffic import Traffic

# Registers of a batch should stay in the host's caches; below that, more lanes make NumPy's calls cheaper.
_BATCH_BYTES, _MOST_LANES = 1 << 24, 1 << 14
_BATCH_SHARED_BYTES = 1 << 22  # which barriers walk over
MAX_THREADS, MAX_STATIC_SHARED = 1024, 48 << 10


@dataclass(frozen=True)
class Limits:
    """What one device has.

    shared_bytes     of a block, what an opt-in gets
    registers        of a multiprocessor
    max_blocks_run   basic blocks after which a launch counts as endless
    """

    shared_bytes: int = 227 << 10
    registers: int = 65536
    grid: Dim3 = ((1 << 31) - 1, 65535, 65535)
    block: Dim3 = (1024, 1024, 64)
    max_blocks_run: int = 2_000_000


@dataclass(frozen=True, eq=False)
class Loaded:
    """A module whose global and constant variables lie in a device's memory."""

    module: Module
    memory: GlobalMemory
    symbols: dict[str, int]

    def codes(self, kernel: Function, shape: Shape, limits: Limits) -> Codes:
        """A kernel bound to the lanes of a batch."""
        machine = Machine(self.module, kernel, shape, self.symbols)
        return Codes(machine, limits.max_blocks_run)

    def free(self) -> None:
        """Takes its variables out of memory."""
        for address in self.symbols.values():
            self.memory.free(address)


def load(text: str, memory: GlobalMemory) -> Loaded:
    """Reads PTX and gives its variables places in memory."""
    module = _PARSED.obtain(text, lambda: parse(text))
    symbols, regions = {}, {}
    for v in module.variables.values():
        if v.space in ("global", "const"):
            regions[v.name] = memory.allocate(max(v.size_bytes, 1), f"variable {v.name}", v.space == "const")
            symbols[v.name] = regions[v.name].start
    for name, region in regions.items():
        v = module.variables[name]
        data = bytearray(v.initial if v.initial is not None else bytes(v.size_bytes))
        for offset, other in v.pointers:
            if other not in symbols:
                raise PtxError(f"variable {name} holds the address of {other}, which nobody defines")
            data[offset : offset + 8] = symbols[other].to_bytes(8, "little")
        region.write(0, np.frombuffer(bytes(data), np.uint8))
    return Loaded(module, memory, symbols)


def pack_arguments(kernel: Function, arguments: Sequence[object]) -> np.ndarray:
    """Arguments as the bytes of a kernel's parameters: integers of any size they have, NumPy scalars of their own."""
    places, size = place_params(kernel)
    if len(arguments) != len(kernel.params):
        raise PtxError(f"kernel {kernel.name} takes {len(kernel.params)} arguments and got {len(arguments)}")
    packed = np.zeros(size, np.uint8)
    for v, argument in zip(kernel.params, arguments):
        if isinstance(argument, int):
            data = (argument & (1 << 8 * v.size_bytes) - 1).to_bytes(v.size_bytes, "little")
        else:
            data = np.asarray(argument).tobytes()
        if len(data) != v.size_bytes:
            raise PtxError(
                f"kernel {kernel.name}: parameter {v.name} has {v.size_bytes} bytes, its argument {len(data)}"
            )
        packed[places[v.name] : places[v.name] + v.size_bytes] = np.frombuffer(data, np.uint8)
    return packed


def launch(
    loaded: Loaded,
    kernel: Function,
    grid: Dim3,
    block: Dim3,
    params: np.ndarray,
    dynamic_bytes: int = 0,
    limits: Limits | None = None,
    is_racing: bool = True,
    is_backwards: bool = False,
    traffic: Traffic | None = None,
) -> None:
    """Runs a grid to its end; raises KernelFault for what no kernel may do.

    params        as `pack_arguments` makes them, uint8
    is_racing     False: looks for no races, somewhat faster
    is_backwards  True: the last block first, one at a time where blocks may learn of each other
    traffic       counts what warps ask of memory
    """
    limits = limits or Limits()
    _check_limits(kernel, grid, block, dynamic_bytes, limits)
    n_blocks = grid[0] * grid[1] * grid[2]
    shared_bytes = place_shared(loaded.module, dynamic_bytes)[1]
    if shared_bytes > limits.shared_bytes:
        raise _too_much(kernel, f"{shared_bytes} bytes of shared memory", str(limits.shared_bytes))
    is_singly = is_backwards and loaded.module.has_order
    n_together = 1 if is_singly else _blocks_together(kernel, grid, block, shared_bytes)
    shape = Shape(n_together, block, grid, dynamic_bytes)
    codes = _BOUND.obtain((loaded, kernel.name, shape, limits), lambda: loaded.codes(kernel, shape, limits))
    for region in loaded.memory:
        region.agents.forget()
    for first in range(0, n_blocks, n_together)[:: -1 if is_backwards else 1]:
        codes.machine.begin(loaded.memory, params, first, is_racing, is_backwards, traffic)
        codes.run()


# Modules by their text, of so many characters together.
_PARSED: BoundedCache[str, Module] = BoundedCache(1 << 24, lambda text, module: len(text))
# Kernels bound to lanes: what it took to bind one is not spent again as long as their registers fit.
_BOUND: BoundedCache[Hashable, Codes] = BoundedCache(256 << 20, lambda key, codes: codes.size_bytes)


def _blocks_together(kernel: Function, grid: Dim3, block: Dim3, shared_bytes: int) -> int:
    """As many blocks as keep a batch's registers in reach, spread evenly over the batches."""
    n_blocks = grid[0] * grid[1] * grid[2]
    lanes = -(-block[0] * block[1] * block[2] // 32) * 32
    most = min(_MOST_LANES, max(_BATCH_BYTES // max(1, kernel.register_bytes), 1024)) // lanes
    if shared_bytes:
        most = min(most, _BATCH_SHARED_BYTES // shared_bytes)
    n_batches = -(-n_blocks // max(1, most))
    return -(-n_blocks // n_batches)


def _check_limits(kernel: Function, grid: Dim3, block: Dim3, dynamic_bytes: int, limits: Limits) -> None:
    n_threads = block[0] * block[1] * block[2]
    for what, sizes, ends in (("grid", grid, limits.grid), ("block", block, limits.block)):
        if not all(1 <= size <= end for size, end in zip(sizes, ends)):
            raise _too_much(kernel, f"a {what} of {sizes}", f"1 to {ends}")
    if n_threads > MAX_THREADS:
        raise _too_much(kernel, f"{n_threads} threads a block", str(MAX_THREADS))
    if kernel.max_threads is not None and n_threads > kernel.max_threads:
        raise _too_much(kernel, f"{n_threads} threads a block", f"its own .maxntid of {kernel.max_threads}")
    if kernel.required_threads is not None and n_threads != kernel.required_threads:
        raise _too_much(kernel, f"{n_threads} threads a block", f"exactly its .reqntid of {kernel.required_threads}")


def _too_much(kernel: Function, what: str, allowed: str) -> KernelFault:
    return KernelFault("limits", f"kernel {kernel.name}: a launch with {what}; allowed: {allowed}")
