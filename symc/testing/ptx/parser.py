"""Reads PTX text into a `Module`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from .body import Body
from .faults import PtxError
from .program import Function, Module, Variable
from .tokens import Tokens, number
from .types import TYPES

_LINKAGE = (".visible", ".extern", ".weak", ".common")
_SPACES = (".global", ".const", ".shared", ".local", ".param")


def parse(text: str) -> Module:
    """The module of a PTX text; raises PtxError where it cannot be read."""
    tokens = Tokens(text)
    target, variables, functions = "", {}, {}
    while tokens.peek:
        linkage = None
        while tokens.peek in _LINKAGE:
            linkage = tokens.take()
        if tokens.takes(".target"):
            target = tokens.take()
            while tokens.takes(","):
                tokens.take()
        elif tokens.peek in (".section", ".pragma"):
            _skip(tokens)
        elif tokens.peek in (".entry", ".func"):
            f = _function(tokens)
            if f.code or f.name not in functions:  # a declaration may follow or precede the definition
                functions[f.name] = f
        elif tokens.peek in _SPACES:
            for v in declared(tokens):
                variables[v.name] = replace(v, size_bytes=0) if linkage == ".extern" else v
        else:
            raise tokens.error("expected a variable or a function")
    return Module(target, variables, functions)


def _skip(tokens: Tokens) -> None:
    is_section = tokens.take() == ".section"
    while tokens.peek not in ("{", ";"):
        tokens.take()
    if is_section:
        tokens.skip_braces()
    else:
        tokens.expect(";")


def declared(tokens: Tokens) -> Iterator[Variable]:
    """`.space .align 4 .b8 name[24] = {...}, other;`"""
    space, align, type_ = tokens.take()[1:], None, None
    while tokens.peek.startswith("."):
        word = tokens.take()
        if word == ".align":
            align = tokens.integer()
        elif word[1:] in TYPES:
            type_ = TYPES[word[1:]]
        elif word in (".v2", ".v4"):
            raise tokens.error("vector variables are not supported;")
    if type_ is None:
        raise tokens.error("expected a type")
    while True:
        name = tokens.take()
        count = _extents(tokens)
        initial: bytes | None = None
        pointers: tuple[tuple[int, str], ...] = ()
        size = type_.size_bytes * (1 if count is None else count)
        if tokens.takes("="):
            initial, pointers = _initial(tokens, type_.size_bytes, type_.is_float)
            size = max(size, len(initial))
            initial = initial.ljust(size, b"\0")
        yield Variable(name, space, align or type_.size_bytes, size, initial, pointers)
        if not tokens.takes(","):
            break
    tokens.takes(";")


def _extents(tokens: Tokens) -> int | None:
    count = None
    while tokens.takes("["):
        extent = 0 if tokens.peek == "]" else tokens.integer()
        count = extent if count is None else count * extent
        tokens.expect("]")
    return count


def _initial(tokens: Tokens, item_bytes: int, is_float: bool) -> tuple[bytes, tuple[tuple[int, str], ...]]:
    """What a variable holds at first, and where in it addresses of others stand."""
    data, pointers = bytearray(), []
    is_list = tokens.takes("{")
    while not (is_list and tokens.takes("}")):
        sign = -1 if tokens.takes("-") else 1
        kind, text = tokens.kinds[tokens.at], tokens.take()
        if kind == "number":
            value = sign * number(text)
            if is_float:
                data += struct.pack("<f" if item_bytes == 4 else "<d", value)
            else:
                data += (int(value) & (1 << 8 * item_bytes) - 1).to_bytes(item_bytes, "little")
        elif kind == "word" and item_bytes == 8:
            if text == "generic":
                tokens.expect("(")
                text = tokens.take()
                tokens.expect(")")
            pointers.append((len(data), text))
            data += bytes(item_bytes)
        else:
            raise tokens.error("cannot read the initial value")
        if not is_list:
            break
        tokens.takes(",")
    return bytes(data), tuple(pointers)


def _function(tokens: Tokens) -> Function:
    line = tokens.line
    is_entry = tokens.take() == ".entry"
    returns = _params(tokens) if tokens.peek == "(" else ()
    name = tokens.take()
    params = _params(tokens) if tokens.peek == "(" else ()
    limits = {}
    while tokens.peek not in ("{", ";"):
        word = tokens.take()
        if word in (".maxntid", ".reqntid", ".maxnreg", ".minnctapersm", ".maxnctapersm", ".maxclusterrank"):
            limits[word] = tokens.integer()
            while tokens.takes(","):
                limits[word] *= tokens.integer()
        elif word != ".noreturn":
            raise PtxError(f"PTX line {line}: function {name} has the directive {word}, which the interpreter lacks")
    head = Function(
        name,
        is_entry,
        params,
        returns,
        max_threads=limits.get(".maxntid"),
        required_threads=limits.get(".reqntid"),
        max_registers=limits.get(".maxnreg"),
    )
    if tokens.takes(";"):
        return head
    return Body(tokens, declared, head).read()


def _params(tokens: Tokens) -> tuple[Variable, ...]:
    tokens.expect("(")
    found = []
    while not tokens.takes(")"):
        (v,) = _param(tokens)
        found.append(v)
        tokens.takes(",")
    return tuple(found)


def _param(tokens: Tokens) -> Iterator[Variable]:
    """`.param .u64 .ptr .global .align 4 name[8]`"""
    tokens.expect(".param")
    align, type_, is_pointer = None, None, False
    while tokens.peek.startswith("."):
        word = tokens.take()
        is_pointer |= word == ".ptr"
        if word == ".align":
            n = tokens.integer()
            align = align if is_pointer else n
        elif word[1:] in TYPES:
            type_ = TYPES[word[1:]]
    if type_ is None:
        raise tokens.error("expected the type of a parameter")
    name = tokens.take()
    count = _extents(tokens)
    yield Variable(name, "param", align or type_.size_bytes, type_.size_bytes * (1 if count is None else count))
