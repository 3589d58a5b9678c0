"""Between floats and 8-bit integers with their range: quantize, quantize_v2, dequantize, requantize.

The larger size of a range's ends is 127 or 255 steps from 0; later operators put it half a step further. What lies
outside saturates. This is what MXNet 1.9.1 computes through oneDNN, which it always takes on a CPU
(src/operator/quantization/mkldnn/); its own kernels map uint8 from end to end instead. None has a gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param
from symc.ops.rules.terms import Term

from .ranges import BYTES, HALF_STEPS, STEPS, constant_range, require, saturated, symmetric

INT32_STEPS = 2.0**31 - 1


@declares_parameters
class _ToRange(Op):
    """data of any shape -> the same in 8 bits, and both ends of its range, (1,) each."""

    results = ("output0", "output1", "output2")  # MXNet names them so: data, then both ends

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify(ins[0], outs[0])
        return [shape, *(unify(s, (1,)) for s in ins[1:])], [shape, (1,), (1,)]

    def quantized(self, x: Term, low: Term, high: Term, dtype: str, steps: float) -> Sequence[Value]:
        """x, and the range that its integers cover."""
        limit = symmetric(low, high)
        ends = (low, high) if dtype == "uint8" else (-limit, limit)
        return [saturated(x * (steps / limit), dtype).value, *(end.value for end in ends)]


@op("_contrib_quantize")
class Quantize(_ToRange):
    """Floats in 8 bits over a given range.  MXNet operator _contrib_quantize."""

    arguments = ("data", "min_range", "max_range")
    out_type: str = param("uint8", choices=("int8", "uint8"), doc="dtype of the output")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require("quantize: data", ins[0], ("float32",), "cast it first")
        return ["float32"] * 3, [self.out_type, "float32", "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return self.quantized(*(Term(g, v) for v in x), self.out_type, STEPS[self.out_type])


def range_of(x: Term, low: float | None, high: float | None) -> list[Term]:
    """Both ends of a calibrated range, or without one of the data's, (1,) each."""
    return [x("min"), x("max")] if low is None or high is None else constant_range(x, low, high)


@declares_parameters
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


@op("_contrib_quantize_v2")
class QuantizeV2(_Calibrated):
    """Floats in 8 bits; what has 8 bits stays, with the range of its dtype.  MXNet operator _contrib_quantize_v2."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [self.target, "float32", "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data, given = Term(g, x[0]), g.dtype(x[0])
        floats = data.cast("float32")
        if given not in BYTES:
            low, high = range_of(floats, self.min_calib_range, self.max_calib_range)
            return self.quantized(floats, low, high, self.target, HALF_STEPS[self.target])
        most = HALF_STEPS[given]
        ends = self.min_calib_range, self.max_calib_range
        low, high = constant_range(floats, *((0 if given == "uint8" else -most, most) if None in ends else ends))
        return [data.cast(self.target).value, low.value, high.value]


@op("_contrib_quantize_asym")
class QuantizeAsym(_ToRange):
    """Floats in uint8 as data * scale + shift; results are these and, instead of a range, scale and shift, (1,) each.

    MXNet operator _contrib_quantize_asym (which runs for three axes only).
    """

    results = ("output", "scale", "shift")

    min_calib_range: float | None = param(None, doc="what becomes 0; without it, the data's minimum")
    max_calib_range: float | None = param(None, doc="what becomes 255; without it, the data's maximum")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ["float32"], ["uint8", "float32", "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0]).cast("float32")
        low, high = range_of(data, self.min_calib_range, self.max_calib_range)
        scale = STEPS["uint8"] / (high - low)
        shift = STEPS["uint8"] - high * scale
        return [saturated(data * scale + shift, "uint8").value, scale.value, shift.value]


@op("_contrib_requantize")
class Requantize(_Calibrated):
    """32-bit integers of a range in 8 bits.  MXNet operator _contrib_requantize."""

    arguments = ("data", "min_range", "max_range")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require("requantize: data", ins[0], ("int32",), "only sums of quantized layers have it")
        return ["int32", "float32", "float32"], [self.target, "float32", "float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data, *ends = (Term(g, v) for v in x)
        floats = data.cast("float32") * (symmetric(*ends) / INT32_STEPS)
        low, high = range_of(floats, self.min_calib_range, self.max_calib_range)
        if self.target == "uint8":  # up from 0, however the range was given
            low, high = low * 0, symmetric(low, high)
        return self.quantized(floats, low, high, self.target, STEPS[self.target])


@op("_contrib_dequantize")
class Dequantize(Op):
    """Integers of a range as floats.  MXNet operator _contrib_dequantize."""

    arguments = ("data", "min_range", "max_range")
    out_type: str = param("float32", choices=("float32",), doc="dtype of the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        shape = unify(ins[0], outs[0])
        return [shape, *(unify(s, (1,)) for s in ins[1:])], [shape]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require("dequantize: data", ins[0], tuple(HALF_STEPS))
        return [ins[0], "float32", "float32"], ["float32"]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data, low, high = (Term(g, v) for v in x)
        return [(data.cast("float32") * (symmetric(low, high) / HALF_STEPS[data.dtype])).value]
