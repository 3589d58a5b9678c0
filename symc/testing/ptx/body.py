"""Reads the body of a function: registers and labels in nested scopes, instructions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from .program import (
    Address,
    Function,
    Immediate,
    Instruction,
    Negated,
    Operand,
    Register,
    Special,
    Symbol,
    Variable,
    Vector,
)
from .tokens import Tokens, number
from .types import TYPES, Type

SPECIALS = (
    "tid ntid ctaid nctaid laneid warpid nwarpid nsmid smid gridid clock clock64 globaltimer lanemask_eq lanemask_lt "
    "lanemask_le lanemask_gt lanemask_ge dynamic_smem_size total_smem_size"
).split()


class Body:
    """One function while it is read; names of inner scopes hide those of outer ones."""

    def __init__(self, tokens: Tokens, declared: Callable[[Tokens], Iterator[Variable]], head: Function) -> None:
        self.tokens, self.declared, self.head = tokens, declared, head
        self.registers: list[Register] = []
        self.variables: list[Variable] = []
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.tables: dict[str, tuple[str, ...]] = {}
        self.scopes: list[dict[str, Register | str | tuple[Type, int]]] = []
        self.known: dict[str, Operand] = {}  # by text, in the present scope
        self.n_scopes = 0
        self.scope_of: list[int] = []
        self._statements: dict[str, Callable[[], object]] = {
            "{": self._block,
            ".reg": self._declare_registers,
            **dict.fromkeys((".local", ".shared", ".param", ".const", ".global"), self._declare_variables),
            ".pragma": lambda: tokens.until(";"),
            ";": tokens.take,
        }
        self.jumps: list[tuple[int, list[int]]] = []  # instructions with the scopes that their labels may be of

    def read(self) -> Function:
        """The function."""
        self._block()
        code = [self._resolved(i, self.jumps[k][1]) for k, i in enumerate(self.code)]
        return replace(
            self.head,
            registers=tuple(self.registers),
            variables=tuple(self.variables),
            code=tuple(code),
            labels=self.labels,
            tables=self.tables,
        )

    def _block(self) -> None:
        tokens = self.tokens
        tokens.expect("{")
        self.scopes.append({})
        self.known = {}
        self.scope_of.append(self.n_scopes)
        self.n_scopes += 1
        while not tokens.takes("}"):
            text = tokens.peek
            if text in self._statements:
                self._statements[text]()
            elif tokens.texts[tokens.at + 1 : tokens.at + 2] == [":"]:
                self._label()
            else:
                self._instruction()
        self.scopes.pop()
        self.scope_of.pop()
        self.known = {}

    def _declare_registers(self) -> None:
        tokens = self.tokens
        self.known = {}
        tokens.take()
        word = tokens.take()[1:]
        if word not in TYPES:
            raise tokens.error(f"registers of type .{word} are not supported;")
        while True:
            name = tokens.take()
            if tokens.takes("<"):
                tokens.integer()
                tokens.expect(">")
                self.scopes[-1][name] = (TYPES[word], 0)
            else:
                self.scopes[-1][name] = self._register(name, TYPES[word])
            if not tokens.takes(","):
                break
        tokens.expect(";")

    def _register(self, name: str, type_: Type) -> Register:
        register = Register(name, type_, len(self.registers))
        self.registers.append(register)
        return register

    def _declare_variables(self) -> None:
        self.known = {}
        for v in self.declared(self.tokens):
            name = v.name if len(self.scopes) == 1 else f"{v.name}@{self.scope_of[-1]}"
            self.scopes[-1][v.name] = name
            self.variables.append(replace(v, name=name))

    def _label(self) -> None:
        tokens = self.tokens
        name = tokens.take()
        tokens.expect(":")
        if tokens.takes(".branchtargets"):
            found = []
            while not tokens.takes(";"):
                found.append(tokens.take())
                tokens.takes(",")
            self.tables[name] = tuple(found)
        else:
            self.labels[f"{name}@{self.scope_of[-1]}"] = len(self.code)

    def _instruction(self) -> None:
        tokens = self.tokens
        line, start = tokens.line, tokens.at
        guard, is_negated = None, False
        if tokens.takes("@"):
            is_negated = tokens.takes("!")
            operand = self._name(tokens.take())
            if not isinstance(operand, Register):
                raise tokens.error("a guard has to be a register")
            guard = operand
        if not tokens.peek[:1].isalpha():
            raise tokens.error("expected an instruction")
        opcode, *modifiers = tokens.take().split(".")
        first, end = tokens.until(";")
        operands = self._operands(first, end)
        text = tokens.between(start, end)
        self.code.append(Instruction(opcode, tuple(modifiers), operands, guard, is_negated, line, text))
        self.jumps.append((len(self.code) - 1, list(reversed(self.scope_of))))

    def _operands(self, start: int, end: int) -> tuple[Operand, ...]:
        """Operands by their texts, each of which is read once as long as no name changes what it means."""
        texts, found, depth, first = self.tokens.texts, [], 0, start
        for k in range(start, end + 1):
            text = texts[k]
            if text in "{[(":
                depth += 1
            elif text in "}])":
                depth -= 1
            elif k == end or (text == "," and not depth):
                if k > first:
                    found.append(self._known(first, k))
                first = k + 1
        return tuple(found)

    def _known(self, start: int, end: int) -> Operand:
        tokens = self.tokens
        key = tokens.texts[start] if end == start + 1 else " ".join(tokens.texts[start:end])
        operand = self.known.get(key)
        if operand is not None:
            return operand
        after, tokens.at = tokens.at, start
        operand = self.known[key] = self._operand()
        if tokens.at != end:
            raise tokens.error("cannot read an operand")
        tokens.at = after
        return operand

    def _operand(self) -> Operand:
        first = self._single()
        if self.tokens.takes("|"):
            return Vector((first, self._single()))
        return first

    def _single(self) -> Operand:
        tokens = self.tokens
        if tokens.takes("{"):
            return Vector(tuple(self._until("}")))
        if tokens.takes("("):
            return Vector(tuple(self._until(")")))
        if tokens.takes("["):
            return self._address()
        if tokens.takes("!"):
            operand = self._name(tokens.take())
            if not isinstance(operand, Register):
                raise tokens.error("only a register can be negated")
            return Negated(operand)
        is_negative = tokens.takes("-")
        kind, text = tokens.kinds[tokens.at], tokens.take()
        if kind == "number":
            value = number(text)
            return Immediate(-value if is_negative else value)
        operand = self._name(text)
        if isinstance(operand, Symbol) and tokens.takes("+"):
            return Symbol(operand.name, tokens.integer())
        return operand

    def _until(self, end: str) -> Iterator[Operand]:
        while not self.tokens.takes(end):
            yield self._single()
            self.tokens.takes(",")

    def _address(self) -> Address:
        tokens = self.tokens
        base = self._single()
        if isinstance(base, Symbol):
            base, offset = Symbol(base.name), base.offset
        else:
            offset = 0
        if tokens.peek in ("+", "-"):
            sign = 1 if tokens.take() == "+" else -1
            offset += sign * tokens.integer()
        tokens.expect("]")
        if not isinstance(base, (Register, Symbol, Immediate)):
            raise tokens.error("cannot be an address;")
        return Address(base, offset)

    def _name(self, text: str) -> Operand:
        if text == "WARP_SZ":
            return Immediate(32)
        for scope in reversed(self.scopes):
            found = scope.get(text)
            if isinstance(found, Register):
                return found
            if isinstance(found, str):
                return Symbol(found)
        stem = text.rstrip("0123456789")
        for scope in reversed(self.scopes):
            family = scope.get(stem)
            if isinstance(family, tuple) and stem != text:
                register = scope[text] = self._register(text, family[0])
                return register
        if text[0] == "%":
            if text[1:].partition(".")[0] in SPECIALS:
                return Special(text[1:])
            raise self.tokens.error(f"{text} is no register that was declared, nor one the interpreter has;")
        return Symbol(text)

    def _resolved(self, i: Instruction, scopes: list[int]) -> Instruction:
        """Its label with the scope that defines it."""
        if i.opcode not in ("bra", "brx"):
            return i
        for scope in scopes:
            if self.labels.get(f"{_label_of(i)}@{scope}") is not None:
                return replace(i, operands=(Symbol(f"{_label_of(i)}@{scope}"),))
        return i


def _label_of(i: Instruction) -> str:
    operand = i.operands[0]
    return operand.name if isinstance(operand, Symbol) else ""
