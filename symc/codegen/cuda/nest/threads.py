"""What the threads of a team do with the axes that they share.

Every thread walks every n-th bunch of neighbours along an axis, in a loop or, where they are few, one behind the other
(rounds.py). Totals are exchanged between the threads of a warp by shuffles and
between warps through shared memory, in an order that the number of threads alone decides: all have the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.cuda.launch import WARP
from symc.codegen.cuda.ptx import barrier, exchanged, member, shared_memory, thread
from symc.codegen.llvm.lanes import I8, I32, I64
from symc.codegen.llvm.loops import Values, loop
from symc.codegen.nest.places import Scope
from symc.codegen.nest.plan import AxisLoop
from symc.codegen.nest.reduce import across_lanes, add_to, cascade, combine, combine_all, neutral
from symc.codegen.nest.walker import Inside, Walker
from symc.loopir.expr import Expr

from .grid import GridPlan
from .rounds import Rounds
from .vectors import neighbours, together_at

ITEM_BYTES = 8  # of a partial total in shared memory, whatever its type


class Threads:
    """The device of a walker: a team of `n` threads that all walk the same unit.

    left    how many units are left, where that may be none (source.py)
    """

    def __init__(self, plan: GridPlan, left: ir.Value | None) -> None:
        self.n, self.lanes, self._n_left = plan.team, plan.lanes, left
        self._rounds = Rounds(plan, self.has_unit) if plan.rounds else None

    def has_unit(self, b: ir.IRBuilder) -> ir.Value | None:
        """Whether this team stores what it finds; None: certainly."""
        return None if self._n_left is None else b.icmp_signed(">", self._n_left, I64(0))

    def loop(
        self, walker: Walker, scope: Scope, around: AxisLoop, roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        """An axis shared by the threads, or what the first thread does alone; nothing is carried through either."""
        b = walker.b
        if around.binding == "first thread":
            is_first, has_unit = b.icmp_unsigned("==", member(b, self.n), I32(0)), self.has_unit(b)
            with b.if_then(is_first if has_unit is None else b.and_(is_first, has_unit)):
                body(walker.places.bind(scope, around.axis, I64(0)), [])
            return carried

        if self._rounds:
            self._rounds.store(walker, scope, around.axis, roots, body)
            return carried

        def once(index: ir.Value, values: Values) -> Values:
            inner = together_at(walker, scope, around.axis, index, roots)
            walker.prepare(inner, roots)
            return body(inner, values)

        return loop(b, *self._own(walker, around.axis), carried, once, step=self.n * self.lanes)

    def reduce(self, walker: Walker, scope: Scope, reduces: list[Expr]) -> Values | None:
        """Each thread adds up its part of one axis, all others serially; then the threads add up theirs."""
        axis = walker.plan.row_vectors.get(reduces[0])
        if axis is None:
            return None
        if self._rounds:
            totals = self._rounds.totals(walker, scope, axis, reduces)
        else:
            totals = self._looped(walker, scope, axis, reduces)
        v = neighbours(walker)
        return self._together(walker, reduces, [across_lanes(v, e, x) for e, x in zip(reduces, totals)])

    def _looped(self, walker: Walker, scope: Scope, axis: str, reduces: list[Expr]) -> Values:
        """What this thread adds up of rows of any length, in each lane."""
        b, v, step = walker.b, neighbours(walker), self.n * self.lanes
        bodies = [e.args[0] for e in reduces]
        start = [neutral(v, e) for e in reduces]
        others = [a for a in walker.form.reduce_axes[reduces[0]] if a != axis]

        def join(x: Values, y: Values) -> Values:
            return combine_all(v, reduces, x, y)

        def add_line(around: Scope, totals: Values) -> Values:
            def add_element(index: ir.Value, sums: Values) -> Values:
                inner = together_at(walker, around, axis, index, bodies)
                walker.prepare(inner, bodies)
                return [add_to(inner.emitters[0], e, total) for e, total in zip(reduces, sums)]

            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                return loop(b, first, stop, start, add_element, step=step)

            return join(totals, cascade(b, *self._own(walker, axis), step, start, join, add_block))

        loops = [AxisLoop(a) for a in walker.widest_first(others, bodies)]
        return walker.over(scope, loops, bodies, start, add_line)

    def _own(self, walker: Walker, axis: str) -> tuple[ir.Value, ir.Value]:
        """Where this thread begins along an axis, and where that ends."""
        b, (first, stop) = walker.b, walker.span(axis)
        return b.add(first, b.zext(b.mul(member(b, self.n), I32(self.lanes)), I64)), stop

    def _together(self, walker: Walker, reduces: Sequence[Expr], totals: Values) -> Values:
        """The totals of all threads, in every thread."""
        b, v = walker.b, walker.scalar
        distance = min(self.n, WARP) // 2
        while distance:
            totals = [combine(v, e, x, exchanged(b, x, distance)) for e, x in zip(reduces, totals)]
            distance //= 2
        n_warps = self.n // WARP
        if n_warps <= 1:
            return totals
        memory = shared_memory(b, n_warps * len(reduces) * ITEM_BYTES)

        def place(warp: ir.Value, number: int, like: ir.Value) -> ir.Value:
            at = b.add(b.mul(warp, I32(len(reduces) * ITEM_BYTES)), I32(number * ITEM_BYTES))
            return b.bitcast(b.gep(memory, [at]), stored_type(like.type).as_pointer(addrspace=3))

        barrier(b)  # whoever reads what was here before has done so
        with b.if_then(b.icmp_unsigned("==", b.and_(thread(b), I32(WARP - 1)), I32(0))):
            for number, x in enumerate(totals):
                stored = b.zext(x, I8) if stored_type(x.type) is not x.type else x
                b.store(stored, place(b.lshr(thread(b), I32(5)), number, x))
        barrier(b)
        found = []
        for number, (e, x) in enumerate(zip(reduces, totals)):
            parts = [b.load(place(I32(warp), number, x)) for warp in range(n_warps)]
            parts = [b.trunc(part, x.type) if part.type != x.type else part for part in parts]
            total = parts[0]
            for part in parts[1:]:
                total = combine(v, e, total, part)
            found.append(total)
        return found


def stored_type(type_: ir.Type) -> ir.Type:
    """How a value lies in shared memory: a truth is a byte."""
    return I8 if isinstance(type_, ir.IntType) and type_.width == 1 else type_
