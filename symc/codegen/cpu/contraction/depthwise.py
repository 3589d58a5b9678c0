"""Depthwise windows: one weight a channel and tap, vectors over channels, no reduction over channels.

    forward, data gradient:  y[pixel, c] = sum over taps of    w[tap, c] * x[position(pixel, tap), c]
    weight gradient:         w[tap, c]   = sum over pixels of  dy[pixel, c] * x[position(pixel, tap), c]

Both are the same kernel: rows x vectors of sums, each segment loads one vector group of the *factor* (w or dy) and one
of x for each row.  Only the tables differ.
"""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symc.codegen.contraction.epilogue import Epilogue
from symc.codegen.contraction.tables import LONGEST_SUM, PART, Line, TileTables
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode, Ref, Table
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I64
from symc.codegen.llvm.loops import loop
from symc.codegen.llvm.memory import Elements
from symc.core.dtypes import ITEM_SIZE

from .micro import add_parts, count_parts, emit_part, row_pointer, vectors_of, with_masks
from .plan import DepthwisePlan
from .stores import Place, emit_stores
from .tile import Tile

SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Depthwise sums over windows, register tile of {tile}, {dtype}.

    {epilogue}
    """
    {words}
    n_units = n_blocks * n_panels
    for unit in range(chunk * n_units // n_chunks, (chunk + 1) * n_units // n_chunks):
        block = unit // n_panels
        panel = unit - block * n_panels
        column = panel * {columns}
        first_tile = block * block_tiles
        last_tile = first_tile + block_tiles
        if last_tile > n_tiles:
            last_tile = n_tiles
        repeat = first_tile // table_tiles
        tile = first_tile - repeat * table_tiles
        for _ in range(first_tile, last_tile):
            register_tile(desc, bufs, x + column * {item} + repeat * x_repeat_bytes, factor + panel * panel_bytes,
                          tiles + tile * {tile_bytes}, segments, zero_page, repeat * table_rows, column,
                          n_columns - column, n_sums, x_sum_bytes, factor_sum_bytes)
            tile += 1
            if tile == table_tiles:
                tile = 0
                repeat += 1
'''


@dataclass(frozen=True)
class DepthwiseProblem:
    """Sums over windows of each channel alone; strides in elements.

    n_repeats  the tables serve that many groups of rows (images of a forward pass)
    n_sums     each sum continues over that many groups of segments (images of a weight gradient)
    """

    dtype: str
    x: Ref
    factor: Ref
    tables: TileTables
    channels: int
    panel_stride: int
    epilogue: Epilogue
    n_repeats: int = 1
    rows_per_table: int = 0
    x_repeat_stride: int = 0
    n_sums: int = 1
    x_sum_stride: int = 0
    factor_sum_stride: int = 0


def emit(problem: DepthwiseProblem, plan: DepthwisePlan) -> KernelCall:
    """The kernel and its call; units are blocks of tiles x panels, panels of a block follow each other."""
    item, tables, tile = ITEM_SIZE[problem.dtype], problem.tables, plan.tile
    n_tiles = len(tables.tiles) * problem.n_repeats
    d = Descriptor()
    d.add("x", problem.x)
    d.add("factor", problem.factor)
    d.add("tiles", Table(tables.tiles))
    d.add("segments", Table(tables.segments))
    d.add("zero_page", Table(np.zeros(tile.columns, problem.dtype)))
    d.add("n_blocks", -(-n_tiles // plan.blocking.block_tiles))
    d.add("n_panels", -(-problem.channels // tile.columns))
    d.add("block_tiles", plan.blocking.block_tiles)
    d.add("n_tiles", n_tiles)
    d.add("table_tiles", max(1, len(tables.tiles)))
    d.add("table_rows", problem.rows_per_table)
    d.add("x_repeat_bytes", problem.x_repeat_stride * item)
    d.add("panel_bytes", problem.panel_stride * item)
    d.add("n_columns", problem.channels)
    d.add("n_sums", problem.n_sums)
    d.add("x_sum_bytes", problem.x_sum_stride * item)
    d.add("factor_sum_bytes", problem.factor_sum_stride * item)
    has_sums = problem.n_sums > 1 or int(tables.tiles[:, 1].max(initial=0)) > LONGEST_SUM
    problem.epilogue.add_to(d)
    code = _code(problem.dtype, plan, problem.epilogue, d, has_sums)
    return KernelCall(code, tuple(d.words), Chunks(plan.blocking.n_chunks), plan.why)


def _code(dtype: str, plan: DepthwisePlan, epilogue: Epilogue, d: Descriptor, has_sums: bool) -> KernelCode:
    stores, tile, line = epilogue.structure(), plan.tile, plan.line
    structure = f"depthwise {dtype} {tile} masks={plan.has_avx512} sums={has_sums}: {stores}"
    if line != Line():
        structure = f"{line.n_taps} taps in steps of {line.stride}, {structure}"
    source = SOURCE.format(
        tile=tile,
        dtype=dtype,
        epilogue=stores,
        words="\n    ".join(d.lines()),
        columns=tile.columns,
        item=ITEM_SIZE[dtype],
        tile_bytes=tile.record_bytes,
    ).lstrip()

    def build() -> Callable[..., Any]:
        scope = {"register_tile": _register_tile(dtype, plan, epilogue, d, has_sums)}
        exec(source, scope)
        return scope["kernel"]

    return KernelCode("depthwise", structure, lambda: source, build)


def _register_tile(dtype: str, plan: DepthwisePlan, epilogue: Epilogue, d: Descriptor, has_sums: bool) -> Any:
    tile, line = plan.tile, plan.line

    @intrinsic
    def register_tile(
        b, desc, bufs, x, factor, record, segments, zero_page, row, column, n_columns, n_sums, x_step, factor_step
    ):
        simd = vectors_of(b, dtype, tile.lanes, plan.has_avx512)
        header = simd.pointer(record)
        begin = b.mul(simd.load_int32(header, 0), I64(_record_bytes(tile, line)))
        listed, count = simd.at(simd.pointer(segments), begin), simd.load_int32(header, 1)
        rows = [b.add(row, simd.load_int32(header, 2 + r)) for r in range(tile.rows)]
        nothing = [simd.zero] * (tile.rows * tile.vectors)

        def finish(masks: list[Any]) -> None:
            n_cuts = count_parts(b, count, I64(PART))

            def part(number: Any) -> list[Any]:
                group = b.sdiv(number, n_cuts)
                x_at = simd.at(simd.pointer(x), b.mul(group, x_step))
                factor_at = simd.at(simd.pointer(factor), b.mul(group, factor_step))
                step = window_step(simd, tile, line, x_at, simd.pointer(zero_page), factor_at, listed, masks)
                return emit_part(b, count, I64(PART), b.sub(number, b.mul(group, n_cuts)), nothing, step)

            if has_sums:
                total = add_parts(simd, len(nothing), b.mul(n_sums, n_cuts), part)
            else:
                x_at, zeros_at, factor_at = (simd.pointer(address) for address in (x, zero_page, factor))
                step = window_step(simd, tile, line, x_at, zeros_at, factor_at, listed, masks)
                total = loop(b, I64(0), count, nothing, step)
            sums = [total[r * tile.vectors : (r + 1) * tile.vectors] for r in range(tile.rows)]
            emit_stores(simd, epilogue, d, desc, bufs, sums, Place(rows, column, n_columns, masks))

        with_masks(simd, tile, n_columns, plan.has_avx512, finish)

    return register_tile


def _record_bytes(tile: Tile, line: Line) -> int:
    """The size of a segment's record: two int32 numbers and one for each position."""
    return 4 * (2 + line.n_positions(tile.rows))


def window_step(
    simd: Elements, tile: Tile, line: Line, x: Any, zero_page: Any, factor: Any, segments: Any, masks: list[Any]
) -> Callable[[Any, list[Any]], list[Any]]:
    """What a segment adds: sums[row][vector] += factor[segment][tap][vector] * x[offset of row and tap][vector]."""
    b = simd.b

    def segment(index: Any, sums: list[Any]) -> list[Any]:
        record = simd.at(segments, b.mul(index, I64(_record_bytes(tile, line))))
        at = simd.at(factor, b.mul(simd.load_int32(record, 0), I64(simd.item_bytes)))
        n = tile.vectors
        factors = [simd.load(simd.at(at, k * simd.vector_bytes), masks[k % n]) for k in range(line.n_taps * n)]
        sums = list(sums)
        for position in range(line.n_positions(tile.rows)):
            pointer = row_pointer(simd, x, zero_page, simd.item_bytes, simd.load_int32(record, 2 + position))
            for v in range(n):
                value = simd.load(simd.at(pointer, v * simd.vector_bytes), masks[v])
                for tap, r in line.readers(position, tile.rows):
                    sums[r * n + v] = simd.v.fma(value, factors[tap * n + v], sums[r * n + v])
        return sums

    return segment
