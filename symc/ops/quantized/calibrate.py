"""Which range to quantise to: calibrate_entropy."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import ShapeError
from symc.core.shapes import unify, unify_extent
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, op, param
from symc.loopir.entropy import Divergences
from symc.loopir.tensor import Lowering
from symc.ops.rules.terms import Term


@op("_contrib_calibrate_entropy")
class CalibrateEntropy(Op):
    """The end of a range around 0 that loses least of a histogram when it is quantised.

    hist (n,) float32, n odd, hist_edges (n + 1,) -> threshold (1,), the upper end, and divergence (1,), the smallest.
    Source: MXNet operator _contrib_calibrate_entropy.
    """

    arguments = ("hist", "hist_edges")
    results = ("threshold", "divergence")
    is_differentiable = False

    num_quantized_bins: int = param(255, low=1, doc="how many integers there are")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        hist, edges = unify(ins[0], (None,)), unify(ins[1], (None,))
        assert hist is not None and edges is not None
        n = unify_extent(hist[0], None if edges[0] is None else edges[0] - 1)
        if n is not None and n < self.num_quantized_bins:
            raise ShapeError(f"hist has {n} places, expected at least num_quantized_bins={self.num_quantized_bins}")
        return [(n,), (None if n is None else n + 1,)], [unify(s, (1,)) for s in outs]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ["float32"] * 2, ["float32"] * 2

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        hist, edges = (Term(g, v) for v in x)
        divergences = hist("_entropy_divergences", n_bins=self.num_quantized_bins)
        first = hist.shape[0] // 2 + self.num_quantized_bins // 2 + 1
        thresholds = edges("slice_axis", axis=0, begin=first, end=first + divergences.shape[0])
        best = divergences("argmin", axis=0).reshape((1,))
        return [thresholds("take", best).value, divergences("min").value]


@op("_entropy_divergences")
class EntropyDivergences(Op):
    """See `loopir.entropy.Divergences`."""

    arguments = ("hist",)
    is_internal = True

    n_bins: int = param(low=1, doc="how many integers there are")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (hist,) = ins
        if hist is None or hist[0] is None:
            return ins, outs
        return ins, [unify(outs[0], (hist[0] // 2 + 1 - self.n_bins // 2,))]

    def lower(self, t: Lowering) -> None:
        t.template(Divergences(self.n_bins))
