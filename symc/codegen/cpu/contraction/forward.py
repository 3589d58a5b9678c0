"""The matrix kernel of forward and data gradient: tiles of pixels x panels of channels.

The work is a grid of units, each a block of tiles x a group of panels; inside a unit the pixels stay while panels
change.  Units of one block follow each other, so that a thread keeps to its pixels, or units of one panel group, so
that its weights stay in cache while the pixels stream by.
"""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from symc.codegen.contraction.epilogue import Epilogue
from symc.codegen.contraction.tables import PART, TileTables
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode, Ref, Table
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I64
from symc.codegen.llvm.memory import LINE_BYTES
from symc.core.dtypes import ITEM_SIZE, stored_dtype

from .micro import asking, by_rows, emit_even_tile, emit_tile, vectors_of, with_masks
from .plan import MatrixPlan
from .stores import EvenRows, Place, emit_prefetches, emit_stores
from .tile import Tile
from .units import add_units, unit_loops

SOURCE = '''
def {name}(chunk, n_chunks, desc, bufs):
    """Sums of products over windows, {tiles}, {products}.

    {epilogue}
    """
    {words}
    {units}
            {walk}
'''

# Tiles of the table of each group of channels, again and again.
REPEATED = """
group = panel // panels_per_group
column = (panel - group * panels_per_group) * {width}
repeat = first_tile // table_tiles
tile = first_tile - repeat * table_tiles
for {number} in range(first_tile, last_tile):
    {register_tile}
    tile += 1
    if tile == table_tiles:
        tile = 0
        repeat += 1
"""
IN_REPEATS = {
    "lhs": "lhs + group * lhs_group_bytes + repeat * lhs_repeat_bytes",
    "weight": "weight + panel * panel_bytes + repeat * weight_repeat_bytes",
    "before": "repeat * table_rows",
    "row": "repeat * table_rows + ",
    "column": "group * group_columns + column",
}

# Those of one table and one group, walked once: 110 instead of 131 instructions of a tile beside its products.
ONCE = """
column = panel * {width}
for tile in range(first_tile, last_tile):
    {register_tile}
"""
IN_ONE = {"lhs": "lhs", "weight": "weight + panel * panel_bytes", "before": "0", "row": "", "column": "column"}

BY_TABLES = """
register_tile(desc, bufs, tile_rows, {lhs},
              {weight},
              tiles + tile * tile_bytes, segments, zero_page,
              {before}, {column}, group_columns - column,
              part_segments)
"""

EVENLY = """
register_tile(desc, bufs, tile_rows, {lhs} + tile * tile_bytes,
              {weight}, row_bytes, depth,
              {row}tile * tile_rows, {column}, group_columns - column)
"""

SHORTENED = """
first = tile * tile_rows - max(0, tile - n_whole)
register_tile(desc, bufs, tile_rows - (tile >= n_whole),
              {lhs} + first * row_bytes,
              {weight}, row_bytes, depth,
              {row}first, {column}, group_columns - column)
"""

# What `register_tile` asks for, and how much of it in each step: a share of the next panel.
ASKED = """,
              weight + (panel + 1{skipped}) * panel_bytes
              + ({number} - first_tile) * (panel_bytes // (last_tile - first_tile)),
              {step_bytes} // (last_tile - first_tile) + 1{every})
"""
EVERY = ", {line_bytes} // ({step_bytes} // (last_tile - first_tile) + 1) // 2 * 2"
ASKED_ARGUMENTS = ("asked", "asked_bytes", "every")
# Of so many tiles each asks for a line at a time, where a row is one run: those of 14x14x512 asked 16 times for each,
# 1 to 2 % of their time. Few tiles have a line for each round or two; where rows are several runs it is no gain.
MANY_TILES = 8


@dataclass(frozen=True)
class ForwardProblem:
    """A forward-like contraction in terms of its matrix: `groups` independent products of one table."""

    dtype: str
    lhs: Ref
    weight: Ref
    tables: TileTables
    n_repeats: int  # how often the table is walked, each time for the next images or the next of a stack
    rows_per_table: int
    lhs_repeat_stride: int  # elements between two repeats
    lhs_group_stride: int
    is_stacked: bool  # each repeat has a weight of its own
    groups: int
    columns: int  # output channels of one group, of one section where they fall into several
    depth: int  # length of the whole reduction: taps * channels of one group
    epilogue: Epilogue


def emit(problem: ForwardProblem, plan: MatrixPlan) -> KernelCall:
    """The kernel, which serves all register tiles `plan.tiles` (they differ in rows only), and its call."""
    item, tables = ITEM_SIZE[problem.dtype], problem.tables
    tile, blocking = plan.tile, plan.blocking
    panels_per_group = plan.packing.n_panels
    n_panels = problem.groups * panels_per_group
    n_tiles = len(tables.tiles) * problem.n_repeats
    is_once = problem.n_repeats == problem.groups == 1 and not plan.has_avx512  # (whose kernels stay as measured)
    d = Descriptor()

    def add_of_repeats(name: str, word: int) -> None:
        if not is_once:
            d.add(name, word)

    d.add("lhs", problem.lhs)
    d.add("weight", problem.weight)
    if plan.row_distance is None:
        d.add("tiles", Table(tables.tiles))
        d.add("segments", Table(tables.segments))
        d.add("zero_page", Table(np.zeros(max(1, tables.longest), stored_dtype(problem.dtype))))
    add_units(d, blocking, n_tiles, n_panels, "tile")
    add_of_repeats("table_tiles", max(1, len(tables.tiles)))
    add_of_repeats("table_rows", problem.rows_per_table)
    add_of_repeats("lhs_repeat_bytes", problem.lhs_repeat_stride * item)
    add_of_repeats("weight_repeat_bytes", n_panels * problem.depth * tile.columns * item if problem.is_stacked else 0)
    d.add("group_panels", blocking.group_panels)
    d.add("n_panels", n_panels)
    add_of_repeats("panels_per_group", panels_per_group)
    d.add("panel_bytes", problem.depth * tile.columns * item)
    add_of_repeats("lhs_group_bytes", problem.lhs_group_stride * item)
    d.add("group_columns", problem.columns)
    d.add("tile_rows", tile.rows)
    if plan.row_distance is None:
        d.add("tile_bytes", tile.record_bytes)
        d.add("part_segments", max(1, PART // max(1, int(tables.segments[:, 1].max(initial=1)))))
    else:
        if plan.n_shorter:
            d.add("n_whole", len(tables.tiles) - plan.n_shorter)
        else:
            d.add("tile_bytes", tile.rows * plan.row_distance * item)
        d.add("row_bytes", plan.row_distance * item)
        d.add("depth", problem.depth)
    problem.epilogue.add_to(d)
    code = _code(plan, is_once, problem.epilogue, d)
    bands = blocking.bands(n_tiles, n_panels)
    return KernelCall(code, tuple(d.words), Chunks(blocking.n_chunks), plan.why, bands=bands)


def _code(plan: MatrixPlan, is_once: bool, epilogue: Epilogue, d: Descriptor) -> KernelCode:
    products, sections = plan.products, plan.packing.sections
    stores, shapes = epilogue.structure(), ", ".join(map(str, plan.tiles))
    if sections > 1:
        shapes += f" in {sections} sections"
    if plan.asks_ahead:
        shapes += " asking ahead"
    if plan.asks_weights:
        shapes += " asking for weights" + " by lines" * _asks_by_lines(plan)
    if plan.asks_rows:
        shapes += " asking for rows"
    is_even = plan.row_distance is not None
    call = SHORTENED if plan.n_shorter else EVENLY if is_even else BY_TABLES
    call = call.format(**IN_ONE if is_once else IN_REPEATS)
    number = "tile" if is_once else "number" if plan.asks_weights else "_"
    if plan.asks_weights:
        step_bytes = plan.tile.columns * products.n_together * ITEM_SIZE[products.dtype]
        skipped = " + (panel + 1 == last_panel) * skipped" if plan.blocking.turns > 1 else ""
        every = EVERY.format(line_bytes=LINE_BYTES, step_bytes=step_bytes) if _asks_by_lines(plan) else ""
        asked = ASKED.format(number=number, step_bytes=step_bytes, skipped=skipped, every=every)
        call = call.rstrip().removesuffix(")") + asked
    walk = " in parts" if plan.is_long else " of even rows" if is_even else ""
    if is_once:
        walk += " once"
    if plan.n_shorter:
        walk += ", the last a row less"
    if plan.blocking.turns > 1:
        walk += ", panel groups in turns"
    structure = f"matrix {products} {shapes} masks={plan.has_avx512}{walk}: {stores}"
    tiles = ONCE if is_once else REPEATED
    call = textwrap.indent(call, " " * 4).strip()
    tiles = tiles.format(width=plan.packing.width, number=number, register_tile=call)
    source = SOURCE.format(
        name="kernel",
        tiles=f"register tiles of {shapes}",
        products=products,
        epilogue=stores,
        words="\n    ".join(d.lines()),
        units=unit_loops("tile", plan.blocking.turns > 1),
        walk=textwrap.indent(tiles, " " * 12).strip(),
    ).lstrip()

    def build() -> Callable[..., Any]:
        scope = {"register_tile": (_even_tile if is_even else _register_tile)(plan, epilogue, d)}
        exec(source, scope)
        return scope["kernel"]

    return KernelCode("matrix", structure, lambda: source, build)


def _asks_by_lines(plan: MatrixPlan) -> bool:
    return plan.asks_weights and plan.row_distance is not None and plan.blocking.block_tiles >= MANY_TILES


def _register_tile(plan: MatrixPlan, epilogue: Epilogue, d: Descriptor) -> Any:
    """The intrinsic `register_tile(desc, bufs, rows, source, weight, record, segments, zero page, row, column,
    columns, segments of a part[, asked, bytes of a step])`."""
    products, sections = plan.products, plan.packing.sections
    arguments = ["desc", "bufs", "n_rows", "source", "weight", "record", "segments", "zero_page", "row", "column"]
    arguments += ["n_columns", "part_segments", *ASKED_ARGUMENTS[: 2 * plan.asks_weights]]

    @intrinsic(arguments=arguments)
    def register_tile(
        builder, desc, bufs, n_rows, source, weight, record, segments, zero_page, row, column, n_columns,
        part_segments, *asked,
    ):  # fmt: skip
        def emit_for(tile: Tile) -> None:
            simd = vectors_of(builder, products.sums, tile.lanes, plan.has_avx512)
            header = simd.pointer(record)
            begin = builder.mul(simd.load_int32(header, 0), I64(tile.record_bytes))
            width = replace(tile, vectors=tile.vectors // sections)

            def rows() -> list[Any]:
                return [builder.add(row, simd.load_int32(header, 2 + r)) for r in range(tile.rows)]

            if plan.asks_ahead:
                ahead = Place(rows(), column, n_columns, [None] * width.vectors)
                emit_prefetches(simd, epilogue, d, desc, bufs, ahead)
            sums = emit_tile(
                simd,
                tile,
                products,
                simd.pointer(source),
                simd.pointer(zero_page),
                simd.pointer(weight),
                simd.at(simd.pointer(segments), begin),
                simd.load_int32(header, 1),
                part_segments if plan.is_long else None,
                asking(simd, *asked) if asked else None,
            )

            stored = rows()

            def finish(masks: list[Any]) -> None:
                emit_stores(simd, epilogue, d, desc, bufs, sums, Place(stored, column, n_columns, masks))

            with_masks(simd, width, n_columns, plan.has_avx512, finish)

        by_rows(builder, plan.tiles, n_rows, emit_for)

    return register_tile


def _even_tile(plan: MatrixPlan, epilogue: Epilogue, d: Descriptor) -> Any:
    """The intrinsic `register_tile(desc, bufs, rows, source, weight, bytes between rows, depth, row, column,
    columns[, asked, bytes of a step[, steps of a line]])`."""
    products, sections = plan.products, plan.packing.sections
    arguments = ["desc", "bufs", "n_rows", "source", "weight", "row_bytes", "depth", "row", "column", "n_columns"]
    arguments += ASKED_ARGUMENTS[: 2 * plan.asks_weights + _asks_by_lines(plan)]

    @intrinsic(arguments=arguments)
    def register_tile(builder, desc, bufs, n_rows, source, weight, row_bytes, depth, row, column, n_columns, *asked):
        def emit_for(tile: Tile) -> None:
            simd = vectors_of(builder, products.sums, tile.lanes, plan.has_avx512)
            width = replace(tile, vectors=tile.vectors // sections)
            rows = EvenRows(row, tile.rows)
            if plan.asks_ahead:
                emit_prefetches(simd, epilogue, d, desc, bufs, Place(rows, column, n_columns, [None] * width.vectors))
            at, weights = simd.pointer(source), simd.pointer(weight)
            ask = asking(simd, *asked) if asked else None
            if plan.asks_rows:
                next_rows = builder.add(source, builder.mul(row_bytes, I64(tile.rows)))
                ask = asking(simd, next_rows, I64(tile.rows * ITEM_SIZE[products.dtype]))
            sums = emit_even_tile(simd, tile, products, at, row_bytes, weights, depth, ask)

            def finish(masks: list[Any]) -> None:
                emit_stores(simd, epilogue, d, desc, bufs, sums, Place(rows, column, n_columns, masks))

            with_masks(simd, width, n_columns, plan.has_avx512, finish)

        by_rows(builder, plan.tiles, n_rows, emit_for)

    return register_tile
