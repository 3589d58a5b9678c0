"""Walks the loops of a nest and emits what happens in them: every value in the outermost loop that binds its axes.

Serial loops are the walker's own; what else a device does with an axis (lanes, later the threads of a block) it does
itself. The order of additions depends on extents only, so results do not change from run to run or with the threads.

A load always happens before the stores of the same iteration, and a reduction is complete before the stores it is
used by: an output may therefore share memory with an input that is read at exactly the stored index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Protocol

from llvmlite import ir

from symc.codegen.llvm.abilities import Abilities
from symc.codegen.llvm.lanes import I1, I64, Lanes
from symc.codegen.llvm.loops import Values, loop, when
from symc.core.errors import CodegenError
from symc.loopir.expr import Expr, operands_of, walk

from .layout import WordLayout
from .places import Places, Scope
from .plan import AxisLoop, NestPlan, StorePlan
from .reduce import add_to, cascade, combine_all, neutral
from .slide import Slide
from .stores import store, store_woven
from .words import Words

Inside = Callable[[Scope, Values], Values]  # what happens in a loop: the scope, what is carried -> what is carried on


class AxisDevice(Protocol):
    """What a device does with the axes that its plan does not leave to the walker."""

    def loop(
        self, walker: Walker, scope: Scope, around: AxisLoop, roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        """A loop that is not serial; `roots` is what its body will evaluate."""

    def reduce(self, walker: Walker, scope: Scope, reduces: list[Expr]) -> Values | None:
        """The total of each reduction where a reduced axis is shared out; None: whoever is here walks it serially."""


class Serial:
    """A device whose threads walk every axis inside their unit of work."""

    def loop(
        self, walker: Walker, scope: Scope, around: AxisLoop, roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        raise CodegenError(f"walking axis {around.axis}: a serial device has no {around.binding} loops")

    def reduce(self, walker: Walker, scope: Scope, reduces: list[Expr]) -> Values | None:
        return None


class Walker:
    """Emits one unit of work at the end of a builder's block.

    `parts` has the axes of which this unit has only a part: where it begins and ends.
    """

    def __init__(
        self,
        b: ir.IRBuilder,
        plan: NestPlan,
        layout: WordLayout,
        abilities: Abilities,
        device: AxisDevice,
        desc: ir.Value,
        bufs: ir.Value,
        parts: Mapping[str, tuple[ir.Value, ir.Value]],
    ) -> None:
        self.b, self.plan, self.form, self.device, self._parts = b, plan, plan.form, device, dict(parts)
        self.scalar = Lanes(b, 1, abilities)
        self.words = Words(self.scalar, plan.form, layout, desc, bufs)
        self.places = Places(self.scalar, plan.form, layout, self.words, dict.fromkeys(plan.below, plan.scales))
        in_memory = () if plan.is_kept_by_device else plan.kept
        for kept in in_memory:
            self.places.reserve(kept, plan.abreast)
        self._along = {e: axis for kept in in_memory for axis, e in kept.values.items()}
        self._columns: Values = []  # of the window before, as many for each shared tap

    def run(self, indices: Sequence[ir.Value]) -> None:
        """The whole unit; `indices` are those of the plan's outer axes."""
        scope = self.enter(indices)
        if self.plan.abreast > 1:
            self._rows_abreast(scope)
            return

        def stores(inner: Scope, nothing: Values) -> Values:
            for group in self.plan.stores:
                self._store_group(inner, group)
            return nothing

        self.over(scope, self.plan.around, self.form.roots, [], stores)

    def enter(self, indices: Sequence[ir.Value]) -> Scope:
        """The scope of the unit, with all that does not depend on its loops."""
        scope = self.places.enter(self.plan.outer, indices)
        self.prepare(scope, self.form.roots)
        return scope

    def _rows_abreast(self, scope: Scope) -> None:
        """Rows whose walks take turns: the end of one row's sum is waited for while another row is walked."""
        axis, n = self.plan.blocked, self.plan.abreast
        assert axis is not None

        def step(first: ir.Value, nothing: Values) -> Values:
            rows = [self.places.row(scope, axis, first, k) for k in range(n)]
            self.prepare_all(rows, self.form.roots)
            for group in self.plan.stores:
                if self.plan.reads_in_common(group):
                    self._store_group(rows[0], group, rows[1:])
                else:
                    for row in rows:
                        self._store_group(row, group)
            return nothing

        loop(self.b, *self.span(axis), [], step, step=n)

    def _store_group(self, scope: Scope, group: StorePlan, others: Sequence[Scope] = ()) -> None:
        """Stores of a scope, and of other rows in the same loops."""
        roots = [r for s in group.stores for r in s.roots]

        def finish(inner: Scope, nothing: Values) -> Values:
            if not self.plan.woven:
                beside = [self.places.beside(inner, scope, other) for other in others]
                for row in beside:
                    self.prepare(row, roots)
                store(self.places, [inner, *beside], group.stores)
                return nothing
            assert self.plan.cross is not None
            neighbours = [self.places.bind(inner, self.plan.cross, I64(k)) for k in range(self.plan.woven)]
            for neighbour in neighbours:
                self.prepare(neighbour, roots)
            store_woven(self.places, neighbours, group.stores)
            return nothing

        self.over(scope, self.plan.loops_of(group), roots, [], finish)
        self._leave(scope, roots)

    # ---- loops

    def span(self, axis: str) -> tuple[ir.Value, ir.Value]:
        """Where an axis begins and ends in this unit."""
        return self._parts.get(axis) or (I64(0), self.words.extent[axis])

    def over(
        self, scope: Scope, loops: Sequence[AxisLoop], roots: Sequence[Expr], carried: Values, body: Inside
    ) -> Values:
        """Loops inside each other, outermost first."""
        if not loops:
            return body(scope, carried)
        first, rest = loops[0], loops[1:]

        def inside(inner: Scope, values: Values) -> Values:
            return self.over(inner, rest, roots, values, body)

        if first.binding == "serial":
            return self.serial(scope, first.axis, *self.span(first.axis), roots, carried, inside)
        return self.device.loop(self, scope, first, roots, carried, inside)

    def serial(
        self,
        scope: Scope,
        axis: str,
        start: ir.Value,
        stop: ir.Value,
        roots: Sequence[Expr],
        carried: Values,
        body: Inside,
    ) -> Values:
        """One index after the other."""
        slide = self.plan.slide if self.plan.slide and self.plan.slide.axis == axis else None
        columns = self._shared_columns(slide, self.places.bind(scope, axis, start)) if slide else []

        def once(index: ir.Value, values: Values) -> Values:
            inner = self.places.bind(scope, axis, index)
            self._columns = values[len(carried) :]
            self.prepare(inner, roots)
            return [*body(inner, values[: len(carried)]), *self._columns]

        return loop(self.b, start, stop, [*carried, *columns], once)[: len(carried)]

    # ---- values

    def prepare(self, scope: Scope, roots: Sequence[Expr]) -> None:
        """Evaluates every sub-expression whose axes are bound here."""
        self.prepare_all([scope], roots)

    def prepare_all(self, scopes: Sequence[Scope], roots: Sequence[Expr]) -> None:
        """The same in scopes that bind the same axes, each expression in all of them before the next one."""
        order = self._order(scopes[0], roots)
        for e in order:
            for scope in scopes:
                self._evaluate(scope, e, order)

    def _evaluate(self, scope: Scope, e: Expr, order: Sequence[Expr]) -> None:
        """A sub-expression, if its axes are bound and its operands known here."""
        if e.op in ("const", "param", "bound") or e in scope.known or not self.form.free(e) <= scope.bound:
            return
        if e.op == "reduce":
            self._reduce(scope, self._together(scope, e, order))
        elif self._is_kept(scope, e):
            self._keep(scope, e)
        elif scope.uniform and scope.lane not in self.form.free(e):
            value = scope.uniform.value(e)
            for emitter in scope.emitters:
                emitter.known[e] = emitter.lanes.splat(value)
        else:
            for emitter in scope.emitters:
                emitter.value(e)

    def _is_kept(self, scope: Scope, e: Expr) -> bool:
        """Whether this is a walk over a row that keeps the value."""
        return scope.lane is not None and self._along.get(e) == scope.lane

    def _keep(self, scope: Scope, e: Expr) -> None:
        """Reads from its row what an earlier walk has left there, else computes it and leaves it."""
        for part, emitter in enumerate(scope.emitters):
            if e in scope.left:
                emitter.known[e] = self.places.recall(scope, part, e)
            else:
                self.places.keep(scope, part, e)

    def _order(self, scope: Scope, roots: Sequence[Expr]) -> list[Expr]:
        """Sub-expressions, operands first, without what only those need that are known or kept from another walk."""

        def below(e: Expr) -> tuple[Expr, ...]:
            is_there = e in scope.known or (e in scope.left and self._is_kept(scope, e))
            return () if is_there else operands_of(e)

        return list(walk(*roots, below=below))

    def _leave(self, scope: Scope, roots: Sequence[Expr]) -> None:
        """Notes, behind a walk, what it has left in its row for the walks to come."""
        walked = {e for r in roots for e in walk(r)}
        for kept in self.plan.kept:
            if not walked.isdisjoint(kept.values.values()):
                scope.left.update(kept.values.values())

    def _together(self, scope: Scope, first: Expr, order: Sequence[Expr]) -> list[Expr]:
        """The reductions over the same axes that can be computed in the same loops as `first`."""
        found = []
        for e in order:
            if e.op != "reduce" or e in scope.known or not self.form.free(e) <= scope.bound:
                continue
            needed = (x for x in walk(e.args[0]) if x.op == "reduce" and self.form.free(x) <= scope.bound)
            is_alike = (
                set(self.form.reduce_axes[e]) == set(self.form.reduce_axes[first]) and e.args[1:] == first.args[1:]
            )
            if is_alike and all(x in scope.known for x in needed):
                found.append(e)
        return found

    def _limit(self, scope: Scope, first: Expr) -> None:
        """Notes where the reduced axes begin and end here; another reduction may have left its bounds of theirs."""
        for axis in self.form.bounded.intersection(self.form.reduce_axes[first]):
            self._parts.pop(axis, None)
        for bound in first.args[1:]:
            low, high = (self.places.uniform_value(scope, a) for a in bound.args)
            self._parts[bound.data.name] = low, high

    def _reduce(self, scope: Scope, reduces: list[Expr]) -> None:
        self._limit(scope, reduces[0])
        if self.plan.slide:
            totals: Values | None = self._reduce_columns(scope, self.plan.slide)
        else:
            totals = self.device.reduce(self, scope, reduces)
        if totals is None:
            totals = self._reduce_serially(scope, reduces)
        self._leave(scope, [e.args[0] for e in reduces])
        for k, e in enumerate(reduces):
            for part, emitter in enumerate(scope.emitters):
                emitter.known[e] = totals[k * len(scope.emitters) + part]
            if scope.uniform and scope.lane not in self.form.free(e):
                scope.uniform.known[e] = scope.emitters[0].lanes.extract(scope.emitters[0].known[e], 0)

    def _reduce_columns(self, scope: Scope, slide: Slide) -> Values:
        """The total of each reduction from the columns that were held and those that are new."""
        n = len(slide.reduces) * len(scope.emitters)
        columns = dict(zip(slide.shared, (self._columns[k : k + n] for k in range(0, len(self._columns), n))))
        columns |= {tap: self._column(scope, slide, tap) for tap in slide.fresh}
        ordered = [columns[tap] for tap in range(slide.n_taps)]
        self._columns = [value for column in slide.passed_on(ordered) for value in column]
        return reduce(lambda x, y: combine_all(scope.emitters[0].lanes, slide.reduces, x, y), ordered)

    def _shared_columns(self, slide: Slide, scope: Scope) -> Values:
        """What the first window would share with one before it."""
        self._limit(scope, slide.reduces[0])
        return [value for tap in slide.shared for value in self._column(scope, slide, tap)]

    def _column(self, scope: Scope, slide: Slide, tap: int) -> Values:
        """What reductions combine under one tap, or their neutral elements where the window has none."""

        def inside() -> Values:
            return self._taps_of_column(self.places.bind(scope, slide.tap, I64(tap)), slide)

        if slide.tap not in self.form.bounded:
            return inside()
        low, high = self.span(slide.tap)
        b, v = self.b, scope.emitters[0].lanes
        is_seen = b.and_(b.icmp_signed("<=", low, I64(tap)), b.icmp_signed("<", I64(tap), high))
        return when(b, is_seen, inside, [neutral(v, e) for e in slide.reduces for _ in scope.emitters])

    def _taps_of_column(self, scope: Scope, slide: Slide) -> Values:
        """What reductions combine in a column: one tap behind the other where it is unrolled and the window has all of
        it, else in a loop over those that it has."""

        def looped() -> Values:
            return self._reduce_serially(scope, slide.reduces, slide.tap)

        if not slide.unrolled:
            return looped()
        b, bodies = self.b, [e.args[0] for e in slide.reduces]
        nothing = [neutral(scope.emitters[0].lanes, e) for e in slide.reduces for _ in scope.emitters]
        is_whole: ir.Value = ir.Constant(I1, 1)
        for axis, extent in slide.unrolled:
            low, high = self.span(axis)
            is_seen = b.and_(b.icmp_signed("==", low, I64(0)), b.icmp_signed("==", high, I64(extent)))
            is_whole = b.and_(is_whole, is_seen)

        def unrolled() -> Values:
            totals = nothing
            for taps in product(*(range(extent) for _, extent in slide.unrolled)):
                place = scope
                for (axis, _), tap in zip(slide.unrolled, taps):
                    place = self.places.bind(place, axis, I64(tap))
                self.prepare(place, bodies)
                totals = _with_element(slide.reduces, place, totals)
            return totals

        totals = when(b, is_whole, unrolled, nothing)
        return when(b, b.not_(is_whole), looped, totals)

    def _reduce_serially(self, scope: Scope, reduces: Sequence[Expr], bound: str | None = None) -> Values:
        """Serial loops over the reduced axes but a bound one, every lane for itself; a total per reduction and part."""
        bodies = [e.args[0] for e in reduces]
        v, parts = scope.emitters[0].lanes, range(len(scope.emitters))
        start = [neutral(v, e) for e in reduces for _ in parts]
        axes = self.widest_first([a for a in self.form.reduce_axes[reduces[0]] if a != bound], bodies)

        def add_element(inner: Scope, totals: Values) -> Values:
            return _with_element(reduces, inner, totals)

        def join(x: Values, y: Values) -> Values:
            return combine_all(v, reduces, x, y)

        def add_line(around: Scope, totals: Values) -> Values:
            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                return self.serial(around, axes[-1], first, stop, bodies, start, add_element)

            first, stop = self.span(axes[-1])
            if self.plan.is_short(reduces[0]):
                line = add_block(first, stop)
                return line if len(axes) == 1 else join(totals, line)
            return join(totals, cascade(self.b, first, stop, 1, start, join, add_block))

        if not axes:
            self.prepare(scope, bodies)
            return add_element(scope, start)
        return self.over(scope, [AxisLoop(a) for a in axes[:-1]], bodies, start, add_line)

    def widest_first(self, axes: Sequence[str], bodies: Sequence[Expr]) -> list[str]:
        """Loop order: the axis of the smallest steps innermost."""
        loads = [self.form.loads[e] for body in bodies for e in walk(body) if e.op == "load"]
        return sorted(axes, key=lambda a: -max((abs(x.stride(a)) for x in loads), default=0))


def _with_element(reduces: Sequence[Expr], scope: Scope, totals: Values) -> Values:
    """The totals of each reduction and part with one more element."""
    pairs = [(emitter, e) for e in reduces for emitter in scope.emitters]
    return [add_to(emitter, e, total) for (emitter, e), total in zip(pairs, totals)]
