"""Operators whose result is drawn anew at every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from symc.core.op import Op, Shapes, op, param
from symc.core.shapes import normalize_axis, unify
from symc.loopir.expr import Expr, IndexLike, select

from .activation import single
from .rules import number
from .terms import Term

if TYPE_CHECKING:
    from symc.ir.builder import GraphBuilder
    from symc.ir.graph import Value
    from symc.loopir.tensor import Lowering


@op("Dropout", aliases=("_npx_dropout",))
class Dropout(Op):
    """data * mask, where every element of the mask is 0 with probability p and else 1 / (1 - p); outside training data
    itself, unless mode is always.

    The mask is a hidden output of data's shape, with extent 1 along `axes`, over which it is shared.
    Source: MXNet operator Dropout.
    """

    results = ("output", "mask")
    is_random = True

    p: float = param(0.5, low=0, high=1, doc="probability of an element being dropped")
    mode: str = param("training", choices=("always", "training"), doc="when elements are dropped")
    axes: tuple[int, ...] = param((), doc="axes along which the mask is shared")
    cudnn_off: bool | None = param(False, doc="ignored")

    def n_visible(self) -> int:
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        if data is None:
            return ins, outs
        shared = [normalize_axis(a, len(data)) for a in self.axes]
        return [data], [data, tuple(1 if a in shared else n for a, n in enumerate(data))]

    def drops(self, training: bool) -> bool:
        """Whether elements are dropped at all."""
        return self.p > 0 and (training or self.mode == "always")

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        if self.drops(training):
            return None
        _, (_, mask) = self.infer_shape([g.shape(x[0])], [None, None])
        return [x[0], g("_full", shape=mask, dtype=g.dtype(x[0]), value=1.0)]

    def lower(self, t: Lowering) -> None:
        x, mask_shape = t.ins[0], t.out_shapes[1]
        kept = 1 - single(self.p)

        def mask(*i: IndexLike) -> Expr:
            at = [0 if n == 1 else k for n, k in zip(mask_shape, i)]
            weight = number(1 / kept if kept else 0.0, x.dtype)
            return select(t.uniform(*at) < number(kept, "float32"), weight, 0.0)

        t.map(lambda *i: x(*i) * mask(*i))
        t.map(mask, output=1)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None or not self.drops(g.training):
            return [dy[0]]
        return [(Term(g, dy[0]) * Term(g, y[1])).value]
