"""The weight gradient: rows of output channels x columns of (tap, channel), summed over pixels.

    w[o, tap, c] = sum over pixels of  dy[pixel, o] * x[position(pixel, tap), c]

Nothing is packed: a pixel broadcasts `rows` neighbouring channels of dy and loads whole vectors of x.  Each run of
columns (the channels of one tap) has the list of pixels at which its tap exists, so padding costs nothing.  When
channels are few, the taps of one kernel line form one run; the pixels at its border are gathered element by element.
Sums stay in registers for a block of pixels that fits the cache and are then added to totals on the stack, which also
keeps the rounding error of long sums small.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symc.codegen.kernel import KernelCall, KernelCode, Ref, Table
from symc.core.dtypes import ITEM_SIZE

from .descriptor import Descriptor
from .epilogue import Epilogue
from .micro import CACHE_LINE_BYTES, Tile, with_masks
from .simd import I8, I32, Simd, counted_loop, i64, smaller
from .stores import Place, emit_stores
from .tables import Geometry, source_offsets

BLOCK_PIXELS = 256  # x and dy of a block stay in L2: 256 KB each for 256 channels
# The table leads to pixels that no hardware prefetcher expects: 56x56x64 74 -> 85 % of peak, 28x28x128 90 -> 112 %.
# A step of fewer sums has no issue slots left for it (6 x 2 vectors of 256 bits: 50 -> 36 %).
PREFETCH_PIXELS = 16
PREFETCH_FROM_BYTES = 1024
STACK_TILES = 32  # tiles whose totals are on the stack at once: 48 KB for 24 vectors of 512 bits

SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Weight gradient, register tile of {tile}, {dtype}.

    {epilogue}
    """
    {words}
    totals = stack_totals()
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
                for row in range(first_row, last_row, {rows}):
                    sum_block(pixels, borders, run_begins, run, block - repeat * n_blocks,
                              x + group * x_group_bytes + repeat * x_repeat_bytes,
                              dy + group * dy_group_bytes + repeat * dy_repeat_bytes + row * {item}, group_rows - row,
                              column, run_columns, total, block)
                    total += {tile_bytes}
        total = totals
        for panel in range(first_panel, last_panel):
            group = panel // panels_per_group
            run = (panel - group * panels_per_group) // panels_per_run
            column = (panel - group * panels_per_group - run * panels_per_run) * {columns}
            for row in range(first_row, last_row, {rows}):
                store_tile(desc, bufs, total, group * group_rows + row, group_rows - row, run * run_columns + column,
                           run_columns - column)
                total += {tile_bytes}
'''


@dataclass(frozen=True, eq=False)
class PixelTables:
    """pixels: (n, 2) int32 offsets in x and dy, run after run; an x offset of -1 - k stands for row k of `borders`.

    run_begins  (n_runs + 1) int32: where each run's pixels begin
    borders     (n_borders, run_columns) int32: for each column the offset in x, or -1 outside
    """

    pixels: np.ndarray
    run_begins: np.ndarray
    borders: np.ndarray

    @property
    def longest(self) -> int:
        return int(np.diff(self.run_begins).max(initial=0))


@dataclass(frozen=True)
class Problem:
    """A weight gradient in terms of its matrix; strides in elements."""

    dtype: str
    x: Ref
    dy: Ref
    tables: PixelTables
    n_repeats: int
    x_repeat_stride: int
    dy_repeat_stride: int
    groups: int
    rows: int  # output channels of a group
    channels: int  # input channels of a group
    n_runs: int
    run_columns: int
    epilogue: Epilogue


@functools.lru_cache(maxsize=256)
def pixel_tables(g: Geometry, dy_image_stride: int, dy_pixel_stride: int, is_merged: bool) -> PixelTables:
    """The pixels of each run; `is_merged`: a run is a line of taps, else one tap."""
    offsets = source_offsets(g)  # (pixels, taps)
    n_pixels = g.n_rows // max(1, g.images)
    image, pixel = np.divmod(np.arange(g.n_rows), max(1, n_pixels))
    dy_offsets = image * dy_image_stride + pixel * dy_pixel_stride
    width = g.taps[-1] if is_merged else 1
    lines = offsets.reshape(g.n_rows, g.n_taps // width, width)
    pixels, borders, n_borders = [], [], 0
    for line in range(lines.shape[1]):
        taps = lines[:, line]
        whole = np.flatnonzero((taps >= 0).all(axis=1))
        border = np.flatnonzero((taps >= 0).any(axis=1) & ~(taps >= 0).all(axis=1))
        numbers = -1 - (n_borders + np.arange(len(border)))
        n_borders += len(border)
        pixels.append(np.stack([taps[whole, 0], dy_offsets[whole]], axis=1))
        pixels.append(np.stack([numbers, dy_offsets[border]], axis=1))
        elements = taps[border][:, :, None] + np.arange(g.channels)
        borders.append(np.where(taps[border][:, :, None] < 0, -1, elements).reshape(len(border), width * g.channels))
    counts = [len(a) + len(b) for a, b in zip(pixels[::2], pixels[1::2])]
    pixels.append(np.zeros((PREFETCH_PIXELS, 2), int))  # read by the last prefetches
    return PixelTables(np.concatenate(pixels).astype(np.int32),
                       np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
                       np.concatenate(borders).astype(np.int32))


def emit(problem: Problem, tile: Tile, block_rows: int, block_panels: int, n_chunks: int, has_masks: bool,
         reason: str) -> KernelCall:
    """The kernel and its call; a unit of work is `block_rows` rows x `block_panels`, at most STACK_TILES tiles."""
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
    d.add("n_blocks", max(1, -(-tables.longest // BLOCK_PIXELS)))
    d.add("n_repeats", max(1, problem.n_repeats))
    d.add("x_repeat_bytes", problem.x_repeat_stride * item)
    d.add("dy_repeat_bytes", problem.dy_repeat_stride * item)
    d.add("x_group_bytes", problem.channels * item)
    d.add("dy_group_bytes", problem.rows * item)
    has_borders = len(tables.borders) > 0
    code = _code(problem.dtype, tile, problem.epilogue, d, has_masks, has_borders)
    return KernelCall(code, (*d.words, *problem.epilogue.words), n_chunks, reason)


def _code(dtype: str, tile: Tile, epilogue: Epilogue, d: Descriptor, has_masks: bool, has_borders: bool) -> KernelCode:
    stores = epilogue.structure()
    item = ITEM_SIZE[dtype]
    structure = f"weight_gradient {dtype} {tile} masks={has_masks} borders={has_borders}: {stores}"
    source = SOURCE.format(
        tile=tile, dtype=dtype, epilogue=stores, words="\n    ".join(d.lines()), columns=tile.columns, rows=tile.rows,
        item=item, tile_bytes=tile.rows * tile.columns * item).lstrip()

    def build() -> Callable[..., Any]:
        scope = {"stack_totals": _stack_totals(tile, item),
                 "sum_block": _sum_block(dtype, tile, has_masks, has_borders),
                 "store_tile": _store_tile(dtype, tile, epilogue, d.length, has_masks)}
        exec(source, scope)
        return scope["kernel"]

    return KernelCode("weight_gradient", structure, source, build)


def _stack_totals(tile: Tile, item: int) -> Any:
    """The intrinsic `stack_totals()`: address of memory for the sums of STACK_TILES tiles."""
    from numba import types
    from numba.extending import intrinsic

    def emit_body(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = i64(STACK_TILES * tile.rows * tile.columns * item)
        with builder.goto_entry_block():
            memory = builder.alloca(I8, size)
            memory.align = 64
        return builder.ptrtoint(memory, size.type)

    @intrinsic
    def stack_totals(typing):  # type: ignore[no-untyped-def]
        return types.int64(), emit_body

    return stack_totals


def _sum_block(dtype: str, tile: Tile, has_masks: bool, has_borders: bool) -> Any:
    """The intrinsic that adds one block of a run's pixels to the totals of a tile (block 0 starts them)."""
    from numba import types
    from numba.extending import intrinsic

    def emit_body(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        pixels, borders, begins, run, block, x, dy, n_rows, column, run_columns, totals, number = arguments
        simd = Simd(b, dtype, tile.lanes)
        bounds = simd.at(simd.pointer(begins), b.mul(run, i64(4)))
        first = b.add(simd.load_int32(bounds, 0), b.mul(block, i64(BLOCK_PIXELS)))
        count = smaller(b, b.sub(simd.load_int32(bounds, 1), first), i64(BLOCK_PIXELS))
        listed = simd.at(simd.pointer(pixels), b.mul(first, i64(8)))
        last = b.sub(n_rows, i64(1))
        rows = [b.mul(smaller(b, i64(r), last), i64(simd.item_bytes)) for r in range(tile.rows)]
        n_columns = b.sub(run_columns, column)
        patch = _Patch(simd, tile, simd.pointer(borders), column, run_columns, n_columns) if has_borders else None
        x_at = simd.at(simd.pointer(x), b.mul(column, i64(simd.item_bytes)))
        dy_at, is_first = simd.pointer(dy), b.icmp_signed("==", number, i64(0))

        def add(masks: list[Any]) -> None:
            def pixel(index: Any, sums: list[Any]) -> list[Any]:
                entry = simd.at(listed, b.mul(index, i64(8)))
                offset = simd.load_int32(entry, 0)
                values = simd.at(x_at, b.mul(offset, i64(simd.item_bytes)))
                if patch:
                    values = patch.or_inside(values, offset, simd.pointer(x))
                factors = simd.at(dy_at, b.mul(simd.load_int32(entry, 1), i64(simd.item_bytes)))
                if tile.rows * tile.vectors * simd.vector_bytes >= PREFETCH_FROM_BYTES:
                    _prefetch_pixel(simd, tile, entry, x_at, dy_at)
                columns = [simd.load(simd.at(values, v * simd.vector_bytes), masks[v]) for v in range(tile.vectors)]
                result = []
                for r, row in enumerate(rows):
                    factor = simd.broadcast(simd.at(factors, row))
                    result += [simd.multiply_add(factor, c, sums[r * tile.vectors + v]) for v, c in enumerate(columns)]
                return result

            sums = counted_loop(b, count, [simd.zero] * (tile.rows * tile.vectors), pixel)
            for i, total in enumerate(sums):
                at = simd.at(simd.pointer(totals), i * simd.vector_bytes)
                old = b.select(is_first, simd.zero, simd.load(at))
                simd.store(b.fadd(old, total), at)

        with_masks(simd, tile, n_columns, has_masks, add)
        return context.get_dummy_value()

    @intrinsic
    def sum_block(typing, pixels, borders, begins, run, block, x, dy, n_rows, column, run_columns, totals, number):  # type: ignore[no-untyped-def]
        return types.void(*[types.int64] * 12), emit_body

    return sum_block


def _store_tile(dtype: str, tile: Tile, epilogue: Epilogue, first_word: int, has_masks: bool) -> Any:
    """The intrinsic that runs the epilogue on the totals of a tile."""
    from numba import types
    from numba.extending import intrinsic

    def emit_body(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        desc, bufs, totals, row, n_rows, column, n_columns = arguments
        simd = Simd(b, dtype, tile.lanes)
        last = b.sub(n_rows, i64(1))
        rows = [b.add(row, smaller(b, i64(r), last)) for r in range(tile.rows)]
        at = simd.pointer(totals)
        # The totals of the rows beyond the last are those of the last row: their dy was read there.
        sums = [[simd.load(simd.at(at, (r * tile.vectors + v) * simd.vector_bytes)) for v in range(tile.vectors)]
                for r in range(tile.rows)]

        def finish(masks: list[Any]) -> None:
            emit_stores(simd, epilogue, desc, bufs, first_word, sums, Place(rows, column, n_columns, masks))

        with_masks(simd, tile, n_columns, has_masks, finish)
        return context.get_dummy_value()

    @intrinsic
    def store_tile(typing, desc, bufs, totals, row, n_rows, column, n_columns):  # type: ignore[no-untyped-def]
        return types.void(desc, bufs, *[types.int64] * 5), emit_body

    return store_tile


def _prefetch_pixel(simd: Simd, tile: Tile, entry: Any, x: Any, dy: Any) -> None:
    """Asks for a later pixel: its address comes from the table, where no hardware prefetcher can guess it."""
    b = simd.builder
    ahead = simd.at(entry, 8 * PREFETCH_PIXELS)
    x_ahead = simd.at(x, b.mul(simd.load_int32(ahead, 0), i64(simd.item_bytes)))
    for line in range(0, tile.columns * simd.item_bytes, CACHE_LINE_BYTES):
        simd.prefetch(simd.at(x_ahead, line))
    simd.prefetch(simd.at(dy, b.mul(simd.load_int32(ahead, 1), i64(simd.item_bytes))))


class _Patch:
    """Gathers the columns of a border pixel, zeros where its taps are outside."""

    def __init__(self, simd: Simd, tile: Tile, borders: Any, column: Any, run_columns: Any, n_columns: Any) -> None:
        b = simd.builder
        self.simd, self.borders = simd, simd.at(borders, b.mul(column, i64(4)))
        self.record_bytes = b.mul(run_columns, i64(4))
        self.count = smaller(b, n_columns, i64(tile.columns))
        with b.goto_entry_block():
            self.memory = b.alloca(I8, i64(tile.columns * simd.item_bytes))
            self.memory.align = 64

    def or_inside(self, inside: Any, offset: Any, x: Any) -> Any:
        """`inside`, or the gathered patch when `offset` is negative."""
        simd, b = self.simd, self.simd.builder
        before = b.block
        with b.if_then(b.icmp_signed("<", offset, i64(0)), likely=False):
            record = simd.at(self.borders, b.mul(b.sub(i64(-1), offset), self.record_bytes))

            def element(index: Any, _: list[Any]) -> list[Any]:
                at = b.load(b.bitcast(simd.at(record, b.mul(index, i64(4))), I32.as_pointer()), align=4)
                position = b.sext(at, index.type)
                is_outside = b.icmp_signed("<", position, i64(0))
                kind = simd.element.as_pointer()
                safe = b.select(is_outside, i64(0), position)
                value = b.load(b.bitcast(simd.at(x, b.mul(safe, i64(simd.item_bytes))), kind))
                target = b.bitcast(simd.at(self.memory, b.mul(index, i64(simd.item_bytes))), kind)
                b.store(b.select(is_outside, simd.zero.type.element(0.0), value), target)
                return []

            counted_loop(b, self.count, [], element, at_least_once=True)
            gathered = b.block
        result = b.phi(inside.type)
        result.add_incoming(inside, before)
        result.add_incoming(self.memory, gathered)
        return result
