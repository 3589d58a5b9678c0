"""Bits of integers: shifts, fields, permutations of bytes, counts, sums of products of bytes."""

from __future__ import annotations

import numpy as np

from .arithmetic import elementwise
from .frame import Frame, Mask, Step
from .program import Instruction
from .registry import binds
from .types import TYPES, Type, unsigned

U32 = TYPES["u32"]


@binds("shl", "shr")
def _shift(frame: Frame, i: Instruction) -> Step:
    """A shift by more than there are bits leaves nothing, or the sign."""
    type_ = i.type
    out, x = frame.target(i.operands[0], type_), frame.source(i.operands[1], type_)
    by = frame.source(i.operands[2], U32)
    function = np.left_shift if i.opcode == "shl" else np.right_shift
    if by.ndim == 0 and by < type_.bits and out.dtype == type_.dtype:
        fixed = by.astype(type_.dtype)
        return lambda mask: function(x, fixed, out=out, where=mask)
    last = np.uint32(type_.bits - 1)

    def step(mask: Mask) -> None:
        found = function(x, np.minimum(by, last).astype(type_.dtype))
        if (by > last).any():
            beyond = function(found, type_.dtype.type(1)) if type_.kind == "s" and i.opcode == "shr" else 0
            found = np.where(by > last, beyond, found).astype(type_.dtype)
        np.copyto(out, found, where=mask, casting="same_kind")

    return step


@binds("shf")
def _funnel(frame: Frame, i: Instruction) -> Step:
    """The upper or lower word of two, shifted together."""

    def function(low: np.ndarray, high: np.ndarray, by: np.ndarray) -> np.ndarray:
        n = (by & np.uint32(31) if i.has("wrap") else np.minimum(by, np.uint32(32))).astype(np.uint64)
        both = (high.astype(np.uint64) << np.uint64(32)) | low
        if i.has("l"):
            return (both << n >> np.uint64(32)).astype(np.uint32)
        return (both >> n).astype(np.uint32)

    return elementwise(frame, i, U32, function, *i.operands[1:])


def _field(at: np.ndarray, length: np.ndarray, type_: Type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a bit field begins, its length, and a mask of that many ones."""
    at, length = at & np.uint32(255), np.minimum(length & np.uint32(255), np.uint32(type_.bits))
    ones = type_.dtype.type((1 << type_.bits) - 1)
    whole = np.where(length == 0, type_.dtype.type(0), ones >> (type_.bits - np.maximum(length, 1)).astype(type_.dtype))
    return at, length, whole


def _shifted(function: np.ufunc, x: np.ndarray, by: np.ndarray, type_: Type) -> np.ndarray:
    found = function(x, np.minimum(by, type_.bits - 1).astype(type_.dtype))
    return np.where(by >= type_.bits, type_.dtype.type(0), found)


@binds("bfi")
def _bfi(frame: Frame, i: Instruction) -> Step:
    type_ = unsigned(i.type.bits)
    out = frame.target(i.operands[0], type_)
    x, y = (frame.source(o, type_) for o in i.operands[1:3])
    at, length = (frame.source(o, U32) for o in i.operands[3:5])

    def step(mask: Mask) -> None:
        start, _, ones = _field(at, length, type_)
        there = _shifted(np.left_shift, ones, start, type_)
        np.copyto(out, (y & ~there) | (_shifted(np.left_shift, x, start, type_) & there), where=mask)

    return step


@binds("bfe")
def _bfe(frame: Frame, i: Instruction) -> Step:
    """Of a signed one, bits beyond the field are its sign, which lies in the last bit there is."""
    type_ = unsigned(i.type.bits)
    out, x = frame.target(i.operands[0], type_), frame.source(i.operands[1], type_)
    at, length = (frame.source(o, U32) for o in i.operands[2:4])

    def step(mask: Mask) -> None:
        start, n, ones = _field(at, length, type_)
        found = _shifted(np.right_shift, x, start, type_) & ones
        if i.type.kind == "s":
            last = np.minimum(start + np.maximum(n, 1) - 1, type_.bits - 1).astype(type_.dtype)
            is_negative = ((x >> last) & type_.dtype.type(1)).astype(bool) & (n > 0)
            n_inside = np.clip(type_.bits - start.astype(np.int64), 0, n)
            inside = _field(np.zeros_like(start), n_inside.astype(np.uint32), type_)[2]
            found = np.where(is_negative, found | ~inside, found)
        np.copyto(out, found, where=mask)

    return step


@binds("prmt")
def _prmt(frame: Frame, i: Instruction) -> Step:
    """Four of eight bytes; the top bit of a selector spreads a byte's sign."""
    modes = ("f4e", "b4e", "rc8", "ecl", "ecr", "rc16")
    if i.has(*modes):
        raise i.unsupported()

    def function(x: np.ndarray, y: np.ndarray, selector: np.ndarray) -> np.ndarray:
        both = (y.astype(np.uint64) << np.uint64(32)) | x
        found = np.zeros_like(x)
        for k in range(4):
            s = (selector >> np.uint32(4 * k)) & np.uint32(15)
            byte = ((both >> ((s & np.uint32(7)).astype(np.uint64) * np.uint64(8))) & np.uint64(255)).astype(np.uint32)
            byte = np.where(s & np.uint32(8), (byte >> np.uint32(7)) * np.uint32(255), byte)
            found = found | (byte << np.uint32(8 * k))
        return np.asarray(found, np.uint32)

    return elementwise(frame, i, U32, function, *i.operands[1:])


def _highest(x: np.ndarray) -> np.ndarray:
    """The number of the highest bit that is 1, -1 where none is; exact by halves of 32 bits."""
    high, low = (x >> np.uint64(32)).astype(np.float64), (x & np.uint64(0xFFFFFFFF)).astype(np.float64)
    return np.where(high > 0, np.frexp(high)[1] + 31, np.frexp(low)[1] - 1).astype(np.int64)


@binds("popc", "clz", "brev", "bfind")
def _count(frame: Frame, i: Instruction) -> Step:
    bits = i.type.bits
    type_ = unsigned(bits)

    def popc(x: np.ndarray) -> np.ndarray:
        return np.bitwise_count(x).astype(np.uint32)

    def clz(x: np.ndarray) -> np.ndarray:
        return (bits - 1 - _highest(x.astype(np.uint64))).astype(np.uint32)

    def bfind(x: np.ndarray) -> np.ndarray:
        if i.type.kind == "s":
            x = np.where(x >> type_.dtype.type(bits - 1), ~x, x)
        found = _highest(x.astype(np.uint64))
        if i.has("shiftamt"):
            found = np.where(found < 0, -1, bits - 1 - found)
        return found.astype(np.uint32)

    def brev(x: np.ndarray) -> np.ndarray:
        octets = np.ascontiguousarray(np.atleast_1d(x).astype(type_.dtype)).view(np.uint8).reshape(-1, bits // 8)
        return np.ascontiguousarray(_REVERSED[octets[:, ::-1]]).view(type_.dtype)[:, 0]

    functions = {"popc": popc, "clz": clz, "bfind": bfind, "brev": brev}
    out = frame.target(i.operands[0], type_ if i.opcode == "brev" else U32)
    x, function = frame.source(i.operands[1], type_), functions[i.opcode]
    return lambda mask: np.copyto(out, function(x), where=mask)


_REVERSED = np.array([int(f"{k:08b}"[::-1], 2) for k in range(256)], np.uint8)


@binds("dp4a", "dp2a")
def _dp(frame: Frame, i: Instruction) -> Step:
    """c + the sum of products of bytes, or of 16-bit halves of the first with two bytes of the second."""
    a, b = i.types
    result = TYPES["s32" if "s" in (a.kind, b.kind) else "u32"]
    out = frame.target(i.operands[0], result)
    x, y = (frame.lanes(o, U32) for o in i.operands[1:3])
    c = frame.source(i.operands[3], result)

    def parts(values: np.ndarray, kind: str, bits: int) -> np.ndarray:
        split = np.ascontiguousarray(values).view(TYPES[f"{kind}{bits}"].dtype)
        return split.reshape(frame.n, -1).astype(np.int64)

    def step(mask: Mask) -> None:
        right = parts(y, b.kind, 8)
        if i.opcode == "dp2a":
            left, right = parts(x, a.kind, 16), right[:, 2:] if i.has("hi") else right[:, :2]
        else:
            left = parts(x, a.kind, 8)
        np.copyto(out, ((left * right).sum(1) + c).astype(result.dtype), where=mask)

    return step
