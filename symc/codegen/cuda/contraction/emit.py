"""The body of a tile's kernel: operands, sums, and what happens to the finished sums."""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir

from symc.codegen.contraction.epilogue import Epilogue, Operand
from symc.codegen.cuda.abilities import GPU
from symc.codegen.descriptor import Descriptor
from symc.codegen.llvm.emit import Emitter
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I32, I64, Lanes
from symc.codegen.llvm.loops import minimum
from symc.codegen.llvm.memory import Elements, narrow, widen
from symc.loopir.expr import Expr
from symc.loopir.kernel import ACCUMULATOR

from .arithmetic import arithmetic_of
from .operands import Panel, Pixels, Rows, Taps, Windows
from .sums import emit_sums
from .tile import Tile


def tile_intrinsic(
    tile: Tile, widths: tuple[int, int], epilogue: Epilogue, d: Descriptor, is_gradient: bool, is_long: bool
) -> Any:
    """The intrinsic `tile(desc, bufs, address of the left and of the right operand, offsets, first row and column,
    group, member, part)`: a block's part of a product."""

    @intrinsic
    def tile_of_block(b, desc, bufs, left, right, offsets, row, column, group, member, part):
        word = partial(_word, b, desc, d)
        pixels, taps, channels, depth = (b.trunc(word(n), I32) for n in ("pixels", "taps", "channels", "depth"))
        n_rows, n_columns = (b.trunc(word(n), I32) for n in ("n_rows", "n_columns"))
        first_row, first_column = b.trunc(row, I32), b.trunc(column, I32)
        windows = Windows(left, word("image_bytes"), offsets, pixels, taps, channels)
        if is_gradient:
            steps = word("rhs_image_bytes"), word("rhs_pixel_bytes")
            factors: Any = (
                Pixels(b, tile, right, *steps, pixels, first_row, n_rows, depth, widths[0]),
                Taps(b, tile, windows, first_column, n_columns, depth, widths[1]),
            )
        else:
            rows = Rows(b, tile, windows, first_row, n_rows, depth, widths[0])
            factors = rows, Panel(b, tile, right, depth)
        first = b.mul(part, word("part_steps"))
        stop = minimum(b, b.add(first, word("part_steps")), word("steps"))
        sums = emit_sums(b, tile, factors, first, stop, is_long)
        end = Finish(b, epilogue, d, desc, bufs)
        before = b.add(b.mul(member, word("member_rows")), b.mul(group, word("group_rows")))
        before = b.add(before, b.mul(part, word("part_rows")))
        aside = b.mul(group, word("group_columns"))
        for (at_row, at_column), total in zip(arithmetic_of(b, tile, *(f.steps for f in factors)).places(), sums):
            r, c = b.add(first_row, at_row), b.add(first_column, at_column)
            with b.if_then(b.and_(b.icmp_unsigned("<", r, n_rows), b.icmp_unsigned("<", c, n_columns))):
                end.store(total, b.add(before, b.zext(r, I64)), b.add(aside, b.zext(c, I64)))

    return tile_of_block


def _word(b: ir.IRBuilder, desc: ir.Value, d: Descriptor, name: str, further: int = 0) -> ir.Value:
    return b.load(b.gep(desc, [I64(d.number(name) + further)]))


class Finish:
    """Stores what an epilogue makes of a finished sum."""

    def __init__(self, b: ir.IRBuilder, epilogue: Epilogue, d: Descriptor, desc: ir.Value, bufs: ir.Value) -> None:
        self.b, self.v, self.epilogue = b, Lanes(b, 1, GPU), epilogue
        word = partial(_word, b, desc, d)
        self.operands = {}
        for i, operand in enumerate(epilogue.operands):
            start = b.add(b.load(b.gep(bufs, [word(f"operand{i}")])), word(f"operand{i}", 1))
            self.operands[operand] = (start, word(f"operand{i}_row_bytes"), word(f"operand{i}_column_bytes"))
        self.params = {e: self.v.parameter(word(f"param{i}"), e.dtype) for i, e in enumerate(epilogue.params)}

    def store(self, total: ir.Value, row: ir.Value, column: ir.Value) -> None:
        """All values of one element, then all its stores."""

        def leaf(e: Expr) -> ir.Value:
            if e in self.epilogue.loads:
                operand = self.epilogue.loads[e]
                raw = Elements(self.v, operand.dtype).load_one(self._place(operand, row, column))
                return widen(self.v, raw, operand.dtype, e.dtype)
            assert e.op == "load" and e.data[0] == ACCUMULATOR, e
            return total

        emitter = Emitter(self.v, leaf, dict(self.params))
        values = [(operand, value, emitter.value(value)) for operand, value in self.epilogue.stores]
        for operand, value, made in values:
            raw = narrow(self.v, made, value.dtype, operand.dtype)
            Elements(self.v, operand.dtype).store_one(raw, self._place(operand, row, column))

    def _place(self, operand: Operand, row: ir.Value, column: ir.Value) -> ir.Value:
        start, row_bytes, column_bytes = self.operands[operand]
        return self.b.add(start, self.b.add(self.b.mul(row, row_bytes), self.b.mul(column, column_bytes)))
