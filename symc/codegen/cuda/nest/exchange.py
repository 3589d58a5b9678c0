"""What the threads of a block do with a square of two axes: they hand over through shared memory what lies along one
of them to those who store along the other.

For y[i, j] = x[j, i] and 256 threads, with `lane` the number of a thread modulo 32 and `line` what is left of it:

    for k in 0, 8, 16, 24:  square[line + k][lane] = x[j0 + line + k, i0 + lane]
    barrier
    for k in 0, 8, 16, 24:  y[i0 + line + k, j0 + lane] = square[lane][line + k]
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.cuda.ptx import SHARED, barrier, shared_memory, thread
from symc.codegen.llvm.lanes import I32, I64, scalar_type
from symc.codegen.llvm.loops import Values, loop, minimum
from symc.codegen.nest.places import Scope
from symc.codegen.nest.plan import AxisLoop, StorePlan
from symc.codegen.nest.walker import Inside, Walker
from symc.loopir.expr import Expr

from .crosswise import item_bytes, line_bytes
from .grid import GridPlan
from .threads import stored_type

TOGETHER = 4  # lines that a thread computes before it stores the first


class Exchange:
    """The device of a walker: threads of a block, each with one lane of every n-th line of a square."""

    def __init__(self, plan: GridPlan) -> None:
        self.plan, self.side = plan, plan.lanes
        self.n_lines = plan.n_threads // plan.lanes  # that are walked at once
        self._squares: dict[Expr, ir.Value] = {}

    def loop(
        self, walker: Walker, scope: Scope, around: AxisLoop, roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        """The square of a unit, or inside of it the stores along an axis; nothing is carried through either."""
        if around.binding == "threads":
            (group,) = (g for g in self.plan.stores if g.vector == around.axis)
            self._store(walker, scope, group, roots, body)
            return carried
        barrier(walker.b)  # whoever reads what was here before has done so
        for group in self.plan.stores:
            self._hand_over(walker, scope, group)
        barrier(walker.b)
        return body(scope, carried)

    def reduce(self, walker: Walker, scope: Scope, reduces: list[Expr]) -> Values | None:
        """None: plans of squares have no reductions."""
        return None

    def _hand_over(self, walker: Walker, scope: Scope, group: StorePlan) -> None:
        """Computes what a group's stores need, lanes along the other axis; behind an edge, what lies on it again."""
        b, along, across = walker.b, group.vector, self._other(group)
        assert along is not None
        lane, line = self._place(b)
        first, stop = walker.span(across)
        near = walker.places.bind(scope, across, minimum(b, b.add(first, b.zext(lane, I64)), b.sub(stop, I64(1))))
        walker.prepare(near, group.crosswise)
        first, stop = walker.span(along)
        last = b.sub(stop, I64(1))
        for e in group.crosswise:
            self._squares[e] = shared_memory(b, self.side * line_bytes(e.dtype, self.side))
        lines = self._lines(b, line)
        scopes = [
            walker.places.bind(near, along, minimum(b, b.add(first, b.zext(number, I64)), last)) for number in lines
        ]
        walker.prepare_all(scopes, group.crosswise)
        for inner, number in zip(scopes, lines):
            for e in group.crosswise:
                self._keep(b, e, number, lane, inner.emitters[0].value(e))

    def _store(self, walker: Walker, scope: Scope, group: StorePlan, roots: Sequence[Expr], body: Inside) -> None:
        """All lines of a whole square at once, of others one by one what there is."""
        b, along, across = walker.b, group.vector, self._other(group)
        assert along is not None
        lane, line = self._place(b)
        (first_lane, stop_lane), (first_line, stop_line) = walker.span(along), walker.span(across)
        n_lanes, n_lines = b.sub(stop_lane, first_lane), b.sub(stop_line, first_line)

        def near() -> Scope:
            bound = walker.places.bind(scope, along, b.add(first_lane, b.zext(lane, I64)))
            walker.prepare(bound, roots)
            return bound

        def at(bound: Scope, number: ir.Value) -> Scope:
            inner = walker.places.bind(bound, across, b.add(first_line, b.zext(number, I64)))
            for e in group.crosswise:
                inner.known[e] = self._kept(b, e, lane, number)
            return inner

        def one(number: ir.Value, nothing: Values) -> Values:
            inner = at(around, number)
            walker.prepare(inner, roots)
            return body(inner, nothing)

        full = I64(self.side)
        with b.if_else(b.icmp_signed("==", b.add(n_lanes, n_lines), b.add(full, full))) as (together, singly):
            with together:
                around = near()
                lines = self._lines(b, line)
                for k in range(0, len(lines), TOGETHER):
                    scopes = [at(around, number) for number in lines[k : k + TOGETHER]]
                    walker.prepare_all(scopes, roots)
                    for inner in scopes:
                        body(inner, [])
            with singly, b.if_then(b.icmp_signed("<", b.zext(lane, I64), n_lanes)):
                around = near()
                loop(b, line, b.trunc(n_lines, I32), [], one, step=self.n_lines)

    def _other(self, group: StorePlan) -> str:
        (axis,) = (a for a in self.plan.cut if a != group.vector)
        return axis

    def _place(self, b: ir.IRBuilder) -> tuple[ir.Value, ir.Value]:
        """The lane of a thread, and its first line, int32."""
        number = thread(b)
        return b.and_(number, I32(self.side - 1)), b.lshr(number, I32(self.side.bit_length() - 1))

    def _lines(self, b: ir.IRBuilder, first: ir.Value) -> list[ir.Value]:
        """All lines of a thread."""
        return [b.add(first, I32(k)) for k in range(0, self.side, self.n_lines)]

    # ---- squares

    def _keep(self, b: ir.IRBuilder, e: Expr, line: ir.Value, lane: ir.Value, value: ir.Value) -> None:
        place = self._at(b, e, line, lane)
        wanted = stored_type(value.type)
        b.store(b.zext(value, wanted) if value.type != wanted else value, place)

    def _kept(self, b: ir.IRBuilder, e: Expr, line: ir.Value, lane: ir.Value) -> ir.Value:
        value, wanted = b.load(self._at(b, e, line, lane)), scalar_type(e.dtype)
        return b.trunc(value, wanted) if value.type != wanted else value

    def _at(self, b: ir.IRBuilder, e: Expr, line: ir.Value, lane: ir.Value) -> ir.Value:
        far, near = I32(line_bytes(e.dtype, self.side)), I32(item_bytes(e.dtype))
        place = b.gep(self._squares[e], [b.add(b.mul(line, far), b.mul(lane, near))])
        return b.bitcast(place, stored_type(scalar_type(e.dtype)).as_pointer(addrspace=SHARED))
