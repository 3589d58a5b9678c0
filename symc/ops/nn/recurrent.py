"""Recurrent networks: _rnn_param_concat joins the parameters of RNN."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import ShapeError
from symc.core.lazy import lazy
from symc.core.params import MAX_PORTS
from symc.core.shapes import Shape, normalize_axis, unify, unify_extent
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, op, param
from symc.ir.reverse import pulled_back


@op("_rnn_param_concat")
class ParameterConcat(Op):
    """The inputs, parameters, one after the other along an axis, as Concat; the result's extent decides theirs, too.

    Several unknown extents are equal parts of what is left.  MXNet operator _rnn_param_concat.
    """

    variadic = "num_args"
    num_args: int = param(low=1, high=MAX_PORTS, doc="number of inputs")
    dim: int = param(1, doc="the axis along which they are joined")

    @lazy
    def trained(self) -> frozenset[str]:  # type: ignore[override]
        return frozenset(self.argument_names())

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        known = next((s for s in (*ins, *outs) if s is not None), None)
        if known is None:
            return ins, outs
        at = normalize_axis(self.dim, len(known))
        beside: Shape | None = None
        for s in (*ins, *outs):
            beside = unify(beside, s if s is None else (*s[:at], None, *s[at + 1 :]))
        assert beside is not None
        sizes = [None if s is None else s[at] for s in ins]
        total = None if outs[0] is None else outs[0][at]
        left = sum(n for n in sizes if n is not None)
        if None not in sizes:
            total = unify_extent(total, left, "extent along the joined axis")
        elif total is not None and None not in ins:
            each, rest = divmod(total - left, sizes.count(None))
            if each < 0:
                raise ShapeError(f"Input size already exceeds output size: {left} exceed {total}")
            if rest:
                raise ShapeError(f"{total - left} elements do not part evenly into {sizes.count(None)} inputs")
            sizes = [each if n is None else n for n in sizes]
        shapes = [(*beside[:at], n, *beside[at + 1 :]) for n in (*sizes, total)]
        return list(shapes[:-1]), [shapes[-1]]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [g("Concat", *x, num_args=self.num_args, dim=self.dim)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return pulled_back(g, x, self.expand(g, x, g.training), dy)
