"""Normalisation of each sample: by its moments, by its 2-norm, by neighbouring channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import TYPE_CHECKING, ClassVar

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, Shape, is_known, normalize_axis, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Expr, IndexLike, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term

# -- normalisation by each sample's own moments ---------------------------------------------------------------------


@declares_parameters
class _MomentNorm(Op):
    """(x - mean) / sqrt(var + eps) * gamma + beta, the moments taken over some axes of a view of the data."""

    arguments: ClassVar[tuple[str, ...]] = ("data", "gamma", "beta")
    results: ClassVar[tuple[str, ...]] = ("output", "mean", "std")
    trained: ClassVar[frozenset[str]] = frozenset({"gamma", "beta"})
    gives_variance: ClassVar[bool] = False  # the third output is the variance instead of sqrt(var + eps)

    if TYPE_CHECKING:
        eps: float

    def n_visible(self) -> int:
        return 3 if getattr(self, "output_mean_var", False) else 1

    def view(self, shape: FullShape) -> FullShape:
        """The shape the data is seen in."""
        return shape

    def axes(self, rank: int) -> tuple[int, ...]:
        """The axes of the view that are normalised over."""
        raise NotImplementedError

    def channel_axis(self, rank: int) -> int:
        """The axis of the view along which gamma and beta lie."""
        return 1

    def moment_shape(self, shape: Shape) -> Shape:
        """The (partial) shape of the outputs mean and std."""
        return shape[:2]

    def n_channels(self, shape: Shape) -> int | None:
        """The extent of gamma and beta."""
        return shape[self.channel_axis(len(shape))]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = ins[0]
        if data is None:
            return ins, outs
        channels = (self.n_channels(data),)
        moments = self.moment_shape(data)
        return [data, unify(ins[1], channels), unify(ins[2], channels)], [unify(outs[0], data), moments, moments]

    def _along_channels(self, vector: Term, rank: int) -> Term:
        shape = [1] * rank
        shape[self.channel_axis(rank)] = vector.shape[0]
        return vector.reshape(shape)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0])
        seen = data.wide().reshape(self.view(data.shape))
        rank = len(seen.shape)
        gamma, beta = (self._along_channels(Term(g, v).wide(), rank) for v in x[1:])
        mean = seen("mean", axis=self.axes(rank), keepdims=True)
        centred = seen - mean
        variance = (centred * centred)("mean", axis=self.axes(rank), keepdims=True)
        std = (variance + single(self.eps))("sqrt")
        out = centred * (1.0 / std) * gamma + beta
        moments = known(self.moment_shape(data.shape))
        third = variance if self.gives_variance else std
        results = [out.reshape(data.shape), mean.reshape(moments), third.reshape(moments)]
        return [v.cast(data.dtype).value for v in results]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """As MXNet: gradients of the mean and std outputs are ignored."""
        if dy[0] is None:
            return [None] * len(x)
        shape, dtype = g.shape(x[0]), g.dtype(x[0])
        seen, head = (Term(g, v).wide().reshape(self.view(shape)) for v in (x[0], dy[0]))
        rank, axes = len(seen.shape), self.axes(len(seen.shape))
        kept = tuple(1 if a in axes else n for a, n in enumerate(seen.shape))
        mean, third = (Term(g, v).wide().reshape(kept) for v in y[1:])
        std = (third + single(self.eps))("sqrt") if self.gives_variance else third
        gamma = self._along_channels(Term(g, x[1]).wide(), rank)
        inverse = 1.0 / std
        normal = (seen - mean) * inverse
        passed = head * gamma
        means = [v("mean", axis=axes, keepdims=True) for v in (passed, passed * normal)]
        d_data = (passed - means[0] - normal * means[1]) * inverse
        d_gamma, d_beta = ((v.sum_to(gamma.shape)).reshape(g.shape(x[1])) for v in (head * normal, head))
        return [v.cast(dtype).value for v in (d_data.reshape(shape), d_gamma, d_beta)]


def known(shape: Shape) -> FullShape:
    """A shape whose extents are all known."""
    assert is_known(shape), shape
    return shape  # type: ignore[return-value]


@op("LayerNorm", aliases=("_npx_layer_norm",))
class LayerNorm(_MomentNorm):
    """(data - mean) / std * gamma + beta with the moments along one axis and std = sqrt(var + eps).

    gamma and beta have that axis' extent; mean and std keep it with extent 1.  Source: MXNet operator LayerNorm.
    """

    axis: int = param(-1, doc="the axis to normalise over")
    eps: float = param(1e-5, doc="added to the variance")
    output_mean_var: bool = param(False, doc="show the outputs mean and std")

    def axes(self, rank: int) -> tuple[int, ...]:
        return (normalize_axis(self.axis, rank),)

    def channel_axis(self, rank: int) -> int:
        return normalize_axis(self.axis, rank)

    def moment_shape(self, shape: Shape) -> Shape:
        return tuple(1 if a == self.channel_axis(len(shape)) else n for a, n in enumerate(shape))


@op("InstanceNorm")
class InstanceNorm(_MomentNorm):
    """(data - mean) / sqrt(var + eps) * gamma + beta with the moments over the spatial axes of data (N, C, *spatial).

    gamma and beta are (C,); hidden outputs mean and var (N, C).  Source: MXNet operator InstanceNorm.
    """

    results = ("output", "mean", "var")
    gives_variance = True

    eps: float = param(0.001, doc="added to the variance")

    def axes(self, rank: int) -> tuple[int, ...]:
        return tuple(range(2, rank))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 3, None, "InstanceNorm: data")
        return super().infer_shape(ins, outs)


@op("GroupNorm")
class GroupNorm(_MomentNorm):
    """(data - mean) / std * gamma + beta with the moments over groups of channels of data (N, C, *spatial).

    gamma and beta are per group, (num_groups,); mean and std (N, num_groups).  Source: MXNet operator GroupNorm.
    """

    num_groups: int = param(1, low=1, doc="number of groups the channels are split into")
    eps: float = param(1e-5, doc="added to the variance")
    output_mean_var: bool = param(False, doc="show the outputs mean and std")

    def view(self, shape: FullShape) -> FullShape:
        return (shape[0], self.num_groups, prod(shape[1:]) // self.num_groups)

    def axes(self, rank: int) -> tuple[int, ...]:
        return (2,)

    def n_channels(self, shape: Shape) -> int | None:
        return self.num_groups

    def moment_shape(self, shape: Shape) -> Shape:
        return (shape[0], self.num_groups)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 3, None, "GroupNorm: data")
        if ins[0] is not None and ins[0][1] is not None and ins[0][1] % self.num_groups:
            raise ShapeError(f"# of channels must be divisible by # of groups: {ins[0][1]} by {self.num_groups}")
        return super().infer_shape(ins, outs)


# -- normalisation by norms -----------------------------------------------------------------------------------------


@op("L2Normalization")
class L2Normalization(Op):
    """data / sqrt(sum of squares + eps), the sum over all but the first axis (instance), over axis 1 (channel) or over
    the axes from 2 on (spatial); the norm is a hidden output.  Source: MXNet operator L2Normalization.
    """

    results = ("output", "norm")

    eps: float = param(1e-10, doc="added to the sum")
    mode: str = param("instance", choices=("channel", "instance", "spatial"), doc="what one norm is taken over")

    def n_visible(self) -> int:
        return 1

    def axes(self, rank: int) -> tuple[int, ...]:
        return {"channel": (1,), "instance": tuple(range(1, rank)), "spatial": tuple(range(2, rank))}[self.mode]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        check_rank(ins[0], 1 if self.mode == "instance" else 3, None, "L2Normalization: data")
        axes = self.axes(len(ins[0]))
        return ins, [unify(outs[0], ins[0]), tuple(n for a, n in enumerate(ins[0]) if a not in axes)]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        data = Term(g, x[0]).wide()
        axes = self.axes(len(data.shape))
        norm = ((data * data).sum(axes) + single(self.eps))("sqrt")
        hidden = tuple(n for a, n in enumerate(data.shape) if a not in axes)
        return [v.cast(g.dtype(x[0])).value for v in (data / norm, norm.reshape(hidden))]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None]
        head, out = Term(g, dy[0]).wide(), Term(g, y[0]).wide()
        axes = self.axes(len(out.shape))
        norm = Term(g, y[1]).wide().reshape(tuple(1 if a in axes else n for a, n in enumerate(out.shape)))
        return [((head - out * (head * out).sum(axes)) / norm).cast(g.dtype(x[0])).value]


@declares_parameters
class _AcrossChannels(Op):
    """The parameters of LRN and its gradient."""

    alpha: float = param(1e-4, doc="weight of the mean square")
    beta: float = param(0.75, doc="the power of the norm that divides")
    knorm: float = param(2.0, doc="what the norm starts from")
    nsize: int = param(low=1, doc="number of neighbouring channels, odd")

    def neighbours(self, t: Lowering, index: Sequence[IndexLike | Expr], term) -> Expr:  # type: ignore[no-untyped-def]
        """term(index) summed over the channels around index[1]."""
        n, c, *rest = index
        extent = t.out_shapes[0][1]
        reach = min(self.nsize // 2, extent)  # further away there are no channels

        def inner(k: IndexLike) -> Expr:
            at = index_value(c) + index_value(k - reach)
            inside = prim("and", at >= 0, at < extent)
            return select(inside, term(n, prim("minimum", prim("maximum", at, 0), extent - 1), *rest), 0.0)

        return t.reduce("sum", (2 * reach + 1,), inner)


def power(x: Expr, exponent: float) -> Expr:
    """x ** exponent, by roots where the exponent is in quarters (LRN's default: -0.75), not by a library's power."""
    quarters = 4 * abs(exponent)
    if x.dtype == "float64" or quarters not in range(1, 17):
        return prim("pow", x, number(exponent, x.dtype))
    root = prim("sqrt", x)
    factors = (
        [x] * (int(quarters) // 4) + [root] * (int(quarters) % 4 // 2) + [prim("sqrt", root)] * (int(quarters) % 2)
    )
    product = reduce(lambda a, b: a * b, factors)
    return 1 / product if exponent < 0 else product


@op("LRN")
class LRN(FloatData, _AcrossChannels):
    """data / norm ** beta with norm = knorm + alpha / nsize * (sum of squares over nsize neighbouring channels).

    data (N, C, H, W); the norm is a hidden output.  Source: MXNet operator LRN.
    """

    results = ("output", "tmp_norm")

    def n_visible(self) -> int:
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 4, 4, "LRN: data")
        if self.nsize % 2 == 0:
            raise ShapeError(f"LRN only supports odd values for local_size, got {self.nsize}")
        return super().infer_shape(ins, outs)

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        dtype = x.dtype

        def norm(*i: IndexLike) -> Expr:
            total = self.neighbours(t, i, lambda *j: x(*j) * x(*j))
            return total * number(single(self.alpha) / self.nsize, dtype) + number(single(self.knorm), dtype)

        t.map(lambda *i: x(*i) * power(norm(*i), -single(self.beta)))
        t.map(norm, output=1)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None]
        params = {"alpha": self.alpha, "beta": self.beta, "knorm": self.knorm, "nsize": self.nsize}
        return [g("_lrn_gradient", dy[0], x[0], y[1], **params)]


@op("_lrn_gradient")
class LRNGradient(_AcrossChannels):
    """dy * norm ** -beta - 2 alpha beta / nsize * data * (sum over neighbours of dy * data * norm ** (-beta - 1))."""

    arguments = ("dy", "data", "norm")
    is_internal = True

    def lower(self, t: Lowering) -> None:
        dy, x, norm = t.ins
        beta = single(self.beta)

        def element(*i: IndexLike) -> Expr:
            around = self.neighbours(t, i, lambda *j: dy(*j) * x(*j) * power(norm(*j), -beta - 1))
            factor = number(-2 * beta * single(self.alpha) / self.nsize, x.dtype)
            return dy(*i) * power(norm(*i), -beta) + factor * around * x(*i)

        t.map(element)
