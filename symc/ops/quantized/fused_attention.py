"""Self-attention as MXNet's oneDNN backend writes it into files: _sg_mkldnn_selfatt_qk and .._valatt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from math import sqrt
from typing import ClassVar

from symc.core.errors import ArgumentError
from symc.core.shapes import FullShape
from symc.ir.graph import Graph
from symc.ir.op import DTypes, declares_parameters, op, param
from symc.ops.rules.terms import Term

from .fused import Fused, steps
from .ranges import constant_range, require, saturated, symmetric

EXACT = 2.0**24  # float32 holds every integer up to here
LARGEST_PRODUCT = 255.0 * 128.0


@declares_parameters
class FusedAttention(Fused):
    """What both share. Quantised, the output is float32 with enable_float_output, else int8 in its calibrated range."""

    tensors: ClassVar[dict[str, str]]  # the float operator's inputs, and the dtypes that they are quantised to
    ranged: ClassVar[tuple[str, ...]]  # what their ranges are named after
    renamed: ClassVar[dict[str, str]] = {}

    bodies: tuple[Graph, ...] = field(default=())
    heads: int = param(low=1, doc="number of heads")
    quantized: bool = param(False, doc="whether the data are 8-bit integers")
    enable_float_output: bool = param(False, doc="give float32, without a range")
    min_calib_range: float | None = param(None, doc="lower end of the result's range")
    max_calib_range: float | None = param(None, doc="upper end of the result's range")

    def argument_names(self) -> tuple[str, ...]:
        ends = tuple(f"{end}_{name}" for name in self.ranged for end in ("min", "max"))
        return (*self.tensors, *(ends if self.quantized else ()))

    def result_names(self) -> tuple[str, ...]:
        is_ranged = self.quantized and not self.enable_float_output
        return ("output", "min_output", "max_output") if is_ranged else ("output",)

    @property
    def result_dtype(self) -> str:
        return "float32" if self.enable_float_output else "int8"

    def quantized_dtypes(self, ins: DTypes) -> DTypes:
        for (name, wanted), dtype in zip(self.tensors.items(), ins):
            require(name, dtype, (wanted,))
        return [*self.tensors.values(), *["float32"] * (len(ins) - len(self.tensors))]

    def compute(self, x: Sequence[Term]) -> Sequence[Term]:
        if self.calibrated is None and not self.enable_float_output:
            raise ArgumentError(f"{self.name} needs a calibrated range or enable_float_output")
        n = len(self.tensors)
        scales = [steps(a.dtype, symmetric(*ends)) for a, ends in zip(x, zip(x[n::2], x[n + 1 :: 2]))]
        ends = constant_range(x[0], *self.calibrated or (0.0, 0.0))
        out_steps = 1.0 if self.enable_float_output else steps("int8", symmetric(*ends))
        exact = "float32" if self.n_products(x[0].shape) * LARGEST_PRODUCT <= EXACT else "float64"
        sums, divisor = self.sums([a.cast(exact) for a in x[:n]])
        factor = out_steps / (scales[0] * scales[-1]) / divisor
        found = sums.cast("float32") * factor.reshape((1, 1, 1))
        return [found] if self.enable_float_output else [saturated(found, "int8"), *ends]

    def n_products(self, shape: FullShape) -> int:
        """How many each sum has, from the shape of queries, keys and values."""
        raise NotImplementedError

    def sums(self, x: Sequence[Term]) -> tuple[Term, float]:
        """The sums of products, and what they are to be divided by."""
        raise NotImplementedError


@op("_sg_mkldnn_selfatt_qk")
class FusedScores(FusedAttention):
    """_contrib_interleaved_matmul_selfatt_qk, of int8 or of floats.  MXNet operator _sg_mkldnn_selfatt_qk."""

    layer = "_contrib_interleaved_matmul_selfatt_qk"
    arguments = ("queries_keys_values",)
    tensors: ClassVar[dict[str, str]] = {"queries_keys_values": "int8"}
    ranged = ("qkv",)

    def n_products(self, shape: FullShape) -> int:
        return shape[2] // (3 * self.heads)

    def sums(self, x: Sequence[Term]) -> tuple[Term, float]:
        queries, keys = (self.plain.projection(x[0], k, 3) for k in (0, 1))
        return queries("batch_dot", keys, transpose_b=True), sqrt(queries.shape[2])


@op("_sg_mkldnn_selfatt_valatt")
class FusedValues(FusedAttention):
    """_contrib_interleaved_matmul_selfatt_valatt, of int8 values and uint8 attention, or of floats.

    MXNet operator _sg_mkldnn_selfatt_valatt.
    """

    layer = "_contrib_interleaved_matmul_selfatt_valatt"
    arguments = ("queries_keys_values", "attention")
    tensors: ClassVar[dict[str, str]] = {"queries_keys_values": "int8", "attention": "uint8"}
    ranged = ("qkv", "attention")

    def n_products(self, shape: FullShape) -> int:
        return shape[0]

    def sums(self, x: Sequence[Term]) -> tuple[Term, float]:
        return self.plain.compose(*x)[0], 1.0
