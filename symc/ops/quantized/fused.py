"""Layers as MXNet's oneDNN backend writes them into files, fused with what follows: _sg_mkldnn_conv and relatives.

Their body is the float subgraph they stand for. Without `quantized` they are that body. With it, 8-bit data comes with
its range, sums are exact, and what follows is computed on them in float32, as oneDNN does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from symc.core.errors import ArgumentError
from symc.core.lazy import lazy
from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Graph, Node, Value
from symc.ir.infer import dtypes_through, shapes_through
from symc.ir.op import DTypes, Op, Shapes, op, param
from symc.ops.rules.terms import Term

from .ranges import HALF_STEPS, calibration, constant_range, product_range, require, saturated, symmetric

LARGEST_BIAS = 2.0**30  # oneDNN's int32 biases stay below
FOLLOWING = ("Activation", "LeakyReLU", "clip", "square", "sqrt", "exp", "abs")


def steps(dtype: str, limit: Term) -> Term:
    """Steps for each unit of what integers with that largest size stand for; where it is 0, 2^31."""
    return limit.equals(0).choose(limit.zeros() + 2.0**31, HALF_STEPS[dtype] / limit)


class Fused(Op):
    """What all of them share."""

    n_bodies = 1
    layer: ClassVar[str]  # the float layer in the body
    renamed: ClassVar[dict[str, str]]  # parameters by the names that older files give them

    if TYPE_CHECKING:
        quantized: bool
        min_calib_range: float | None
        max_calib_range: float | None

    @classmethod
    def create(cls, given: Mapping[str, Any]) -> Op:
        return super().create({cls.renamed.get(key, key): value for key, value in given.items()})

    @property
    def body(self) -> Graph:
        """The float layer and what follows it; raises ArgumentError without one (only files have them)."""
        if not self.bodies:
            raise ArgumentError(f"{self.name} has no subgraph; such operators are read from files, not called")
        return self.bodies[0]

    @property
    def calibrated(self) -> tuple[float, float] | None:
        """The range of the result that calibration found."""
        return calibration(self.min_calib_range, self.max_calib_range)

    def nodes_of(self, *names: str) -> list[Node]:
        """The nodes of the body with one of these operators."""
        return [node for node in self.body.nodes if not node.is_input and node.operator.name in names]

    @lazy
    def plain(self) -> Any:
        """The float layer."""
        found = self.nodes_of(self.layer)
        if len(found) != 1:
            raise ArgumentError(f"{self.name}: its subgraph has {len(found)} nodes {self.layer}, expected one")
        return found[0].operator

    @property
    def n_plain(self) -> int:
        """How many inputs the body has."""
        return len(tuple(self.body.inputs))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        found, out = shapes_through(self.body, ins[: self.n_plain], outs[:1])
        return [*found, *(unify(s, (1,)) for s in ins[self.n_plain :])], [*out, *[(1,)] * (len(outs) - 1)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        if not self.quantized:
            return dtypes_through(self.body, ins, outs)
        require("data", ins[0])
        return self.quantized_dtypes(ins), [self.result_dtype, *["float32"] * (len(outs) - 1)]

    @property
    def result_dtype(self) -> str:
        """The dtype of the output."""
        raise NotImplementedError

    def quantized_dtypes(self, ins: DTypes) -> DTypes:
        """The dtypes of the inputs, where data is 8-bit integers."""
        raise NotImplementedError

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        if not self.quantized:
            return g.inline(self.body, x)
        return [t.value for t in self.compute([Term(g, v) for v in x])]

    def compute(self, x: Sequence[Term]) -> Sequence[Term]:
        """The outputs, of 8-bit data."""
        raise NotImplementedError


@op("_sg_mkldnn_conv")
class FusedConvolution(Fused):
    """Convolution, then as the flags say BatchNorm, an activation, a sum with another tensor, another activation.

    Quantised: data (int8 or uint8) and the sum's tensor come with their ranges, parameters are float32. With a
    calibrated range weights have a scale for each channel, and the output is uint8 behind a relu, else int8; without
    one it is int32. As in MXNet, a sum saturates in the dtype of the tensor that is added: behind a relu, with an int8
    tensor, at 127 instead of 255.  MXNet operator _sg_mkldnn_conv.
    """

    layer = "Convolution"
    renamed: ClassVar[dict[str, str]] = {"with_relu": "with_act", "with_postsum_relu": "with_postsum_act"}
    arguments = ("data", "weight")
    trained = frozenset({"weight", "bias", "gamma", "beta"})

    bodies: tuple[Graph, ...] = field(default=())
    with_bn: bool = param(False, doc="whether a BatchNorm follows the convolution")
    with_act: bool = param(False, doc="whether an activation follows")
    with_sum: bool = param(False, doc="whether another tensor is added")
    with_postsum_act: bool = param(False, doc="whether an activation follows the sum")
    quantized: bool = param(False, doc="whether the data are 8-bit integers")
    min_calib_range: float | None = param(None, doc="lower end of the result's range")
    max_calib_range: float | None = param(None, doc="upper end of the result's range")

    @classmethod
    def create(cls, given: Mapping[str, Any]) -> Op:
        made: Any = super().create(given)
        return NormedConvolution(**vars(made)) if made.with_bn else made

    def input_names(self) -> tuple[str, ...]:
        if not self.bodies:
            return self.arguments
        names = self.plain.argument_names()
        names += ("gamma", "beta", *self.aux) if self.with_bn else ()
        names += ("sum",) if self.with_sum else ()
        if not self.quantized:
            return names
        return (*names, "data_min", "data_max", *(("sum_min", "sum_max") if self.with_sum else ()))

    def argument_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.input_names() if name not in self.aux)

    def result_names(self) -> tuple[str, ...]:
        return ("output", "output_min", "output_max") if self.quantized else ("output",)

    @property
    def result_dtype(self) -> str:
        if self.calibrated is None:
            return "int32"
        last = self.activations[1] if self.with_sum else self.activations[0]
        return "int8" if last is None or _slope(last) else "uint8"

    def quantized_dtypes(self, ins: DTypes) -> DTypes:
        kept = {"data", "sum"}
        return [d if name in kept else "float32" for name, d in zip(self.input_names(), ins)]

    @property
    def activations(self) -> tuple[Op | None, Op | None]:
        """Those before and behind the sum."""
        found = [node.operator for node in self.nodes_of(*FOLLOWING)]
        if len(found) != self.with_act + self.with_postsum_act:
            raise ArgumentError(f"{self.name}: its subgraph has {len(found)} activations, its flags say otherwise")
        return found[0] if self.with_act else None, found[-1] if self.with_postsum_act else None

    def compute(self, x: Sequence[Term]) -> Sequence[Term]:
        of = dict(zip(self.input_names(), x))
        data, data_range = of["data"], (of["data_min"], of["data_max"])
        data_steps = steps(data.dtype, symmetric(*data_range))
        weight, bias = self._without_norm(of)
        spread = (weight.shape[0], *(1,) * (len(weight.shape) - 1))
        across = (1, weight.shape[0], *spread[2:])
        if self.calibrated:
            weight_steps = _channel_steps(weight, bias, data_steps)
            ends = constant_range(data_steps, *self.calibrated)
            out_steps = steps(self.result_dtype, symmetric(*ends))
            factor: Term | None = (out_steps / data_steps / weight_steps).reshape(across)
        else:
            size = (weight("min"), weight("max"))
            weight_steps = steps("int8", symmetric(*size))
            ends = product_range(data.dtype, size, data_range)
            out_steps, factor = data_steps * weight_steps, None
        scale = weight_steps.reshape(spread) if self.calibrated else weight_steps
        sums = data("_integer_convolution", saturated(weight * scale, "int8"), **_without_bias(self.plain))
        before, behind = self.activations
        if before is not None and before.name == "clip" and not self.with_sum:
            before = None  # the largest integer is its upper end
        if bias is factor is before is behind is None and not self.with_sum:
            return [sums, *ends]
        total = sums.cast("float32")
        if bias is not None:
            total = total + saturated(bias * (weight_steps * data_steps), "int32").cast("float32").reshape(across)
        if factor is not None:
            total = total * factor
        if before is not None:
            total = _followed(total, before, out_steps)
        if self.with_sum:
            added, sum_range = of["sum"], (of["sum_min"], of["sum_max"])
            total = total + added.cast("float32") * (out_steps / steps(added.dtype, symmetric(*sum_range)))
        if behind is not None:
            total = _followed(total, behind, out_steps)
        if self.with_sum and self.calibrated:  # written over the other tensor, in its dtype, and read as this one's
            return [saturated(total, of["sum"].dtype).cast(self.result_dtype), *ends]
        return [saturated(total, self.result_dtype), *ends]

    def _without_norm(self, of: Mapping[str, Term]) -> tuple[Term, Term | None]:
        """Weight and bias of the convolution that is all of convolution and BatchNorm."""
        weight, bias = of["weight"], of.get("bias")
        for norm in self.nodes_of("BatchNorm"):
            n: Any = norm.operator
            root = (of["var"].cast("float64") + n.eps)("sqrt")
            factor = (1.0 / root if n.fix_gamma else of["gamma"].cast("float64") / root).cast("float32")
            centre = of["mean"] * -1.0 if bias is None else bias - of["mean"]
            bias = of["beta"] + factor * centre
            weight = weight * factor.reshape((weight.shape[0], *(1,) * (len(weight.shape) - 1)))
        return weight, bias


class NormedConvolution(FusedConvolution):
    """With a BatchNorm behind it, which has states."""

    aux = ("mean", "var")


@op("_sg_mkldnn_fully_connected")
class FusedFullyConnected(Fused):
    """FullyConnected, then a function of its elements.

    Quantised: data (int8 or uint8), int8 weight and bias come with their ranges; under channel_wise_quantize the latter
    are float32 and get a scale for each row. With a calibrated range the output is uint8 behind a function, else int8;
    with enable_float_output it is float32, without a range; else int32.  MXNet operator _sg_mkldnn_fully_connected.
    """

    layer = "FullyConnected"
    renamed: ClassVar[dict[str, str]] = {"with_relu": "with_eltwise"}
    arguments = ("data", "weight")

    bodies: tuple[Graph, ...] = field(default=())
    quantized: bool = param(False, doc="whether the data are 8-bit integers")
    enable_float_output: bool = param(False, doc="give float32, without a range")
    with_eltwise: bool = param(False, doc="whether a function of the elements follows")
    min_calib_range: float | None = param(None, doc="lower end of the result's range")
    max_calib_range: float | None = param(None, doc="upper end of the result's range")
    channel_wise_quantize: bool | None = param(None, doc="whether weights come as floats, with a scale for each row")

    @lazy
    def trained(self) -> frozenset[str]:  # type: ignore[override]
        """All but the data and its range."""
        return frozenset(self.argument_names()[1:]) - {"min_data", "max_data"}

    def argument_names(self) -> tuple[str, ...]:
        if not self.bodies:
            return self.arguments
        names = tuple(node.name for node in self.body.inputs)
        if not self.quantized:
            return names
        ranged = ("data",) if self.channel_wise_quantize else self.plain.argument_names()
        return (*names, *(f"{end}_{name}" for name in ranged for end in ("min", "max")))

    def result_names(self) -> tuple[str, ...]:
        if self.quantized and not self.enable_float_output:
            return ("output", "min_output", "max_output")
        return ("output",)

    @property
    def result_dtype(self) -> str:
        if self.enable_float_output:
            return "float32"
        return "int32" if self.calibrated is None else "uint8" if self.with_eltwise else "int8"

    def quantized_dtypes(self, ins: DTypes) -> DTypes:
        weights = "float32" if self.channel_wise_quantize else "int8"
        return [ins[0], *[weights] * (self.n_plain - 1), *["float32"] * (len(ins) - self.n_plain)]

    def compute(self, x: Sequence[Term]) -> Sequence[Term]:
        data, weight, *biases = x[: self.n_plain]
        ranges = list(zip(x[self.n_plain :: 2], x[self.n_plain + 1 :: 2]))
        data_steps = steps(data.dtype, symmetric(*ranges[0]))
        if self.channel_wise_quantize:
            if self.result_dtype == "int32":
                raise ArgumentError(f"{self.name}: channel_wise_quantize needs a calibrated range or float output")
            bias = biases[0] if biases else None
            weight_steps = _channel_steps(weight, bias, data_steps)
            weight = saturated(weight * weight_steps.reshape((-1, 1)), "int8")
            biases = [saturated(b * (weight_steps * data_steps), "int32") for b in biases]
        else:
            weight_steps = steps("int8", symmetric(*ranges[1]))
            for low, high in ranges[2:]:
                weight, bias, weight_steps = _rescaled(weight, biases[0], (low, high), data_steps, weight_steps)
                biases = [bias]
        sums = data("_integer_fully_connected", weight, **_without_bias(self.plain))
        functions = [node.operator for node in self.nodes_of(*FOLLOWING)] if self.with_eltwise else []
        total = sums.cast("float32")
        for bias in biases:
            total = total + bias.cast("float32")
        if self.result_dtype == "int32":
            is_sum = not biases and not functions
            out = sums if is_sum else saturated(_all_followed(total, functions), "int32")
            return [out, *product_range(data.dtype, *ranges[:2])]
        if self.enable_float_output and self.calibrated is None:
            return [_all_followed(total * (1.0 / data_steps / weight_steps), functions)]
        ends = constant_range(data_steps, *self.calibrated or (0.0, 0.0))
        out_steps = steps(self.result_dtype, symmetric(*ends))
        if functions:
            total = _all_followed(total * (1.0 / data_steps / weight_steps), functions) * out_steps
        else:
            total = total * (out_steps / data_steps / weight_steps)
        return [saturated(total, self.result_dtype), *ends]


def _without_bias(layer: Op) -> dict[str, Any]:
    return {**layer.given_params(), "no_bias": True}


def _slope(activation: Any) -> float:
    """The slope of a relu on the negative side."""
    return activation.slope if activation.name == "LeakyReLU" else 0.0


def _channel_steps(weight: Term, bias: Term | None, data_steps: Term) -> Term:
    """Steps of each row of a float weight, (O,), so few that its bias stays below oneDNN's largest one."""
    found = steps("int8", weight.reshape((weight.shape[0], -1))("abs")("max", axis=(1,)))
    if bias is None:
        return found
    size = bias("abs")
    most = size.equals(0).choose(found, LARGEST_BIAS / size / data_steps)
    return found("broadcast_minimum", most)


def _rescaled(
    weight: Term, bias: Term, ends: tuple[Term, Term], data_steps: Term, weight_steps: Term
) -> tuple[Term, Term, Term]:
    """An int8 weight, the bias in steps of the sums, and the weight's steps; fewer where the bias would not fit."""
    limit = symmetric(*ends)
    bias_steps = steps("int8", limit)
    wanted = data_steps * weight_steps / bias_steps
    most = LARGEST_BIAS / limit / bias_steps
    factor = wanted("broadcast_minimum", most)
    shrunk = (wanted > most).choose(factor * bias_steps / data_steps / weight_steps, factor.zeros() + 1.0)
    weight = (weight.cast("float32") * shrunk)("round").cast("int8")
    return weight, (bias.cast("float32") * factor)("round").cast("int32"), weight_steps * shrunk


def _all_followed(x: Term, functions: Sequence[Op]) -> Term:
    for function in functions:
        x = _bounded(x, function.a_max) if function.name == "clip" else Term(x.g, x.g.apply(function, [x.value])[0])
    return x


def _bounded(x: Term, limit: Term | float) -> Term:
    """Any clip is oneDNN's bounded relu: from 0 up to its upper end."""
    positive = x("_maximum_scalar", scalar=0)
    if isinstance(limit, Term):
        return positive("broadcast_minimum", limit.reshape((1,) * len(x.shape)))
    return positive("_minimum_scalar", scalar=limit)


def _followed(x: Term, activation: Any, out_steps: Term) -> Term:
    """An activation of what is counted in `out_steps` already: relu, leaky or not, or clip."""
    if activation.name == "clip":
        return _bounded(x, out_steps * activation.a_max)
    if activation.act_type == "relu":
        return x("_maximum_scalar", scalar=0)
    if activation.act_type == "leaky":
        return x("LeakyReLU", act_type="leaky", slope=activation.slope)
    raise ArgumentError(f"an activation {activation.act_type} of quantised sums; MXNet fuses relu and leaky there")
