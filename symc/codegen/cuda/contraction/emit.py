"""The body of a tile's kernel: operands, sums, and what happens to the finished sums."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from llvmlite import ir

from symc.codegen.contraction.epilogue import Epilogue, Operand
from symc.codegen.cuda.abilities import GPU
from symc.codegen.cuda.ptx import arrived_last, launched_memory
from symc.codegen.descriptor import Descriptor
from symc.codegen.llvm.emit import Emitter
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I32, I64, Lanes
from symc.codegen.llvm.loops import minimum
from symc.codegen.llvm.memory import Elements, narrow, widen
from symc.loopir.expr import Expr
from symc.loopir.kernel import ACCUMULATOR, section_of

from . import parts, teams
from .multiplier import arithmetic_of
from .operands import Panel, Pixels, Rows, Runs, Taps, Windows
from .sums import emit_sums
from .tile import ITEM_BYTES, QUAD, Tile


def tile_intrinsic(
    tile: Tile,
    widths: tuple[int, int],
    epilogue: Epilogue,
    d: Descriptor,
    is_gradient: bool,
    is_long: bool,
    n_parts: int,
    n_sections: int,
) -> Any:
    """The intrinsic `tile(desc, bufs, address of the left and of the right operand, offsets, first row and column,
    group, member, part, addresses of the tile's scratch memory and counter)`: a block's part of a product."""

    @intrinsic
    def tile_of_block(b, desc, bufs, left, right, offsets, row, column, group, member, part, scratch, counter):
        word = partial(_word, b, desc, d)
        pixels, taps, channels, depth = (b.trunc(word(n), I32) for n in ("pixels", "taps", "channels", "depth"))
        n_rows, n_columns = (b.trunc(word(n), I32) for n in ("n_rows", "n_columns"))
        first_row, first_column = b.trunc(row, I32), b.trunc(column, I32)
        item_bytes = ITEM_BYTES // tile.n_together
        windows = Windows(left, item_bytes, word("image_bytes"), offsets, pixels, taps, channels)
        if is_gradient:
            steps = word("rhs_image_bytes"), word("rhs_pixel_bytes")
            factors: Any = (
                Pixels(b, tile, right, *steps, pixels, first_row, n_rows, depth, widths[0]),
                Taps(b, tile, windows, first_column, n_columns, depth, widths[1]),
            )
        else:
            rows = (Runs if widths[0] == QUAD else Rows)(b, tile, windows, first_row, n_rows, widths[0])
            factors = rows, Panel(b, tile, right, depth)
        assert tuple(f.words for f in factors) == tile.words(is_gradient)
        first = b.mul(part, word("part_steps"))
        stop = minimum(b, b.add(first, word("part_steps")), word("steps"))
        sums = emit_sums(b, tile, factors, b.trunc(first, I32), b.trunc(stop, I32), is_long)
        before = b.add(b.mul(member, word("member_rows")), b.mul(group, word("group_rows")))
        aside = b.mul(group, word("group_columns"))
        arithmetic = arithmetic_of(b, tile, *(f.steps for f in factors))
        inside, per_section = arithmetic.places(), tile.columns_of_thread // n_sections
        sections = [
            [k for k in range(tile.n_sums) if k % tile.columns_of_thread // per_section == section]
            for section in range(n_sections)
        ]
        rows_at, columns_at = (
            {x: b.add(first, x) for x in xs} for first, xs in zip((first_row, first_column), zip(*inside))
        )
        places = [(rows_at[r], columns_at[c]) for r, c in (inside[k] for k in sections[0])]

        def finish(sums):
            together, singly = (
                Finish(b, n, epilogue, d, desc, bufs, before, aside) for n in (arithmetic.neighbours, 1)
            )
            is_whole = b.icmp_unsigned("<=", b.add(first_column, I32(tile.columns // n_sections)), n_columns)
            totals_of = [[sums[k] for k in section] for section in sections]
            _store(b, together, singly, is_whole, (n_rows, n_columns), places, totals_of, tile.stored_together)

        sums = teams.totals(b, tile, sums)
        with teams.first_team(b, tile):
            if n_parts == 1:
                finish(sums)
            else:
                parts.leave(b, tile, scratch, part, sums)
        if n_parts > 1:
            with b.if_then(arrived_last(b, counter, n_parts, launched_memory(b))), teams.first_team(b, tile):
                finish(parts.totals(b, tile, scratch, word("n_parts")))

    return tile_of_block


@intrinsic(result="int64")
def quotient(b, x, y):
    """Of numbers below 2^32, which a GPU divides much faster than longer ones."""
    return b.zext(b.udiv(b.trunc(x, I32), b.trunc(y, I32)), I64)


@intrinsic(result="int64")
def remainder(b, x, y):
    """See quotient."""
    return b.zext(b.urem(b.trunc(x, I32), b.trunc(y, I32)), I64)


def _store(b, together, singly, is_whole, n_results, places, sums, n_prepared):
    """A thread's sums, by section, at their places (row, column), as many together as can be; is_whole: all columns
    are there; n_prepared: sums whose columns are found before the first of them is stored."""
    with b.if_else(b.and_(is_whole, together.is_even())) as (whole, partly):
        with whole:
            for first in range(0, len(places), n_prepared):
                some = slice(first, first + n_prepared)
                _store_rows(b, together, n_results[0], places[some], [s[some] for s in sums])
        with partly:
            for place, *totals_of in zip(places, *sums):
                is_there = [b.icmp_unsigned("<", x, n) for x, n in zip(place, n_results)]
                with b.if_then(b.and_(*is_there)):
                    singly.store([[total] for total in totals_of], *place)


def _store_rows(b, end, n_rows, places, sums):
    """Sums of a tile whose columns are there, row by row."""
    rows: dict[ir.Value, list[int]] = {}
    for first in range(0, len(places), end.v.n):
        rows.setdefault(places[first][0], []).append(first)
        end.prepare(places[first][1])
    for r, firsts in rows.items():
        with b.if_then(b.icmp_unsigned("<", r, n_rows)):
            for first in firsts:
                end.store([s[first : first + end.v.n] for s in sums], r, places[first][1])


def _word(b: ir.IRBuilder, desc: ir.Value, d: Descriptor, name: str, further: int = 0) -> ir.Value:
    return b.load(b.gep(desc, [I64(d.number(name) + further)]))


class Finish:
    """Stores what an epilogue makes of finished sums, `n` neighbours of a row at once.

    before, aside   int64: rows and columns of the operands before those of the block's matrix
    """

    def __init__(
        self,
        b: ir.IRBuilder,
        n: int,
        epilogue: Epilogue,
        d: Descriptor,
        desc: ir.Value,
        bufs: ir.Value,
        before: ir.Value,
        aside: ir.Value,
    ) -> None:
        self.b, self.v, self.epilogue = b, Lanes(b, n, GPU, is_aligned=n > 1), epilogue
        word = partial(_word, b, desc, d)
        self.operands = {}
        for i, operand in enumerate(epilogue.operands):
            row_bytes, column_bytes = word(f"operand{i}_row_bytes"), word(f"operand{i}_column_bytes")
            start = b.add(b.load(b.gep(bufs, [word(f"operand{i}")])), word(f"operand{i}", 1))
            start = b.add(start, b.add(b.mul(before, row_bytes), b.mul(aside, column_bytes)))
            self.operands[operand] = start, row_bytes, column_bytes
        self.params = {e: self.v.parameter(word(f"param{i}"), e.dtype) for i, e in enumerate(epilogue.params)}
        self._moved: dict[tuple[Operand, ir.Value], ir.Value] = {}
        self._loaded: dict[tuple[Operand, ir.Value], ir.Value] = {}

    def is_even(self) -> ir.Value:
        """Whether neighbours in memory lie at multiples of their size, in every row."""
        b, bits = self.b, ir.Constant(ir.IntType(1), 1)
        for operand, (start, row_bytes, _) in self.operands.items():
            if operand.column_stride == 1:
                size_bytes = Elements(self.v, operand.dtype).vector_bytes
                rest = b.and_(b.or_(start, row_bytes), I64(size_bytes - 1))
                bits = b.and_(bits, b.icmp_unsigned("==", rest, I64(0)))
        return bits

    def prepare(self, column: ir.Value) -> None:
        """Finds what the rows share of a column (int32) and its neighbours."""
        for operand, (start, _, column_bytes) in self.operands.items():
            if (operand, column) not in self._moved:
                moved = self.b.add(start, self.b.mul(self.b.zext(column, I64), column_bytes))
                self._moved[operand, column] = moved
                if operand.row_stride == 0 and operand in self.epilogue.loads.values():
                    self._loaded[operand, column] = self._load(operand, moved)

    def store(self, totals: Sequence[Sequence[ir.Value]], row: ir.Value, column: ir.Value) -> None:
        """All values of neighbours from a column on (both int32), then all their stores; totals: by section."""

        def leaf(e: Expr) -> ir.Value:
            if e in self.epilogue.loads:
                operand = self.epilogue.loads[e]
                raw = self._loaded.get((operand, column)) or self._load(operand, self._place(operand, row, column))
                return widen(self.v, raw, operand.dtype, e.dtype)
            assert e.op == "load" and e.data[0] == ACCUMULATOR, e
            return self.v.pack(totals[section_of(e)])

        emitter = Emitter(self.v, leaf, dict(self.params))
        values = [(operand, value, emitter.value(value)) for operand, value in self.epilogue.stores]
        for operand, value, made in values:
            raw = narrow(self.v, made, value.dtype, operand.dtype)
            elements, place = Elements(self.v, operand.dtype), self._place(operand, row, column)
            if operand.column_stride == 1:
                elements.store(raw, place)
            else:
                elements.scatter(raw, place, self.operands[operand][2], (), None)

    def _place(self, operand: Operand, row: ir.Value, column: ir.Value) -> ir.Value:
        b, (start, row_bytes, column_bytes) = self.b, self.operands[operand]
        moved = self._moved.get((operand, column)) or b.add(start, b.mul(b.zext(column, I64), column_bytes))
        return b.add(moved, b.mul(b.zext(row, I64), row_bytes))

    def _load(self, operand: Operand, place: ir.Value) -> ir.Value:
        elements = Elements(self.v, operand.dtype)
        if operand.column_stride == 0:
            return elements.broadcast(place)
        if operand.column_stride == 1:
            return elements.load(place)
        return elements.gather(place, self.operands[operand][2], (), None)
