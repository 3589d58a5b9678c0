"""Moves between registers: copies, pairs packed and unpacked, addresses of one space as those of another."""

from __future__ import annotations

import numpy as np

from .access import space_of
from .frame import Frame, Mask, Step
from .memory import SHARED_WINDOW
from .program import Instruction, Symbol, Vector
from .registry import binds
from .types import TYPES, Type, unsigned


@binds("mov")
def _mov(frame: Frame, i: Instruction) -> Step:
    type_ = i.type
    to, of = i.operands
    if isinstance(to, Vector) or isinstance(of, Vector):
        return _pack(frame, i)
    if type_.kind == "p":
        out, value = frame.target(to, type_), frame.predicate(of)
        return lambda mask: np.copyto(out, value(), where=mask)
    out, x = frame.target(to, _bits(type_)), frame.source(of, _bits(type_))
    return lambda mask: np.copyto(out, x, where=mask)


def _bits(type_: Type) -> Type:
    """The bits of a type: NumPy may change a NaN that it copies as a float."""
    return unsigned(type_.bits * type_.parts) if type_.is_float else type_


def _pack(frame: Frame, i: Instruction) -> Step:
    """`mov.b64 %rd1, {%r1, %r2}` and back: the first is the lowest."""
    to, of = i.operands
    vector = to if isinstance(to, Vector) else of
    assert isinstance(vector, Vector)
    n = len(vector.items)
    whole, part = unsigned(i.type.size_bytes * 8), unsigned(i.type.size_bytes * 8 // n)
    if isinstance(to, Vector):
        x = frame.lanes(of, whole)
        outs = [(k, frame.target(o, part)) for k, o in enumerate(to.items) if o != Symbol("_")]

        def unpack(mask: Mask) -> None:
            parts = np.ascontiguousarray(x).view(part.dtype).reshape(-1, n)
            if len(outs) > 1 or not outs:
                parts = parts.copy()  # a target may be the source
            for k, out in outs:
                np.copyto(out, parts[:, k], where=mask)

        return unpack
    out = frame.target(to, whole)
    values = [frame.source(o, part) for o in vector.items]

    def pack(mask: Mask) -> None:
        parts = np.empty((frame.n, n), part.dtype)
        for k, value in enumerate(values):
            parts[:, k] = value
        np.copyto(out, parts.view(whole.dtype)[:, 0], where=mask)

    return pack


@binds("cvta")
def _cvta(frame: Frame, i: Instruction) -> Step:
    """Global and local addresses are generic ones; shared ones lie in a window."""
    out, x = frame.target(i.operands[0], TYPES["u64"]), frame.source(i.operands[1], TYPES["u64"])
    space = i.first(("global", "shared", "local", "const", "param"))
    if space == "param":
        raise i.unsupported()
    if space != "shared":
        return lambda mask: np.copyto(out, x, where=mask)
    window = np.uint64(SHARED_WINDOW)
    function = np.subtract if i.has("to") else np.add
    return lambda mask: function(x, window, out=out, where=mask)


@binds("isspacep")
def _isspacep(frame: Frame, i: Instruction) -> Step:
    out, x = frame.target(i.operands[0], TYPES["pred"]), frame.source(i.operands[1], TYPES["u64"])
    space = i.first(("global", "shared", "local"))
    return lambda mask: np.copyto(out, space_of(x) == space, where=mask)
