"""What a CPU does with the axes of a nest: vector lanes along one of them, or along a reduced one.

In vector surroundings every lane reduces for itself; in scalar surroundings the lanes share a reduced axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from symc.codegen.llvm.emit import LEAVES
from symc.codegen.llvm.lanes import I64, Lanes
from symc.codegen.llvm.loops import Values, loop, minimum, when
from symc.codegen.llvm.maths import FLOAT32
from symc.codegen.llvm.memory import Elements
from symc.codegen.nest.places import Scope, splats
from symc.codegen.nest.plan import AxisLoop
from symc.codegen.nest.reduce import across_lanes, add_to, cascade, combine_all, neutral, tree
from symc.codegen.nest.walker import Inside, Walker
from symc.loopir.expr import Expr, walk

MOST_PARTS = 4  # vectors of one pass
LIGHT = 4  # operations of a walk whose additions wait for each other rather than for anything else


class Vectors:
    """The device of a walker: vectors of as many lanes as the plan says."""

    def loop(
        self, walker: Walker, scope: Scope, around: AxisLoop, roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        """Lanes along an axis, or the part of it that belongs to this unit."""
        start, stop = walker.span(around.axis)
        if not walker.plan.streams:
            return self._lanes(walker, scope, around, start, stop, roots, carried, body)
        places, can_stream = walker.places, walker.places.can_stream(scope, vector_of(walker), around.axis, start)

        def past_the_caches() -> Values:
            places.streams = True
            self._lanes(walker, scope, around, start, stop, roots, [], body)
            places.streams = False
            return []

        def through_them() -> Values:
            return self._lanes(walker, scope, around, start, stop, roots, [], body)

        when(walker.b, can_stream, past_the_caches, [])
        return when(walker.b, walker.b.not_(can_stream), through_them, carried)

    def reduce(self, walker: Walker, scope: Scope, reduces: list[Expr]) -> Values | None:
        """Lanes along one reduced axis: independent vector accumulators, combined in a fixed order at the end."""
        axis = walker.plan.row_vectors.get(reduces[0])
        if scope.n_lanes > 1 or walker.plan.lanes == 1 or axis is None:
            return None
        bodies = [e.args[0] for e in reduces]
        v, parts = vector_of(walker), _accumulators(walker, axis, bodies)
        start = [neutral(v, e) for e in reduces]
        others = [a for a in walker.form.reduce_axes[reduces[0]] if a != axis]

        def join(x: Values, y: Values) -> Values:
            return combine_all(v, reduces, x, y)

        def add_vectors(inner: Scope, sums: Values) -> Values:
            """`sums` holds `parts` accumulators per reduction; a scope of fewer parts uses the first ones."""
            walker.prepare(inner, bodies)
            sums = list(sums)
            for k, e in enumerate(reduces):
                for part, emitter in enumerate(inner.emitters):
                    sums[k * parts + part] = add_to(emitter, e, sums[k * parts + part], inner.mask)
            return sums

        is_behind = any(e.op == "reduce" for body in bodies for e in walk(body))
        ask = _ask_ahead if walker.plan.asks_ahead and is_behind else None

        def add_line(outside: Scope, totals: Values) -> Values:
            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                sums = [n for n in start for _ in range(parts)]
                along = AxisLoop(axis, "vector", parts)
                sums = self._lanes(walker, outside, along, first, stop, bodies, sums, add_vectors, ask)
                return [tree(v, e, sums[k * parts : (k + 1) * parts]) for k, e in enumerate(reduces)]

            if not walker.plan.is_short(reduces[0]):
                return join(totals, cascade(walker.b, *walker.span(axis), parts * v.n, start, join, add_block))
            line = add_block(*walker.span(axis))
            return join(totals, line) if others else line

        loops = [AxisLoop(a) for a in walker.widest_first(others, bodies)]
        totals = walker.over(scope, loops, bodies, start, add_line)
        return [across_lanes(v, e, total) for e, total in zip(reduces, totals)]

    def _lanes(
        self,
        walker: Walker,
        scope: Scope,
        around: AxisLoop,
        start: ir.Value,
        stop: ir.Value,
        roots: Sequence[Expr],
        carried: Values,
        body: Inside,
        ask: Callable[[Walker, Scope, str, ir.Value, int], None] | None = None,
    ) -> Values:
        """`around.parts` vectors a pass, then single ones, the last one partial; `ask` is called in each."""
        b, v = walker.b, vector_of(walker)
        n = v.n
        known = splats(scope, v, roots)

        def pass_of(parts: int, is_partial: bool) -> Callable[[ir.Value, Values], Values]:
            def once(index: ir.Value, values: Values) -> Values:
                count = minimum(b, b.sub(stop, index), I64(n)) if is_partial else None
                if ask is not None:
                    ask(walker, scope, around.axis, index, parts)
                inner = walker.places.bind_lanes(scope, around.axis, index, v, parts, known, count)
                walker.prepare(inner, roots)
                return body(inner, values)

            return once

        has_free_masks = v.abilities.has_free_masks
        for size in [around.parts] if around.parts == 1 or has_free_masks else [around.parts, 1]:
            whole = b.and_(b.sub(stop, start), I64(-size * n))
            middle = b.add(start, whole)
            carried = loop(b, start, middle, carried, pass_of(size, is_partial=False), step=size * n)
            start = middle
        return loop(b, start, stop, carried, pass_of(1, is_partial=True), step=n)


def _accumulators(walker: Walker, axis: str, bodies: Sequence[Expr]) -> int:
    """Vectors side by side: an addition takes 3 to 4 cycles, so a light walk in a heavy nest needs more of them.

    A polynomial has a dozen constants: four side by side spill where there are 16 registers.
    """
    inside = {e for body in bodies for e in walk(body) if axis in walker.form.free(e) and e.op not in LEAVES}
    is_crowded = not walker.scalar.abilities.has_32_registers and any(e.op in FLOAT32 for e in inside)
    return max(walker.plan.unroll, MOST_PARTS) if len(inside) <= LIGHT and not is_crowded else walker.plan.unroll


def _ask_ahead(walker: Walker, scope: Scope, axis: str, index: ir.Value, parts: int) -> None:
    """Asks for what the next rows read where this walk is, and behind much arithmetic for where results will be stored.

    Both come while units of arithmetic or the end of a sum are waited for; the next walk would wait for them instead.
    """
    b, plan, step, form = walker.b, walker.plan, walker.words.step, walker.form
    contiguous, rows = walker.places.layout.contiguous, plan.blocked
    assert rows is not None
    wanted = [
        (b.add(scope.address[e], b.mul(step[e, rows], I64(plan.abreast))), access, False)
        for e, access in form.loads.items()
        if (e, axis) in contiguous and (e, rows) in step
    ]
    if plan.kept:
        stored = [
            (form.stores.index(s), s, g.vector) for g in plan.stores if g.vector and not g.serial for s in g.stores
        ]
        wanted += [(scope.address[k], s.access, True) for k, s, along in stored if (k, along) in contiguous]
    for first, access, is_written in wanted:
        memory = Elements(vector_of(walker), access.dtype)
        at = b.add(first, b.mul(index, I64(access.item_size)))
        for part in range(parts):
            memory.prefetch(memory.pointer(b.add(at, I64(part * memory.vector_bytes))), is_written=is_written)


def vector_of(walker: Walker) -> Lanes:
    """The lanes of a plan."""
    return walker.scalar.resized(walker.plan.lanes)
