"""Between floats and 8-bit integers with their range: quantize, quantize_v2, dequantize, requantize.

The larger size of a range's ends is 127 or 255 steps from 0; later operators put it half a step further. What lies
outside saturates. This is what MXNet 1.9.1 computes through oneDNN, which it always takes on a CPU
(src/operator/quantization/mkldnn/); its own kernels map uint8 from end to end instead. None has a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, op, param
from symc.ops.rules.terms import Term

STEPS = {"int8": 127.0, "uint8": 255.0}
HALF_STEPS = {"int8": 127.5, "uint8": 255.5}  # steps of the later operators, whose ends are half a step further
LIMITS = {"int8": (-128.0, 127.0), "uint8": (0.0, 255.0)}
INT32_STEPS = 2.0**31 - 1


def symmetric(low: Term, high: Term) -> Term:
    """The larger size of both ends."""
    return low("abs")("broadcast_maximum", high("abs"))


def rounded(x: Term, dtype: str) -> Term:
    """x as the nearest integer of a dtype, the even one of two, saturated."""
    is_half = (x - x("trunc"))("abs").equals(0.5)
    nearest = is_half.choose((x * 0.5)("round") * 2, x("round"))
    low, high = LIMITS[dtype]
    return nearest("clip", a_min=low, a_max=high).cast(dtype)


@dataclass(frozen=True, kw_only=True)
class _ToRange(Op):
    """data of any shape -> the same in 8 bits, and both ends of its range, (1,) each."""

    results = ("output", "min_output", "max_output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify(ins[0], outs[0])
        return [shape, *(unify(s, (1,)) for s in ins[1:])], [shape, (1,), (1,)]

    def quantized(self, x: Term, low: Term, high: Term, dtype: str, steps: float) -> Sequence[Value]:
        """x, and the range that its integers cover."""
        limit = symmetric(low, high)
        ends = (low, high) if dtype == "uint8" else (-limit, limit)
        return [rounded(x * (steps / limit), dtype).value, *(end.value for end in ends)]


@op("_contrib_quantize")
class Quantize(_ToRange):
    """Floats in 8 bits over a given range.  MXNet operator _contrib_quantize."""

    arguments = ("data", "min_range", "max_range")
    out_type: str = param("uint8", choices=("int8", "uint8"), doc="dtype of the output")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ["float32"] * 3, [self.out_type, "float32", "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return self.quantized(*(Term(g, v) for v in x), self.out_type, STEPS[self.out_type])


@dataclass(frozen=True, kw_only=True)
class _Calibrated(_ToRange):
    """The range is a calibrated one, or that of the data."""

    out_type: str = param("int8", choices=("auto", "int8", "uint8"), doc="dtype; auto: uint8 for a range from 0 up")
    min_calib_range: float | None = param(None, doc="lower end of the range; without it, the data's")
    max_calib_range: float | None = param(None, doc="upper end of the range; without it, the data's")

    @property
    def target(self) -> str:
        """The dtype of the output."""
        if self.out_type != "auto":
            return self.out_type
        return "uint8" if self.min_calib_range is not None and self.min_calib_range >= 0 else "int8"

    def range_of(self, x: Term) -> tuple[Term, Term]:
        """Both ends, (1,) each."""
        if self.min_calib_range is None or self.max_calib_range is None:
            return x("min"), x("max")
        one = x("min") * 0
        return one + self.min_calib_range, one + self.max_calib_range


@op("_contrib_quantize_v2")
class QuantizeV2(_Calibrated):
    """Floats in 8 bits.  MXNet operator _contrib_quantize_v2."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [self.target, "float32", "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0]).cast("float32")
        return self.quantized(data, *self.range_of(data), self.target, HALF_STEPS[self.target])


@op("_contrib_requantize")
class Requantize(_Calibrated):
    """32-bit integers of a range in 8 bits.  MXNet operator _contrib_requantize."""

    arguments = ("data", "min_range", "max_range")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ["int32", "float32", "float32"], [self.target, "float32", "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data, low, high = (Term(g, v) for v in x)
        floats = data.cast("float32") * (symmetric(low, high) / INT32_STEPS)
        out, start, end = self.quantized(floats, *self.range_of(floats), self.target, STEPS[self.target])
        return [out, (Term(g, start) * 0).value if self.target == "uint8" else start, end]


@op("_contrib_dequantize")
class Dequantize(Op):
    """Integers of a range as floats.  MXNet operator _contrib_dequantize."""

    arguments = ("data", "min_range", "max_range")
    out_type: str = param("float32", choices=("float32",), doc="dtype of the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify(ins[0], outs[0])
        return [shape, *(unify(s, (1,)) for s in ins[1:])], [shape]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return [ins[0], "float32", "float32"], ["float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data, low, high = (Term(g, v) for v in x)
        return [(data.cast("float32") * (symmetric(low, high) / HALF_STEPS[data.dtype])).value]
