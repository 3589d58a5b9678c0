"""Winograd's algorithm (`codegen/contraction/winograd.py`) in two kernels; the weights are transformed before.

`emit_input` transforms the input into [group of tiles][frequency][tile of the group][channel]; `emit` multiplies it,
for each panel of output channels and every frequency, with the packed weights and transforms the sums back, still in
cache, into the epilogue.  A group is as many output tiles as the register tile has rows; with 16 registers a gap
follows each frequency of it.
"""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import numpy as np

from symc.codegen.contraction.epilogue import Epilogue
from symc.codegen.contraction.winograd import Transforms
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode, Ref, Table
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I8, I64
from symc.codegen.llvm.loops import loop, minimum
from symc.core.dtypes import ITEM_SIZE

from .blocking import STACKED_ROWS
from .micro import asking, by_rows, emit_products, evenly_spaced, plain_vectors_of, row_pointer, vectors_of, with_masks
from .plan import WinogradPlan
from .products import Products
from .stores import Place, emit_prefetches, emit_stores
from .tile import Tile
from .units import add_units, unit_loops
from .winograd_transform import transform

# What `multiply` asks for, and how much of it in each step: a share of the weights of the next frequency.
ASKED = """,
                                 weight + (panel * {n_frequencies} + frequency + 1) * panel_bytes
                                 + (group - stack) * (panel_bytes // (stack_end - stack)),
                                 {step_bytes} // (stack_end - stack)"""

# Asks for what the epilogue will read and store, before the products that it waits for: a pixel's channels of a panel
# are a line by themselves, which no hardware foresees.
ASKING = """
for place in range(stack * rows, min(stack_end * rows, n_tiles)):
    tile = first_tile + place
    repeat = tile // table_tiles
    ask(desc, bufs, pixels + (tile - repeat * table_tiles) * {pixel_bytes}, repeat * table_pixels, column,
        n_columns - column)
"""

INPUT_SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Input tiles of {extent}x{extent}, transformed: B^T d B, {dtype}."""
    {words}
    for place in range(chunk * n_tiles // n_chunks, (chunk + 1) * n_tiles // n_chunks):
        tile = first_tile + place
        repeat = tile // table_tiles
        group = place // rows
        transform(source + repeat * repeat_bytes, zero_page, offsets + (tile - repeat * table_tiles) * {offset_bytes},
                  transformed + group * {n_frequencies} * frequency_bytes + (place - group * rows) * row_bytes,
                  frequency_bytes, row_bytes)
'''

SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Products of every frequency, register tiles of {tiles}, and the transform back: A^T m A, {dtype}.

    {epilogue}
    """
    {words}
    products = memory()
    {units}
            column = panel * {columns}
            stack = first_group
            while stack < last_group:
                stack_end = stack + stacked_groups
                if stack_end > last_group:
                    stack_end = last_group{asking}
                for frequency in range({n_frequencies}):
                    for group in range(stack, stack_end):
                        multiply(rows, transformed + (group * {n_frequencies} + frequency) * frequency_bytes,
                                 row_bytes, weight + (panel * {n_frequencies} + frequency) * panel_bytes,
                                 depth,
                                 products + ((group - stack) * {n_frequencies} + frequency) * rows * {row_bytes}{asked})
                last_place = stack_end * rows
                if last_place > n_tiles:
                    last_place = n_tiles
                for place in range(stack * rows, last_place):
                    tile = first_tile + place
                    repeat = tile // table_tiles
                    row = place - stack * rows
                    group = row // rows
                    finish(desc, bufs, products + (group * {n_frequencies} * rows + row - group * rows) * {row_bytes},
                           rows * {row_bytes}, pixels + (tile - repeat * table_tiles) * {pixel_bytes},
                           repeat * table_pixels, column, n_columns - column)
                stack = stack_end
'''


@dataclass(frozen=True)
class Part:
    """Some of the tiles, which both kernels do before the next: their transformed inputs fit a cache."""

    first_tile: int
    n_tiles: int
    number: int  # from 1
    of: int

    def __str__(self) -> str:
        """What explanations append to the plan's words."""
        return f"; part {self.number} of {self.of}" if self.of > 1 else ""


@dataclass(frozen=True)
class WinogradProblem:
    """A forward 3x3 contraction of stride 1 as tiles of outputs; strides in elements.

    products what one step multiplies
    offsets  (tiles, frequencies) int32: where each input of a tile lies, or OUTSIDE
    pixels   (tiles, outputs ** 2) int32: the number of each output pixel, or OUTSIDE
    Both cover some images and are repeated for the next ones.
    """

    products: Products
    transforms: Transforms
    source: Ref
    weight: Ref
    transformed: Ref
    offsets: np.ndarray
    pixels: np.ndarray
    source_repeat_stride: int
    pixels_per_table: int
    channels: int
    columns: int
    epilogue: Epilogue


def emit_input(problem: WinogradProblem, part: Part, plan: WinogradPlan) -> KernelCall:
    """The kernel that transforms the input, and its call."""
    dtype, transforms, tile = problem.products.dtype, problem.transforms, plan.tile
    item, lanes = ITEM_SIZE[dtype], tile.lanes * problem.products.n_together
    n_chunks = min(part.n_tiles, plan.input_chunks)
    d = Descriptor()
    d.add("source", problem.source)
    d.add("transformed", problem.transformed)
    d.add("offsets", Table(problem.offsets))
    d.add("zero_page", Table(np.zeros(problem.channels, dtype)))
    d.add("first_tile", part.first_tile)
    d.add("n_tiles", part.n_tiles)
    d.add("table_tiles", len(problem.offsets))
    d.add("repeat_bytes", problem.source_repeat_stride * item)
    d.add("row_bytes", problem.channels * item)
    d.add("frequency_bytes", plan.scratch[-1] * item)
    d.add("rows", tile.rows)
    source = INPUT_SOURCE.format(
        extent=transforms.extent,
        dtype=dtype,
        words="\n    ".join(d.lines()),
        n_frequencies=transforms.n_frequencies,
        offset_bytes=4 * transforms.n_frequencies,
    ).lstrip()

    def build() -> Callable[..., Any]:
        scope = {"transform": _input_transform(dtype, lanes, transforms)}
        exec(source, scope)
        return scope["kernel"]

    structure = f"winograd input {dtype} F{transforms.outputs} {lanes} lanes"
    code = KernelCode("winograd_input", structure, lambda: source, build)
    why = f"{plan.algorithm}, {plan.grid}: input transform, {n_chunks} chunks{part}"
    return KernelCall(code, tuple(d.words), Chunks(n_chunks), why)


def emit(problem: WinogradProblem, part: Part, plan: WinogradPlan) -> KernelCall:
    """The kernel that multiplies and transforms back, and its call; a block of tiles is groups of tiles of outputs.

    One kernel serves all register tiles `plan.tiles`, which differ in rows only.
    """
    item, transforms = ITEM_SIZE[problem.products.dtype], problem.transforms
    tile, blocking = plan.tile, plan.blocking
    n_panels = -(-problem.columns // tile.columns)
    n_groups = -(-part.n_tiles // tile.rows)
    d = Descriptor()
    d.add("transformed", problem.transformed)
    d.add("weight", problem.weight)
    d.add("pixels", Table(problem.pixels))
    add_units(d, blocking, n_groups, n_panels, "group")
    d.add("group_panels", blocking.group_panels)
    d.add("n_panels", n_panels)
    d.add("first_tile", part.first_tile)
    d.add("n_tiles", part.n_tiles)
    d.add("table_tiles", len(problem.pixels))
    d.add("table_pixels", problem.pixels_per_table)
    d.add("rows", tile.rows)
    d.add("stacked_groups", plan.stacked_groups)
    d.add("depth", problem.channels)
    d.add("row_bytes", problem.channels * item)
    d.add("frequency_bytes", plan.scratch[-1] * item)
    d.add("panel_bytes", problem.channels * tile.columns * item)
    d.add("n_columns", problem.columns)
    problem.epilogue.add_to(d)
    code = _code(plan, transforms, problem.epilogue, d)
    return KernelCall(code, tuple(d.words), Chunks(blocking.n_chunks), f"{plan.why}{part}")


def _code(plan: WinogradPlan, transforms: Transforms, epilogue: Epilogue, d: Descriptor) -> KernelCode:
    products, tiles, has_avx512 = plan.products, plan.tiles, plan.has_avx512
    stores, shapes = epilogue.structure(), ", ".join(map(str, tiles))
    if plan.asks_weights:
        shapes += " asking for weights"
    columns, most_rows = tiles[0].columns, max(STACKED_ROWS, *(tile.rows for tile in tiles))
    row_bytes = columns * ITEM_SIZE[products.sums]
    step_bytes = columns * products.n_together * ITEM_SIZE[products.dtype]
    asked = asking = ""
    if plan.asks_weights:
        asked = ASKED.format(n_frequencies=transforms.n_frequencies, step_bytes=step_bytes)
        asking = textwrap.indent(ASKING.format(pixel_bytes=4 * transforms.outputs**2).rstrip(), " " * 16)
    source = SOURCE.format(
        tiles=shapes,
        dtype=products,
        epilogue=stores,
        words="\n    ".join(d.lines()),
        units=unit_loops("group"),
        columns=columns,
        n_frequencies=transforms.n_frequencies,
        row_bytes=row_bytes,
        asked=asked,
        asking=asking,
        pixel_bytes=4 * transforms.outputs**2,
    ).lstrip()

    def build() -> Callable[..., Any]:
        scope = {
            "memory": _memory(transforms.n_frequencies * most_rows * row_bytes),
            "multiply": _multiply(products, tiles, has_avx512, plan.asks_weights),
            "finish": _finish(products, tiles[0], transforms, epilogue, d, has_avx512),
            "ask": _ask(products, tiles[0], transforms, epilogue, d, has_avx512),
        }
        exec(source, scope)
        return scope["kernel"]

    structure = f"winograd {products} F{transforms.outputs} {shapes} masks={has_avx512}: {stores}"
    return KernelCode("winograd", structure, lambda: source, build)


def _memory(n_bytes: int) -> Any:
    """The intrinsic `memory()`: the address of `n_bytes` on the thread's stack."""

    @intrinsic(result="int64")
    def memory(b):
        with b.goto_entry_block():
            place = b.alloca(I8, I64(n_bytes))
            place.align = 64
        return b.ptrtoint(place, I64)

    return memory


def _multiply(products: Products, tiles: Sequence[Tile], has_avx512: bool, asks_weights: bool) -> Any:
    """The intrinsic `multiply(rows, source, bytes of a row, weight, depth, products[, asked, bytes of a step])`: one
    tile of one frequency.
    """
    arguments = ["n_rows", "source", "row_bytes", "weight", "depth", "products"]

    @intrinsic(arguments=[*arguments, "asked", "asked_bytes"] if asks_weights else arguments)
    def multiply(b, n_rows, source, row_bytes, weight, depth, sums_of_tile, asked=None, asked_bytes=None):
        def emit_for(tile: Tile) -> None:
            simd = vectors_of(b, products.sums, tile.lanes, has_avx512)
            first, target = simd.pointer(source), simd.pointer(sums_of_tile)
            rows = evenly_spaced(simd, first, row_bytes, tile.rows)
            zeros = [simd.zero] * (tile.rows * tile.vectors)

            ask = asking(simd, asked, asked_bytes) if asks_weights else None
            sums = emit_products(simd, tile, products, rows, simd.pointer(weight), depth, zeros, ask=ask)
            for number, total in enumerate(sums):
                simd.store(total, simd.at(target, number * simd.vector_bytes))

        by_rows(b, tiles, n_rows, emit_for)

    return multiply


def _finish(
    products: Products, tile: Tile, transforms: Transforms, epilogue: Epilogue, d: Descriptor, has_avx512: bool
) -> Any:
    """The intrinsic `finish(desc, bufs, sums, bytes of a frequency, pixels, first pixel, column, columns)`: one
    tile of outputs.

    A pixel outside the output repeats the tile's first one, which is inside.
    """

    @intrinsic
    def finish(b, desc, bufs, sums_of_tiles, step, pixels, first_pixel, column, n_columns):
        simd = vectors_of(b, products.sums, tile.lanes, has_avx512)
        source = simd.pointer(sums_of_tiles)
        numbers, is_outside, rows = _pixels(simd, simd.pointer(pixels), transforms, first_pixel)
        places = [simd.at(source, b.mul(step, I64(k))) for k in range(transforms.n_frequencies)]

        def store(first: Any, is_whole: bool, masks: list[Any]) -> None:
            """The vectors that `masks` are of, from number `first` on; of a whole tile all pixels are inside."""
            sums: list[list[Any]] = [[] for _ in numbers]
            for v in range(len(masks)):
                at = b.add(b.mul(first, I64(simd.vector_bytes)), I64(v * simd.vector_bytes))
                outputs = transform(simd, transforms.output, [simd.load(simd.at(place, at)) for place in places])
                if transforms.shift:
                    outputs = [b.ashr(value, simd.number(transforms.shift)) for value in outputs]
                for row, out, value in zip(sums, is_outside, outputs):
                    row.append(value if is_whole else b.select(out, outputs[0], value))
            passed = b.mul(first, I64(tile.lanes))
            place = Place(rows, b.add(column, passed), b.sub(n_columns, passed), masks)
            emit_stores(simd, epilogue, d, desc, bufs, sums, place)

        if has_avx512:
            with_masks(simd, tile, n_columns, has_avx512, partial(store, I64(0), False))
            return
        is_whole = b.icmp_signed(">=", reduce(b.or_, numbers), I64(0))

        def vector(number: Any, _: list[Any]) -> list[Any]:
            n_left = b.sub(n_columns, b.mul(number, I64(tile.lanes)))

            def of_tile(masks: list[Any]) -> None:
                if masks != [None]:
                    store(number, False, masks)
                    return
                with b.if_else(is_whole, likely=True) as (whole, cut):
                    with whole:
                        store(number, True, masks)
                    with cut:
                        store(number, False, masks)

            with_masks(simd, replace(tile, vectors=1), n_left, has_avx512, of_tile)
            return []

        n_vectors = b.udiv(b.add(minimum(b, n_columns, I64(tile.columns)), I64(tile.lanes - 1)), I64(tile.lanes))
        loop(b, I64(0), n_vectors, [], vector, at_least_once=True)

    return finish


def _ask(
    products: Products, tile: Tile, transforms: Transforms, epilogue: Epilogue, d: Descriptor, has_avx512: bool
) -> Any:
    """The intrinsic `ask(desc, bufs, pixels, first pixel, column, columns)`: for what `finish` will read and store."""

    @intrinsic
    def ask(b, desc, bufs, pixels, first_pixel, column, n_columns):
        simd = vectors_of(b, products.sums, tile.lanes, has_avx512)
        _, _, rows = _pixels(simd, simd.pointer(pixels), transforms, first_pixel)
        emit_prefetches(simd, epilogue, d, desc, bufs, Place(rows, column, n_columns, [None] * tile.vectors))

    return ask


def _pixels(simd: Any, table: Any, transforms: Transforms, first_pixel: Any) -> tuple[list[Any], list[Any], list[Any]]:
    """Of the pixels of a tile: the numbers in their table, which are outside, and their rows, of these the first's."""
    b = simd.b
    numbers = [simd.load_int32(table, k) for k in range(transforms.outputs**2)]
    is_outside = [b.icmp_signed("<", number, I64(0)) for number in numbers]
    rows = [b.add(first_pixel, b.select(out, numbers[0], number)) for out, number in zip(is_outside, numbers)]
    return numbers, is_outside, rows


def _input_transform(dtype: str, lanes: int, transforms: Transforms) -> Any:
    """The intrinsic `transform(source, zero page, offsets, target, bytes of a frequency, of a row)`: one tile."""

    @intrinsic
    def transform_tile(b, source, zero_page, offsets, target, step, row_bytes):
        simd = plain_vectors_of(b, dtype, lanes)
        table = simd.pointer(offsets)
        inputs = [
            row_pointer(simd, simd.pointer(source), simd.pointer(zero_page), simd.item_bytes, simd.load_int32(table, k))
            for k in range(transforms.n_frequencies)
        ]
        first = simd.pointer(target)
        targets = [simd.at(first, b.mul(step, I64(k))) for k in range(transforms.n_frequencies)]

        def vector(number: Any, _: list[Any]) -> list[Any]:
            at = b.mul(number, I64(simd.vector_bytes))
            values = transform(simd, transforms.input, [simd.load(simd.at(pointer, at)) for pointer in inputs])
            for pointer, value in zip(targets, values):
                simd.store(value, simd.at(pointer, at))
            return []

        loop(b, I64(0), b.udiv(row_bytes, I64(simd.vector_bytes)), [], vector, at_least_once=True)

    return transform_tile
