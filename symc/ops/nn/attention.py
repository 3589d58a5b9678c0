"""Scaled dot-product attention over projections that lie head by head, as GluonNLP's transformers store them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symc.core.errors import ShapeError
from symc.core.shapes import Shape, mx_text, unify
from symc.ir.op import Shapes, check_rank, declares_parameters, op, param
from symc.ops.rules.composite import Composite
from symc.ops.rules.terms import Term


@declares_parameters
class Attention(Composite):
    """Shared by the four: L positions, N sequences, H heads of D features each, P projections beside each other."""

    heads: int = param(low=1, doc="number of heads")

    def width(self, shape: Shape | None, n_projections: int, what: str) -> int | None:
        """Features of one projection in an input (L, N, H * P * D)."""
        check_rank(shape, 3, 3, f"{self.name}: {what}")
        if shape is None or shape[2] is None:
            return None
        if shape[2] % (n_projections * self.heads):
            raise ShapeError(
                f"{self.name}: the last extent of {what} {mx_text(shape)} must be a multiple of {n_projections} "
                f"projections * {self.heads} heads"
            )
        return shape[2] // n_projections

    def batch(self, shape: Shape | None) -> int | None:
        """N * H."""
        return None if shape is None or shape[1] is None else shape[1] * self.heads

    def projection(self, x: Term, k: int, n_projections: int) -> Term:
        """(L, N, H * P * D) -> the k-th projection of all heads, (N * H, L, D)."""
        length, n, width = x.shape
        d = width // (self.heads * n_projections)
        apart = x.reshape((length, n * self.heads, n_projections, d))("slice_axis", axis=2, begin=k, end=k + 1)
        return apart.reshape((length, n * self.heads, d))("transpose", axes=(1, 0, 2))

    def scores(self, queries: Term, keys: Term) -> Term:
        """queries / sqrt(D) against keys: (N * H, L of queries, L of keys)."""
        scaled = queries * (1 / math.sqrt(queries.shape[2]))
        return scaled("batch_dot", keys, transpose_b=True)

    def mixed(self, attention: Term, values: Term, n: int) -> Term:
        """Values weighted by attention (N * H, L, M): (L, N, H * D)."""
        found = attention("batch_dot", values)
        _, length, d = found.shape
        return found("transpose", axes=(1, 0, 2)).reshape((length, n, self.heads * d))


@op("_contrib_interleaved_matmul_selfatt_qk")
class SelfAttentionScores(Attention):
    """Queries against keys: (L, N, H * 3 * D) holding query, key and value of each head -> (N * H, L, L).

    MXNet operator _contrib_interleaved_matmul_selfatt_qk.
    """

    arguments = ("queries_keys_values",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (x,) = ins
        self.width(x, 3, "queries_keys_values")
        return ins, outs if x is None else [unify((self.batch(x), x[0], x[0]), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [self.scores(self.projection(x[0], 0, 3), self.projection(x[0], 1, 3))]


@op("_contrib_interleaved_matmul_selfatt_valatt")
class SelfAttentionValues(Attention):
    """Values weighted by attention: (L, N, H * 3 * D), attention (N * H, L, L) -> (L, N, H * D).

    MXNet operator _contrib_interleaved_matmul_selfatt_valatt.
    """

    arguments = ("queries_keys_values", "attention")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        x, attention = ins
        width = self.width(x, 3, "queries_keys_values")
        if x is None:
            return ins, outs
        return [x, unify((self.batch(x), x[0], x[0]), attention)], [unify((*x[:2], width), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [self.mixed(x[1], self.projection(x[0], 2, 3), x[0].shape[1])]


@op("_contrib_interleaved_matmul_encdec_qk")
class CrossAttentionScores(Attention):
    """Queries (L, N, H * D) against the keys in (M, N, H * 2 * D), which holds key and value of each head ->
    (N * H, L, M).  MXNet operator _contrib_interleaved_matmul_encdec_qk."""

    arguments = ("queries", "keys_values")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        q, kv = ins
        widths = self.width(q, 1, "queries"), self.width(kv, 2, "keys_values")
        if q is None or kv is None:
            return ins, outs
        if None not in widths and widths[0] != widths[1]:
            raise ShapeError(
                f"keys_values.shape[2] should be equal to queries.shape[2] * 2, currently are: {kv[2]} and {q[2]}"
            )
        n = unify(q[1:2], kv[1:2])
        return ins, [unify((self.batch((None, *n)), q[0], kv[0]), outs[0])]  # type: ignore[misc]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [self.scores(self.projection(x[0], 0, 1), self.projection(x[1], 0, 2))]


@op("_contrib_interleaved_matmul_encdec_valatt")
class CrossAttentionValues(Attention):
    """The values in (M, N, H * 2 * D) weighted by attention (N * H, L, M) -> (L, N, H * D).

    MXNet operator _contrib_interleaved_matmul_encdec_valatt.
    """

    arguments = ("keys_values", "attention")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        kv, attention = ins
        width = self.width(kv, 2, "keys_values")
        check_rank(attention, 3, 3, f"{self.name}: attention")
        if kv is None or attention is None:
            return ins, outs
        attention = unify(attention, (self.batch(kv), None, kv[0]))
        assert attention is not None
        return [kv, attention], [unify((attention[1], kv[1], width), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        return [self.mixed(x[1], self.projection(x[0], 1, 2), x[0].shape[1])]
