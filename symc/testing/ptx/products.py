"""Products of warpgroups under way: what they still use, and what they may use at all.

They run beside the threads that started them, and read shared memory through another proxy than these (PTX ISA, "Async
proxy"): what threads wrote there, cp.async included, has to be shown to it by a fence of who wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from .faults import KernelFault
from .program import Address, Function, Instruction, Module, Operand, Register, Vector
from .tracked import At, Plane, Tracked

Mask = np.ndarray | bool  # True: all lanes
Step = Callable[[Mask], object]
Name = tuple[str, int]  # of a register: its function, its number there
_WORD = 4  # bytes of shared memory whose last writer is known


class Owner(Protocol):
    """What products know of their machine."""

    module: Module
    n_lanes: int
    thread_of: np.ndarray
    shared: Tracked
    shared_stride: int
    site: Instruction | None

    def fault(self, kind: str, lane: int, what: str) -> KernelFault:
        """The fault of one lane at the current instruction."""


@dataclass
class _Product:
    """A wgmma that nobody has waited for: lanes and their groups of products, registers, sixteens of shared memory."""

    lanes: np.ndarray
    numbers: np.ndarray
    registers: Sequence[Name]
    at: np.ndarray


class Products:
    """Those of all lanes of a machine, for kernels that have any."""

    def __init__(self, machine: Owner) -> None:
        self.machine, self.n_lanes = machine, machine.n_lanes
        self._names = {f.name: _registers_of(f) for f in machine.module.functions.values()}
        self.is_used = any(self._names.values())
        self.is_read = Plane(machine.shared.size_bytes if self.is_used else 0)
        self._writers = np.zeros(machine.shared.size_bytes // _WORD + 1 if self.is_used else 0, np.int32)
        names = [(function, k) for function, numbers in self._names.items() for k in numbers]
        self.is_busy = {name: np.zeros(self.n_lanes, bool) for name in names}
        self.is_touched = {name: np.ones(self.n_lanes, bool) for name in names}
        self.begin()

    def begin(self) -> None:
        """Forgets all."""
        self.committed = np.zeros(self.n_lanes, np.int64)
        self.flying: list[_Product] = []
        self.is_read.bytes[:] = 0
        self._writers[:] = 0
        for name, busy in self.is_busy.items():
            busy[:], self.is_touched[name][:] = False, True

    # shared memory

    def note_write(self, lanes: np.ndarray | None, at: At, width: int) -> None:
        """Remembers that lanes (None: all) wrote there, at units of a width, through the proxy of threads."""
        if not self.is_used:
            return
        if self.flying:
            self.check_write(lanes, at, width)
        first = (np.arange(at.start, at.stop) if isinstance(at, slice) else at) * width // _WORD
        who = (np.arange(self.n_lanes) if lanes is None else lanes) + 1
        for k in range(max(1, width // _WORD)):
            self._writers[first + k] = who

    def check_write(self, lanes: np.ndarray | None, at: At, width: int) -> None:
        """A fault where a product under way still reads."""
        if not self.flying:
            return
        busy = self.is_read.get(at, width)
        if np.count_nonzero(busy):
            k = int(np.flatnonzero(busy.reshape(len(busy), -1).any(1))[0])
            lane = k if lanes is None else int(lanes[k])
            raise self.machine.fault("pending", lane, "writes shared memory that a wgmma may not have read yet")

    def show(self, mask: Mask) -> None:
        """fence.proxy.async: from here on products may read what these lanes have written."""
        if isinstance(mask, bool):
            self._writers[:] = 0
        else:
            self._writers[np.concatenate([[False], mask])[self._writers]] = 0

    def check_shown(self, at: np.ndarray, lane: int) -> None:
        """A fault where some of these sixteens were written and not shown."""
        first = at.ravel() * (16 // _WORD)
        for k in range(16 // _WORD):
            hidden = np.flatnonzero(self._writers[first + k])
            if len(hidden):
                writer = int(self.machine.thread_of[self._writers[first[hidden[0]] + k] - 1])
                byte = int(first[hidden[0]] + k) * _WORD % self.machine.shared_stride
                what = f"reads shared byte {byte}, which thread {writer} wrote without a fence.proxy.async since"
                raise self.machine.fault("fence", lane, what)

    # registers

    def watched(self, function: str, i: Instruction, step: Step) -> Step:
        """The step of an instruction that is no wgmma, which may not touch registers of products under way."""
        numbers = self._names[function]
        if not numbers or i.opcode == "wgmma":
            return step
        names = [(function, k) for k in sorted(numbers.intersection(_numbers(i.operands)))]
        if not names:
            return step

        def checked(mask: Mask) -> None:
            for name in names:
                busy = self.is_busy[name] & mask
                if self.flying and np.count_nonzero(busy):
                    self.machine.site = i
                    raise self.machine.fault("pending", int(np.argmax(busy)), "uses a register of a wgmma under way")
                self.is_touched[name] |= mask
            step(mask)

        return checked

    def fence(self, mask: Mask) -> None:
        """wgmma.fence: products that follow see what registers hold."""
        for touched in self.is_touched.values():
            touched[mask] = False

    def start(self, lanes: np.ndarray, registers: Sequence[Name], at: np.ndarray) -> None:
        """A product by lanes (bool), which keeps its registers and reads sixteens of shared memory."""
        for name in registers:
            if np.count_nonzero(self.is_touched[name] & lanes):
                lane = int(np.argmax(self.is_touched[name] & lanes))
                raise self.machine.fault("fence", lane, "uses registers that were touched since the last wgmma.fence")
        product = _Product(lanes, np.where(lanes, self.committed, -1), registers, at)
        self._keep(product)
        self.flying.append(product)

    def _keep(self, product: _Product) -> None:
        self.is_read.put(product.at.ravel(), 16, 0x0101_0101_0101_0101)
        for name in product.registers:
            self.is_busy[name] |= product.lanes

    def commit(self, mask: Mask) -> None:
        """Closes the open group of products."""
        self.committed[mask] += 1

    def wait(self, mask: Mask, n_pending: int) -> None:
        """Finishes, for the lanes of the mask, all groups but the youngest n_pending."""
        still = []
        for product in self.flying:
            is_done = mask & product.lanes & (product.numbers < self.committed - n_pending)
            for name in product.registers:
                self.is_busy[name][is_done] = False
            if not is_done[product.lanes].all():
                groups = ~is_done[product.lanes].reshape(len(product.at), -1).any(1)
                lanes = product.lanes & ~is_done
                still.append(_Product(lanes, product.numbers, product.registers, product.at[groups]))
        self.flying = still
        self.is_read.bytes[:] = 0
        for product in still:
            self._keep(product)


def _registers_of(f: Function) -> frozenset[int]:
    """Registers that a function's products use while they are under way."""
    code = (i for i in f.code if i.opcode == "wgmma" and i.has("mma_async"))
    return frozenset(k for i in code for o in i.operands if isinstance(o, Vector) for k in _numbers(o.items))


def _numbers(operands: Sequence[Operand]) -> list[int]:
    found = []
    for o in operands:
        if isinstance(o, Vector):
            found += _numbers(o.items)
        elif isinstance(o, Register):
            found.append(o.index)
        elif isinstance(o, Address) and isinstance(o.base, Register):
            found.append(o.base.index)
    return found
