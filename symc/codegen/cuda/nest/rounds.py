"""Rows in registers: all rounds of a thread, one behind the other, and what walks leave there for those to come.

All rounds but the last are inside of the row for every thread. In the last one, a thread that is behind the row's end
loads nothing, computes with zeros as the others of its warp do, adds nothing to totals and stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce

from llvmlite import ir

from symc.codegen.cuda.ptx import member
from symc.codegen.llvm.lanes import I32, I64
from symc.codegen.llvm.loops import Values, when
from symc.codegen.nest.keep import Kept
from symc.codegen.nest.places import Scope
from symc.codegen.nest.reduce import add_to, neutral
from symc.codegen.nest.walker import Inside, Walker
from symc.loopir.expr import Expr, operands_of, walk

from .grid import GridPlan
from .rows import registers_of
from .vectors import neighbours, together_at

AT_ONCE = 32  # registers for what a thread asks for before it needs it, beside what it keeps


class Rounds:
    """The walks of one kernel over a row."""

    def __init__(self, plan: GridPlan, has_unit: Callable[[ir.IRBuilder], ir.Value | None]) -> None:
        self.plan, self._has_unit = plan, has_unit
        self._left: dict[Kept, Values] = {}  # by round

    def store(self, walker: Walker, scope: Scope, axis: str, roots: Sequence[Expr], body: Inside) -> None:
        """What `body` does at each element."""
        b, has_unit = walker.b, self._has_unit(walker.b)
        for inner, is_inside in self._walked(walker, scope, axis, roots):
            conditions = [x for x in (is_inside, has_unit) if x is not None]
            if not conditions:
                body(inner, [])
                continue
            with b.if_then(reduce(b.and_, conditions)):
                body(inner, [])

    def totals(self, walker: Walker, scope: Scope, axis: str, reduces: Sequence[Expr]) -> Values:
        """What this thread adds up, in each lane."""
        v = neighbours(walker)
        totals = [neutral(v, e) for e in reduces]
        for inner, is_inside in self._walked(walker, scope, axis, [e.args[0] for e in reduces]):
            totals = [add_to(inner.emitters[0], e, total, is_inside) for e, total in zip(reduces, totals)]
        return totals

    def _walked(
        self, walker: Walker, scope: Scope, axis: str, roots: Sequence[Expr]
    ) -> Iterator[tuple[Scope, ir.Value | None]]:
        """Every round, computed, and whether this thread has elements there (None: certainly).

        As many are loaded together as there is room for: a thread waits once for all of them.
        """
        here = {k.values[axis]: k for k in self.plan.kept if axis in k.values}
        known = {e: self._left[k] for e, k in here.items() if k in self._left}
        loads = self._loads(walker, scope, axis, roots, known)
        n_together = self._n_together([e for e in loads if e not in here])
        left: dict[Kept, Values] = {}
        for first in range(0, self.plan.rounds, n_together):
            numbers = range(first, min(first + n_together, self.plan.rounds))
            together = [self._loaded(walker, scope, axis, k, roots, known, loads) for k in numbers]
            for inner, is_inside in together:
                walker.prepare(inner, roots)
                for e, k in here.items():
                    if e in inner.known:
                        left.setdefault(k, []).append(inner.known[e])
                yield inner, is_inside
        self._left |= left

    def _loads(
        self, walker: Walker, scope: Scope, axis: str, roots: Sequence[Expr], known: Mapping[Expr, Values]
    ) -> list[Expr]:
        """What a walk reads of each element."""

        def below(e: Expr) -> tuple[Expr, ...]:
            return () if e in known or e in scope.known else operands_of(e)

        found = (e for e in walk(*roots, below=below) if e.op == "load" and e not in known)
        return [e for e in found if axis in walker.form.free(e)]

    def _n_together(self, passing: Sequence[Expr]) -> int:
        """How many rounds are loaded together; what is not kept has room in some registers."""
        return max(1, AT_ONCE // (registers_of(passing) * self.plan.lanes)) if passing else self.plan.rounds

    def _loaded(
        self,
        walker: Walker,
        scope: Scope,
        axis: str,
        k: int,
        roots: Sequence[Expr],
        known: Mapping[Expr, Values],
        loads: Sequence[Expr],
    ) -> tuple[Scope, ir.Value | None]:
        """Round k with what earlier walks have left, and with what this one reads."""
        b, v = walker.b, neighbours(walker)
        number = b.add(member(b, self.plan.team), I32(k * self.plan.team))
        index = b.zext(b.mul(number, I32(self.plan.lanes)), I64)

        def opened() -> Scope:
            inner = together_at(walker, scope, axis, index, roots)
            inner.known.update({e: values[k] for e, values in known.items()})
            return inner

        def inside() -> Values:
            place = opened()  # with places of what is loaded by an index: they are computed here alone
            return [place.emitters[0].value(e) for e in loads]

        inner = opened()
        if k < self.plan.rounds - 1:
            inner.known.update(zip(loads, [inner.emitters[0].value(e) for e in loads]))
            return inner, None
        is_inside = b.icmp_signed("<", index, walker.words.extent[axis])
        zeros = [ir.Constant(v.type(e.dtype), None) for e in loads]
        inner.known.update(zip(loads, when(b, is_inside, inside, zeros)))
        return inner, is_inside
