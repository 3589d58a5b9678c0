"""Normalisation by batch statistics: BatchNorm and the per-channel sums and maps it expands to."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, ClassVar

from symc.core.dtypes import compute_dtype
from symc.core.errors import ShapeError
from symc.core.shapes import normalize_axis, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike
from symc.loopir.tensor import Lowering
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term


@declares_parameters
class _BatchNorm(Op):
    """What BatchNorm and BatchNorm_v1 share; the third output is inverse_std or the variance."""

    arguments: ClassVar[tuple[str, ...]] = ("data", "gamma", "beta")
    aux: ClassVar[tuple[str, ...]] = ("moving_mean", "moving_var")
    results: ClassVar[tuple[str, ...]] = ("output", "mean", "var")
    trained: ClassVar[frozenset[str]] = frozenset({"gamma", "beta"})
    gives_variance: ClassVar[bool] = False

    if TYPE_CHECKING:
        eps: float
        momentum: float
        fix_gamma: bool
        use_global_stats: bool
        output_mean_var: bool
        axis: int

    def n_visible(self) -> int:
        return 3 if self.output_mean_var else 1

    def initial_attrs(self, input_name: str) -> dict[str, str]:
        initial = {"moving_mean": '["zero", {}]', "moving_var": '["one", {}]'}
        return {"__init__": initial[input_name]} if input_name in initial else {}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        if not -len(ins[0]) <= self.axis < len(ins[0]):
            raise ShapeError(f"Channel axis out of range: {self.axis}")
        channels = (ins[0][self.axis],)
        return [ins[0], *(unify(s, channels) for s in ins[1:])], [unify(outs[0], ins[0]), channels, channels]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        """float16 data keep float32 parameters and statistics."""
        data = same_dtype((ins[0], outs[0]))
        if data is None:
            return ins, outs
        kept = compute_dtype(data)
        return [data, *(same_dtype((d, kept)) for d in ins[1:])], [data, kept, kept]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        """Per-channel scale and shift, from the batch's statistics in training and else from the moving ones."""
        data, gamma, beta, moving_mean, moving_var = (Term(g, v) for v in x)
        axis = normalize_axis(self.axis, len(data.shape))
        if training and not self.use_global_stats:
            mean = data("_batch_mean", axis=axis)
            variance = data("_batch_variance", mean, axis=axis)
        else:
            mean, variance = moving_mean, moving_var
        inverse_std = (variance + self.eps)("rsqrt")
        scale = inverse_std if self.fix_gamma else gamma * inverse_std
        if training and not self.use_global_stats:
            out = data("_batch_normalize", mean, scale, beta, axis=axis)
        else:
            out = data("_scale_shift", scale, beta - mean * scale, axis=axis)
        return [out.value, mean.value, (variance if self.gives_variance else inverse_std).value]

    def _spread(self, g: GraphBuilder, third: Value) -> tuple[Term, Term]:
        """Variance and inverse standard deviation from the third output."""
        if self.gives_variance:
            return Term(g, third), (Term(g, third) + self.eps)("rsqrt")
        inverse_std = Term(g, third)
        return 1 / (inverse_std * inverse_std) - self.eps, inverse_std

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """As MXNet: gradients of the mean and var outputs are ignored."""
        if dy[0] is None:
            return [None] * len(x)
        data, gamma, head, mean = (Term(g, v) for v in (x[0], x[1], dy[0], y[1]))
        axis = normalize_axis(self.axis, len(data.shape))
        _, inverse_std = self._spread(g, y[2])
        n = max(1, prod(data.shape) // max(1, data.shape[axis]))
        total = head("_batch_sum", axis=axis)
        is_by_batch = g.training and not self.use_global_stats
        mean_dy = total * (1 / n) if is_by_batch else total.zeros()
        moment = head("_batch_moment", data, mean, mean_dy, axis=axis)
        scale = inverse_std if self.fix_gamma else gamma * inverse_std
        if is_by_batch:
            slope = moment * inverse_std * inverse_std * (1 / n)
            d_data = head("_batch_normalize_gradient", data, mean, scale, mean_dy, slope, axis=axis)
        else:
            d_data = head("_scale_shift", scale, scale.zeros(), axis=axis)
        d_gamma = gamma.zeros() if self.fix_gamma else moment * inverse_std
        return [d_data.value, d_gamma.value, total.value, None, None]

    def update_aux(self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value]) -> dict[str, Value]:
        """moving = momentum * moving + (1 - momentum) * batch, with the biased variance; a fixed gamma becomes 1."""
        fixed = {"gamma": g.like(x[1], 1.0)} if self.fix_gamma else {}
        if self.use_global_stats:
            return fixed
        variance, _ = self._spread(g, y[2])
        keep = single(self.momentum)
        pairs = {"moving_mean": (x[3], Term(g, y[1])), "moving_var": (x[4], variance)}
        followed = {name: (Term(g, old) * keep + new * (1 - keep)).value for name, (old, new) in pairs.items()}
        return followed | fixed


@op("BatchNorm", aliases=("_npx_batch_norm",))
class BatchNorm(_BatchNorm):
    """(data - mean) / sqrt(var + eps) * gamma + beta, per channel.

    data with C channels along `axis`; gamma, beta, moving_mean and moving_var (C,) -> output as data, mean (C,) and
    1 / sqrt(var + eps) (C,).  In training mean and var are the batch's and the moving statistics follow them.
    Source: MXNet operator BatchNorm.  Under fix_gamma training overwrites gamma with ones, so that weight decay does
    not make it smaller and smaller.  Predicting leaves gamma alone under fix_gamma, MXNet writes ones there, too.
    """

    eps: float = param(0.0010000000474974513, low=0, doc="added to the variance")
    momentum: float = param(0.9, doc="how much of the moving statistics stays")
    fix_gamma: bool = param(True, doc="gamma counts as 1 and gets no gradient")
    use_global_stats: bool = param(False, doc="use the moving statistics in training too, and leave them unchanged")
    output_mean_var: bool = param(False, doc="show the outputs mean and var (the inverse standard deviation)")
    axis: int = param(1, doc="the axis of the channels")
    cudnn_off: bool = param(False, doc="ignored")
    min_calib_range: float | None = param(None, doc="ignored: for quantized models")
    max_calib_range: float | None = param(None, doc="ignored: for quantized models")


@op("_contrib_BatchNormWithReLU")
class BatchNormWithReLU(BatchNorm):
    """max(BatchNorm, 0).  MXNet operator _contrib_BatchNormWithReLU, which has a fourth, hidden output."""

    def n_listed(self) -> int:
        return 4

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        out, *statistics = super().expand(g, x, training)
        return [g("relu", out), *statistics]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        out, head = Term(g, y[0]), Term(g, dy[0])
        return super().gradient(g, x, y, [(out > 0.0).choose(head, head.zeros()).value, *dy[1:]])


@declares_parameters
class _OnSecondAxis(_BatchNorm):
    """Channels lie along axis 1, and the third output is the variance itself."""

    gives_variance: ClassVar[bool] = True
    axis: ClassVar[int] = 1  # type: ignore[misc]

    eps: float = param(0.001, low=0, doc="added to the variance")
    momentum: float = param(0.9, doc="how much of the moving statistics stays")
    fix_gamma: bool = param(True, doc="gamma counts as 1 and gets no gradient")
    use_global_stats: bool = param(False, doc="use the moving statistics in training too")
    output_mean_var: bool = param(False, doc="show the outputs mean and var")


@op("_contrib_SyncBatchNorm")
class SyncBatchNorm(_OnSecondAxis):
    """BatchNorm over the batches of several devices, of which there is one here.

    Source: MXNet operator _contrib_SyncBatchNorm.
    """

    ndev: int = param(1, low=1, doc="ignored: number of devices")
    key: str = param(doc="ignored: name of the layer among the devices")


@op("BatchNorm_v1")
class BatchNormV1(_OnSecondAxis):
    """BatchNorm of MXNet before 0.12.  Source: MXNet operator BatchNorm_v1."""


@declares_parameters
class _PerChannel(Op):
    """An internal operator on data and per-channel vectors of shape (C,); statistics of float16 data are float32."""

    is_internal: ClassVar[bool] = True
    n_data: ClassVar[int] = 1  # how many of the arguments have the data's shape

    axis: int = param(doc="the axis of the channels, not negative")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(outs[0], ins[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0]]


class _ChannelSum(_PerChannel):
    """term(...) summed over all axes but the channels'."""

    def term(self, elements: Sequence[Expr], vectors: Sequence[Expr]) -> Expr:
        """What is summed, from the elements of the data and of the per-channel vectors."""
        raise NotImplementedError

    def vectors(self, t: Lowering, c: IndexLike) -> list[Expr]:
        """The elements of the per-channel vectors that `term` reads."""
        return [v(c) for v in t.ins[self.n_data :]]

    def finish(self, total: Expr, n: int, vectors: Sequence[Expr]) -> Expr:
        """The result from the sum of n terms."""
        return total

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [None if ins[0] is None else (ins[0][self.axis],)]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [None if ins[0] is None else compute_dtype(ins[0])]

    def lower(self, t: Lowering) -> None:
        data = t.ins[: self.n_data]
        extents = [n for a, n in enumerate(data[0].shape) if a != self.axis]

        def element(c: IndexLike) -> Expr:
            vectors = self.vectors(t, c)

            def inner(*k: IndexLike) -> Expr:
                i = (*k[: self.axis], c, *k[self.axis :])
                return self.term([x(*i) for x in data], vectors)

            return self.finish(t.reduce("sum", extents, inner), prod(extents), vectors)

        t.map(element)


@op("_batch_mean")
class BatchMean(_ChannelSum):
    """The mean of every channel: data -> (C,).

    Summed are differences from the channel's first element, which are as small as the channel's spread: so is rounding.
    """

    def vectors(self, t: Lowering, c: IndexLike) -> list[Expr]:
        shape = t.ins[0].shape
        return [t.ins[0](*(c if a == self.axis else 0 for a in range(len(shape))))] if prod(shape) else []

    def term(self, elements: Sequence[Expr], vectors: Sequence[Expr]) -> Expr:
        return elements[0] - vectors[0] if vectors else elements[0]

    def finish(self, total: Expr, n: int, vectors: Sequence[Expr]) -> Expr:
        mean = total / number(n, total.dtype)
        return mean + vectors[0] if vectors else mean


@op("_batch_variance")
class BatchVariance(_ChannelSum):
    """The biased variance of every channel: data, mean (C,) -> (C,)."""

    arguments = ("data", "mean")

    def term(self, elements: Sequence[Expr], vectors: Sequence[Expr]) -> Expr:
        centred = elements[0] - vectors[0]
        return centred * centred

    def finish(self, total: Expr, n: int, vectors: Sequence[Expr]) -> Expr:
        return total / number(n, total.dtype)


@op("_batch_sum")
class BatchSum(_ChannelSum):
    """The sum of every channel: data -> (C,)."""

    def term(self, elements: Sequence[Expr], vectors: Sequence[Expr]) -> Expr:
        return elements[0]


@op("_batch_moment")
class BatchMoment(_ChannelSum):
    """The sum of (dy - mean_dy) * (data - mean) of every channel: dy, data, mean (C,), mean_dy (C,) -> (C,).

    Where mean is the data's own, mean_dy changes nothing but rounding: the rest that a rounded mean leaves in each
    element counts for dy's deviations alone, not for all of dy.
    """

    arguments = ("dy", "data", "mean", "mean_dy")
    n_data = 2

    def term(self, elements: Sequence[Expr], vectors: Sequence[Expr]) -> Expr:
        mean, mean_dy = vectors
        return (elements[0] - mean_dy) * (elements[1] - mean)


@op("_batch_normalize")
class BatchNormalize(_PerChannel):
    """(data - mean) * scale + shift with mean, scale and shift (C,): exact also where the mean is large."""

    arguments = ("data", "mean", "scale", "shift")
    is_elementwise = True

    def lower(self, t: Lowering) -> None:
        x, mean, scale, shift = t.ins
        t.map(lambda *i: (x(*i) - mean(i[self.axis])) * scale(i[self.axis]) + shift(i[self.axis]))


@op("_batch_normalize_gradient")
class BatchNormalizeGradient(_PerChannel):
    """(dy - mean_dy - (data - mean) * slope) * scale with vectors (C,): the gradient through the batch's statistics."""

    arguments = ("dy", "data", "mean", "scale", "mean_dy", "slope")
    is_elementwise = True

    def lower(self, t: Lowering) -> None:
        dy, x, *vectors = t.ins

        def element(*i: IndexLike) -> Expr:
            mean, scale, mean_dy, slope = (v(i[self.axis]) for v in vectors)
            return (dy(*i) - mean_dy - (x(*i) - mean) * slope) * scale

        t.map(element)
