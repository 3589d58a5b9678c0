"""Quantised operators without sums of products: movement, pooling, arithmetic of elements, batch_norm, embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symc.core.errors import ArgumentError
from symc.core.shapes import normalize_axis
from symc.ir.op import DTypes, declares_parameters, op, param, same_dtype
from symc.ops.index.indexing import Embedding
from symc.ops.nn.activation import Activation
from symc.ops.nn.batch_norm import BatchNorm
from symc.ops.nn.pooling import Pooling
from symc.ops.rules.terms import Term
from symc.ops.shape.movement import Concat
from symc.ops.shape.reshape import Flatten

from .ranges import HALF_STEPS, Ranged, constant_range, ends_of, product_range, require, saturated, scale_of, symmetric


class _Kept(Ranged):
    """Data with its range -> data of the same dtype and range."""

    arguments = ("data", "min_data", "max_data")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, "float32", "float32"], [dtype, "float32", "float32"]


@op("_contrib_quantized_flatten")
class QuantizedFlatten(_Kept, Flatten):
    """(N, ...) as (N, M).  MXNet operator _contrib_quantized_flatten."""

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        return [x[0]("Flatten"), *ranges[0]]


@op("_contrib_quantized_act")
class QuantizedAct(_Kept, Activation):
    """max(x, 0).  MXNet operator _contrib_quantized_act, which takes uint8 data for int8."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        if self.act_type != "relu":
            raise ArgumentError(f"only supports act_type relu, got {self.act_type}")
        require("data", ins[0])
        return super().infer_dtype(ins, outs)

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        return [x[0]("_maximum_scalar", scalar=0), *ranges[0]]


@op("_integer_pooling")
class IntegerPooling(Pooling):
    """Maxima of windows of int8 or uint8 data (N, C, *in)."""

    is_internal = True

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype], [dtype]


@op("_contrib_quantized_pooling")
class QuantizedPooling(_Kept, Pooling):
    """Maxima, or averages rounded to the nearest integer.  MXNet operator _contrib_quantized_pooling.

    As in oneDNN, averages that count the padding divide by the whole window, wherever it lies, and the maximum of a
    window without data is the least integer.
    """

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        if self.pool_type not in ("max", "avg"):
            raise ArgumentError(f"only supports pool_type max and avg, got {self.pool_type}")
        require("data", ins[0])
        return super().infer_dtype(ins, outs)

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        (data,), params = x, self.given_params()
        if self.pool_type == "max":
            return [data("_integer_pooling", **params), *ranges[0]]
        wide = data.cast("float32")
        if self.counts_padding:
            size = math.prod(data.shape[2:] if self.global_pool else self.kernel)
            return [saturated(wide("Pooling", **{**params, "pool_type": "sum"}) / size, data.dtype), *ranges[0]]
        return [saturated(wide("Pooling", **params), data.dtype), *ranges[0]]


@op("_contrib_quantized_concat")
class QuantizedConcat(Ranged, Concat):
    """The inputs one after the other, rescaled to one range; int8 where one of them is.

    MXNet operator _contrib_quantized_concat.
    """

    @classmethod
    def counted(cls, n_inputs: int) -> int:
        return n_inputs // 3

    def plain_names(self) -> tuple[str, ...]:
        return tuple(f"arg{k}" for k in range(self.num_args))

    def ranges_of(self, plain: Sequence[str]) -> tuple[str, ...]:
        return ends_of(plain)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        n = self.num_args
        for k, dtype in enumerate(ins[:n]):
            require(f"arg{k}", dtype)
        dtype = "int8" if "int8" in ins[:n] else None if None in ins[:n] else "uint8"
        return [*ins[:n], *["float32"] * (2 * n)], [dtype, "float32", "float32"]

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        low, high = ranges[0][0] * 0, ranges[0][0] * 0
        for start, end in ranges:
            low, high = low("broadcast_minimum", start), high("broadcast_maximum", end)
        dtype = "int8" if any(t.dtype == "int8" for t in x) else "uint8"
        scale = scale_of(dtype, low, high)
        parts = [saturated(t.cast("float32") * (scale / scale_of(t.dtype, *ends)), dtype) for t, ends in zip(x, ranges)]
        return [parts[0]("Concat", *parts[1:], num_args=self.num_args, dim=self.dim), low, high]


@declares_parameters
class _Elements(Ranged):
    """Two tensors of one shape."""

    plain = ("lhs", "rhs")
    arguments = (*plain, "lhs_min", "lhs_max", "rhs_min", "rhs_max")

    min_calib_range: float | None = param(None, doc="lower end of the result's range; without it, 32-bit integers")
    max_calib_range: float | None = param(None, doc="upper end of the result's range; without it, 32-bit integers")

    def ranges_of(self, plain: Sequence[str]) -> tuple[str, ...]:
        return ends_of(plain)


@op("_contrib_quantized_elemwise_add")
class QuantizedElemwiseAdd(_Elements):
    """lhs + rhs; int32, or with a calibrated range 8 bits: int8 unless both are uint8.

    Where one is uint8 and the other int8, the former is rounded to an int8 of the result's range before it is added.
    MXNet operator _contrib_quantized_elemwise_add.
    """

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        for name, dtype in zip(self.plain, ins):
            require(name, dtype)
        dtype = "int32"
        if self.calibrated:
            known = None not in ins[:2]
            dtype = None if not known else ins[0] if ins[0] == ins[1] else "int8"  # type: ignore[assignment]
        return [*ins[:2], *["float32"] * 4], [dtype, "float32", "float32"]

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        a, b = (symmetric(*r) for r in ranges)
        if self.calibrated:
            dtype = x[0].dtype if x[0].dtype == x[1].dtype else "int8"
            ends = constant_range(a, *self.calibrated)
            scale = scale_of(dtype, *ends)
            factors = [scale / scale_of(t.dtype, *r) for t, r in zip(x, ranges)]
        else:
            dtype, ends = "int32", [-(a + b), a + b]
            factors = [s * HALF_STEPS[dtype] / ((a + b) * HALF_STEPS[t.dtype]) for s, t in zip((a, b), x)]
        terms = [t.cast("float32") * factor for t, factor in zip(x, factors)]
        if x[0].dtype != x[1].dtype:
            terms = [saturated(v, "int8").cast("float32") if t.dtype == "uint8" else v for t, v in zip(x, terms)]
        return [saturated(terms[0] + terms[1], dtype), *ends]


@op("_contrib_quantized_elemwise_mul")
class QuantizedElemwiseMul(_Elements):
    """lhs * rhs of int8: int32; with a calibrated range int8, cut toward 0; or float32.

    MXNet operator _contrib_quantized_elemwise_mul.
    """

    enable_float_output: bool = param(False, doc="give float32, without a range")

    def result_names(self) -> tuple[str, ...]:
        return self.results[:1] if self.enable_float_output else self.results

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        for name, dtype in zip(self.plain, ins):
            require(name, dtype, ("int8",))
        ins = ["int8", "int8", *["float32"] * 4]
        if self.enable_float_output:
            return ins, ["float32"]
        return ins, ["int8" if self.calibrated else "int32", "float32", "float32"]

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        product = x[0].cast("int32") * x[1].cast("int32")
        a, b = (scale_of("int8", *r) for r in ranges)
        if self.enable_float_output:
            return [product.cast("float32") * (1.0 / a / b)]
        if self.calibrated is None:
            return [product, *product_range("int8", *ranges)]
        ends = constant_range(a, *self.calibrated)
        return [(product.cast("float32") * (scale_of("int8", *ends) / a / b)).cast("int8"), *ends]


@op("_contrib_quantized_batch_norm")
class QuantizedBatchNorm(Ranged, BatchNorm):
    """BatchNorm by the moving statistics, of 8-bit data, to int8 of a calibrated range.

    As in MXNet, gamma counts even under fix_gamma, and eps is added once more to the variance of 1 that is left.
    MXNet operator _contrib_quantized_batch_norm.
    """

    plain = ("data", "gamma", "beta", "moving_mean", "moving_var")  # states before the range, as MXNet has them
    ranged = ("data",)
    arguments = ("data", "gamma", "beta", "min_data", "max_data")

    @classmethod
    def tensor_names(cls) -> tuple[str, ...]:
        return (*cls.plain, *cls.arguments[3:])

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require("data", ins[0])
        if self.calibrated is None:
            raise ArgumentError("needs a calibrated range: min_calib_range and max_calib_range")
        return [ins[0], *["float32"] * 6], ["int8", "float32", "float32"]

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        data, gamma, beta, mean, variance = x
        if data.dtype == "uint8":
            data = saturated(data.cast("float32") * (HALF_STEPS["int8"] / HALF_STEPS["uint8"]), "int8")
        ends = constant_range(gamma, *self.calibrated)
        limit = symmetric(*ends)
        inverse_std = (1.0 / (variance.cast("float64") + self.eps)("sqrt")).cast("float32")
        scale = gamma * inverse_std * symmetric(*ranges[0]) / limit / math.sqrt(1 + self.eps)
        shift = (beta - mean * gamma * inverse_std) * HALF_STEPS["int8"] / limit
        axis = normalize_axis(self.axis, len(data.shape))
        return [saturated(data.cast("float32")("_scale_shift", scale, shift, axis=axis), "int8"), *ends]


@op("_contrib_quantized_embedding")
class QuantizedEmbedding(Ranged, Embedding):
    """Rows of an int8 weight.  MXNet operator _contrib_quantized_embedding."""

    plain = ("data", "weight")
    ranged = ("weight",)
    arguments = (*plain, "min_weight", "max_weight")
    trained = frozenset({"weight", "min_weight", "max_weight"})

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require("weight", ins[1], ("int8",))
        return [ins[0], "int8", "float32", "float32"], ["int8", "float32", "float32"]

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        rows = x[0]("Embedding", x[1], input_dim=self.input_dim, output_dim=self.output_dim, dtype="int8")
        return [rows, *ranges[0]]
