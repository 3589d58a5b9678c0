"""The registers of a function for all lanes at once, and how operands reach them.

Every operand becomes an array that an instruction reads or writes in place: a register's own memory seen as the
instruction's type, `(n,)`, or `(n, 2)` for packed pairs; constants are 0-dimensional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .faults import PtxError
from .memory import LOCAL_WINDOW
from .program import Address, Function, Immediate, Instruction, Negated, Operand, Register, Special, Symbol
from .types import TYPES, Type

if TYPE_CHECKING:
    from .machine import Machine

Mask = np.ndarray | bool  # True: all lanes
Step = Callable[[Mask], object]


class Frame:
    """One function over the lanes of a machine."""

    def __init__(self, machine: Machine, function: Function) -> None:
        self.machine, self.function, self.n = machine, function, machine.n_lanes
        self.registers = [_poisoned(self.n, r.type) for r in function.registers]
        self.local = machine.place_local(function)
        variables = (*function.params, *function.returns, *(v for v in function.variables if v.space == "param"))
        self.params = {v.name: np.zeros((self.n, v.size_bytes), np.uint8) for v in variables}

    def _register(self, r: Register, type_: Type) -> np.ndarray:
        """A register's low bits as a type."""
        own = self.registers[r.index]
        if (type_.kind == "p") != (r.type.kind == "p"):
            raise PtxError(f"register {r.name} of type .{r.type.name} is used as .{type_.name}")
        if type_.kind == "p":
            return own
        if own.itemsize < type_.size_bytes:
            raise PtxError(f"register {r.name} of type .{r.type.name} is too narrow for .{type_.name}")
        seen = own.view(type_.dtype)
        if type_.parts == 2:
            return seen.reshape(self.n, -1)[:, :2]
        return seen[:: own.itemsize // type_.dtype.itemsize]

    def source(self, operand: Operand, type_: Type) -> np.ndarray:
        """What an instruction reads."""
        if isinstance(operand, Register):
            return self._register(operand, type_)
        if isinstance(operand, Special):
            return self.machine.special(operand.name, type_)
        if isinstance(operand, Immediate):
            return constant(operand.value, type_)
        if isinstance(operand, Symbol):
            return np.array(self.value_of(operand), np.uint64).astype(type_.dtype)
        raise PtxError(f"operand {operand} cannot be read as .{type_.name}")

    def lanes(self, operand: Operand, type_: Type) -> np.ndarray:
        """The same with a value for every lane, constants too; it may only be read."""
        return np.broadcast_to(self.source(operand, type_), (self.n, 2) if type_.parts == 2 else (self.n,))

    def target(self, operand: Operand, type_: Type) -> np.ndarray:
        """What an instruction writes; a narrower value is extended to the register's width, by its sign if any."""
        if isinstance(operand, Symbol) and operand.name == "_":
            return np.empty((self.n, 2) if type_.parts == 2 else self.n, type_.dtype)
        if not isinstance(operand, Register):
            raise PtxError(f"operand {operand} cannot be written")
        width = self.registers[operand.index].itemsize * 8
        if type_.kind in "usb" and width > type_.bits:
            type_ = TYPES[f"{type_.kind}{width}"]
        return self._register(operand, type_)

    def predicate(self, operand: Operand) -> Callable[[], np.ndarray]:
        """Reads a predicate, maybe negated."""
        if isinstance(operand, Negated):
            own = self._register(operand.register, TYPES["pred"])
            return lambda: ~own
        value = self.source(operand, TYPES["pred"])
        return lambda: value

    def value_of(self, symbol: Symbol) -> int:
        """The address of a variable in its own space, of a function in the table of functions."""
        machine, name = self.machine, symbol.name
        if name in self.local:
            return LOCAL_WINDOW + self.local[name] + symbol.offset
        if name in machine.shared_at:
            return machine.shared_at[name] + symbol.offset
        if name in machine.symbols:
            return machine.symbols[name] + symbol.offset
        raise PtxError(f"function {self.function.name} refers to {name}, which nobody defines")

    def address(self, i: Instruction, operand: Operand) -> Callable[[np.ndarray | None], np.ndarray]:
        """Computes the addresses of some lanes (None: of all), uint64."""
        if not isinstance(operand, Address):
            raise i.unsupported()
        n, base, offset = self.n, operand.base, np.uint64(operand.offset & (1 << 64) - 1)
        if not isinstance(base, Register):
            value = base.value if isinstance(base, Immediate) else self.value_of(base)
            whole = np.full(n, (int(value) + operand.offset) & (1 << 64) - 1, np.uint64)
            return lambda lanes: whole if lanes is None else whole[lanes]
        own = self._register(base, TYPES[f"u{base.type.bits}"])
        if own.dtype == np.uint64:
            if not offset:
                return lambda lanes: own if lanes is None else own[lanes]
            return lambda lanes: (own if lanes is None else own[lanes]) + offset
        return lambda lanes: (own if lanes is None else own[lanes]).astype(np.uint64) + offset


def constant(value: int | float, type_: Type) -> np.ndarray:
    """An immediate as a 0-dimensional array."""
    if type_.kind == "p":
        return np.array(bool(value))
    if isinstance(value, float):
        if type_.is_float and type_.kind == "f":
            return np.array(value).astype(type_.dtype)
        bits = np.array(value, np.float32 if type_.bits == 32 else np.float64)
        return bits.view(f"u{bits.itemsize}").astype(type_.dtype)
    if type_.kind == "f":
        return np.array(value, type_.dtype)
    return np.array(value & (1 << type_.bits) - 1, f"u{type_.bits // 8}").view(type_.dtype)


def _poisoned(n: int, type_: Type) -> np.ndarray:
    if type_.kind == "p":
        return np.zeros(n, bool)
    return np.full(n * type_.size_bytes, 0xFF, np.uint8).view(f"u{type_.size_bytes}")


def lanes_of(mask: Mask) -> np.ndarray | None:
    """The lanes of a mask; None for all."""
    return None if isinstance(mask, bool) else np.flatnonzero(mask)
