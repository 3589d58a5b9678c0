"""Transposing nests: square tiles are read along one axis, transposed in registers, and stored along the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from llvmlite import ir

from symc.codegen.llvm.lanes import I32, I64, Lanes
from symc.codegen.llvm.loops import Values, loop, minimum
from symc.codegen.llvm.memory import Elements, widen
from symc.codegen.nest.places import Scope, splats
from symc.codegen.nest.stores import store
from symc.codegen.nest.walker import Walker
from symc.loopir.expr import Expr

from .vectors import vector_of

PART_BYTES = 16  # of a register: what lies in such a part x86 interleaves by one instruction


@dataclass(frozen=True)
class _Crossing:
    """A load that is contiguous across the lanes: its elements, bytes of a step along the lanes, memory for a tile."""

    load: Expr
    elements: Elements
    step: ir.Value
    tile: ir.Value


class Tiles:
    """Emits one unit of a plan whose lanes run along plan.vector, while some loads are contiguous along plan.cross."""

    def __init__(self, walker: Walker) -> None:
        self.walker, self.b, self.places = walker, walker.b, walker.places
        self.v = vector_of(walker)
        plan = walker.plan
        assert plan.vector is not None and plan.cross is not None
        self.along, self.across = plan.vector, plan.cross

    def run(self, indices: Sequence[ir.Value]) -> None:
        """Tiles along the blocked axis outside, then the serial axes, then tiles along the other one."""
        b, n, walker = self.b, self.v.n, self.walker
        scope = walker.enter(indices)
        self.known = splats(scope, self.v, walker.form.roots)
        self.crossings = self._crossings()
        self.is_copy = {s.value for s in walker.form.stores} <= {c.load for c in self.crossings}
        (group,) = walker.plan.stores
        if walker.plan.streams:
            self.can_stream = self.places.can_stream(
                scope, self.v, self.along, walker.span(self.along)[0], (*group.serial, self.across)
            )
        axes = [self.along, self.across]
        if walker.plan.blocked != self.along:
            axes.reverse()

        def line_of_tiles(outside: ir.Value, nothing: Values) -> Values:
            def along_the_other(inner: Scope, nothing: Values) -> Values:
                def one(inside: ir.Value, nothing: Values) -> Values:
                    index, cross = (outside, inside) if axes[0] == self.along else (inside, outside)
                    self._tile(inner, cross, index)
                    return nothing

                return loop(b, *walker.span(axes[1]), nothing, one, step=n)

            return walker.over(scope, walker.plan.loops_of(group), walker.form.roots, nothing, along_the_other)

        loop(b, *walker.span(axes[0]), [], line_of_tiles, step=n)

    def _tile(self, scope: Scope, cross: ir.Value, index: ir.Value) -> None:
        """One tile, whole or as much of it as there is."""
        b, n, walker = self.b, self.v.n, self.walker
        n_cross = minimum(b, b.sub(walker.span(self.across)[1], cross), I64(n))
        n_along = minimum(b, b.sub(walker.span(self.along)[1], index), I64(n))
        # Where masks cost nothing, few lines (the taps of a weight) are as good as all of them.
        has_masks = self.v.abilities.has_free_masks and all(c.elements.can_mask for c in self.crossings)
        is_whole = b.icmp_signed("==", n_along, I64(n))
        if not has_masks:
            is_whole = b.and_(is_whole, b.icmp_signed("==", n_cross, I64(n)))
        with b.if_else(is_whole) as (whole, partial):
            with whole:
                self._one_tile(scope, cross, index, n_cross if has_masks else None, None)
            with partial:
                self._one_tile(scope, cross, index, n_cross, n_along)

    def _crossings(self) -> list[_Crossing]:
        contiguous, step = self.places.layout.contiguous, self.walker.words.step
        found = []
        for e, access in self.walker.form.loads.items():
            is_crossing = (e, self.across) in contiguous and (e, self.along) not in contiguous
            if is_crossing and (e, self.along) in step:
                elements = Elements(self.v, access.dtype)
                found.append(_Crossing(e, elements, step[e, self.along], self._tile_memory(elements)))
        return found

    def _tile_memory(self, elements: Elements) -> ir.Value:
        """Stack space for one transposed tile."""
        with self.b.goto_entry_block():
            memory = self.b.alloca(self.v.of(elements.element), self.v.n)
        memory.align = 64
        return self.b.ptrtoint(memory, I64)

    def _one_tile(
        self, scope: Scope, cross: ir.Value, index: ir.Value, n_cross: ir.Value | None, n_along: ir.Value | None
    ) -> None:
        b = self.b
        corner = self.places.bind(self.places.bind(scope, self.across, cross), self.along, index)
        from_registers = self.is_copy and n_cross is None and n_along is None
        columns: dict[_Crossing, Values] = {}
        for c in self.crossings:
            if n_cross is not None and not c.elements.can_mask:
                self._copy_by_element(c, corner, n_cross, n_along)
                continue
            columns[c] = self._transpose(c, corner, n_cross, n_along)
            if not from_registers:
                for k, value in enumerate(columns[c]):
                    c.elements.store(value, b.add(c.tile, I64(k * c.elements.vector_bytes)))

        def line(k: ir.Value, raw_of: Callable[[_Crossing], ir.Value]) -> None:
            around = self.places.bind(scope, self.across, b.add(cross, k))
            inner = self.places.bind_lanes(around, self.along, index, self.v, 1, self.known, n_along)
            for c in self.crossings:
                inner.known[c.load] = widen(self.v, raw_of(c), c.elements.dtype, c.load.dtype)
            store(self.places, [inner], self.walker.form.stores)

        def from_memory(k: ir.Value, nothing: Values) -> Values:
            line(k, lambda c: c.elements.load(b.add(c.tile, b.mul(k, I64(c.elements.vector_bytes)))))
            return nothing

        def column(k: int, c: _Crossing) -> ir.Value:
            return columns[c][k]

        def lines() -> None:
            if from_registers:
                for k in range(self.v.n):
                    line(I64(k), partial(column, k))
            else:
                loop(b, I64(0), I64(self.v.n) if n_cross is None else n_cross, [], from_memory)

        if not self.walker.plan.streams or n_along is not None:
            lines()
            return
        with b.if_else(self.can_stream) as (past_the_caches, through_them):
            with past_the_caches:
                self.places.streams = True
                lines()
                self.places.streams = False
            with through_them:
                lines()

    def _transpose(self, c: _Crossing, corner: Scope, n_cross: ir.Value | None, n_along: ir.Value | None) -> Values:
        """A tile through registers; rows past `n_along` repeat the last one."""
        b, v = self.b, self.v
        mask = None if n_cross is None else v.first(n_cross)
        rows = []
        for k in range(v.n):
            at: ir.Value = I64(k)
            if n_along is not None and k:
                at = minimum(b, at, b.sub(n_along, I64(1)))
            rows.append(c.elements.load(b.add(corner.address[c.load], b.mul(at, c.step)), mask))
        return _transposed(v, rows, c.elements.item_bytes)

    def _copy_by_element(self, c: _Crossing, corner: Scope, n_cross: ir.Value, n_along: ir.Value) -> None:
        """A partial tile where the machine cannot mask: compact code, since edges are few."""
        b, size = self.b, c.elements.item_bytes

        def row(k: ir.Value, nothing: Values) -> Values:
            source = b.add(corner.address[c.load], b.mul(k, c.step))
            target = b.add(c.tile, b.mul(k, I64(size)))

            def element(j: ir.Value, nothing: Values) -> Values:
                item = c.elements.load_one(b.add(source, b.mul(j, I64(size))))
                c.elements.store_one(item, b.add(target, b.mul(j, I64(c.elements.vector_bytes))))
                return nothing

            return loop(b, I64(0), n_cross, nothing, element)

        loop(b, I64(0), n_along, [], row)


def _transposed(v: Lanes, rows: Values, item_bytes: int) -> Values:
    """An n x n transposition: log2(n) rounds of interleaving row i with row i + n / 2.

    Parts of 16 bytes first, then elements inside of these: x86 has an instruction for each such row, but without
    AVX-512 takes two for a row of elements from all parts.
    """
    n, b = v.n, v.b
    part = n if v.abilities.has_free_masks else min(n, PART_BYTES // item_bytes)
    for size, unit in ((part, n), (1, part)):
        for _ in range((unit // size).bit_length() - 1):
            masks = _interleavings(n, unit, size)
            rows = [b.shuffle_vector(rows[i], rows[i + n // 2], mask) for i in range(n // 2) for mask in masks]
    return rows


def _interleavings(n: int, unit: int, size: int) -> list[ir.Constant]:
    """Of each `unit` elements of two rows the first halves, or the second halves, in turns of `size`."""
    masks = []
    for start in (0, unit // 2):
        turns = [first + start + k for first in range(0, n, unit) for k in range(0, unit // 2, size)]
        lanes = [row + at + j for at in turns for row in (0, n) for j in range(size)]
        masks.append(ir.Constant(ir.VectorType(I32, n), [I32(lane) for lane in lanes]))
    return masks
