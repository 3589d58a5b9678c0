"""What one thread does with 4 neighbours in memory: all at once where they lie at a multiple of 16 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from llvmlite import ir

from symc.codegen.llvm.lanes import I64, Lanes
from symc.codegen.llvm.loops import Values, loop
from symc.codegen.nest.places import Scope, splats
from symc.codegen.nest.plan import AxisLoop
from symc.codegen.nest.walker import Inside, Walker
from symc.loopir.expr import Expr


def neighbours(walker: Walker) -> Lanes:
    """As many lanes as the plan says; rows of them lie at multiples of their size."""
    return Lanes(walker.b, walker.plan.lanes, walker.scalar.abilities, is_aligned=True)


def together_at(walker: Walker, scope: Scope, axis: str, index: ir.Value, roots: Sequence[Expr]) -> Scope:
    """The place of neighbours along an axis, of which the first has an index."""
    v = neighbours(walker)
    if v.n == 1:
        return walker.places.bind(scope, axis, index)
    return walker.places.bind_lanes(scope, axis, index, v, 1, splats(scope, v, roots), None)


class Neighbours:
    """The device of a walker: a thread with as many lanes as the plan says."""

    def loop(
        self, walker: Walker, scope: Scope, around: AxisLoop, roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        """The part of an axis that belongs to this thread; nothing is carried through it."""
        b, n = walker.b, walker.plan.lanes
        first, stop = walker.span(around.axis)
        corner = walker.places.bind(scope, around.axis, first)
        rows = [
            corner.address[key] for key, axis in sorted(walker.places.layout.contiguous, key=str) if axis == around.axis
        ]
        crooked = b.and_(reduce(b.or_, rows), I64(4 * n - 1))
        is_whole = b.and_(b.icmp_unsigned("==", crooked, I64(0)), b.icmp_signed("==", b.sub(stop, first), I64(n)))

        def one(index: ir.Value, nothing: Values) -> Values:
            inner = walker.places.bind(scope, around.axis, index)
            walker.prepare(inner, roots)
            return body(inner, nothing)

        with b.if_else(is_whole) as (at_once, singly):
            with at_once:
                inner = together_at(walker, scope, around.axis, first, roots)
                walker.prepare(inner, roots)
                body(inner, [])
            with singly:
                loop(b, first, stop, [], one)
        return carried

    def reduce(self, walker: Walker, scope: Scope, reduces: list[Expr]) -> Values | None:
        """None: plans of vectors have no reductions."""
        return None
