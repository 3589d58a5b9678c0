"""A function's instructions as basic blocks: steps bound to a frame, and how each block ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .faults import PtxError
from .frame import Frame, Step
from .program import Function, Instruction, Operand, Register, Symbol, Vector
from .registry import bound
from .types import TYPES

if TYPE_CHECKING:
    from .machine import Machine

_ENDS = ("bra", "brx", "ret", "exit", "bar", "barrier", "call", "trap")


def _is_end(i: Instruction) -> bool:
    return i.opcode in _ENDS and not i.has("warp")


@dataclass(frozen=True)
class End:
    """How a block ends: for the lanes that its guard lets, by its kind; the others go on to the next block.

    kind      "jump", "switch", "return", "exit", "barrier", "call", "trap" or "next"
    targets   blocks by number: of a jump one, of a switch one for each index
    """

    kind: str
    instruction: Instruction | None
    guard: np.ndarray | None = None
    is_negated: bool = False
    targets: np.ndarray | None = None
    index: np.ndarray | None = None
    barrier: Barrier | None = None
    call: Call | None = None


@dataclass(frozen=True)
class Barrier:
    """Which one threads meet at, how many of them (None: all), and what they learn from it."""

    name: np.ndarray
    count: np.ndarray | None = None
    is_aligned: bool = True
    reduce: Callable[[np.ndarray], None] | None = None


@dataclass(frozen=True)
class Call:
    """A function by name, and pairs of parameters: ours, by number its own."""

    function: str
    given: tuple[str, ...]
    returned: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """Steps that run one after the other."""

    steps: tuple[Step, ...]
    end: End


class Code:
    """A function bound to a machine; functions it calls are bound when they are called first."""

    def __init__(self, machine: Machine, function: Function) -> None:
        self.machine, self.function = machine, function
        self.frame = Frame(machine, function)
        starts = {0, *function.labels.values()}
        starts |= {k + 1 for k, i in enumerate(function.code) if _is_end(i)}
        self._starts = sorted(s for s in starts if s < len(function.code))
        self._number = {s: k for k, s in enumerate(self._starts)}
        bounds = [*self._starts, len(function.code)]
        self.blocks = [self._block(a, b) for a, b in pairwise(bounds)]
        # who falls off the last instruction returns
        self.blocks.append(Block((), End("return", None)))

    def _block(self, start: int, stop: int) -> Block:
        code = self.function.code
        last = code[stop - 1]
        has_end = _is_end(last)
        steps = tuple(bound(self.frame, i) for i in code[start : stop - has_end])
        return Block(steps, self._end(last) if has_end else End("next", None))

    def _end(self, i: Instruction) -> End:
        guard = None if i.guard is None else self.frame.registers[i.guard.index]
        if i.opcode == "bra":
            return End("jump", i, guard, i.is_guard_negated, np.array([self._target(i, i.operands[0])]))
        if i.opcode == "brx":
            return self._switch(i, guard)
        if i.opcode in ("bar", "barrier"):
            return End("barrier", i, guard, i.is_guard_negated, barrier=self._barrier(i))
        if i.opcode == "call":
            return End("call", i, guard, i.is_guard_negated, call=_call(i))
        return End({"ret": "return"}.get(i.opcode, i.opcode), i, guard, i.is_guard_negated)

    def _target(self, i: Instruction, label: Operand) -> int:
        if not isinstance(label, Symbol):
            raise i.unsupported()
        place = self.function.labels.get(label.name)
        if place is None:
            place = self.function.labels.get(f"{label.name}@0")
        if place is None:
            raise PtxError(f"PTX line {i.line}: there is no label {label.name}")
        return self._number.get(place, len(self._starts))

    def _switch(self, i: Instruction, guard: np.ndarray | None) -> End:
        register, table = i.operands
        if not isinstance(register, Register) or not isinstance(table, Symbol):
            raise i.unsupported()
        labels = self.function.tables[table.name]
        targets = np.array([self._target(i, Symbol(name)) for name in labels])
        index = self.frame.source(register, TYPES["u32"])
        return End("switch", i, guard, i.is_guard_negated, targets, index)

    def _barrier(self, i: Instruction) -> Barrier:
        is_aligned = i.opcode == "bar" or i.has("aligned")
        operands = list(i.operands)
        kind = i.first(("sync", "red"))
        target = operands.pop(0) if kind == "red" else None
        predicate = self.frame.predicate(operands.pop()) if kind == "red" else None
        name, *count = (self.frame.source(o, TYPES["u32"]) for o in operands)
        reduce = None
        if target is not None and predicate is not None:
            reduce = _reduction(self.frame, i, target, predicate)
        return Barrier(name, count[0] if count else None, is_aligned, reduce)


def _reduction(
    frame: Frame, i: Instruction, target: Operand, predicate: Callable[[], np.ndarray]
) -> Callable[[np.ndarray], None]:
    """What the threads of a block learn about a predicate of all of them."""
    operation = i.first(("popc", "and", "or"))
    out = frame.target(target, i.type)
    machine = frame.machine

    def reduce(mask: np.ndarray) -> None:
        holds = np.broadcast_to(predicate(), frame.n)
        blocks = machine.shape.n_blocks
        n_true = (holds & mask).reshape(blocks, -1).sum(1)
        n_all = mask.reshape(blocks, -1).sum(1)
        found = {"popc": n_true, "and": n_true == n_all, "or": n_true > 0}[operation]
        np.copyto(out, found[machine.block_of].astype(out.dtype), where=mask)

    return reduce


def _call(i: Instruction) -> Call:
    lists = [o for o in i.operands if isinstance(o, Vector)]
    names = [o for o in i.operands if isinstance(o, Symbol)]
    if len(names) != 1:
        raise i.unsupported()  # an indirect call
    returned = lists.pop(0) if isinstance(i.operands[0], Vector) else Vector(())
    given = lists.pop(0) if lists else Vector(())
    return Call(names[0].name, _names(i, given), _names(i, returned))


def _names(i: Instruction, v: Vector) -> tuple[str, ...]:
    if not all(isinstance(o, Symbol) for o in v.items):
        raise i.unsupported()
    return tuple(o.name for o in v.items if isinstance(o, Symbol))
