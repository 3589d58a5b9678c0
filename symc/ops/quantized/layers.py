"""Layers on 8-bit integers, summed up exactly in int32: quantized_conv, quantized_fully_connected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from symc.core.errors import ShapeError
from symc.ir.op import DTypes, Op, Shapes, op
from symc.ops.math.dense import FullyConnected
from symc.ops.nn.convolution import Convolution
from symc.ops.rules.terms import Term

from .ranges import HALF_STEPS, Ranged, product_range, require, saturated, scale_of, symmetric


class _IntegerSums(Op):
    """Put before the class of a layer: sums of products of 8-bit integers, int32.

    Where a machine computes them in floats, which then hold every sum exactly, so are operands and result.
    """

    is_internal = True

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        is_float = ins[0] is not None and ins[0].startswith("float")
        return ins, [ins[0] if is_float else "int32"]


@op("_integer_convolution")
class IntegerConvolution(_IntegerSums, Convolution):
    """Convolution of int8 or uint8 data (N, C, *in) with an int8 weight, without a bias, in int32."""

    is_internal = True


@op("_integer_fully_connected")
class IntegerFullyConnected(_IntegerSums, FullyConnected):
    """FullyConnected of int8 or uint8 data with an int8 weight, without a bias, in int32."""

    is_internal = True


def in_steps_of_sums(bias: Term, data: str, ranges: Sequence[tuple[Term, Term]]) -> Term:
    """An int8 bias in int32, in steps of the sums; ranges of data, weight and bias."""
    steps = scale_of(data, *ranges[0]) * scale_of("int8", *ranges[1])
    return (bias.cast("float32") * (steps * symmetric(*ranges[2]) / HALF_STEPS["int8"])).cast("int32")


def with_bias(sums: Term, bias: Term) -> Term:
    """int32 sums and a bias, added in float32 as oneDNN does it."""
    return saturated(sums.cast("float32") + bias.cast("float32"), "int32")


class _Layer(Ranged):
    """data (int8 or uint8), weight and bias (int8), each with its range -> int32 sums and their range."""

    plain = ("data", "weight", "bias")
    arguments = (*plain, "min_data", "max_data", "min_weight", "max_weight", "min_bias", "max_bias")
    trained = frozenset({"weight", "bias", "min_weight", "max_weight", "min_bias", "max_bias"})

    if TYPE_CHECKING:
        no_bias: bool

    def plain_names(self) -> tuple[str, ...]:
        return self.plain[:2] if self.no_bias else self.plain

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        require("data", ins[0])
        n = len(ins) // 3
        for name, dtype in zip(self.plain_names()[1:], ins[1:n]):
            require(name, dtype, ("int8",))
        return [ins[0], *["int8"] * (n - 1), *["float32"] * (2 * n)], ["int32", "float32", "float32"]


@op("_contrib_quantized_conv")
class QuantizedConv(_Layer, Convolution):
    """Convolution of 8-bit integers.  MXNet operator _contrib_quantized_conv.

    As in MXNet, the bias is added to sums of uint8 data as it is, whatever its range, and their range is that of int8
    data. MXNet refuses these, and more than one group.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if self.is_channels_last or self.n_spatial not in (2, 3):
            raise ShapeError(
                "expected a kernel of 2 or 3 extents and channels first, "
                f"got kernel={self.kernel}, layout={self.layout}"
            )
        return super().infer_shape(ins, outs)

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        sums = x[0]("_integer_convolution", x[1], **{**self.given_params(), "no_bias": True})
        for bias in x[2:]:
            added = bias if x[0].dtype == "uint8" else in_steps_of_sums(bias, x[0].dtype, ranges)
            sums = with_bias(sums, added.reshape((1, self.num_filter, *(1,) * self.n_spatial)))
        return [sums, *product_range("int8", *ranges[:2])]


@op("_contrib_quantized_fully_connected")
class QuantizedFullyConnected(_Layer, FullyConnected):
    """FullyConnected of 8-bit integers.  MXNet operator _contrib_quantized_fully_connected."""

    def compute(self, x: Sequence[Term], ranges: Sequence[tuple[Term, Term]]) -> Sequence[Term]:
        data, weight, *biases = x
        sums = data("_integer_fully_connected", weight, **{**self.given_params(), "no_bias": True})
        for bias in biases:
            sums = with_bias(sums, in_steps_of_sums(bias, data.dtype, ranges))
        return [sums, *product_range(data.dtype, *ranges[:2])]
