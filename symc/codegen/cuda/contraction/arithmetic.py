"""How the threads of a block multiply what lies in shared memory: each for itself by FMA, or a warp's tensor cores."""

from __future__ import annotations

from typing import Protocol

from llvmlite import ir

from symc.codegen.cuda.abilities import GPU
from symc.codegen.cuda.launch import WARP
from symc.codegen.cuda.ptx import SHARED, thread
from symc.codegen.llvm.lanes import F32, I32, Lanes, scalar_type
from symc.codegen.llvm.loops import Values

from .teams import member
from .tile import ITEM_BYTES, QUAD, TOGETHER, Tile

Steps = tuple[int, int]  # words from one product to the next, and from one row or column to the next


class Arithmetic(Protocol):
    """What happens with products of operands that lie in shared memory.

    neighbours   columns side by side of which a thread has the sums, one after the other
    """

    neighbours: int

    def multiplied(self, memories: tuple[ir.Value, ir.Value], sums: Values) -> Values:
        """The sums of this thread with TOGETHER products added; where the operands of these lie."""

    def places(self) -> list[tuple[ir.Value, ir.Value]]:
        """(row, column) in the tile of each sum of this thread."""


class Fma:
    """A thread multiplies quads of rows by quads of columns; quads lie far apart, so that threads read neighbours."""

    neighbours = QUAD

    def __init__(self, b: ir.IRBuilder, tile: Tile, left: Steps, right: Steps) -> None:
        self.b, self.tile, self.v = b, tile, Lanes(b, 1, GPU)
        self.left, self.right = left, right
        n_across = I32(tile.columns // tile.columns_of_thread)
        number = member(b, tile)
        self.row = b.mul(b.udiv(number, n_across), I32(min(QUAD, tile.rows_of_thread)))
        self.column = b.mul(b.urem(number, n_across), I32(QUAD))

    def multiplied(self, memories: tuple[ir.Value, ir.Value], sums: Values) -> Values:
        """One product after the other."""
        columns_of = _positions(self.tile.columns, self.tile.columns_of_thread)
        for first in range(0, TOGETHER, QUAD):
            rows_of = self._rows(memories[0], first)
            for k, rows in enumerate(rows_of, first):
                starts = [k * self.right[0] + c for c in columns_of[::QUAD]]
                columns = [x for at in starts for x in self._quad(memories[1], self.column, at)]
                sums = [self.v.fma(rows[n // len(columns)], columns[n % len(columns)], s) for n, s in enumerate(sums)]
        return sums

    def _rows(self, memory: ir.Value, first: int) -> list[Values]:
        """The rows of this thread for four products; quads of products or of rows, whichever are neighbours."""
        product, position = self.left
        rows = _positions(self.tile.rows, self.tile.rows_of_thread)
        if product == 1:
            start = self.b.mul(self.row, I32(position))
            lines = [self._quad(memory, start, row * position + first) for row in rows]
            return [[line[k] for line in lines] for k in range(QUAD)]
        places = [[k * product + row for row in rows[::QUAD]] for k in range(first, first + QUAD)]
        return [[x for at in line for x in self._quad(memory, self.row, at)] for line in places]

    def _quad(self, memory: ir.Value, start: ir.Value, further: int) -> Values:
        place = self.b.bitcast(_place(self.b, memory, start, further), ir.VectorType(F32, QUAD).as_pointer(SHARED))
        value = self.b.load(place, align=QUAD * ITEM_BYTES)
        return [self.b.extract_element(value, I32(lane)) for lane in range(QUAD)]

    def places(self) -> list[tuple[ir.Value, ir.Value]]:
        """Row by row."""
        b, tile = self.b, self.tile
        rows = [b.add(self.row, I32(k)) for k in _positions(tile.rows, tile.rows_of_thread)]
        columns = [b.add(self.column, I32(k)) for k in _positions(tile.columns, tile.columns_of_thread)]
        return [(row, column) for row in rows for column in columns]


def _positions(size: int, n: int) -> list[int]:
    """Where the rows or columns of the first thread lie: quads, spread evenly, or fewer side by side."""
    together = min(QUAD, n)
    return [k // together * (size // (n // together)) + k % together for k in range(n)]


def _place(b: ir.IRBuilder, memory: ir.Value, start: ir.Value, further: int) -> ir.Value:
    """A place in shared memory, int32 and so many words further."""
    return b.gep(b.gep(memory, [b.mul(start, I32(ITEM_BYTES))]), [I32(further * ITEM_BYTES)])


SHAPES = {
    "tf32": "m16n8k8.row.col.f32.tf32.tf32.f32",
    "bfloat16": "m16n8k16.row.col.f32.bf16.bf16.f32",
    "float16": "m16n8k16.row.col.f32.f16.f16.f32",
    "int8": "m16n8k32.row.col.s32.s8.s8.s32",
    "uint8": "m16n8k32.row.col.s32.u8.s8.s32",
}
ROUNDINGS = {"tf32": "cvt.rna.tf32.f32 $0, $1;", "bfloat16": "cvt.rn.bf16x2.f32 $0, $1, $2;"}  # to nearest


class TensorCores:
    """mma.sync: a warp multiplies 16 rows by 8 columns, 8 registers of products at a time.

    A register has a tf32, two numbers of 16 bits, or four integers of 8, whose sums are int32. A warp has 32 columns.
    Thread 4 g + t of it holds (PTX ISA, fragments of m16n8k8, m16n8k16 and m16n8k32): of the left operand, rows g and
    g + 8 of registers t and t + 4; of the right one, column g of these; of the sums, columns 2 t and 2 t + 1 of those
    rows. Registers are words of shared memory; of bfloat16, words t and t + 4 of 16 rounded, and t + 8 and t + 12: any
    order will do that both operands have.
    """

    ROWS, COLUMNS, WARP_COLUMNS = 16, 8, 32
    neighbours = 2

    def __init__(self, b: ir.IRBuilder, tile: Tile, left: Steps, right: Steps) -> None:
        self.b, self.tile, self.left, self.right = b, tile, left, right
        self.words = 2 if tile.kind == "bfloat16" else 1  # of a register
        across = tile.columns // self.WARP_COLUMNS
        self.n_rows = tile.rows // (tile.n_threads // WARP // across) // self.ROWS
        self.n_columns = self.WARP_COLUMNS // self.COLUMNS
        warp, lane = b.lshr(thread(b), I32(5)), b.and_(thread(b), I32(WARP - 1))
        g, t = b.lshr(lane, I32(2)), b.and_(lane, I32(3))
        row = b.mul(b.udiv(warp, I32(across)), I32(self.n_rows * self.ROWS))
        column = b.mul(b.urem(warp, I32(across)), I32(self.WARP_COLUMNS))
        self.row, self.pair = b.add(row, g), b.add(column, b.shl(t, I32(1)))
        self.starts = self._start(self.row, t, left), self._start(b.add(column, g), t, right)

    def _start(self, position: ir.Value, product: ir.Value, steps: Steps) -> ir.Value:
        return self.b.add(self.b.mul(product, I32(steps[0])), self.b.mul(position, I32(steps[1])))

    def multiplied(self, memories: tuple[ir.Value, ir.Value], sums: Values) -> Values:
        """Fragments of all rows by those of all columns of the warp."""
        sums, n = list(sums), self.n_columns
        for first in range(0, TOGETHER, 8 * self.words):
            left = [self._left(memories[0], first, i * self.ROWS) for i in range(self.n_rows)]
            right = [self._right(memories[1], first, j * self.COLUMNS) for j in range(n)]
            for i, rows in enumerate(left):
                for j, columns in enumerate(right):
                    at = 4 * (i * n + j)
                    sums[at : at + 4] = self._product(rows, columns, sums[at : at + 4])
        return sums

    def places(self) -> list[tuple[ir.Value, ir.Value]]:
        """Fragment by fragment."""
        add = self.b.add
        rows = [[add(self.row, I32(i * self.ROWS + 8 * (c // 2))) for c in range(4)] for i in range(self.n_rows)]
        columns = [[add(self.pair, I32(j * self.COLUMNS + c % 2)) for c in range(4)] for j in range(self.n_columns)]
        return [(row[c], column[c]) for row in rows for column in columns for c in range(4)]

    def _left(self, memory: ir.Value, first: int, row: int) -> Values:
        product, position = self.left
        places = [(first + k) * product + (row + r) * position for k in self._registers() for r in (0, 8)]
        return [self._register(memory, self.starts[0], at, product) for at in places]

    def _right(self, memory: ir.Value, first: int, column: int) -> Values:
        product, position = self.right
        places = [(first + k) * product + column * position for k in self._registers()]
        return [self._register(memory, self.starts[1], at, product) for at in places]

    def _registers(self) -> tuple[int, int]:
        """The words of products at which the registers of a thread begin."""
        return 0, 4 * self.words

    def _register(self, memory: ir.Value, start: ir.Value, further: int, product: int) -> ir.Value:
        """The words of one, rounded where they are float32: the cores would cut off what they do not take."""
        places = [_place(self.b, memory, start, further + 4 * k * product) for k in range(self.words)]
        words = [self.b.load(self.b.bitcast(p, I32.as_pointer(SHARED)), align=ITEM_BYTES) for p in places]
        if self.tile.kind not in ROUNDINGS:
            return words[0]
        type_ = ir.FunctionType(I32, [I32] * self.words)
        rounding = ir.InlineAsm(type_, ROUNDINGS[self.tile.kind], ",".join(["=r", *["r"] * self.words]))
        return self.b.call(rounding, words)

    def _product(self, left: Values, right: Values, sums: Values) -> Values:
        sum_type = scalar_type(self.tile.sum_dtype)
        four, letter = ir.LiteralStructType([sum_type] * 4), "f" if sum_type == F32 else "r"
        operands = "{$0,$1,$2,$3}, {$4,$5,$6,$7}, {$8,$9}, {$10,$11,$12,$13}"
        text = f"mma.sync.aligned.{SHAPES[self.tile.kind]} {operands};"
        type_ = ir.FunctionType(four, [I32] * 6 + [sum_type] * 4)
        constraints = ",".join([f"={letter}"] * 4 + ["r"] * 6 + [letter] * 4)
        made = self.b.call(ir.InlineAsm(type_, text, constraints), [*left, *right, *sums])
        return [self.b.extract_value(made, c) for c in range(4)]


class Transposed(TensorCores):
    """float16 whose rows and columns are neighbours, not its products: ldmatrix turns 8 products of 8 of them.

    Each line of such a matrix is 16 bytes, the lines of four are named by the lanes, and a thread then has the pairs of
    products that a fragment wants. Of the left operand the four are rows 0 and 8 of products 0 and 8; of the right one
    columns 0 of both, then columns 8.
    """

    def __init__(self, b: ir.IRBuilder, tile: Tile, left: Steps, right: Steps) -> None:
        super().__init__(b, tile, left, right)
        lane = b.and_(thread(b), I32(WARP - 1))
        line, first, second = b.and_(lane, I32(7)), b.and_(lane, I32(8)), b.lshr(b.and_(lane, I32(16)), I32(1))
        g, t = b.lshr(lane, I32(2)), b.shl(b.and_(lane, I32(3)), I32(1))
        places = (b.sub(self.row, g), first, second), (b.sub(self.pair, t), second, first)
        self.starts = tuple(
            b.add(b.mul(b.add(line, products), I32(steps[0] // tile.n_together)), b.lshr(b.add(at, aside), I32(1)))
            for (at, aside, products), steps in zip(places, (left, right))
        )

    def _left(self, memory: ir.Value, first: int, row: int) -> Values:
        return self._matrices(memory, self.starts[0], first * self.left[0] + row // 2)

    def _right(self, memory: ir.Value, first: int, column: int) -> Values:
        """Of two fragments side by side the second one is there already."""
        if column % 16 == 0:
            self._two = self._matrices(memory, self.starts[1], first * self.right[0] + column // 2)
        return self._two[column % 16 // 4 :][:2]

    def _matrices(self, memory: ir.Value, start: ir.Value, further: int) -> Values:
        b, four = self.b, ir.LiteralStructType([I32] * 4)
        text = "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0,$1,$2,$3}, [$4];"
        load = ir.InlineAsm(ir.FunctionType(four, [I32]), text, "=r,=r,=r,=r,r,~{memory}", side_effect=True)
        made = b.call(load, [b.ptrtoint(_place(b, memory, start, further), I32)])
        return [b.extract_value(made, k) for k in range(4)]
