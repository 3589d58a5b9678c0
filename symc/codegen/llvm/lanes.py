"""A toolbox for values of n lanes: typed constants, conversions and the few LLVM intrinsics generated code needs.

With one lane values are plain scalars, so the same formula serves vector and scalar code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from symc.core.errors import CodegenError

from .abilities import Abilities

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()

_SCALARS: dict[str, ir.Type] = {"bool": I1, "float16": F32, "float32": F32, "float64": F64}
_SUFFIX = {"half": "f16", "float": "f32", "double": "f64"}


def scalar_type(dtype: str) -> ir.Type:
    """The register type of one element: bool is i1, float16 is computed in float."""
    if dtype in _SCALARS:
        return _SCALARS[dtype]
    return ir.IntType(int(dtype.lstrip("uint")))


def is_signed(dtype: str) -> bool:
    """Whether an integer dtype has a sign."""
    return dtype.startswith("int")


def declare(module: ir.Module, name: str, result: ir.Type, args: Sequence[ir.Type]) -> ir.Function:
    """The function of that name, declared at its first use (llvmlite's declare_intrinsic knows one-argument forms)."""
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, list(args)), name)


def suffix_of(type_: ir.Type) -> str:
    """How LLVM spells a type in the name of an overloaded intrinsic: v8f32, i64."""
    if isinstance(type_, ir.VectorType):
        return f"v{type_.count}{suffix_of(type_.element)}"
    return _SUFFIX.get(str(type_), str(type_))


class Lanes:
    """Emits operations on values of `n` lanes at the end of a builder's block.

    is_aligned   rows of n elements lie at multiples of their size in memory
    """

    def __init__(self, builder: ir.IRBuilder, n: int, abilities: Abilities, is_aligned: bool = False) -> None:
        self.b, self.n, self.abilities, self.is_aligned = builder, n, abilities, is_aligned

    def resized(self, n: int) -> Lanes:
        """The same with another number of lanes."""
        return Lanes(self.b, n, self.abilities)

    # types and constants

    def of(self, element: ir.Type) -> ir.Type:
        """The type of n elements."""
        return element if self.n == 1 else ir.VectorType(element, self.n)

    def type(self, dtype: str) -> ir.Type:
        return self.of(scalar_type(dtype))

    def const(self, value: float, dtype: str) -> ir.Constant:
        """The number in every lane, rounded to the dtype."""
        return self.splat_const(ir.Constant(scalar_type(dtype), value))

    def splat_const(self, scalar: ir.Constant) -> ir.Constant:
        if self.n == 1:
            return scalar
        if self.abilities.is_llvm7:
            return ir.Constant(self.of(scalar.type), [scalar] * self.n)
        # `splat (float 1.0)` keeps the text ten times shorter than a list of 16; llvmlite has no class for it.
        text = f"splat ({scalar.type} {scalar.get_reference()})"
        constant = ir.values.FormattedConstant(scalar.type, text)
        constant.type = self.of(scalar.type)
        return constant

    def bits(self, value: int, n_bits: int = 32) -> ir.Constant:
        """An integer constant that is only a bit pattern."""
        return self.splat_const(ir.Constant(ir.IntType(n_bits), value))

    def like(self, x: ir.Value, value: float) -> ir.Constant:
        """The number in every lane, in the type of `x`."""
        return self.splat_const(ir.Constant(x.type.element if self.n > 1 else x.type, value))

    # lanes

    def parameter(self, word: ir.Value, dtype: str) -> ir.Value:
        """A descriptor's word in every lane: a float is a float64 bit pattern there, an integer int64."""
        type_ = scalar_type(dtype)
        if type_ in (F32, F64):
            word = self.b.bitcast(word, F64)
        if type_ == F32:
            word = self.b.fptrunc(word, F32)
        elif type_ not in (F64, I64):
            word = self.b.trunc(word, type_)
        return self.splat(word)

    def splat(self, scalar: ir.Value) -> ir.Value:
        """A scalar in every lane."""
        if self.n == 1:
            return scalar
        blank = ir.Constant(self.of(scalar.type), ir.Undefined)
        first = self.b.insert_element(blank, scalar, I32(0))
        return self.b.shuffle_vector(first, blank, ir.Constant(ir.VectorType(I32, self.n), [I32(0)] * self.n))

    def extract(self, x: ir.Value, lane: int) -> ir.Value:
        return x if self.n == 1 else self.b.extract_element(x, I32(lane))

    def pack(self, scalars: Sequence[ir.Value]) -> ir.Value:
        """One value from n scalars."""
        if self.n == 1:
            return scalars[0]
        value: Any = ir.Constant(self.of(scalars[0].type), ir.Undefined)
        for lane, scalar in enumerate(scalars):
            value = self.b.insert_element(value, scalar, I32(lane))
        return value

    def iota(self, element: ir.IntType = I64) -> ir.Constant:
        """0, 1, 2, ..."""
        if self.n == 1:
            return ir.Constant(element, 0)
        return ir.Constant(self.of(element), [ir.Constant(element, lane) for lane in range(self.n)])

    def below(self, count: ir.Value) -> ir.Value:
        """A mask of the lanes whose number is below `count` (int64, may be negative or beyond the vector)."""
        return self.b.icmp_signed("<", self.iota(), self.splat(count))

    def first(self, count: ir.Value) -> ir.Value:
        """A mask of the first `count` lanes (int64, 0 to n), cheaper than `below`."""
        return self.b.icmp_unsigned("<", self.iota(I32), self.splat(self.b.trunc(count, I32)))

    # arithmetic that LLVM spells as intrinsics

    def intrinsic(self, name: str, *args: ir.Value) -> ir.Value:
        """llvm.<name> with all operands and the result of one type."""
        if name in self.abilities.calls:
            return self.library(name, *args)
        if self.n > 1 and self.abilities.is_llvm7:
            scalar = Lanes(self.b, 1, self.abilities)
            lanes = range(self.n)
            return self.pack([scalar.intrinsic(name, *(self.extract(a, lane) for a in args)) for lane in lanes])
        type_ = args[0].type
        function = declare(self.b.module, f"llvm.{name}.{suffix_of(type_)}", type_, [type_] * len(args))
        return self.b.call(function, args)

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """x * y + z: one rounding where the target has FMA, two elsewhere (never a call of fmaf)."""
        return self.intrinsic(self.abilities.fused, x, y, z)

    def fneg(self, x: ir.Value) -> ir.Value:
        return self.b.fsub(self.like(x, -0.0), x) if self.abilities.is_llvm7 else self.b.fneg(x)

    def fabs(self, x: ir.Value) -> ir.Value:
        return self.intrinsic("fabs", x)

    def copysign(self, magnitude: ir.Value, sign: ir.Value) -> ir.Value:
        return self.intrinsic("copysign", magnitude, sign)

    def select(self, condition: ir.Value, then: ir.Value, otherwise: ir.Value) -> ir.Value:
        return self.b.select(condition, then, otherwise)

    def is_nan(self, x: ir.Value) -> ir.Value:
        return self.b.fcmp_unordered("uno", x, x)

    def polynomial(self, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
        """Horner's scheme, highest power first."""
        total = self.like(x, coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, self.like(x, c))
        return total

    # float16

    @property
    def half_type(self) -> ir.Type:
        """What one float16 is loaded and stored as."""
        return F16 if self.abilities.has_half else I16

    def half_to_float(self, h: ir.Value) -> ir.Value:
        """float16 as stored -> float32."""
        b = self.b
        if self.abilities.has_half:
            return b.fpext(h, self.of(F32))
        wide = b.zext(h, self.of(I32))
        magnitude = b.shl(b.and_(wide, self.bits(0x7FFF)), self.bits(13))
        # 2**112 moves the exponent's bias from 15 to 127 and normalises denormals; infinity and NaN get all its bits.
        scaled = b.bitcast(b.fmul(b.bitcast(magnitude, self.of(F32)), self.const(2.0**112, "float32")), self.of(I32))
        is_special = b.icmp_unsigned(">=", magnitude, self.bits(0x7C00 << 13))
        scaled = b.select(is_special, b.or_(scaled, self.bits(0x7F800000)), scaled)
        sign = b.shl(b.and_(wide, self.bits(0x8000)), self.bits(16))
        return b.bitcast(b.or_(scaled, sign), self.of(F32))

    def float_to_half(self, x: ir.Value) -> ir.Value:
        """float32 or float64 -> float16 as stored, to nearest even."""
        b = self.b
        if self.abilities.has_half:
            return b.fptrunc(x, self.of(F16))
        if x.type == self.of(F64):
            x = b.fptrunc(x, self.of(F32))
        raw = b.bitcast(x, self.of(I32))
        a = b.and_(raw, self.bits(0x7FFFFFFF))
        is_odd = b.and_(b.lshr(a, self.bits(13)), self.bits(1))
        normal = b.lshr(b.add(b.add(a, self.bits(((15 - 127) << 23) + 0xFFF)), is_odd), self.bits(13))
        # Adding 0.5 leaves the rounded denormal in the low bits.
        shifted = b.fadd(b.bitcast(a, self.of(F32)), self.const(0.5, "float32"))
        denormal = b.sub(b.bitcast(shifted, self.of(I32)), self.bits(126 << 23))
        special = b.select(b.icmp_unsigned(">", a, self.bits(0x7F800000)), self.bits(0x7E00), self.bits(0x7C00))
        result = b.select(b.icmp_unsigned("<", a, self.bits(113 << 23)), denormal, normal)
        result = b.select(b.icmp_unsigned(">=", a, self.bits(143 << 23)), special, result)
        sign = b.lshr(b.and_(raw, self.bits(0x80000000)), self.bits(16))
        return b.trunc(b.or_(result, sign), self.of(I16))

    # bfloat16, stored as its 16 bits: the upper half of a float32

    def bfloat16_to_float(self, h: ir.Value) -> ir.Value:
        """bfloat16 as stored -> float32."""
        b = self.b
        return b.bitcast(b.shl(b.zext(h, self.of(I32)), self.bits(16)), self.of(F32))

    def float_to_bfloat16(self, x: ir.Value) -> ir.Value:
        """float32 -> bfloat16 as stored, to nearest even; denormals too, which vcvtneps2bf16 makes zeros."""
        b = self.b
        raw = b.bitcast(x, self.of(I32))
        is_odd = b.and_(b.lshr(raw, self.bits(16)), self.bits(1))
        rounded = b.add(b.add(raw, self.bits(0x7FFF)), is_odd)
        kept = b.select(self.is_nan(x), b.or_(raw, self.bits(1 << 22)), rounded)  # a NaN stays one
        return b.trunc(b.lshr(kept, self.bits(16)), self.of(I16))

    def library(self, primitive: str, *args: ir.Value) -> ir.Value:
        """The device's function for a primitive of float32 or float64, called lane by lane."""
        element = args[0].type.element if self.n > 1 else args[0].type
        name = self.abilities.library.get(primitive)
        if name is None:
            raise CodegenError(f"emitting {primitive}: this device's library has no such function")
        function = declare(self.b.module, name + ("" if element == F64 else "f"), element, [element] * len(args))
        results = [self.b.call(function, [self.extract(a, lane) for a in args]) for lane in range(self.n)]
        return self.pack(results)
