"""Operators that find positions by comparing elements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from symc.core.dtypes import is_float
from symc.core.op import Op, Shapes, op, param
from symc.core.shapes import normalize_axis, unify
from symc.loopir.expr import Axis, Expr, IndexLike, cast, index_value, prim, select

from .rules import kept_shape

if TYPE_CHECKING:
    from symc.ir.builder import GraphBuilder
    from symc.ir.graph import Value
    from symc.loopir.tensor import Lowering


def is_best(x: Expr, best: Expr) -> Expr:
    """Whether x is the extreme; where there is a NaN it is the extreme."""
    return prim("or", prim("eq", x, best), prim("ne", x, x)) if is_float(x.dtype) else prim("eq", x, best)


@dataclass(frozen=True, kw_only=True)
class FirstExtreme(Op):
    """The position of the first extreme element along an axis, in the data's own dtype; no gradient."""

    combiner: ClassVar[str]

    axis: int | None = param(None, doc="the axis to search; None searches the flattened data")
    keepdims: bool = param(False, doc="whether the searched axis stays with extent 1")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (shape,) = ins
        if shape is None:
            return ins, outs
        axes = self._axes(len(shape))
        kept = kept_shape(shape, axes) if self.keepdims else tuple(n for a, n in enumerate(shape) if a not in axes)
        return ins, [unify(kept or (1,), outs[0])]

    def _axes(self, rank: int) -> tuple[int, ...]:
        return tuple(range(rank)) if self.axis is None else (normalize_axis(self.axis, rank),)

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        axes = self._axes(x.rank)
        extents = [x.shape[a] for a in axes]
        end = math.prod(extents)

        def position(k: Sequence[Axis]) -> Expr:
            flat: IndexLike = 0
            for axis in k:
                flat = axis + flat * axis.extent if not isinstance(flat, int) else axis
            return index_value(flat)

        def element(*i: IndexLike) -> Expr:
            outer = [n for a, n in enumerate(i) if a not in axes] if self.keepdims else list(i[: x.rank - len(axes)])

            def at(*k: Axis) -> Expr:
                rest, searched = iter(outer), iter(k)
                return x(*(next(searched if a in axes else rest) for a in range(x.rank)))

            best = t.reduce(self.combiner, extents, at)
            first = t.reduce("min", extents, lambda *k: select(is_best(at(*k), best), position(k), end))
            return cast(first, t.out_dtype())

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [None]


@op("argmax")
class ArgMax(FirstExtreme):
    """The position of the first largest element along an axis.  Source: MXNet operator argmax."""

    combiner = "max"


@op("argmin")
class ArgMin(FirstExtreme):
    """The position of the first smallest element along an axis.  Source: MXNet operator argmin."""

    combiner = "min"

