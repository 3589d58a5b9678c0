"""Products of four warps together, by an instruction of compute capability 9.0 alone (`wgmma`).

It reads the right operand where that lies in shared memory. The left one comes from registers, as that of `mma.sync`
does, so that float32 is rounded on its way; of the right one it was when it was packed (see `plan.packing_of`).
"""

from __future__ import annotations

from llvmlite import ir

from symc.codegen.cuda.launch import WARP
from symc.codegen.cuda.ptx import thread
from symc.codegen.llvm.lanes import F32, I32, I64
from symc.codegen.llvm.loops import Values

from .arithmetic import Steps, TensorCores
from .tile import ITEM_BYTES, QUAD, Tile

GROUP_ROWS, SLICE = 64, 8  # of a group of warps; words of products of one instruction
CORE_COLUMNS = 8
TYPES = {"tf32": "k8.f32.tf32.tf32", "float16": "k16.f32.f16.f16"}
SCALES = {"tf32": "p, 1, 1", "float16": "p, 1, 1, 0"}  # of sums, left, right: all are added; float16: is not transposed


class Warpgroups(TensorCores):
    """wgmma: four warps multiply 64 rows by all columns of a tile, 8 registers of products at a time.

    Checked in two places each, as no device was at hand (PTX ISA, "wgmma"; CUTLASS, cute/arch/mma_sm90_desc.hpp and
    cute/atom/mma_traits_sm90_gmma.hpp). Warp w of a group has rows 16 w to 16 w + 15, of left operand and of sums as
    fragments of m16n8k8 and m16n8k16 have them: sums 4 j to 4 j + 3 of a thread are those of columns 8 j to 8 j + 7.
    Of the right operand, 8 columns by 16 bytes of products are a core matrix: 128 bytes, a column after the other.
    Without swizzling they may lie anywhere: the descriptor has (in sixteens of bytes) where the first one lies in bits
    0 to 13, the way to the one of the next products in bits 16 to 29, to that of the next columns in bits 32 to 45.
    """

    def __init__(self, b: ir.IRBuilder, tile: Tile, left: Steps, right: Steps) -> None:
        self.b, self.tile, self.left, self.right = b, tile, left, right
        self.words, self.n_rows, self.n_columns = 1, 1, tile.columns // self.COLUMNS
        warp, lane = b.lshr(thread(b), I32(5)), b.and_(thread(b), I32(WARP - 1))
        g, t = b.lshr(lane, I32(2)), b.and_(lane, I32(3))
        self.row = b.add(b.mul(warp, I32(self.ROWS)), g)
        self.pair = b.shl(t, I32(1))
        self.starts = self._start(self.row, t, left), I32(0)

    def multiplied(self, memories: tuple[ir.Value, ir.Value], sums: Values) -> Values:
        """All products of a stage."""
        firsts = range(0, self.tile.depth, SLICE)
        left = [self._left(memories[0], first, 0) for first in firsts]
        return self._products(left, [self._descriptor(memories[1], first) for first in firsts], sums)

    def _descriptor(self, memory: ir.Value, first: int) -> ir.Value:
        """Tells where the right operand of 8 words of products lies."""
        b, (product, column) = self.b, self.right
        steps = _sixteens(QUAD * product) << 16 | _sixteens(CORE_COLUMNS * column) << 32
        place = b.lshr(b.ptrtoint(b.gep(memory, [I32(first * product * ITEM_BYTES)]), I32), I32(4))
        return b.or_(b.zext(b.and_(place, I32((1 << 14) - 1)), I64), I64(steps))

    def _products(self, left: list[Values], right: Values, sums: Values) -> Values:
        """The sums with all of these products, which the threads wait for.

        One piece of text, as nothing may touch the registers before: compilers might put copies between two.
        """
        given = [*sums, *(x for registers in left for x in registers), *right]
        n, n_left = len(sums), 4 * len(left)
        totals = _vector(0, n)
        shape = f"m{GROUP_ROWS}n{self.tile.columns}{TYPES[self.tile.kind]}"
        lines = ["{ .reg .pred p; setp.eq.u32 p, 0, 0; wgmma.fence.sync.aligned;"]
        for k in range(len(left)):
            registers, descriptor = _vector(2 * n + 4 * k, 4), f"${2 * n + n_left + k}"
            operands = f"{totals}, {registers}, {descriptor}, {SCALES[self.tile.kind]}"
            lines.append(f"wgmma.mma_async.sync.aligned.{shape} {operands};")
        lines.append("wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }")
        constraints = ["=f"] * n + [str(k) for k in range(n)] + ["r"] * n_left + ["l"] * len(right) + ["~{memory}"]
        type_ = ir.FunctionType(ir.LiteralStructType([F32] * n), [x.type for x in given])
        text = ir.InlineAsm(type_, "\n".join(lines), ",".join(constraints), side_effect=True)
        made = self.b.call(text, given)
        return [self.b.extract_value(made, k) for k in range(n)]


def _sixteens(n_words: int) -> int:
    return n_words * ITEM_BYTES >> 4


def _vector(first: int, n: int) -> str:
    """Operands of a text, by number."""
    return "{" + ",".join(f"${first + k}" for k in range(n)) + "}"
