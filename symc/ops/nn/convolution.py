"""Convolution and Deconvolution in one, two and three dimensions, and the products they differentiate to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, Shape, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, declares_parameters, op, param
from symc.loopir.kernel import Window
from symc.loopir.tensor import Lowering
from symc.ops.rules.layers import Layer
from symc.ops.rules.terms import flows, scaled_parameters

TUNINGS = ("fastest", "limited_workspace", "off")
LAYOUTS = ("NCDHW", "NCHW", "NCW", "NDHWC", "NHWC")


@declares_parameters
class Sliding(Op):
    """A kernel sliding over the spatial axes; parameters left empty are ones (stride, dilate) or zeros (pad)."""

    kernel: tuple[int, ...] = param(doc="extents of the kernel: (w,), (h, w) or (d, h, w)")
    stride: tuple[int, ...] = param((), doc="step of the kernel along each spatial axis; ones by default")
    dilate: tuple[int, ...] = param((), doc="distance between the taps along each spatial axis; ones by default")
    pad: tuple[int, ...] = param((), doc="zeros added on both sides of each spatial axis; none by default")

    @property
    def n_spatial(self) -> int:
        return len(self.kernel)

    @property
    def strides(self) -> FullShape:
        return self.stride or (1,) * self.n_spatial

    @property
    def dilations(self) -> FullShape:
        return self.dilate or (1,) * self.n_spatial

    @property
    def pads(self) -> FullShape:
        return self.pad or (0,) * self.n_spatial

    @property
    def spans(self) -> FullShape:
        """Extents of the dilated kernel."""
        return tuple(1 + (k - 1) * d for k, d in zip(self.kernel, self.dilations))

    def window(self, in_extents: FullShape, out_extents: FullShape) -> Window:
        """The geometry of the convolution between two spatial extents."""
        return Window(in_extents, out_extents, self.kernel, self.strides, self.dilations, self.pads)

    def check_geometry(self, data: Shape) -> None:
        """Raises ShapeError when the parameters and the data's rank do not belong together."""
        names = {1: "x", 2: "y-x", 3: "depth-y-x"}
        if self.n_spatial not in names:
            raise ShapeError(f"Unknown convolution type: kernel {self.kernel} must have 1, 2 or 3 extents")
        if len(data) != self.n_spatial + 2:
            raise ShapeError(
                f"Input data should be {self.n_spatial + 2}D in batch-num_filter-{names[self.n_spatial]}, "
                f"got {mx_text(data)}"
            )
        for name, value in (("stride", self.strides), ("dilate", self.dilations), ("pad", self.pads)):
            if len(value) != self.n_spatial:
                raise ShapeError(f"{name} {value} must have as many extents as kernel {self.kernel}")
        for name, value in (("kernel", self.kernel), ("stride", self.strides), ("dilate", self.dilations)):
            if min(value) < 1:
                raise ShapeError(f"incorrect {name} size: {value}")


@declares_parameters
class _ConvolutionLike(Sliding):
    """What Convolution and Deconvolution share: arguments, the channels-last layouts, the bias."""

    arguments: ClassVar[tuple[str, ...]] = ("data", "weight", "bias")
    trained: ClassVar[frozenset[str]] = frozenset({"weight", "bias"})

    if TYPE_CHECKING:  # declared by the operators, each at its place in MXNet's order
        num_filter: int
        num_group: int
        no_bias: bool
        layout: str | None

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments[:2] if self.no_bias else self.arguments

    @property
    def is_channels_last(self) -> bool:
        return self.layout is not None and self.layout.endswith("C")

    def to_first(self, shape: Shape | None) -> Shape | None:
        """A shape of this layout as (N, C, *spatial)."""
        return shape if shape is None or not self.is_channels_last else (shape[0], shape[-1], *shape[1:-1])

    def from_first(self, shape: Shape) -> Shape:
        """The inverse of `to_first`."""
        return (shape[0], *shape[2:], shape[1]) if self.is_channels_last else shape

    def channels_first(self, g: GraphBuilder, value: Value) -> Value:
        """A value of this layout as (N, C, *spatial)."""
        if not self.is_channels_last:
            return value
        last = self.n_spatial + 1
        return g("transpose", value, axes=(0, last, *range(1, last)))

    def channels_last(self, g: GraphBuilder, value: Value) -> Value:
        """The inverse of `channels_first`."""
        return g("transpose", value, axes=(0, *range(2, self.n_spatial + 2), 1)) if self.is_channels_last else value

    def check_groups(self, in_channels: int | None) -> None:
        """Raises ShapeError when channels cannot be split into the groups."""
        if in_channels is not None and in_channels % self.num_group:
            raise ShapeError(
                f"input num_filter must divide group size: {in_channels} channels, {self.num_group} groups"
            )
        if self.num_filter % self.num_group:
            raise ShapeError(
                f"output num_filter must divide group size: {self.num_filter} filters, {self.num_group} groups"
            )

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        """Channels-last layouts become transposes around the channels-first operator."""
        if not self.is_channels_last:
            return None
        params = {**self.given_params(), "layout": None}
        first = [self.channels_first(g, v) for v in x[:2]]
        return [self.channels_last(g, g(self.name, *first, *x[2:], **params))]

    def bias_gradient(self, g: GraphBuilder, dy: Value) -> list[Value]:
        """The gradient of the bias from dy (N, C, *spatial), as a list that is empty without one."""
        return [] if self.no_bias else [g("sum", dy, axis=(1,), exclude=True)]

    def sliding_params(self) -> dict[str, FullShape | int]:
        """The parameters of the gradients' operators."""
        return {
            "kernel": self.kernel,
            "stride": self.strides,
            "dilate": self.dilations,
            "pad": self.pads,
            "num_group": self.num_group,
        }


@op("Convolution", aliases=("_npx_convolution",))
class Convolution(Layer, _ConvolutionLike):
    """y[n, o, q] = bias[o] + sum over c, tap of data[n, c, q * stride + tap * dilate - pad] * weight[o, c, tap].

    data (N, C, *in), weight (num_filter, C / num_group, *kernel), bias (num_filter,) -> (N, num_filter, *out) with
    out = floor((in + 2 pad - dilate (kernel - 1) - 1) / stride) + 1; one, two or three spatial axes.  Layouts ending
    in C put the channels last (weight: (num_filter, *kernel, C / num_group)).  Source: MXNet operator Convolution.
    """

    is_rowwise = True

    num_filter: int = param(low=1, high=100000, doc="number of output channels")
    num_group: int = param(1, low=1, doc="number of groups; each sees its own part of the channels")
    workspace: int = param(1024, low=0, doc="ignored: there is no workspace")
    no_bias: bool = param(False, doc="drop the bias input")
    cudnn_tune: str | None = param(None, choices=TUNINGS, doc="ignored")
    cudnn_off: bool = param(False, doc="ignored")
    layout: str | None = param(None, choices=LAYOUTS, doc="order of the axes of data, weight and output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        self.check_geometry(ins[0])
        n, channels, *extents = self.to_first(ins[0])  # type: ignore[misc]
        self.check_groups(channels)
        per_group = None if channels is None else channels // self.num_group
        weight = unify(ins[1], self.from_first((self.num_filter, per_group, *self.kernel)))
        bias = [unify(b, (self.num_filter,)) for b in ins[2:]]
        sizes = tuple(None if i is None else self._out_extent(i, k) for k, i in enumerate(extents))
        out = unify(outs[0], self.from_first((n, self.num_filter, *sizes)))
        n, _, *sizes_back = self.to_first(out)  # type: ignore[misc]
        back = [self._in_extent(q, k) if i is None else i for k, (i, q) in enumerate(zip(extents, sizes_back))]
        return [unify(ins[0], self.from_first((n, channels, *back))), weight, *bias], [out]

    def _out_extent(self, extent: int, k: int) -> int:
        padded = extent + 2 * self.pads[k]
        if self.spans[k] > padded:
            raise ShapeError(
                f"kernel size exceed input: kernel {self.kernel} dilated to {self.spans[k]} on an axis of "
                f"{extent} padded to {padded}"
            )
        return (padded - self.spans[k]) // self.strides[k] + 1

    def _in_extent(self, out_extent: int | None, k: int) -> int | None:
        """The only input extent that gives the output's, known when the stride is 1."""
        if out_extent is None or self.strides[k] != 1:
            return None
        return out_extent + self.spans[k] - 1 - 2 * self.pads[k]

    def lower(self, t: Lowering) -> None:
        x, out = t.ins[0].shape, t.out_shapes[0]
        finish = None if self.no_bias else lambda total, *i: total + t.ins[2](i[1])
        t.product("forward", self.window(x[2:], out[2:]), (x[0], x[1], out[1]), self.num_group, finish=finish)

    @property
    def layer_stride(self) -> tuple[int, ...] | None:
        return None if self.is_channels_last else self.strides

    @property
    def is_pointwise_layer(self) -> bool:
        return not self.is_channels_last and max(self.kernel) == 1 and max(self.pads) == 0

    def with_layer_stride(self, stride: tuple[int, ...]) -> Convolution:
        return replace(self, stride=stride)

    def absorb_scale_shift(
        self, g: GraphBuilder, x: Sequence[Value], scale: Value, shift: Value, axis: int
    ) -> Sequence[Value] | None:
        if axis != 1:
            return None
        weight, bias = scaled_parameters(g, x[1:], scale, shift)
        return [g(self.name, x[0], weight, bias, **{**self.given_params(), "no_bias": False})]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        head, data, weight = (self.channels_first(g, v) for v in (dy[0], *x[:2]))
        params = self.sliding_params()
        d_data = g("_convolution_data_gradient", head, weight, in_extents=g.shape(data)[2:], **params)
        d_weight = g("_convolution_weight_gradient", data, head, **params)
        return [self.channels_last(g, d_data), self.channels_last(g, d_weight), *self.bias_gradient(g, head)]


@op("Convolution_v1")
class ConvolutionV1(Convolution):
    """Convolution, as files from before MXNet 0.12 call it.  MXNet operator Convolution_v1."""


@op("Deconvolution", aliases=("_npx_deconvolution",))
class Deconvolution(Layer, _ConvolutionLike):
    """The transposed convolution: what Convolution's data gradient computes, plus a bias.

    data (N, C, *in), weight (C, num_filter / num_group, *kernel), bias (num_filter,) -> (N, num_filter, *out) with
    out = stride (in - 1) + dilate (kernel - 1) + 1 - 2 pad + adj; target_shape overrides pad and adj.
    Source: MXNet operator Deconvolution.
    """

    adj: tuple[int, ...] = param((), doc="extra extent of the output along each spatial axis, below the stride")
    target_shape: tuple[int, ...] = param((), doc="spatial extents of the output; pad and adj follow from it")
    num_filter: int = param(low=1, doc="number of output channels")
    num_group: int = param(1, low=1, doc="number of groups")
    workspace: int = param(512, low=0, doc="ignored: there is no workspace")
    no_bias: bool = param(True, doc="drop the bias input")
    cudnn_tune: str | None = param(None, choices=TUNINGS, doc="ignored")
    cudnn_off: bool = param(False, doc="ignored")
    layout: str | None = param(None, choices=LAYOUTS, doc="order of the axes of data, weight and output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        self.check_geometry(ins[0])
        n, channels, *extents = self.to_first(ins[0])  # type: ignore[misc]
        self.check_groups(channels)
        weight = unify(ins[1], self.from_first((channels, self.num_filter // self.num_group, *self.kernel)))
        bias = [unify(b, (self.num_filter,)) for b in ins[2:]]
        sizes = tuple(None if i is None else self._out_extent(i, k) for k, i in enumerate(extents))
        out = unify(outs[0], self.from_first((n, self.num_filter, *sizes)))
        return [ins[0], weight, *bias], [out]

    def pad_and_adj(self, extent: int, k: int) -> tuple[int, int]:
        """Padding and adjustment of spatial axis k; a target shape dictates both."""
        if not any(self.target_shape):
            return self.pads[k], self.adj[k] if k < len(self.adj) else 0
        surplus = self.strides[k] * (extent - 1) + self.spans[k] - self.target_shape[k]
        if surplus < 0:
            raise ShapeError(f"too big target shape: {self.target_shape} for spatial axis {k} of extent {extent}")
        return (surplus + 1) // 2, surplus % 2

    def _out_extent(self, extent: int, k: int) -> int:
        pad, adj = self.pad_and_adj(extent, k)
        if adj >= self.strides[k]:
            raise ShapeError(f"adj must be smaller than stride: {adj} against {self.strides[k]} on spatial axis {k}")
        return self.strides[k] * (extent - 1) + self.spans[k] - 2 * pad + adj

    def resolved(self, in_extents: FullShape) -> dict[str, FullShape | int]:
        """The parameters of the convolution that maps the output back to the input."""
        pads = tuple(self.pad_and_adj(n, k)[0] for k, n in enumerate(in_extents))
        return {**self.sliding_params(), "pad": pads}

    def lower(self, t: Lowering) -> None:
        x, out = t.ins[0].shape, t.out_shapes[0]
        pads = self.resolved(x[2:])["pad"]
        window = Window(out[2:], x[2:], self.kernel, self.strides, self.dilations, pads)  # type: ignore[arg-type]
        finish = None if self.no_bias else lambda total, *i: total + t.ins[2](i[1])
        t.product("data_gradient", window, (x[0], out[1], x[1]), self.num_group, finish=finish)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        head, data, weight = (self.channels_first(g, v) for v in (dy[0], *x[:2]))
        params = self.resolved(g.shape(data)[2:])
        d_data = g("Convolution", head, weight, num_filter=g.shape(data)[1], no_bias=True, **params)
        d_weight = g("_convolution_weight_gradient", head, data, **params)
        return [self.channels_last(g, d_data), self.channels_last(g, d_weight), *self.bias_gradient(g, head)]


@op("_convolution_data_gradient")
class ConvolutionDataGradient(Sliding):
    """The gradient of a convolution's data: dy (N, O, *out), weight (O, C / groups, *kernel) -> (N, C, *in_extents)."""

    arguments = ("dy", "weight")
    is_internal = True

    num_group: int = param(1, low=1, doc="number of groups")
    in_extents: tuple[int, ...] = param(doc="spatial extents of the data")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        dy, weight = ins
        if dy is None or weight is None or weight[1] is None:
            return ins, outs
        return ins, [unify(outs[0], (dy[0], weight[1] * self.num_group, *self.in_extents))]

    def lower(self, t: Lowering) -> None:
        dy, out = t.ins[0].shape, t.out_shapes[0]
        t.product("data_gradient", self.window(out[2:], dy[2:]), (dy[0], out[1], dy[1]), self.num_group)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """It is linear in dy, being the adjoint of the convolution, and in the weight."""
        d, params = flows(dy), {k: v for k, v in self.given_params().items() if k != "in_extents"}
        d_dy = g("Convolution", d, x[1], num_filter=g.shape(x[1])[0], no_bias=True, **params)
        return [d_dy, g("_convolution_weight_gradient", d, x[0], **params)]


@op("_convolution_weight_gradient")
class ConvolutionWeightGradient(Sliding):
    """The gradient of a convolution's weight: data (N, C, *in), dy (N, O, *out) -> (O, C / groups, *kernel)."""

    arguments = ("data", "dy")
    is_internal = True

    num_group: int = param(1, low=1, doc="number of groups")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, dy = ins
        if data is None or dy is None or data[1] is None:
            return ins, outs
        return ins, [unify(outs[0], (dy[1], data[1] // self.num_group, *self.kernel))]

    def lower(self, t: Lowering) -> None:
        x, dy = t.ins[0].shape, t.ins[1].shape
        t.product("weight_gradient", self.window(x[2:], dy[2:]), (x[0], x[1], dy[1]), self.num_group)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """It is linear in the data and in dy; d has the weight's shape."""
        d, params = flows(dy), self.given_params()
        d_data = g("_convolution_data_gradient", x[1], d, in_extents=g.shape(x[0])[2:], **params)
        return [d_data, g("Convolution", x[0], d, num_filter=g.shape(d)[0], no_bias=True, **params)]
