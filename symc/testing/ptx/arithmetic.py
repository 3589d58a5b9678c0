"""Arithmetic of integers and floats, elementwise: add, mul, fma, div, min, the approximations, carries."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .frame import Frame, Mask, Step
from .program import Instruction, Operand
from .registry import binds
from .rounding import ROUNDINGS, flushed, fused_float32, fused_float64, narrowed, odd_sum, widened
from .types import TYPES, Type

Function = Callable[..., np.ndarray]

_UFUNCS: dict[str, Function] = {"add": np.add, "sub": np.subtract, "mul": np.multiply}


def spread(mask: Mask, type_: Type) -> Mask:
    """A mask that fits the arrays of a type."""
    return mask[:, None] if type_.parts == 2 and not isinstance(mask, bool) else mask


def elementwise(frame: Frame, i: Instruction, type_: Type, function: Function, *sources: Operand) -> Step:
    """The step that puts a function of its sources into its first operand."""
    out = frame.target(i.operands[0], type_)
    values = [frame.source(s, type_) for s in sources]

    def step(mask: Mask) -> None:
        np.copyto(out, function(*values), where=spread(mask, type_), casting="same_kind")

    return step


def ufunc(frame: Frame, i: Instruction, type_: Type, function: Function, *sources: Operand) -> Step:
    """The same with a function of NumPy that writes in place."""
    out = frame.target(i.operands[0], type_)
    values = [frame.source(s, type_) for s in sources]
    if out.dtype != type_.dtype:
        return elementwise(frame, i, type_, function, *sources)
    if type_.parts == 2:
        return lambda mask: function(*values, out=out, where=spread(mask, type_))
    if len(values) == 1:
        (x,) = values
        return lambda mask: function(x, out=out, where=mask)
    x, y = values
    return lambda mask: function(x, y, out=out, where=mask)


@binds("add", "sub", "mul")
def _simple(frame: Frame, i: Instruction) -> Step:
    type_, sources = i.type, i.operands[1:]
    if type_.is_float:
        return _float(frame, i)
    if i.has("cc"):
        return _carrying(frame, i)
    if i.has("wide", "hi"):
        return _wide(frame, i)
    if i.has("sat"):
        return elementwise(frame, i, type_, _saturating(i.opcode), *sources)
    return ufunc(frame, i, type_, _UFUNCS[i.opcode], *sources)


def _saturating(opcode: str) -> Function:
    def function(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        exact = _UFUNCS[opcode](x.astype(np.int64), y)
        return np.clip(exact, -(1 << 31), (1 << 31) - 1).astype(np.int32)

    return function


# floats


def _float(frame: Frame, i: Instruction) -> Step:
    """add, sub, mul and fma of floats, rounded as asked for."""
    type_, sources = i.type, i.operands[1:]
    mode = i.first(ROUNDINGS, "rn")
    is_plain = mode == "rn" and not i.has("ftz", "sat", "relu")
    if is_plain and type_.kind == "f" and i.opcode in _UFUNCS:
        return ufunc(frame, i, type_, _UFUNCS[i.opcode], *sources)
    return elementwise(frame, i, type_, finished(i, _rounded(i, type_, mode)), *sources)


def _rounded(i: Instruction, type_: Type, mode: str) -> Function:
    """The operation on arrays of its type."""
    if type_.dtype == np.float64:
        if mode != "rn":
            raise i.unsupported()
        return _UFUNCS.get(i.opcode, fused_float64)
    if mode == "rn" and type_.dtype == np.float32:
        return _UFUNCS.get(i.opcode, fused_float32)

    def function(x: np.ndarray, y: np.ndarray, z: np.ndarray | None = None) -> np.ndarray:
        a, b = widened(x, type_), widened(y, type_)
        if i.opcode == "sub":
            b = -b
        exact = odd_sum(a, b) if i.opcode in ("add", "sub") else a * b
        if z is not None:
            exact = odd_sum(exact, widened(z, type_))
        return narrowed(exact, type_, mode)

    return function


def finished(i: Instruction, function: Function) -> Function:
    """With `.ftz`, `.sat` and `.relu` as an instruction has them."""
    type_ = i.type
    is_flushing = i.has("ftz") and type_.dtype == np.float32
    if not (is_flushing or i.has("sat", "relu")):
        return function

    def whole(*values: np.ndarray) -> np.ndarray:
        if is_flushing:
            values = tuple(map(flushed, values))
        found = function(*values)
        if is_flushing:
            found = flushed(found)
        if i.has("sat", "relu"):
            found = clipped(found, type_, 1.0 if i.has("sat") else None)
        return found

    return whole


def clipped(values: np.ndarray, type_: Type, high: float | None) -> np.ndarray:
    """Into [0, high]; NaN becomes 0 with an upper end, the canonical NaN without."""
    exact = widened(values, type_)
    found = np.fmax(exact, 0.0) + 0.0
    found = np.where(np.isnan(exact), np.nan, found) if high is None else np.fmin(found, high)
    return narrowed(found, type_)


@binds("fma")
def _fma(frame: Frame, i: Instruction) -> Step:
    return _float(frame, i)


@binds("div")
def _div(frame: Frame, i: Instruction) -> Step:
    type_ = i.type
    if type_.kind == "f":
        return elementwise(frame, i, type_, finished(i, _directed_by(i, np.divide)), *i.operands[1:])
    return elementwise(frame, i, type_, _quotient(type_), *i.operands[1:])


def _directed_by(i: Instruction, function: Function) -> Function:
    """A quotient or root in a direction: from float64, where one is never exact unless it is."""
    mode = i.first(ROUNDINGS, "rn")
    if mode == "rn":
        return function
    if i.type.dtype != np.float32:
        raise i.unsupported()
    return lambda *v: narrowed(function(*(x.astype(np.float64) for x in v)), i.type, mode)


def _quotient(type_: Type) -> Function:
    """Toward zero; by zero all bits are ones, as devices have it."""
    if type_.bits <= 32:  # float64 holds both, and the whole part of their quotient is exact in it

        def narrow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            found = np.trunc(np.divide(x, y, dtype=np.float64))
            return np.where(y == 0, -1, found).astype(np.int64).astype(type_.dtype)

        return narrow

    def function(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        by = np.where(y == 0, 1, y).astype(type_.dtype)
        found = x // by
        if type_.kind == "s":
            found = found + ((found < 0) & (found * by != x)).astype(type_.dtype)
        return np.where(y == 0, np.array(-1).astype(type_.dtype), found).astype(type_.dtype)

    return function


@binds("rem")
def _rem(frame: Frame, i: Instruction) -> Step:
    type_ = i.type

    def function(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(y == 0, x, np.fmod(x, np.where(y == 0, 1, y).astype(type_.dtype))).astype(type_.dtype)

    return elementwise(frame, i, type_, function, *i.operands[1:])


@binds("mad")
def _mad(frame: Frame, i: Instruction) -> Step:
    if i.type.is_float:
        return _float(frame, i)
    if i.has("cc"):
        return _carrying(frame, i)
    if i.has("wide", "hi"):
        return _wide(frame, i)
    return elementwise(frame, i, i.type, lambda x, y, z: x * y + z, *i.operands[1:])


def _wide(frame: Frame, i: Instruction) -> Step:
    """mul and mad that keep all bits of a product, or its upper half."""
    type_, is_wide = i.type, i.has("wide")
    big = TYPES[f"{type_.kind}{2 * type_.bits}"] if type_.bits < 64 else None
    out = frame.target(i.operands[0], big if is_wide and big else type_)
    x, y = (frame.source(o, type_) for o in i.operands[1:3])
    z = frame.source(i.operands[3], big if is_wide and big else type_) if len(i.operands) > 3 else None
    if is_wide and big is not None:
        dtype = big.dtype
        if z is None:
            return lambda mask: np.multiply(x, y, out=out, where=mask, dtype=dtype)
        return lambda mask: np.copyto(out, np.multiply(x, y, dtype=dtype) + z, where=mask)

    def step(mask: Mask) -> None:
        found = high_half(x, y, type_)
        np.copyto(out, found if z is None else found + z, where=mask, casting="same_kind")

    return step


def high_half(x: np.ndarray, y: np.ndarray, type_: Type) -> np.ndarray:
    """The upper half of a product."""
    if type_.bits < 64:
        dtype = TYPES[f"{type_.kind}{2 * type_.bits}"].dtype
        return (np.multiply(x, y, dtype=dtype) >> dtype.type(type_.bits)).astype(type_.dtype)
    a, b = x.astype(np.uint64), y.astype(np.uint64)
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    ah, al, bh, bl = a >> half, a & low, b >> half, b & low
    middle = ah * bl + (al * bl >> half)
    carry = al * bh + (middle & low)
    high = ah * bh + (middle >> half) + (carry >> half)
    if type_.kind == "s":
        high = high - np.where(x < 0, b, np.uint64(0)) - np.where(y < 0, a, np.uint64(0))
    return high.astype(type_.dtype)


# carries


@binds("addc", "subc", "madc")
def _carry_in(frame: Frame, i: Instruction) -> Step:
    return _carrying(frame, i)


def _carrying(frame: Frame, i: Instruction) -> Step:
    """add, sub and mad that read the carry (`addc`), write it (`.cc`), or both."""
    bits = i.type.bits
    type_ = TYPES[f"u{bits}"]
    out = frame.target(i.operands[0], type_)
    values = [frame.source(o, type_) for o in i.operands[1:]]
    own = [frame.source(o, i.type) for o in i.operands[1:3]]
    carry = frame.machine.carry
    reads, writes, is_sub = i.opcode[-1] == "c", i.has("cc"), i.opcode.startswith("sub")

    def step(mask: Mask) -> None:
        if i.opcode.startswith("mad"):
            x = high_half(own[0], own[1], i.type).astype(type_.dtype) if i.has("hi") else values[0] * values[1]
            y = values[2]
        else:
            x, y = values
        c = carry.astype(type_.dtype) if reads else type_.dtype.type(0)
        if is_sub:
            found = x - y - c
            over = (x < y) | ((x == y) & (c != 0))
        else:
            found = x + y + c
            over = (found < x) | ((found == x) & (c != 0) & (y != 0))
        np.copyto(out, found, where=mask)
        if writes:
            np.copyto(carry, over, where=mask)

    return step


# one operand, minimum, approximations


@binds("neg", "abs")
def _unary(frame: Frame, i: Instruction) -> Step:
    type_ = i.type
    if type_.is_float:
        sign = np.array(1 << type_.bits - 1, f"u{type_.bits // 8}")

        def flip(x: np.ndarray) -> np.ndarray:
            raw = np.ascontiguousarray(x).view(sign.dtype)
            return (raw ^ sign if i.opcode == "neg" else raw & ~sign).view(type_.dtype)

        return elementwise(frame, i, type_, finished(i, flip), i.operands[1])
    return ufunc(frame, i, type_, np.negative if i.opcode == "neg" else np.abs, i.operands[1])


@binds("min", "max")
def _extreme(frame: Frame, i: Instruction) -> Step:
    type_ = i.type
    if not type_.is_float:
        return ufunc(frame, i, type_, np.minimum if i.opcode == "min" else np.maximum, *i.operands[1:])
    if len(i.operands) > 3:
        raise i.unsupported()
    is_min = i.opcode == "min"

    def function(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """A number wins over NaN, unless `.NaN`; -0 is below +0."""
        a, b = widened(x, type_), widened(y, type_)
        found = (np.fmin if is_min else np.fmax)(a, b)
        if i.has("NaN"):
            found = np.where(np.isnan(a) | np.isnan(b), np.nan, found)
        zeros = (a == 0) & (b == 0)
        if zeros.any():
            signs = np.signbit(a) | np.signbit(b) if is_min else np.signbit(a) & np.signbit(b)
            found = np.where(zeros, np.where(signs, -0.0, 0.0), found)
        return narrowed(found, type_)

    if type_.dtype == np.float32 and not i.has("NaN", "ftz"):
        fast = np.fmin if is_min else np.fmax
        slow = function

        def function(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            found = fast(x, y)
            return found if found.all() else slow(x, y)

    return elementwise(frame, i, type_, finished(i, function), *i.operands[1:])


_ROOTS: dict[str, Function] = {"sqrt": np.sqrt, "rcp": np.reciprocal, "rsqrt": lambda x: 1.0 / np.sqrt(x)}
_APPROXIMATED: dict[str, Function] = {
    **_ROOTS,
    "ex2": np.exp2,
    "lg2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}


@binds(*_APPROXIMATED)
def _function(frame: Frame, i: Instruction) -> Step:
    """sqrt and rcp are exactly rounded; `.approx` of any is allowed to be."""
    type_, function = i.type, _APPROXIMATED[i.opcode]
    mode = i.first(ROUNDINGS, "rn")

    def rounded(x: np.ndarray) -> np.ndarray:
        return narrowed(function(widened(x, type_)), type_, mode)

    if mode != "rn" and type_.dtype == np.float64:
        raise i.unsupported()
    return elementwise(frame, i, type_, finished(i, rounded), i.operands[1])


@binds("copysign")
def _copysign(frame: Frame, i: Instruction) -> Step:
    return elementwise(frame, i, i.type, lambda sign, size: np.copysign(size, sign), *i.operands[1:])


@binds("testp")
def _testp(frame: Frame, i: Instruction) -> Step:
    out, x = frame.target(i.operands[0], TYPES["pred"]), frame.source(i.operands[1], i.type)
    small = np.finfo(i.type.dtype).tiny
    tests: dict[str, Function] = {
        "finite": np.isfinite,
        "infinite": np.isinf,
        "number": lambda v: ~np.isnan(v),
        "notanumber": np.isnan,
        "normal": lambda v: np.isfinite(v) & (np.abs(v) >= small),
        "subnormal": lambda v: (np.abs(v) < small) & (v != 0),
    }
    test = tests[i.first(tests)]
    return lambda mask: np.copyto(out, test(x), where=mask)


@binds("sad")
def _sad(frame: Frame, i: Instruction) -> Step:
    return elementwise(frame, i, i.type, lambda x, y, z: z + (np.maximum(x, y) - np.minimum(x, y)), *i.operands[1:])
