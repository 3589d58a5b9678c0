"""cvt: between all types, with their roundings, saturation and packed pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arithmetic import clipped
from .frame import Frame, Mask, Step
from .program import Instruction
from .registry import binds
from .rounding import ROUNDINGS, flushed, narrowed, widened
from .types import TYPES, Type

Convert = Callable[[np.ndarray], np.ndarray]

_TO_INTEGER: dict[str, Convert] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


@binds("cvt")
def _cvt(frame: Frame, i: Instruction) -> Step:
    names = [m for m in i.modifiers if m in TYPES]
    if len(names) != 2:
        raise i.unsupported()
    to, of = (TYPES[n] for n in names)
    if to.parts == 2:
        return _pair(frame, i, to, of)
    if "tf32" in names:
        convert: Convert = _to_tf32(i)
    elif of.is_float and to.is_float:
        convert = _float_to_float(i, to, of)
    elif of.is_float:
        convert = _float_to_integer(i, to, of)
    elif to.is_float:
        convert = _integer_to_float(i, to, of)
    else:
        convert = _integer_to_integer(i, to, of)
    out, x = frame.target(i.operands[0], to), frame.source(i.operands[1], of)

    def step(mask: Mask) -> None:
        np.copyto(out, convert(x), where=mask, casting="same_kind")

    return step


def _pair(frame: Frame, i: Instruction, to: Type, of: Type) -> Step:
    """Two floats into one register, the first into its upper half."""
    if len(i.operands) != 3 or of.dtype != np.float32:
        raise i.unsupported()
    out = frame.target(i.operands[0], to)
    high, low = (frame.source(o, of) for o in i.operands[1:])
    convert = _float_to_float(i, to, of)

    def step(mask: Mask) -> None:
        lower, upper = convert(low), convert(high)
        np.copyto(out[:, 0], lower, where=mask)
        np.copyto(out[:, 1], upper, where=mask)

    return step


def _to_tf32(i: Instruction) -> Convert:
    """float32 with 10 bits of mantissa: halves away from zero (`rna`), to even, or toward zero."""
    mode = i.first(("rna", "rn", "rz"))
    if i.has("satfinite"):
        raise i.unsupported()

    def convert(x: np.ndarray) -> np.ndarray:
        single = np.maximum(x, np.float32(0)) if i.has("relu") else x
        bits = np.ascontiguousarray(single).view(np.uint32)
        even = np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
        add: np.ndarray = np.asarray({"rna": 0x1000, "rn": even, "rz": 0}[mode], np.uint32)
        found = (bits + add) & np.uint32(0xFFFFE000)
        return np.where(np.isnan(single), np.uint32(0x7FFFE000), found).astype(np.uint32)

    return convert


def _float_to_float(i: Instruction, to: Type, of: Type) -> Convert:
    mode, whole = i.first(ROUNDINGS, "rn"), i.first(_TO_INTEGER, "")
    is_flushing, high = i.has("ftz"), 1.0 if i.has("sat") else None
    if i.has("satfinite"):
        raise i.unsupported()

    def convert(x: np.ndarray) -> np.ndarray:
        if is_flushing and of.dtype == np.float32:
            x = flushed(x)
        exact = widened(x, of)
        if whole:
            exact = np.copysign(_TO_INTEGER[whole](exact), exact)
        found = narrowed(exact, to, mode)
        if is_flushing and to.dtype == np.float32:
            found = flushed(found)
        if i.has("sat", "relu"):
            found = clipped(found, to, high)
        if to.kind == "f" and to.bits < of.bits:
            found = _canonical(found, to)
        return found

    is_widening = to.kind == of.kind == "f" and to.bits > of.bits and not is_flushing and not whole
    if is_widening and not i.has("sat", "relu"):
        return lambda x: x.astype(to.dtype)
    return convert


def _canonical(values: np.ndarray, type_: Type) -> np.ndarray:
    """NaN loses its payload and sign."""
    is_nan = np.isnan(values)
    if not is_nan.any():
        return values
    bits = f"u{type_.bits // 8}"
    nan = np.array((1 << type_.bits - 1) - 1, bits)
    return np.where(is_nan, nan, np.asarray(values).view(bits)).view(type_.dtype)


def _float_to_integer(i: Instruction, to: Type, of: Type) -> Convert:
    """Out of range it becomes the nearest there is; NaN 0, or of 64 bits the highest bit."""
    whole = _TO_INTEGER[i.first(_TO_INTEGER)]
    ends = np.iinfo(to.dtype)
    low, beyond = float(ends.min), float(ends.max) if to.bits < 64 else float(int(ends.max) + 1)
    of_nan = (1 << 63 if to.kind == "u" else -(1 << 63)) if to.bits == 64 and of.bits == 64 else 0

    def convert(x: np.ndarray) -> np.ndarray:
        if i.has("ftz") and of.dtype == np.float32:
            x = flushed(x)
        exact = whole(widened(x, of))
        is_nan, is_high = np.isnan(exact), exact >= beyond
        inside = np.where(is_nan | is_high, 0.0, np.maximum(exact, low))
        found = np.where(is_high, to.dtype.type(ends.max), inside.astype(to.dtype))
        return np.where(is_nan, to.dtype.type(of_nan), found)

    return convert


def _integer_to_float(i: Instruction, to: Type, of: Type) -> Convert:
    mode = i.first(ROUNDINGS)
    if mode == "rn" and to.kind == "f" and to.bits >= 32:
        return lambda x: x.astype(to.dtype)
    if of.bits == 64:
        if to.dtype == np.float64:
            raise i.unsupported()

        def exact(x: np.ndarray) -> np.ndarray:
            """Rounded to odd: the low bits that float64 has no place for leave a mark."""
            low = x & x.dtype.type(0x7FF)
            is_big = (x >= x.dtype.type(1 << 53)) | (x <= x.dtype.type(-(1 << 53)) if of.kind == "s" else np.False_)
            kept = np.where(is_big & (low != 0), (x - low) | x.dtype.type(0x800), x)
            return kept.astype(np.float64)

        return lambda x: narrowed(exact(x), to, mode)
    return lambda x: narrowed(x.astype(np.float64), to, mode)


def _integer_to_integer(i: Instruction, to: Type, of: Type) -> Convert:
    if not i.has("sat"):
        return lambda x: x.astype(to.dtype)
    ends, own = np.iinfo(to.dtype), np.iinfo(of.dtype)
    low, high = max(int(ends.min), int(own.min)), min(int(ends.max), int(own.max))
    return lambda x: np.clip(x, of.dtype.type(low), of.dtype.type(high)).astype(to.dtype)
