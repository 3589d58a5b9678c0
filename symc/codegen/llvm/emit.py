"""Loop IR expression -> LLVM values of n lanes.

Every operation is the same for all lanes and for any number of lanes, so the result of an element does not depend on
its place in a vector, nor on whether the main loop or the tail computed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan

from llvmlite import ir

from symc.core.dtypes import is_float
from symc.core.errors import CodegenError
from symc.loopir.expr import Expr, bounds_of, walk

from . import maths
from .lanes import F32, I32, I64, Lanes, is_signed, scalar_type

Leaf = Callable[[Expr], ir.Value]

LEAVES = frozenset({"load", "param", "index", "reduce"})
_COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_LIMITS = {"maximum": ">", "minimum": "<"}
_ROUNDING = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint", "sqrt": "sqrt"}
_THROUGH_INT32 = ("int8", "uint8", "int16", "uint16", "int32")
_POWERS = frozenset({-1.0, 1.0, 2.0, 3.0})  # constant exponents that need no library call
# Arithmetic modulo 2 is not what NumPy does with booleans: + is or, * is and.
_BOOL_ARITHMETIC = {"add": "or", "mul": "and", "maximum": "or", "minimum": "and"}


class Emitter:
    """Values of expressions, as many lanes wide as `lanes`, emitted at the end of its builder's block.

    `leaf(expr)` supplies the value of load, param, index and reduce nodes, already in the register type of
    `Lanes.type(expr.dtype)`. Values are remembered by expression; `known` may be filled beforehand. What is `below` is
    at most 0 or NaN; with True, what its exponential is multiplied with cancels.
    """

    def __init__(
        self,
        lanes: Lanes,
        leaf: Leaf,
        known: dict[Expr, ir.Value] | None = None,
        below: Mapping[Expr, bool] | None = None,
    ) -> None:
        self.lanes, self.leaf, self.below = lanes, leaf, below or {}
        self.known: dict[Expr, ir.Value] = {} if known is None else known

    def value(self, root: Expr) -> ir.Value:
        """The value of an expression; only what is not known yet is emitted."""
        if root in self.known:
            return self.known[root]
        for expr in walk(root, known=self.known, below=below):
            self.known[expr] = self._emit(expr)
        return self.known[root]

    def _emit(self, expr: Expr) -> ir.Value:
        if expr.op in LEAVES:
            return self.leaf(expr)
        if expr.op == "const":
            return self.lanes.const(expr.data, expr.dtype)
        args = [self.known[a] for a in expr.args]
        source = expr.args[-1].dtype  # of the operands; select's condition comes first
        if expr.op == "pow" and is_float(expr.dtype) and expr.args[1].op == "const" and expr.args[1].data in _POWERS:
            return _small_power(self.lanes, args[0], int(expr.args[1].data))
        if expr.op in _LIMITS and is_float(expr.dtype) and expr.args[1].op == "const" and not isnan(expr.args[1].data):
            return _limited(self.lanes, expr.op, *args)
        if expr.op == "exp" and expr.dtype == "float32" and expr.args[0] in self.below:
            return maths.exp_below_0(self.lanes, args[0], self.below[expr.args[0]])
        if expr.op == "cast":
            if is_float(source) and _holds(expr.dtype, bounds_of(expr.args[0])):
                return _through_int32(self.lanes, args[0], expr.dtype)
            return cast(self.lanes, args[0], source, expr.dtype)
        return primitive(self.lanes, expr.op, source, args, [a.dtype for a in expr.args])


def below(expr: Expr) -> tuple[Expr, ...]:
    """What must be emitted before an expression; nothing below a leaf (the leaf's supplier sees to that)."""
    return () if expr.op in LEAVES else expr.args


def primitive(v: Lanes, name: str, dtype: str, args: list[ir.Value], dtypes: list[str]) -> ir.Value:
    """One primitive of loopir.prims on operands of `dtype` (`dtypes`: of each operand)."""
    b = v.b
    if name == "select":
        return b.select(truth(v, args[0], dtypes[0]), args[1], args[2])
    if name in ("and", "or", "not"):
        truths = [truth(v, a, d) for a, d in zip(args, dtypes)]
        if name == "not":
            return b.not_(truths[0])
        return b.and_(*truths) if name == "and" else b.or_(*truths)
    if name == "hash_uniform":
        return hash_uniform(v, *args)
    if name in _COMPARE:
        return compare(v, _COMPARE[name], dtype, *args)
    if is_float(dtype):
        return _float(v, name, dtype, args)
    if dtype == "bool":
        if name in _BOOL_ARITHMETIC:
            return getattr(b, _BOOL_ARITHMETIC[name] + "_")(*args)
        raise CodegenError(f"emitting {name}: no such operation on bool; cast the operands first")
    return _integer(v, name, dtype, args)


def _limited(v: Lanes, name: str, x: ir.Value, limit: ir.Value) -> ir.Value:
    """`maximum` or `minimum` of x and a number, one instruction of x86 that keeps a NaN of x, and of two zeros x."""
    return v.b.select(v.b.fcmp_ordered(_LIMITS[name], limit, x), limit, x)


def _small_power(v: Lanes, x: ir.Value, exponent: int) -> ir.Value:
    """x ** exponent by multiplication; within 1 ulp, and right at zeros, infinities and NaN."""
    power = x
    for _ in range(abs(exponent) - 1):
        power = v.b.fmul(power, x)
    return power if exponent > 0 else v.b.fdiv(v.like(x, 1), power)


def compare(v: Lanes, sign: str, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """IEEE comparison: everything with NaN is false, except !=."""
    if is_float(dtype):
        return v.b.fcmp_unordered(sign, x, y) if sign == "!=" else v.b.fcmp_ordered(sign, x, y)
    return v.b.icmp_signed(sign, x, y) if is_signed(dtype) else v.b.icmp_unsigned(sign, x, y)


def truth(v: Lanes, x: ir.Value, dtype: str) -> ir.Value:
    """x != 0 as NumPy's logical functions take it."""
    return x if dtype == "bool" else compare(v, "!=", dtype, x, v.like(x, 0))


def _float(v: Lanes, name: str, dtype: str, args: list[ir.Value]) -> ir.Value:
    b, x = v.b, args[0]
    if name in ("add", "sub", "mul", "div"):
        return getattr(b, "f" + name)(*args)
    if name in _LIMITS:
        # A comparison and a choice, one instruction of x86, keep a NaN of y; that of x is kept by the second choice.
        wins = b.fcmp_ordered(_LIMITS[name], *args)
        return b.select(v.is_nan(x), x, b.select(wins, x, args[1]))
    if name in _ROUNDING:
        return v.intrinsic(_ROUNDING[name], x)
    if name == "neg":
        return v.fneg(x)
    if name == "abs":
        return v.fabs(x)
    if name == "sign":
        zero = v.like(x, 0)
        unit = b.select(b.fcmp_ordered(">", x, zero), v.like(x, 1), v.like(x, -1))
        return b.select(b.fcmp_ordered("==", x, zero), zero, b.select(v.is_nan(x), x, unit))
    if name == "round":
        whole = v.intrinsic("trunc", x)
        is_up = b.fcmp_ordered(">=", v.fabs(b.fsub(x, whole)), v.like(x, 0.5))
        return b.select(is_up, b.fadd(whole, v.copysign(v.like(x, 1), x)), whole)
    if name in ("mod", "floordiv"):
        return _float_division(v, name, dtype, *args)
    return maths.call(v, name, dtype, args)


def _float_division(v: Lanes, name: str, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """Python's % and //, as NumPy computes them (npy_divmod); x mod 0 is 0 (loopir.prims)."""
    b, zero, one = v.b, v.like(x, 0), v.like(x, 1)
    remainder = v.library("mod", x, y)
    is_off = b.and_(
        b.fcmp_unordered("!=", remainder, zero),
        b.xor(b.fcmp_ordered("<", y, zero), b.fcmp_ordered("<", remainder, zero)),
    )
    if name == "mod":
        result = b.select(is_off, b.fadd(remainder, y), remainder)
        result = b.select(b.fcmp_ordered("==", result, zero), v.copysign(zero, y), result)
        return b.select(b.fcmp_ordered("==", y, zero), zero, result)
    quotient = b.fdiv(b.fsub(x, remainder), y)
    quotient = b.select(is_off, b.fsub(quotient, one), quotient)
    floor = v.intrinsic("floor", quotient)
    floor = b.select(b.fcmp_ordered(">", b.fsub(quotient, floor), v.like(x, 0.5)), b.fadd(floor, one), floor)
    floor = b.select(b.fcmp_ordered("==", quotient, zero), v.copysign(zero, b.fdiv(x, y)), floor)
    return b.select(b.fcmp_ordered("==", y, zero), b.fdiv(x, y), floor)


def _integer(v: Lanes, name: str, dtype: str, args: list[ir.Value]) -> ir.Value:
    b, x = v.b, args[0]
    zero = v.like(x, 0)
    if name in ("add", "sub", "mul"):
        return getattr(b, name)(*args)
    if name in ("floor", "ceil", "trunc", "round", "rint"):
        return x
    if name == "neg":
        return b.sub(zero, x)
    if name == "abs":
        return b.select(b.icmp_signed("<", x, zero), b.sub(zero, x), x) if is_signed(dtype) else x
    if name == "sign":
        positive = b.zext(b.icmp_unsigned("!=", x, zero), x.type)
        return b.select(b.icmp_signed("<", x, zero), v.like(x, -1), positive) if is_signed(dtype) else positive
    if name in _LIMITS:
        return b.select(compare(v, _LIMITS[name], dtype, *args), x, args[1])
    if name in ("div", "mod", "floordiv"):
        return _integer_division(v, name, dtype, *args)
    raise CodegenError(f"emitting {name}: no such operation on {dtype}; cast the operand to a float type first")


def _integer_division(v: Lanes, name: str, dtype: str, x: ir.Value, y: ir.Value) -> ir.Value:
    """div truncates, floordiv and mod go with the divisor's sign; a zero divisor gives 0, INT_MIN / -1 wraps."""
    b, zero, one = v.b, v.like(x, 0), v.like(x, 1)
    by_zero = b.icmp_unsigned("==", y, zero)
    safe = b.select(by_zero, one, y)
    if not is_signed(dtype):
        result = b.urem(x, safe) if name == "mod" else b.udiv(x, safe)
        return b.select(by_zero, zero, result)
    # x / -1 is computed as -x: the one quotient that overflows would trap.
    is_minus_one = b.icmp_signed("==", y, v.like(x, -1))
    safe = b.select(is_minus_one, one, safe)
    quotient, remainder = b.sdiv(x, safe), b.srem(x, safe)
    quotient = b.select(is_minus_one, b.sub(zero, x), quotient)
    is_off = b.and_(b.icmp_unsigned("!=", remainder, zero), b.icmp_signed("<", b.xor(remainder, y), zero))
    if name == "mod":
        return b.select(by_zero, zero, b.select(is_off, b.add(remainder, y), remainder))
    if name == "floordiv":
        quotient = b.select(is_off, b.sub(quotient, one), quotient)
    return b.select(by_zero, zero, quotient)


def hash_uniform(v: Lanes, counter: ir.Value, key: ir.Value) -> ir.Value:
    """splitmix64 of (counter, key), top 24 bits as a float32 in [0, 1) (loopir.prims)."""
    b = v.b
    z = b.add(b.mul(counter, v.bits(0x9E3779B97F4A7C15, 64)), key)
    z = b.mul(b.xor(z, b.lshr(z, v.bits(30, 64))), v.bits(0xBF58476D1CE4E5B9, 64))
    z = b.mul(b.xor(z, b.lshr(z, v.bits(27, 64))), v.bits(0x94D049BB133111EB, 64))
    z = b.xor(z, b.lshr(z, v.bits(31, 64)))
    top = b.trunc(b.lshr(z, v.bits(40, 64)), v.of(I32))  # below 2**24, so a signed conversion is exact
    return b.fmul(b.sitofp(top, v.of(F32)), v.const(2.0**-24, "float32"))


def cast(v: Lanes, x: ir.Value, source: str, target: str) -> ir.Value:
    """A C conversion as x86 has it, which is what MXNet gives: floats truncate, integers wrap.

    NaN, and floats beyond what the conversion goes through (see _to_integer), give the least number of that.
    """
    b = v.b
    if target == "bool":
        return truth(v, x, source)
    type_ = v.type(target)
    if is_float(target):
        if is_float(source):
            return _between_floats(v, x, source, target)
        x = b.sitofp(x, type_) if is_signed(source) else b.uitofp(x, type_)
        return _between_floats(v, x, "float32", "float16") if target == "float16" else x
    if is_float(source):
        return _to_integer(v, x, target)
    bits, wanted = scalar_type(source).width, scalar_type(target).width
    if bits == wanted:
        return x
    if bits > wanted:
        return b.trunc(x, type_)
    return b.sext(x, type_) if is_signed(source) else b.zext(x, type_)


def _between_floats(v: Lanes, x: ir.Value, source: str, target: str) -> ir.Value:
    """float16 is a float32 register that holds a float16 value."""
    if target == "float16":
        return v.half_to_float(v.float_to_half(x))
    if v.type(target) == x.type:
        return x
    return v.b.fpext(x, v.type(target)) if target == "float64" else v.b.fptrunc(x, v.type(target))


def _holds(target: str, bounds: tuple[float, float] | None) -> bool:
    """Whether floats between two bounds become an integer type of up to 32 bits as they are."""
    return target in _THROUGH_INT32 and bounds is not None and -(2.0**31) <= bounds[0] and bounds[1] < 2.0**31


def _through_int32(v: Lanes, x: ir.Value, target: str) -> ir.Value:
    """Floats in the range of int32, which no NaN is among."""
    whole = v.b.fptosi(x, v.of(I32))
    return whole if target == "int32" else v.b.trunc(whole, v.type(target))


def _to_integer(v: Lanes, x: ir.Value, target: str) -> ir.Value:
    """Through int32 (8 and 16 bits, int32) or int64 (the wider rest), then modulo 2**bits."""
    b = v.b
    wide = I32 if target in _THROUGH_INT32 else I64
    limit = 2.0 ** (wide.width - 1)
    is_inside = _lies_between(v, x, -limit, limit)
    result = b.fptosi(b.select(is_inside, x, v.like(x, 0)), v.of(wide))  # it sees only numbers in its range
    result = b.select(is_inside, result, v.bits(-(2 ** (wide.width - 1)), wide.width))
    if target == "uint64":
        is_large = _lies_between(v, x, limit, 2 * limit)
        result = b.select(is_large, b.fptoui(b.select(is_large, x, v.like(x, 0)), v.of(wide)), result)
    n_bits = scalar_type(target).width
    return result if n_bits == wide.width else b.trunc(result, v.type(target))


def _lies_between(v: Lanes, x: ir.Value, low: float, high: float) -> ir.Value:
    """low <= x < high; never of NaN."""
    return v.b.and_(v.b.fcmp_ordered(">=", x, v.like(x, low)), v.b.fcmp_ordered("<", x, v.like(x, high)))
