"""The weight gradient: rows of output channels x columns of (tap, channel), summed over pixels.

    w[o, tap, c] = sum over pixels of  dy[pixel, o] * x[position(pixel, tap), c]

Each run of columns (the channels of one tap) has the list of pixels at which its tap exists, so padding costs nothing.
When channels are few, the taps of one kernel line form one run; the pixels at its border are gathered element by
element.  For a block of pixels a panel of x is copied to the stack, where all tiles of output channels read it from L1
in order (rows of x lie a power of two apart and would evict each other); a pixel then loads whole vectors of it and
broadcasts `rows` neighbouring channels of dy.  Between blocks the sums wait as totals on the stack, which also keeps
the rounding error of long sums small; the last block adds them up and stores the results.
"""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from symc.codegen.contraction.epilogue import Epilogue
from symc.codegen.contraction.tables import PixelTables
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode, Ref, Table
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I8, I32, I64
from symc.codegen.llvm.loops import loop, minimum, when
from symc.codegen.llvm.memory import LINE_BYTES, PREFETCH_L2, Elements, fence
from symc.core.dtypes import ITEM_SIZE

from .blocking import GRADIENT_PIXELS
from .micro import plain_vectors_of, vectors_of, with_masks
from .plan import GradientPlan
from .stores import Place, emit_stores
from .tile import Tile

SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Weight gradient, register tile of {tile}, {dtype}.

    {epilogue}
    """
    {words}
    totals = stack_memory()
    panel_of_x = totals + {totals_bytes}
    for unit in range(chunk * n_units // n_chunks, (chunk + 1) * n_units // n_chunks):
        panel_block = unit // row_blocks
        first_row = (unit - panel_block * row_blocks) * block_rows
        last_row = first_row + block_rows
        if last_row > group_rows:
            last_row = group_rows
        first_panel = panel_block * block_panels
        last_panel = first_panel + block_panels
        if last_panel > n_panels:
            last_panel = n_panels
        for block in range(n_blocks * n_repeats):
            repeat = block // n_blocks
            total = totals
            for panel in range(first_panel, last_panel):
                group = panel // panels_per_group
                run = (panel - group * panels_per_group) // panels_per_run
                column = (panel - group * panels_per_group - run * panels_per_run) * {columns}
                pack_block(pixels, borders, run_begins, run, block - repeat * n_blocks, block_pixels,
                           x + group * x_group_bytes + repeat * x_repeat_bytes, column, run_columns, panel_of_x)
                for row in range(first_row, last_row, {rows}):
                    sum_block(desc, bufs, pixels, run_begins, run, block - repeat * n_blocks, block_pixels, panel_of_x,
                              dy + group * dy_group_bytes + repeat * dy_repeat_bytes + row * {item}, total, block,
                              n_blocks * n_repeats - 1, group * group_rows + row, group_rows - row,
                              run * run_columns + column, run_columns - column)
                    total += {tile_bytes}
{fence}'''


@dataclass(frozen=True)
class WeightGradientProblem:
    """A weight gradient in terms of its matrix; strides in elements."""

    dtype: str
    x: Ref
    dy: Ref
    tables: PixelTables
    n_repeats: int
    x_repeat_stride: int
    dy_repeat_stride: int
    x_group_stride: int
    dy_group_stride: int
    groups: int
    rows: int  # output channels of a group
    channels: int  # input channels of a group
    n_runs: int
    run_columns: int
    epilogue: Epilogue
    streams: bool  # whether results go past the caches


def emit(problem: WeightGradientProblem, plan: GradientPlan) -> KernelCall:
    """The kernel and its call; a unit is a block of tiles x panels, few enough for the totals on the stack."""
    tile = plan.tile
    block_rows, block_panels = plan.blocking.block_tiles * tile.rows, plan.blocking.group_panels
    item = ITEM_SIZE[problem.dtype]
    tables = problem.tables
    panels_per_run = -(-problem.run_columns // tile.columns)
    panels_per_group = panels_per_run * problem.n_runs
    n_panels = problem.groups * panels_per_group
    row_blocks = -(-problem.rows // block_rows)
    d = Descriptor()
    d.add("x", problem.x)
    d.add("dy", problem.dy)
    d.add("pixels", Table(tables.pixels))
    d.add("borders", Table(tables.borders))
    d.add("run_begins", Table(tables.run_begins))
    d.add("n_units", -(-n_panels // block_panels) * row_blocks)
    d.add("n_panels", n_panels)
    d.add("block_panels", block_panels)
    d.add("row_blocks", row_blocks)
    d.add("block_rows", block_rows)
    d.add("group_rows", problem.rows)
    d.add("panels_per_group", panels_per_group)
    d.add("panels_per_run", panels_per_run)
    d.add("run_columns", problem.run_columns)
    d.add("block_pixels", plan.block_pixels)
    d.add("n_blocks", max(1, -(-tables.longest // plan.block_pixels)))
    d.add("n_repeats", max(1, problem.n_repeats))
    d.add("x_repeat_bytes", problem.x_repeat_stride * item)
    d.add("dy_repeat_bytes", problem.dy_repeat_stride * item)
    d.add("x_group_bytes", problem.x_group_stride * item)
    d.add("dy_group_bytes", problem.dy_group_stride * item)
    has_borders = len(tables.borders) > 0
    problem.epilogue.add_to(d)
    code = _code(problem, plan, d, has_borders)
    return KernelCall(code, tuple(d.words), Chunks(plan.blocking.n_chunks), plan.why)


def _code(problem: WeightGradientProblem, plan: GradientPlan, d: Descriptor, has_borders: bool) -> KernelCode:
    dtype, tile, last, has_avx512 = problem.dtype, plan.tile, plan.last, plan.has_avx512
    epilogue, streams = problem.epilogue, problem.streams
    stores = epilogue.structure()
    item = ITEM_SIZE[dtype]
    past = " past the caches" if streams else ""
    shapes = f"{tile}{f', last {last}' if last != tile else ''}"
    structure = f"weight_gradient {dtype} {shapes} masks={has_avx512} borders={has_borders}{past}: {stores}"
    source = SOURCE.format(
        tile=shapes,
        dtype=dtype,
        epilogue=stores,
        words="\n    ".join(d.lines()),
        columns=tile.columns,
        rows=tile.rows,
        item=item,
        tile_bytes=tile.rows * tile.columns * item,
        fence="    fence()\n" if streams else "",
        totals_bytes=plan.most_tiles * tile.rows * tile.columns * item,
    ).lstrip()

    def build() -> Callable[..., Any]:
        scope = {
            "stack_memory": _stack_memory((plan.most_tiles * tile.rows + GRADIENT_PIXELS) * tile.columns * item),
            "sum_block": _sum_block(dtype, tile, last, epilogue, d, has_avx512, streams),
            "pack_block": _pack_block(dtype, tile, has_avx512, has_borders),
            "fence": intrinsic(fence),
        }
        exec(source, scope)
        return scope["kernel"]

    return KernelCode("weight_gradient", structure, lambda: source, build)


def _stack_memory(size_bytes: int) -> Any:
    """The intrinsic `stack_memory()`: address of memory for the totals of a unit's tiles and a block of x."""

    @intrinsic(result="int64")
    def stack_memory(builder):
        with builder.goto_entry_block():
            memory = builder.alloca(I8, I64(size_bytes))
            memory.align = 64
        return builder.ptrtoint(memory, I64)

    return stack_memory


def _listed_pixels(
    simd: Elements, pixels: Any, begins: Any, run: Any, block: Any, block_pixels: Any
) -> tuple[Any, Any]:
    """Address of the first table entry of a run's block, and the number of its pixels (may be negative)."""
    b = simd.b
    bounds = simd.at(simd.pointer(begins), b.mul(run, I64(4)))
    first = b.add(simd.load_int32(bounds, 0), b.mul(block, block_pixels))
    count = minimum(b, b.sub(simd.load_int32(bounds, 1), first), block_pixels)
    return simd.at(simd.pointer(pixels), b.mul(first, I64(8))), count


def _pack_block(dtype: str, tile: Tile, has_avx512: bool, has_borders: bool) -> Any:
    """The intrinsic that copies one panel of x for a block of pixels; columns beyond the run become zeros."""

    @intrinsic
    def pack_block(b, pixels, borders, begins, run, block, block_pixels, x, column, run_columns, packed):
        simd = plain_vectors_of(b, dtype, tile.lanes)
        entries, count = _listed_pixels(simd, pixels, begins, run, block, block_pixels)
        n_columns = b.sub(run_columns, column)
        patch = _Patch(simd, tile, simd.pointer(borders), column, run_columns, n_columns) if has_borders else None
        x_at, target = simd.at(simd.pointer(x), b.mul(column, I64(simd.item_bytes))), simd.pointer(packed)

        def copy(masks: list[Any]) -> None:
            def pixel(index: Any, _: list[Any]) -> list[Any]:
                entry = simd.at(entries, b.mul(index, I64(8)))
                offset = simd.load_int32(entry, 0)
                values = simd.at(x_at, b.mul(offset, I64(simd.item_bytes)))
                if patch:
                    values = patch.or_inside(values, offset, simd.pointer(x))
                # The table leads to pixels that no hardware prefetcher expects, so those a block ahead are asked for;
                # into L2, because L1 has no room. With the same for dy, share of the peak without and with, 8 images,
                # 512 and 256 bits: 7x7s2 stem 43 -> 60 and 45 -> 69 %, 56x56x64 81 -> 86 and 60 -> 77 %, 14x14x256
                # 103 -> 103 and 86 -> 81 %. Of dy the next tile's channels are asked for instead, into L1: the stem
                # 60 -> 80 %, 7x7x512 12 to 25 % faster.
                later = simd.load_int32(simd.at(entry, b.mul(block_pixels, I64(8))), 0)
                ahead = simd.at(x_at, b.mul(later, I64(simd.item_bytes)))
                for line in range(0, tile.columns * simd.item_bytes, LINE_BYTES):
                    simd.prefetch(simd.at(ahead, line), PREFETCH_L2)
                row = simd.at(target, b.mul(index, I64(tile.columns * simd.item_bytes)))
                for v, mask in enumerate(masks):
                    simd.store(
                        simd.load(simd.at(values, v * simd.vector_bytes), mask), simd.at(row, v * simd.vector_bytes)
                    )
                return []

            loop(b, I64(0), count, [], pixel)

        with_masks(simd, tile, n_columns, has_avx512, copy)

    return pack_block


def _sum_block(
    dtype: str, tile: Tile, last: Tile, epilogue: Epilogue, d: Descriptor, has_avx512: bool, streams: bool
) -> Any:
    """The intrinsic that adds one block of a run's pixels to the totals of a tile; the last block ends in its epilogue.

    Block 0 starts the totals, so a single block needs none. Columns that fit into a tile as narrow as `last` take that.
    """

    @intrinsic
    def sum_block(
        b,
        desc,
        bufs,
        pixels,
        begins,
        run,
        block,
        block_pixels,
        packed,
        dy,
        totals,
        number,
        last_number,
        row,
        n_rows,
        column,
        n_columns,
    ):
        def emit_for(shape: Tile) -> None:
            simd = vectors_of(b, dtype, shape.lanes, has_avx512)
            entries, count = _listed_pixels(simd, pixels, begins, run, block, block_pixels)
            # Rows beyond the last one are that one once more. The first is 0, which saves the register whose lack made
            # LLVM spill five of 24 sums in each step.
            rows = [I64(0), *(minimum(b, I64(r), b.sub(n_rows, I64(1))) for r in range(1, shape.rows))]
            dy_at, x_at = simd.pointer(dy), simd.pointer(packed)
            row_at = [simd.at(dy_at, b.mul(r, I64(simd.item_bytes))) for r in rows]

            def pixel(index: Any, sums: list[Any]) -> list[Any]:
                offset = b.mul(simd.load_int32(simd.at(entries, b.mul(index, I64(8))), 1), I64(simd.item_bytes))
                simd.prefetch(simd.at(simd.at(dy_at, shape.rows * simd.item_bytes), offset))  # of the next tile
                values = simd.at(x_at, b.mul(index, I64(tile.columns * simd.item_bytes)))
                columns = [simd.load(simd.at(values, v * simd.vector_bytes)) for v in range(shape.vectors)]
                result = []
                for r, row in enumerate(row_at):
                    factor = simd.broadcast(simd.at(row, offset))
                    result += [simd.v.fma(factor, c, sums[r * shape.vectors + v]) for v, c in enumerate(columns)]
                return result

            sums = loop(b, I64(0), count, [simd.zero] * (shape.rows * shape.vectors), pixel)
            places = [simd.at(simd.pointer(totals), i * simd.vector_bytes) for i in range(len(sums))]

            def with_totals() -> list[Any]:
                return [b.fadd(simd.load(at), total) for at, total in zip(places, sums)]

            sums = when(b, b.icmp_signed(">", number, I64(0)), with_totals, sums)
            with b.if_else(b.icmp_signed("==", number, last_number)) as (at_end, earlier):
                with at_end:
                    tile_rows = [b.add(row, r) for r in rows]
                    by_row = [sums[k : k + shape.vectors] for k in range(0, len(sums), shape.vectors)]

                    def finish(masks: list[Any]) -> None:
                        emit_stores(
                            simd, epilogue, d, desc, bufs, by_row, Place(tile_rows, column, n_columns, masks), streams
                        )

                    with_masks(simd, shape, n_columns, has_avx512, finish)
                with earlier:
                    for total, at in zip(sums, places):
                        simd.store(total, at)

        if last == tile:
            emit_for(tile)
            return
        with b.if_else(b.icmp_signed(">", n_columns, I64(last.columns)), likely=True) as (whole, narrow):
            with whole:
                emit_for(tile)
            with narrow:
                emit_for(last)

    return sum_block


class _Patch:
    """Gathers the columns of a border pixel, zeros where its taps are outside."""

    def __init__(self, simd: Elements, tile: Tile, borders: Any, column: Any, run_columns: Any, n_columns: Any) -> None:
        b = simd.b
        self.simd, self.borders = simd, simd.at(borders, b.mul(column, I64(4)))
        self.record_bytes = b.mul(run_columns, I64(4))
        self.count = minimum(b, n_columns, I64(tile.columns))
        with b.goto_entry_block():
            self.memory = b.alloca(I8, I64(tile.columns * simd.item_bytes))
            self.memory.align = 64

    def or_inside(self, inside: Any, offset: Any, x: Any) -> Any:
        """`inside`, or the gathered patch when `offset` is negative."""
        simd, b = self.simd, self.simd.b
        before = b.block
        with b.if_then(b.icmp_signed("<", offset, I64(0)), likely=False):
            record = simd.at(self.borders, b.mul(b.sub(I64(-1), offset), self.record_bytes))

            def element(index: Any, _: list[Any]) -> list[Any]:
                at = b.load(b.bitcast(simd.at(record, b.mul(index, I64(4))), I32.as_pointer()), align=4)
                position = b.sext(at, index.type)
                is_outside = b.icmp_signed("<", position, I64(0))
                kind = simd.element.as_pointer()
                safe = b.select(is_outside, I64(0), position)
                value = b.load(b.bitcast(simd.at(x, b.mul(safe, I64(simd.item_bytes))), kind))
                target = b.bitcast(simd.at(self.memory, b.mul(index, I64(simd.item_bytes))), kind)
                b.store(b.select(is_outside, simd.element(0.0), value), target)
                return []

            loop(b, I64(0), self.count, [], element, at_least_once=True)
            gathered = b.block
        result = b.phi(inside.type)
        result.add_incoming(inside, before)
        result.add_incoming(self.memory, gathered)
        return result
