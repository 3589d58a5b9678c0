"""Evaluates expressions in the loops of a nest: every value in the outermost loop that binds its axes.

Two ways to reduce: in vector surroundings lane by lane, in scalar surroundings with the lanes along one of the reduced
axes. The order of additions depends on extents only, so results do not change from run to run or with the threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from llvmlite import ir

from symc.codegen.llvm.emit import primitive
from symc.codegen.llvm.lanes import I32, I64, Lanes
from symc.codegen.llvm.loops import Values, loop, minimum
from symc.loopir.expr import Expr, walk
from symc.loopir.prims import COMBINERS

from .frame import Frame, Scope

# Partial sums are restarted after this many additions, twice nested: the error of a sum of 1e6 stays near 1e-6.
SUM_BLOCK = 128


class Evaluator(Frame):
    """Values, reductions and the loops they need."""

    def prepare(self, scope: Scope, roots: Sequence[Expr]) -> None:
        """Evaluates every sub-expression whose axes are bound here."""
        order = list(dict.fromkeys(e for r in roots for e in walk(r)))
        for e in order:
            if e.op in ("const", "param") or e in scope.known or not self.form.free(e) <= scope.bound:
                continue
            if e.op == "reduce":
                self._reduce(scope, self._together(scope, e, order))
            else:
                for emitter in scope.emitters:
                    emitter.value(e)

    def _together(self, scope: Scope, first: Expr, order: Sequence[Expr]) -> list[Expr]:
        """The reductions over the same axes that can be computed in the same loops as `first`."""
        found = []
        for e in order:
            if e.op != "reduce" or e in scope.known or not self.form.free(e) <= scope.bound:
                continue
            needed = (x for x in walk(e.args[0]) if x.op == "reduce" and self.form.free(x) <= scope.bound)
            if set(self.form.reduce_axes[e]) == set(self.form.reduce_axes[first]) and all(
                x in scope.known for x in needed
            ):
                found.append(e)
        return found

    def _reduce(self, scope: Scope, reduces: list[Expr]) -> None:
        vector = self.plan.row_vectors.get(reduces[0])
        if scope.n_lanes == 1 and self.plan.lanes > 1 and vector:
            totals = self._reduce_along_row(scope, reduces, vector)
        else:
            totals = self._reduce_by_lane(scope, reduces)
        for k, e in enumerate(reduces):
            for part, emitter in enumerate(scope.emitters):
                emitter.known[e] = totals[k * len(scope.emitters) + part]

    def _reduce_by_lane(self, scope: Scope, reduces: list[Expr]) -> Values:
        """Serial loops over the reduced axes; a total per reduction and part."""
        bodies = [e.args[0] for e in reduces]
        v, parts = scope.emitters[0].lanes, range(len(scope.emitters))
        neutral = [_neutral(v, e) for e in reduces for _ in parts]
        axes = self._widest_first(self.form.reduce_axes[reduces[0]], bodies)

        def add_element(inner: Scope, totals: Values) -> Values:
            values = [emitter.value(body) for body in bodies for emitter in inner.emitters]
            return self._combine_all(v, reduces, totals, values)

        def combine(x: Values, y: Values) -> Values:
            return self._combine_all(v, reduces, x, y)

        def add_line(around: Scope, totals: Values) -> Values:
            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                return self._serial(around, axes[-1], first, stop, bodies, neutral, add_element)

            return combine(totals, self._cascade(self.extent[axes[-1]], 1, neutral, combine, add_block))

        if not axes:
            self.prepare(scope, bodies)
            return add_element(scope, neutral)
        return self._serial_nest(scope, axes[:-1], bodies, neutral, add_line)

    def _reduce_along_row(self, scope: Scope, reduces: list[Expr], vector: str) -> Values:
        """Lanes along one reduced axis: independent vector accumulators, combined in a fixed order at the end."""
        bodies = [e.args[0] for e in reduces]
        v, parts = self.vector, self.plan.unroll
        neutral = [_neutral(v, e) for e in reduces]
        others = [a for a in self.form.reduce_axes[reduces[0]] if a != vector]

        def combine(x: Values, y: Values) -> Values:
            return self._combine_all(v, reduces, x, y)

        def add_vectors(inner: Scope, sums: Values) -> Values:
            """`sums` holds `parts` accumulators per reduction; a scope of fewer parts uses the first ones."""
            self.prepare(inner, bodies)
            sums = list(sums)
            for k, e in enumerate(reduces):
                for part, emitter in enumerate(inner.emitters):
                    value = emitter.value(bodies[k])
                    if inner.mask is not None:
                        value = self.b.select(inner.mask, value, neutral[k])
                    sums[k * parts + part] = _combine(v, e, sums[k * parts + part], value)
            return sums

        def add_line(around: Scope, totals: Values) -> Values:
            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                start = [n for n in neutral for _ in range(parts)]
                sums = self._lanes(around, vector, first, stop, parts, bodies, start, add_vectors)
                return [_tree(v, e, sums[k * parts : (k + 1) * parts]) for k, e in enumerate(reduces)]

            return combine(totals, self._cascade(self.extent[vector], parts * v.n, neutral, combine, add_block))

        totals = self._serial_nest(scope, self._widest_first(others, bodies), bodies, neutral, add_line)
        return [_across_lanes(v, e, total) for e, total in zip(reduces, totals)]

    def _cascade(
        self,
        extent: ir.Value,
        step: int,
        neutral: Values,
        combine: Callable[[Values, Values], Values],
        add_block: Callable[[ir.Value, ir.Value], Values],
    ) -> Values:
        """Blocks of SUM_BLOCK steps into groups of SUM_BLOCK blocks into the total."""

        def level(first: ir.Value, stop: ir.Value, sizes: tuple[int, ...]) -> Values:
            if not sizes:
                return add_block(first, stop)

            def once(at: ir.Value, totals: Values) -> Values:
                end = minimum(self.b, self.b.add(at, I64(sizes[0])), stop)
                return combine(totals, level(at, end, sizes[1:]))

            return loop(self.b, first, stop, neutral, once, step=sizes[0])

        return level(I64(0), extent, (SUM_BLOCK**2 * step, SUM_BLOCK * step))

    def _widest_first(self, axes: Sequence[str], bodies: Sequence[Expr]) -> list[str]:
        """Loop order: the axis of the smallest steps innermost."""
        loads = [self.form.loads[e] for body in bodies for e in walk(body) if e.op == "load"]
        return sorted(axes, key=lambda a: -max((abs(x.stride(a)) for x in loads), default=0))

    def _combine_all(self, v: Lanes, reduces: list[Expr], left: Values, right: Values) -> Values:
        parts = len(left) // len(reduces)
        return [_combine(v, reduces[k // parts], x, y) for k, (x, y) in enumerate(zip(left, right))]

    # ---- loops

    def _range(self, axis: str) -> tuple[ir.Value, ir.Value]:
        """All of an axis, or this unit's block of it."""
        return self.block if axis == self.plan.blocked else (I64(0), self.extent[axis])

    def _serial(
        self,
        scope: Scope,
        axis: str,
        start: ir.Value,
        stop: ir.Value,
        roots: Sequence[Expr],
        carried: Values,
        body: Callable[[Scope, Values], Values],
    ) -> Values:
        def once(index: ir.Value, values: Values) -> Values:
            inner = self._bind(scope, axis, index)
            self.prepare(inner, roots)
            return body(inner, values)

        return loop(self.b, start, stop, carried, once)

    def _serial_nest(
        self,
        scope: Scope,
        axes: Sequence[str],
        roots: Sequence[Expr],
        carried: Values,
        body: Callable[[Scope, Values], Values],
    ) -> Values:
        """Serial loops over whole axes, outermost first."""
        if not axes:
            return body(scope, carried)
        return self._serial(
            scope,
            axes[0],
            *self._range(axes[0]),
            roots,
            carried,
            lambda inner, values: self._serial_nest(inner, axes[1:], roots, values, body),
        )

    def _lanes(
        self,
        scope: Scope,
        axis: str,
        start: ir.Value,
        stop: ir.Value,
        parts: int,
        roots: Sequence[Expr],
        carried: Values,
        body: Callable[[Scope, Values], Values],
    ) -> Values:
        """A vector loop: `parts` vectors a pass, then single ones, the last one partial."""
        b, n = self.b, self.plan.lanes
        v = self.vector
        splats = self._splats(scope, v, roots)

        def pass_of(parts: int, is_partial: bool) -> Callable[[ir.Value, Values], Values]:
            def once(index: ir.Value, values: Values) -> Values:
                count = minimum(b, b.sub(stop, index), I64(n)) if is_partial else None
                inner = self._bind_lanes(scope, axis, index, parts, splats, count)
                self.prepare(inner, roots)
                return body(inner, values)

            return once

        sizes = [parts] if parts == 1 or v.abilities.has_free_masks else [parts, 1]
        for size in sizes:
            whole = b.and_(b.sub(stop, start), I64(-size * n))
            middle = b.add(start, whole)
            carried = loop(b, start, middle, carried, pass_of(size, is_partial=False), step=size * n)
            start = middle
        return loop(b, start, stop, carried, pass_of(1, is_partial=True), step=n)

    def _splats(self, scope: Scope, v: Lanes, roots: Sequence[Expr]) -> dict[Expr, ir.Value]:
        """What is known as scalars, in every lane; only what the roots mention."""
        used = {e for r in roots for e in walk(r)}
        return {e: v.splat(value) for e, value in scope.known.items() if e in used and e.op != "const"}


def _combine(v: Lanes, reduce: Expr, x: ir.Value, y: ir.Value) -> ir.Value:
    return primitive(v, COMBINERS[reduce.data[0]][0], reduce.dtype, [x, y], [reduce.dtype] * 2)


def _neutral(v: Lanes, reduce: Expr) -> ir.Value:
    combiner = reduce.data[0]
    if reduce.dtype == "bool":
        return v.const(combiner in ("min", "prod"), "bool")
    value = COMBINERS[combiner][1](np.dtype(reduce.dtype))
    return v.const(float(value) if reduce.dtype.startswith("float") else int(value), reduce.dtype)


def _tree(v: Lanes, reduce: Expr, values: Values) -> ir.Value:
    """All values combined pairwise, always in the same order."""
    while len(values) > 1:
        paired = [_combine(v, reduce, x, y) for x, y in zip(values[::2], values[1::2])]
        values = paired + values[len(paired) * 2 :]
    return values[0]


def _across_lanes(v: Lanes, reduce: Expr, x: ir.Value) -> ir.Value:
    """The lanes of one vector combined: upper half with lower half until one is left."""
    n, b = v.n, v.b
    while n > 1:
        half = v.resized(n // 2)
        blank = ir.Constant(x.type, ir.Undefined)
        parts = []
        for first in (0, n // 2):
            mask = ir.Constant(ir.VectorType(I32, n // 2), [I32(first + k) for k in range(n // 2)])
            part = b.shuffle_vector(x, blank, mask)
            parts.append(part if n > 2 else b.extract_element(part, I32(0)))
        x, n = _combine(half, reduce, *parts), n // 2
    return x
