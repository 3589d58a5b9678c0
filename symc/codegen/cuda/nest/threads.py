"""What the threads of a block do with the axes that they share.

Every thread walks every n-th index of an axis. Totals are exchanged between the threads of a warp by shuffles and
between warps through shared memory, in an order that the number of threads alone decides: all have the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.cuda.launch import WARP
from symc.codegen.cuda.ptx import barrier, exchanged, shared_memory, thread
from symc.codegen.llvm.lanes import I8, I32, I64
from symc.codegen.llvm.loops import Values, loop
from symc.codegen.nest.places import Scope
from symc.codegen.nest.plan import AxisLoop
from symc.codegen.nest.reduce import cascade, combine, combine_all, neutral
from symc.codegen.nest.walker import Inside, Walker
from symc.loopir.expr import Expr

ITEM_BYTES = 8  # of a partial total in shared memory, whatever its type


class Threads:
    """The device of a walker: `n` threads that all walk the same unit."""

    def __init__(self, n: int) -> None:
        self.n = n

    def loop(
        self, walker: Walker, scope: Scope, around: AxisLoop, roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        """An axis shared by the threads, or what the first thread does alone; nothing is carried through either."""
        b = walker.b
        if around.binding == "first thread":
            with b.if_then(b.icmp_unsigned("==", thread(b), I32(0))):
                body(walker.places.bind(scope, around.axis, I64(0)), [])
            return carried

        def once(index: ir.Value, values: Values) -> Values:
            inner = walker.places.bind(scope, around.axis, index)
            walker.prepare(inner, roots)
            return body(inner, values)

        first, stop = walker.span(around.axis)
        return loop(b, b.add(first, b.zext(thread(b), I64)), stop, carried, once, step=self.n)

    def reduce(self, walker: Walker, scope: Scope, reduces: list[Expr]) -> Values | None:
        """Each thread adds up its part of one axis, all others serially; then the threads add up theirs."""
        axis = walker.plan.row_vectors.get(reduces[0])
        if axis is None:
            return None
        b, v = walker.b, walker.scalar
        bodies = [e.args[0] for e in reduces]
        start = [neutral(v, e) for e in reduces]
        others = [a for a in walker.form.reduce_axes[reduces[0]] if a != axis]

        def join(x: Values, y: Values) -> Values:
            return combine_all(v, reduces, x, y)

        def add_line(around: Scope, totals: Values) -> Values:
            def add_element(index: ir.Value, sums: Values) -> Values:
                inner = walker.places.bind(around, axis, index)
                walker.prepare(inner, bodies)
                return join(sums, [inner.emitters[0].value(body) for body in bodies])

            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                return loop(b, first, stop, start, add_element, step=self.n)

            first, stop = walker.span(axis)
            first = b.add(first, b.zext(thread(b), I64))
            return join(totals, cascade(b, first, stop, self.n, start, join, add_block))

        loops = [AxisLoop(a) for a in walker.widest_first(others, bodies)]
        return self._together(walker, reduces, walker.over(scope, loops, bodies, start, add_line))

    def _together(self, walker: Walker, reduces: Sequence[Expr], totals: Values) -> Values:
        """The totals of all threads, in every thread."""
        b, v = walker.b, walker.scalar
        distance = WARP // 2
        while distance:
            totals = [combine(v, e, x, exchanged(b, x, distance)) for e, x in zip(reduces, totals)]
            distance //= 2
        n_warps = self.n // WARP
        if n_warps == 1:
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
