"""Transposing nests: square tiles are read along one axis, transposed in registers, and stored along the other."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.llvm.lanes import I32, I64, Lanes
from symc.codegen.llvm.loops import Values, loop, minimum
from symc.codegen.llvm.memory import Elements, widen
from symc.loopir.expr import Expr

from .body import Body
from .frame import Scope


class TileBody(Body):
    """A body whose lanes run along plan.vector, while some loads are contiguous along plan.cross."""

    def run(self, outer: Sequence[ir.Value], low: ir.Value, high: ir.Value) -> None:
        """Tiles along the blocked axis outside, along the other one inside."""
        b, n = self.b, self.plan.lanes
        along, across = self._axes()
        scope = self.enter_kernel(outer)
        self.block = low, high
        self.prepare(scope, self.form.roots)
        v = self.vector
        splats = self._splats(scope, v, self.form.roots)
        crossing = [
            e
            for e, a in self.form.loads.items()
            if (e, across) in self.layout.contiguous
            and (e, along) in self.steps
            and (e, along) not in self.layout.contiguous
        ]
        self.memory = {e: Elements(v, self.form.loads[e].dtype) for e in crossing}
        tiles = {e: self._tile_memory(memory) for e, memory in self.memory.items()}

        along_outside = self.plan.blocked == along
        inner_axis = across if along_outside else along

        def tile(outside: ir.Value, inside: ir.Value, nothing: Values) -> Values:
            index, cross = (outside, inside) if along_outside else (inside, outside)
            n_cross = minimum(b, b.sub(self._range(across)[1], cross), I64(n))
            n_along = minimum(b, b.sub(self._range(along)[1], index), I64(n))
            is_whole = b.icmp_signed("==", b.add(n_cross, n_along), I64(2 * n))
            with b.if_else(is_whole) as (whole, partial):
                with whole:
                    self._one_tile(scope, splats, tiles, cross, index, None, None)
                with partial:
                    self._one_tile(scope, splats, tiles, cross, index, n_cross, n_along)
            return nothing

        def line_of_tiles(outside: ir.Value, nothing: Values) -> Values:
            return loop(b, *self._range(inner_axis), nothing, lambda inside, none: tile(outside, inside, none), step=n)

        loop(b, low, high, [], line_of_tiles, step=n)

    def _axes(self) -> tuple[str, str]:
        """The axis of the lanes, and the one the crossing loads are contiguous along."""
        assert self.plan.vector is not None and self.plan.cross is not None
        return self.plan.vector, self.plan.cross

    def _tile_memory(self, elements: Elements) -> ir.Value:
        """Stack space for one transposed tile."""
        with self.b.goto_entry_block():
            memory = self.b.alloca(elements.v.of(elements.element), self.plan.lanes)
        memory.align = 64
        return self.b.ptrtoint(memory, I64)

    def _one_tile(
        self,
        scope: Scope,
        splats: dict[Expr, ir.Value],
        tiles: dict[Expr, ir.Value],
        cross: ir.Value,
        index: ir.Value,
        n_cross: ir.Value | None,
        n_along: ir.Value | None,
    ) -> None:
        b, n, v = self.b, self.plan.lanes, self.vector
        along, across = self._axes()
        corner = self._bind(self._bind(scope, across, cross), along, index)
        for e, tile in tiles.items():
            if n_cross is not None and not self.memory[e].can_mask:
                self._copy_by_element(corner.address[e], e, tile, n_cross, n_along)
            else:
                self._transpose(corner.address[e], e, tile, n_cross, n_along)

        def line(k: ir.Value, nothing: Values) -> Values:
            around = self._bind(scope, across, b.add(cross, k))
            inner = self._bind_lanes(around, along, index, 1, splats, n_along)
            for e, tile in tiles.items():
                memory = self.memory[e]
                place = b.add(tile, b.mul(k, I64(n * memory.item_bytes)))
                inner.known[e] = widen(v, memory.load(place), memory.dtype, e.dtype)
            self.store(inner, self.form.stores)
            return nothing

        loop(b, I64(0), I64(n) if n_cross is None else n_cross, [], line)

    def _transpose(
        self,
        start: ir.Value,
        e: Expr,
        tile: ir.Value,
        n_cross: ir.Value | None,
        n_along: ir.Value | None,
    ) -> None:
        """One crossing load's tile through registers; rows past `n_along` repeat the last one."""
        b, v, n, memory = self.b, self.vector, self.plan.lanes, self.memory[e]
        along = self._axes()[0]
        mask = None if n_cross is None else v.first(n_cross)
        rows = []
        for k in range(n):
            at: ir.Value = I64(k)
            if n_along is not None and k:
                at = minimum(b, at, b.sub(n_along, I64(1)))
            place = b.add(start, b.mul(at, self.steps[e, along]))
            rows.append(memory.load(place, mask))
        for k, column in enumerate(_transposed(v, rows)):
            memory.store(column, b.add(tile, I64(k * n * memory.item_bytes)))

    def _copy_by_element(self, start: ir.Value, e: Expr, tile: ir.Value, n_cross: ir.Value, n_along: ir.Value) -> None:
        """A partial tile where the machine cannot mask: compact code, since edges are few."""
        b, n = self.b, self.plan.lanes
        along, memory = self._axes()[0], self.memory[e]
        size = memory.item_bytes

        def row(k: ir.Value, nothing: Values) -> Values:
            source = b.add(start, b.mul(k, self.steps[e, along]))
            target = b.add(tile, b.mul(k, I64(size)))

            def element(j: ir.Value, nothing: Values) -> Values:
                item = memory.load_one(b.add(source, b.mul(j, I64(size))))
                memory.store_one(item, b.add(target, b.mul(j, I64(n * size))))
                return nothing

            return loop(b, I64(0), n_cross, nothing, element)

        loop(b, I64(0), n_along, [], row)


def _transposed(v: Lanes, rows: Values) -> Values:
    """An n x n transposition: log2(n) rounds of interleaving row i with row i + n / 2."""
    n, b = v.n, v.b
    masks = []
    for start in (0, n // 2):
        lanes = [I32(start + k // 2 + (n if k % 2 else 0)) for k in range(n)]
        masks.append(ir.Constant(ir.VectorType(I32, n), lanes))
    for _ in range(n.bit_length() - 1):
        rows = [b.shuffle_vector(rows[i], rows[i + n // 2], mask) for i in range(n // 2) for mask in masks]
    return rows
