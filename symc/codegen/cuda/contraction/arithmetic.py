"""How the threads of a block multiply what lies in shared memory: each for itself by FMA, or a warp's tensor cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from llvmlite import ir

from symc.codegen.cuda.abilities import GPU
from symc.codegen.cuda.launch import WARP
from symc.codegen.cuda.ptx import SHARED, thread
from symc.codegen.llvm.lanes import F32, I32, Lanes
from symc.codegen.llvm.loops import Values

from .tile import ITEM_BYTES, QUAD, Tile

Pointer = Callable[[int, ir.Value], ir.Value]  # (operand, element) -> place in shared memory


class Arithmetic(Protocol):
    """What happens with products of operands that lie in shared memory, a product's elements in one row each.

    sizes   the elements from one row of the left and of the right operand to the next
    """

    sizes: tuple[int, int]

    def prepared(self, value: ir.Value) -> ir.Value:
        """An operand's element as it is stored there."""

    def multiplied(self, pointer: Pointer, sums: Values) -> Values:
        """The sums of this thread with all products of the tile added."""

    def places(self) -> list[tuple[ir.Value, ir.Value]]:
        """(row, column) in the tile of each sum of this thread."""


def arithmetic_of(b: ir.IRBuilder, tile: Tile) -> Arithmetic:
    """That of a tile."""
    return TensorCores(b, tile) if tile.is_tf32 else Fma(b, tile)


class Fma:
    """A thread multiplies quads of rows by quads of columns; quads lie far apart, so that threads read neighbours."""

    def __init__(self, b: ir.IRBuilder, tile: Tile) -> None:
        self.b, self.tile, self.v = b, tile, Lanes(b, 1, GPU)
        self.sizes = tile.rows + QUAD, tile.columns  # storing columns of the left operand meets more banks
        n_across = I32(tile.columns // tile.columns_of_thread)
        self.row = b.mul(b.udiv(thread(b), n_across), I32(QUAD))
        self.column = b.mul(b.urem(thread(b), n_across), I32(QUAD))

    def prepared(self, value: ir.Value) -> ir.Value:
        """As it is."""
        return value

    def multiplied(self, pointer: Pointer, sums: Values) -> Values:
        """One product after the other."""
        tile, (left, right) = self.tile, self.sizes
        for k in range(tile.depth):
            rows = self._quads(pointer, 0, k * left, self.row, tile.rows, tile.rows_of_thread)
            columns = self._quads(pointer, 1, k * right, self.column, tile.columns, tile.columns_of_thread)
            sums = [self.v.fma(rows[n // len(columns)], columns[n % len(columns)], s) for n, s in enumerate(sums)]
        return sums

    def places(self) -> list[tuple[ir.Value, ir.Value]]:
        """Row by row."""
        rows = self._positions(self.row, self.tile.rows, self.tile.rows_of_thread)
        columns = self._positions(self.column, self.tile.columns, self.tile.columns_of_thread)
        return [(row, column) for row in rows for column in columns]

    def _positions(self, first: ir.Value, size: int, n: int) -> Values:
        return [self.b.add(first, I32(k // QUAD * (size // (n // QUAD)) + k % QUAD)) for k in range(n)]

    def _quads(self, pointer: Pointer, number: int, row: int, first: ir.Value, size: int, n: int) -> Values:
        """The n elements of this thread in one row of shared memory."""
        b, quad = self.b, ir.VectorType(F32, QUAD)
        found: Values = []
        for k in range(n // QUAD):
            at = b.add(first, I32(row + k * (size // (n // QUAD))))
            place = b.bitcast(pointer(number, at), quad.as_pointer(addrspace=SHARED))
            value = b.load(place, align=QUAD * ITEM_BYTES)
            found += [b.extract_element(value, I32(lane)) for lane in range(QUAD)]
        return found


class TensorCores:
    """mma.sync m16n8k8: a warp multiplies 16 rows by 8 columns, 8 products at a time, of elements rounded to tf32.

    A warp has 32 columns. Thread 4 g + t of it holds (PTX ISA, matrix fragments): of the left operand, rows g and g + 8
    of products t and t + 4; of the right one, column g of these products; of the sums, columns 2 t and 2 t + 1 of those
    rows.
    """

    ROWS, COLUMNS, PRODUCTS, WARP_COLUMNS, PADDING = 16, 8, 8, 32, 8

    def __init__(self, b: ir.IRBuilder, tile: Tile) -> None:
        self.b, self.tile = b, tile
        self.sizes = tile.rows + self.PADDING, tile.columns + self.PADDING  # 8 g + t: a warp meets all banks
        across = tile.columns // self.WARP_COLUMNS
        self.n_rows = tile.rows // (tile.n_threads // WARP // across) // self.ROWS
        self.n_columns = self.WARP_COLUMNS // self.COLUMNS
        warp, lane = b.lshr(thread(b), I32(5)), b.and_(thread(b), I32(WARP - 1))
        self.g, self.t = b.lshr(lane, I32(2)), b.and_(lane, I32(3))
        self.row = b.mul(b.udiv(warp, I32(across)), I32(self.n_rows * self.ROWS))
        self.column = b.mul(b.urem(warp, I32(across)), I32(self.WARP_COLUMNS))

    def prepared(self, value: ir.Value) -> ir.Value:
        """Rounded to nearest: the cores cut off what they do not take."""
        word = self.b.bitcast(value, I32)
        rounding = ir.InlineAsm(ir.FunctionType(I32, [I32]), "cvt.rna.tf32.f32 $0, $1;", "=r,r")
        return self.b.bitcast(self.b.call(rounding, [word]), F32)

    def multiplied(self, pointer: Pointer, sums: Values) -> Values:
        """Fragments of all rows by those of all columns of the warp."""
        sums, n = list(sums), self.n_columns
        for first in range(0, self.tile.depth, self.PRODUCTS):
            left = [self._left(pointer, first, i) for i in range(self.n_rows)]
            right = [self._right(pointer, first, j) for j in range(n)]
            for i, rows in enumerate(left):
                for j, columns in enumerate(right):
                    at = 4 * (i * n + j)
                    sums[at : at + 4] = self._product(rows, columns, sums[at : at + 4])
        return sums

    def places(self) -> list[tuple[ir.Value, ir.Value]]:
        """Fragment by fragment."""
        b = self.b
        rows = [[self._row(i, 8 * (c // 2)) for c in range(4)] for i in range(self.n_rows)]
        pair = b.add(self.column, b.shl(self.t, I32(1)))
        columns = [[b.add(pair, I32(j * self.COLUMNS + c % 2)) for c in range(4)] for j in range(self.n_columns)]
        return [(row[c], column[c]) for row in rows for column in columns for c in range(4)]

    def _row(self, i: int, further: int) -> ir.Value:
        return self.b.add(self.b.add(self.row, self.g), I32(i * self.ROWS + further))

    def _left(self, pointer: Pointer, first: int, i: int) -> Values:
        places = [(0, 0), (8, 0), (0, 4), (8, 4)]
        return [self._element(pointer, 0, first + k, self._row(i, further)) for further, k in places]

    def _right(self, pointer: Pointer, first: int, j: int) -> Values:
        column = self.b.add(self.b.add(self.column, self.g), I32(j * self.COLUMNS))
        return [self._element(pointer, 1, first + k, column) for k in (0, 4)]

    def _element(self, pointer: Pointer, number: int, product: int, position: ir.Value) -> ir.Value:
        """Element of product + t, as its bits."""
        b = self.b
        at = b.add(b.mul(b.add(self.t, I32(product)), I32(self.sizes[number])), position)
        return b.load(b.bitcast(pointer(number, at), I32.as_pointer(addrspace=SHARED)), align=ITEM_BYTES)

    def _product(self, left: Values, right: Values, sums: Values) -> Values:
        four = ir.LiteralStructType([F32] * 4)
        text = (
            "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
            "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13};"
        )
        type_ = ir.FunctionType(four, [I32] * 6 + [F32] * 4)
        made = self.b.call(ir.InlineAsm(type_, text, "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f"), [*left, *right, *sums])
        return [self.b.extract_value(made, c) for c in range(4)]
