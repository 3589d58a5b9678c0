"""A second device, as small as one can be: NumPy's interpreter of kernels runs over memory with addresses of its own.

It holds the seam: whatever a device must say or do is here, and nothing in symc is replaced to make it work.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.kernel import KernelCall, KernelCode, Ref
from symc.codegen.objects import Build
from symc.codegen.tuned import NOTHING, Choices
from symc.context import register_device, unregister_device
from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import FullShape
from symc.ir.graph import Graph, Layout, Node
from symc.loopir.callout import Seen
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Contraction, LoopKernel, Plan
from symc.loopir.routine import Routine
from symc.loopir.tensor import Product
from symc.runtime.device import Call, CallRow, Device, LoopRows, Row, Touched
from symc.runtime.operands import Expected

FIRST_ADDRESS = 1 << 60  # the host has none up there, so whoever takes one for the host's crashes
BLOCK_BYTES = 1 << 32


@dataclass
class ToyBackend:
    """Computes contractions row-major and as they lie, with any epilogue; its object code is a kernel's name."""

    name: str = field(default_factory=lambda: f"toy {os.getpid()} {time.monotonic_ns()}")  # no other knows the kernels
    kernels: dict[str, LoopKernel] = field(default_factory=dict)
    loaded: list[LoopKernel] = field(default_factory=list)

    def layout_of(self, product: Product, rank: int, operand: int | None) -> Layout | None:
        return Layout.row_major(rank)

    def fits_prologue(self, product: Product, operand: int) -> bool:
        return False

    def channels_together(self, product: Product, dtype: str) -> int | None:
        return 1

    def fits_epilogue(self, graph: Graph, anchor: Node, node: Node) -> bool:
        return True

    def fits_sections(self, product: Product, dtype: str, n: int) -> bool:
        return True

    def keeps_near(self, n_elements: int, is_contiguous: bool) -> bool:
        return True

    def wants_columns(self, n_rows: int, weight_bytes: int, dtype: str) -> bool:
        return False

    def gap_behind(self, row_bytes: int) -> int:
        return 0

    @property
    def near_bytes(self) -> int | None:
        return None

    def plan(self, contraction: Contraction, is_reused: bool) -> Plan | None:
        return None

    def scratch(self, routine: Routine, ins: Sequence[Buffer]) -> Sequence[tuple[FullShape, str]]:
        return routine.scratch([b.shape for b in ins])

    tuned: ClassVar[Choices] = NOTHING

    def candidates(self, contraction: Contraction) -> Sequence[ContractionPlan]:
        return ()

    def schedule(self, kernel: LoopKernel) -> list[KernelCall]:
        code = KernelCode("toy", f"{kernel!r}", kernel.text, lambda: kernel)
        self.kernels[code.name] = kernel
        words = tuple(Ref(b.name, b.offset * ITEM_SIZE[b.dtype]) for b in kernel.buffers)
        return [KernelCall(code, words, (1, 2, 3), "interpreted")]

    def identity(self) -> str:
        return self.name

    def takes(self, identity: str) -> bool:
        return identity == self.identity()

    def facts(self) -> Mapping[str, str]:
        return {"target": "toy"}

    def build(self, code: KernelCode) -> bytes:
        return code.name.encode()  # maybe in another process

    def remark(self, kernel: LoopKernel, call: KernelCall, data: bytes) -> str:
        return f"{len(data)} letters"

    def load(self, objects: Mapping[str, bytes]) -> dict[str, int]:
        start = len(self.loaded)
        self.loaded += [self.kernels[data.decode()] for data in objects.values()]
        return {name: start + k for k, name in enumerate(objects)}


class ToyBlock:
    """Bytes at an address that means nothing to the host."""

    def __init__(self, address: int, size_bytes: int) -> None:
        self.address = address
        self.data = np.zeros(size_bytes, np.uint8)

    def write(self, data: np.ndarray) -> None:
        self.data[: data.nbytes] = data.view(np.uint8)

    def copy_from(self, other: ToyBlock) -> None:
        self.data[:] = other.data


@dataclass
class ToyMemory:
    """Blocks by number; the caller's arrays are read and written where they are, in the host's memory."""

    blocks: weakref.WeakValueDictionary[int, ToyBlock] = field(default_factory=weakref.WeakValueDictionary)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def zeros(self, size_bytes: int) -> ToyBlock:
        number = next(self.numbers)
        block = self.blocks[number] = ToyBlock(FIRST_ADDRESS + number * BLOCK_BYTES, size_bytes)
        return block

    def at(self, address: int, size_bytes: int) -> np.ndarray:
        if address < FIRST_ADDRESS:
            return np.frombuffer((ctypes.c_uint8 * size_bytes).from_address(address), np.uint8)
        number, start = divmod(address - FIRST_ADDRESS, BLOCK_BYTES)
        return self.blocks[number].data[start : start + size_bytes]

    def shadow(self, data: np.ndarray) -> None: ...

    def wait(self) -> None: ...

    def seen(self, address: int, shape: tuple[int, ...], dtype: str, owner: object) -> Seen:
        return Seen(self.view(Buffer.dense("", shape, dtype), address), self)

    def view(self, b: Buffer, address: int) -> np.ndarray:
        item = ITEM_SIZE[b.dtype]
        if 0 in b.shape:
            return np.empty(b.shape, b.dtype)
        size = 1 + sum((n - 1) * s for n, s in zip(b.shape, b.strides))
        return np.ndarray(b.shape, b.dtype, self.at(address, size * item), strides=[s * item for s in b.strides])


@dataclass
class ToyRun:
    """Steps over a table of addresses."""

    device: ToyRunner
    steps: list[Row]
    bufs: np.ndarray
    calls: Sequence[Call]

    def run(self) -> None:
        self.run_profiled()

    def run_profiled(self) -> np.ndarray:
        times_ns: dict[tuple[int, ...], list[int]] = {}  # by place: the row, before it that of its loop
        self._run(self.steps, (), times_ns)
        return np.array([times_ns[place] for place in sorted(times_ns)], np.int64).reshape(-1, 2)

    def over(self, expected: Expected) -> None:
        return None

    def _run(self, rows: Sequence[Row], place: tuple[int, ...], times_ns: dict[tuple[int, ...], list[int]]) -> None:
        for k, row in enumerate(rows):
            if isinstance(row, LoopRows):
                self._loop(row, (*place, k), times_ns)
                continue
            start = time.perf_counter_ns()
            if isinstance(row, CallRow):
                self.calls[row.number](self.bufs)
            else:
                self._step(*row)
            first = times_ns.setdefault((*place, k), [start, start])
            first[1] += time.perf_counter_ns() - start

    def _loop(self, row: LoopRows, place: tuple[int, ...], times_ns: dict[tuple[int, ...], list[int]]) -> None:
        loop, bufs = row.loop, self.bufs
        for t in range(loop.count):
            if loop.flag is not None:
                flag = self.device.memory.at(int(bufs[loop.flag.slot]) + loop.flag.offset, ITEM_SIZE[loop.flag.dtype])
                if not flag.view(loop.flag.dtype)[0]:
                    break
            bufs[loop.counter] = t
            for moving in loop.moving:
                bufs[moving.slot] = bufs[moving.base] + moving.moved(t)
            self._run(row.rows, place, times_ns)

    def _step(self, handle: int, descriptor: int, launch: tuple[int, ...]) -> None:
        assert launch == (1, 2, 3)
        kernel, memory = self.device.backend.loaded[handle], self.device.memory
        words = memory.at(descriptor, 16 * len(kernel.buffers)).view(np.int64).reshape(-1, 2).tolist()
        addresses = [int(self.bufs[slot]) + offset for slot, offset in words]
        interpret(kernel, {b.name: memory.view(b, a) for b, a in zip(kernel.buffers, addresses)})
        self.device.n_steps += 1


@dataclass
class ToyRunner:
    """Interprets one step after the other; `n_steps` counts them."""

    backend: ToyBackend
    memory: ToyMemory
    n_steps: int = 0
    keeps_parameters: ClassVar[bool] = False
    can_pause: ClassVar[bool] = False

    def steps(self, rows: Iterable[Row], arrays: Sequence[Touched]) -> list[Row]:
        return list(rows)

    def functions(self) -> dict[str, Build]:
        return {}

    def bind(self, steps: list[Row], bufs: np.ndarray, n_threads: int | None, calls: Sequence[Call]) -> ToyRun:
        return ToyRun(self, steps, bufs, calls)


@contextmanager
def toy_device() -> Iterator[Device]:
    """Makes `mx.Context("toy")` this device as long as the block runs."""
    backend, memory = ToyBackend(), ToyMemory()
    device = Device(backend, memory, ToyRunner(backend, memory))
    register_device("toy", lambda number: device)
    try:
        yield device
    finally:
        unregister_device("toy")
