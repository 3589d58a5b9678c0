"""Comparisons, selection and logic on bits and predicates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arithmetic import elementwise, spread, ufunc
from .frame import Frame, Mask, Step
from .program import Instruction, Operand, Vector
from .registry import binds
from .rounding import flushed, widened
from .types import TYPES, Type

Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]

_ORDERED: dict[str, Compare] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "lo": np.less,
    "ls": np.less_equal,
    "hi": np.greater,
    "hs": np.greater_equal,
}
# The negation of an ordered comparison is true for NaN: `ltu` is "not greater or equal".
_UNORDERED = {"equ": "ne", "neu": "eq", "ltu": "ge", "leu": "gt", "gtu": "le", "geu": "lt"}
_COMBINE: dict[str, Compare] = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}


def comparison(i: Instruction, type_: Type) -> Compare:
    """What a comparison of two arrays of a type is."""
    name = i.first((*_ORDERED, *_UNORDERED, "num", "nan"))
    if not type_.is_float:
        return _ORDERED[name]

    def numbers(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ~(np.isnan(x) | np.isnan(y))

    def compare(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if name == "num":
            return numbers(x, y)
        if name == "nan":
            return ~numbers(x, y)
        if name == "ne":
            return (x != y) & numbers(x, y)
        if name in ("equ", "neu"):
            return (x == y) | ~numbers(x, y) if name == "equ" else x != y
        if name in _UNORDERED:
            return ~_ORDERED[_UNORDERED[name]](x, y)
        return _ORDERED[name](x, y)

    if type_.kind == "bf":
        return lambda x, y: compare(widened(x, type_), widened(y, type_))
    if i.has("ftz") and type_.dtype == np.float32:
        return lambda x, y: compare(flushed(x), flushed(y))
    return compare


@binds("setp")
def _setp(frame: Frame, i: Instruction) -> Step:
    type_ = i.type
    target = i.operands[0]
    first, *second = target.items if isinstance(target, Vector) else (target,)
    out = frame.target(first, TYPES["pred"])
    other = frame.target(second[0], TYPES["pred"]) if second else None
    x, y = (frame.source(o, type_) for o in i.operands[1:3])
    is_plain_integer = not type_.is_float and other is None and len(i.operands) == 3
    if is_plain_integer:
        function: Any = _ORDERED[i.first(_ORDERED)]
        return lambda mask: function(x, y, out=out, where=mask)
    compare = comparison(i, type_)
    if type_.parts == 2:
        return _setp_of_pairs(frame, i, compare, first, second)
    combine = _COMBINE[i.first(_COMBINE)] if len(i.operands) > 3 else None
    also = frame.predicate(i.operands[3]) if combine else None

    def step(mask: Mask) -> None:
        found = compare(x, y)
        opposite = ~found
        if combine is not None and also is not None:
            found, opposite = combine(found, also()), combine(opposite, also())
        np.copyto(out, found, where=mask)
        if other is not None:
            np.copyto(other, opposite, where=mask)

    return step


def _setp_of_pairs(frame: Frame, i: Instruction, compare: Compare, first: Operand, second: list[Operand]) -> Step:
    if len(i.operands) > 3 or not second:
        raise i.unsupported()
    outs = [frame.target(o, TYPES["pred"]) for o in (first, *second)]
    x, y = (frame.source(o, i.type) for o in i.operands[1:3])

    def step(mask: Mask) -> None:
        found = compare(x, y)
        for k, out in enumerate(outs):
            np.copyto(out, found[:, k], where=mask)

    return step


@binds("set")
def _set(frame: Frame, i: Instruction) -> Step:
    """All ones, or 1.0, where it holds."""
    to, of = i.types
    if len(i.operands) > 3 or to.parts != of.parts:
        raise i.unsupported()
    compare, out = comparison(i, of), frame.target(i.operands[0], to)
    x, y = (frame.source(o, of) for o in i.operands[1:])
    one = np.array(0x3F80 if to.kind == "bf" else 1.0 if to.is_float else -1).astype(to.dtype)
    return lambda mask: np.copyto(out, np.where(compare(x, y), one, to.dtype.type(0)), where=spread(mask, to))


@binds("selp")
def _selp(frame: Frame, i: Instruction) -> Step:
    type_ = i.type
    out = frame.target(i.operands[0], type_)
    x, y = (frame.source(o, type_) for o in i.operands[1:3])
    choose = frame.predicate(i.operands[3])
    return lambda mask: np.copyto(out, np.where(choose(), x, y), where=mask)


@binds("slct")
def _slct(frame: Frame, i: Instruction) -> Step:
    to, of = i.types
    out, c = frame.target(i.operands[0], to), frame.source(i.operands[3], of)
    x, y = (frame.source(o, to) for o in i.operands[1:3])
    return lambda mask: np.copyto(out, np.where(c >= 0, x, y), where=mask)


@binds("and", "or", "xor", "not")
def _bitwise(frame: Frame, i: Instruction) -> Step:
    function = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert}[i.opcode]
    if i.type.kind != "p":
        return ufunc(frame, i, i.type, function, *i.operands[1:])
    out = frame.target(i.operands[0], i.type)
    values = [frame.predicate(o) for o in i.operands[1:]]
    return lambda mask: function(*(v() for v in values), out=out, where=mask)


@binds("cnot")
def _cnot(frame: Frame, i: Instruction) -> Step:
    return elementwise(frame, i, i.type, lambda x: (x == 0).astype(i.type.dtype), i.operands[1])


@binds("lop3")
def _lop3(frame: Frame, i: Instruction) -> Step:
    """Any function of three bits, by its table of eight."""
    type_ = TYPES["u32"]
    table = int(frame.source(i.operands[4], type_))

    def function(*values: np.ndarray) -> np.ndarray:
        found = np.uint32(0)
        for row in range(8):
            if table >> row & 1:
                terms = [v if row >> (2 - k) & 1 else ~v for k, v in enumerate(values)]
                found = found | (terms[0] & terms[1] & terms[2])
        return np.asarray(found, np.uint32)

    return elementwise(frame, i, type_, function, *i.operands[1:4])
