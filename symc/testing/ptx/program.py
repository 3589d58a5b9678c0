"""A PTX module as data: variables, functions, instructions with their operands resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from symc.core.lazy import lazy

from .faults import PtxError
from .types import TYPES, Type


@dataclass(frozen=True)
class Register:
    """A virtual register; `index` numbers those of a function."""

    name: str
    type: Type
    index: int


@dataclass(frozen=True)
class Special:
    """A read-only register of the machine, `%tid.x`."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A constant; a float keeps the width it was written in."""

    value: int | float


@dataclass(frozen=True)
class Symbol:
    """A variable, function or label."""

    name: str
    offset: int = 0


@dataclass(frozen=True)
class Address:
    """`[base + offset]`."""

    base: Register | Symbol | Immediate
    offset: int = 0


@dataclass(frozen=True)
class Vector:
    """`{a, b}` or the pair `a|b` or a parenthesised list of parameters."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Negated:
    """`!p`."""

    register: Register


Operand = Register | Special | Immediate | Symbol | Address | Vector | Negated


@dataclass(frozen=True)
class Instruction:
    """`@guard opcode.modifiers operands;`, with its line and text in the source."""

    opcode: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Register | None
    is_guard_negated: bool
    line: int
    text: str

    @lazy
    def types(self) -> tuple[Type, ...]:
        """The types among its modifiers, in order."""
        return tuple(TYPES[m] for m in self.modifiers if m in TYPES)

    @property
    def type(self) -> Type:
        """The last of its types, what most instructions work in."""
        if not self.types:
            raise self.unsupported()
        return self.types[-1]

    def has(self, *modifiers: str) -> bool:
        """Whether it has any of these."""
        return not self._modifiers.isdisjoint(modifiers)

    @lazy
    def _modifiers(self) -> frozenset[str]:
        return frozenset(self.modifiers)

    def first(self, choices: Mapping[str, object] | tuple[str, ...], default: str | None = None) -> str:
        """The first modifier that is one of these."""
        for m in self.modifiers:
            if m in choices:
                return m
        if default is None:
            raise self.unsupported()
        return default

    def unsupported(self) -> PtxError:
        """What to raise for an instruction the interpreter does not have."""
        return PtxError(f"PTX line {self.line}: the interpreter has no `{self.text}`; see symc/testing/ptx")


@dataclass(frozen=True)
class Variable:
    """Named memory. An extern one has size 0: the launch says how much there is."""

    name: str
    space: str
    align: int
    size_bytes: int
    initial: bytes | None = None
    pointers: tuple[tuple[int, str], ...] = ()  # offsets at which addresses of other variables stand


@dataclass(frozen=True)
class Function:
    """A kernel (`is_entry`) or what one calls."""

    name: str
    is_entry: bool
    params: tuple[Variable, ...]
    returns: tuple[Variable, ...]
    registers: tuple[Register, ...] = ()
    variables: tuple[Variable, ...] = ()
    code: tuple[Instruction, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_threads: int | None = None
    required_threads: int | None = None
    max_registers: int | None = None

    @property
    def register_bytes(self) -> int:
        """Of one thread, all virtual registers together."""
        return sum(r.type.size_bytes for r in self.registers)


@dataclass(frozen=True)
class Module:
    """What one PTX text defines."""

    target: str
    variables: Mapping[str, Variable]
    functions: Mapping[str, Function]

    @lazy
    def has_order(self) -> bool:
        """Whether blocks may learn of each other, which takes a fence or an atom: anything else is a race."""
        code = (i for f in self.functions.values() for i in f.code if not i.has("proxy"))
        return any(i.opcode in ("atom", "red", "fence", "membar") for i in code)

    @property
    def kernels(self) -> tuple[Function, ...]:
        """The entries, in the order of the text."""
        return tuple(f for f in self.functions.values() if f.is_entry)
