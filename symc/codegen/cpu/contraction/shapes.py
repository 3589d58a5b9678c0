"""Which register tile a problem gets: measured efficiencies against what each shape would waste."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from symc.codegen.contraction.geometry import Geometry, row_distance
from symc.codegen.contraction.tables import Line, images_per_table, row_order
from symc.codegen.contraction.winograd import N_TAPS, Transforms, factors_of, n_operations
from symc.codegen.cpu.target import Target
from symc.core.bounded import bounded
from symc.core.dtypes import ITEM_SIZE

from .products import Products
from .ring import Ring
from .strip import Strip
from .tile import Tile

# (rows, vectors) -> share of the FMA peak inside the loop, measured on Zen 4 (AVX-512 double-pumped) on 28x28x128 and
# 7x7x512 3x3 layers and a 512 -> 128 pointwise layer.  28 accumulators hide the latency of two 512-bit FMA units too.
# (4, 4), (8, 2) and (8, 1) reached 0.97 to 0.98 as well, of 8 to 128 rows; a little less, and ties go to the kernel
# that other layers use anyway, or to (4, 4), which was faster where a loop reads its weights from L2 again and again.
WIDE_SHAPES = {
    (14, 2): 1.0,
    (8, 3): 0.98,  # 128x768 by 768 and 3072 columns: 2.3 % less than (4, 4)
    (8, 2): 0.945,
    (8, 1): 0.94,  # 32x800 by 200 columns: 9 % less than (7, 1), whose fifth tile has four rows; 16x800: 13 % less
    (7, 2): 0.97,
    (14, 1): 0.97,
    (7, 1): 0.95,
    (4, 4): 0.95,
    (4, 1): 0.7,
    (2, 8): 0.9,
    (2, 2): 0.7,
    (1, 8): 0.5,
    (1, 4): 0.52,  # the same from caches; weights of 130 MB from memory at 26 GB/s, (1, 8) 13.5
    (1, 1): 0.2,
}  # 32 registers: AVX-512, NEON
NARROW_SHAPES = {
    (6, 2): 1.0,
    (4, 3): 0.96,  # as (4, 2) on a quiet core; where others take a part, 1.3 of its speed and 0.85 of the first one's
    (4, 2): 0.95,  # 0.98 on a quiet core, 0.83 to 0.92 on one of which others take a part (p25)
    (6, 1): 0.75,
    (4, 1): 0.54,
    (2, 4): 0.83,
    (2, 1): 0.31,
    (1, 8): 0.49,
    (1, 4): 0.55,
    (1, 1): 0.19,
}  # 16 registers: AVX2, SSE; measured on Zen 3, 192x192 by 192 columns, relative to the first, which reaches 0.94
# More of them, for columns that fall into sections: each of these has as many of the vectors.
WIDE_SECTION_SHAPES = {(7, 4): 0.96}
# Of bytes that are shifted: one more row of sums, and the shift in a register.
WIDE_SHIFTED_SHAPES = {
    (12, 2): 1.0,
    (6, 2): 0.97,
    (12, 1): 0.97,
    (4, 4): 0.95,
    (4, 1): 0.7,
    (2, 2): 0.7,
    (1, 8): 0.5,
    (1, 4): 0.5,
    (1, 1): 0.2,
}
NARROW_SHIFTED_SHAPES = {(4, 2): 1.0, (4, 1): 0.54, (2, 1): 0.4, (1, 4): 0.5, (1, 1): 0.2}
SHORTENED = (6, 2)  # of 16 registers: tiles that are told how many of the last ones have a row less
SHARED_ROWS = (14, 12, 7, 6, 4)  # tiles with as many vectors of as many lanes share a kernel: an extra tile costs 25 ms
# Winograd: tiles that differ in rows only, because one kernel holds them all.
WIDE_WINOGRAD_SHAPES = {(14, 2): 1.0, (8, 2): 0.97, (7, 2): 0.97}
NARROW_WINOGRAD_SHAPES = {(6, 2): 1.0, (5, 2): 0.99, (4, 2): 0.96}  # 49 tiles of outputs are ten groups of five
# Weight gradient: one pointer to dy serves all rows, so 8 rows x 3 vectors need few address registers.
WIDE_GRADIENT_SHAPES = {
    (8, 3): 1.0,
    (8, 2): 0.97,
    (8, 1): 0.95,
    (4, 4): 0.95,
    (4, 2): 0.9,
    (4, 1): 0.6,
    (2, 4): 0.8,
    (1, 8): 0.5,
    (1, 4): 0.45,
    (1, 1): 0.2,
}
NARROW_GRADIENT_SHAPES = {
    (4, 3): 1.0,
    (6, 2): 0.97,
    (4, 2): 0.78,  # as the last of a run, too: 64 columns take 2 to 14 % less in panels of 6x16 than in 24, 24, 16
    (4, 1): 0.42,  # 128 and 320 columns, whose last 8 are left by panels of 24, 11 and 5 % faster in panels of 6x16
    (2, 4): 0.93,
    (1, 8): 0.7,
    (1, 4): 0.55,
    (1, 1): 0.19,
}  # Zen 3, x^T y of 192x192 by 192
# Depthwise: the address of a row is used by all vectors, so more vectors cost less.
WIDE_DEPTHWISE_SHAPES = {(7, 4): 1.0, (7, 3): 0.95, (7, 2): 0.9, (7, 1): 0.5, (3, 4): 0.9, (1, 4): 0.5, (1, 1): 0.2}
NARROW_DEPTHWISE_SHAPES = {(3, 4): 0.9, (6, 2): 0.7, (3, 2): 0.65, (6, 1): 0.5, (1, 4): 0.5, (1, 1): 0.2}
LINE_GAIN = 1.5  # of depthwise tiles that read a position once for all taps of a line: 57 -> 85 GFLOP/s, 192x28x28
STRIP_SHAPES = {7: 1.8, 6: 1.7, 5: 1.6, 4: 1.5}  # the same, by columns: 17.4 us where lines take 33, 512x14x14
# From a ring of lines, in 16 registers: 33 us where tiles of 3x32 take 57, 512x14x14 (Zen 3).
RING_SHAPES = {8: 1.6, 7: 1.6, 6: 1.5, 5: 1.4, 4: 1.3}
RING_VECTORS = (4, 2)  # of a panel, if channels fill them: two lines of the cache, which come from memory in pairs
# At most, of pixels that are one panel, so that lines are read from end to end: 24x112x112 122 -> 89 us.
WHOLE_VECTORS = 8
# Speed per element of vectors of lanes / n: of 512 bits, and of fewer, where a part takes as long as the whole (Zen 3).
PARTS_OF_512 = {1: 1.0, 2: 0.75, 4: 0.4}
PARTS_OF_FEWER = {1: 1.0, 2: 0.5, 4: 0.25}
# Half vectors of matrix tiles that load little for each product: Zen 4 multiplies two of them in a cycle. 96 -> 24
# channels, 56x56, in tiles of 14x32, 8x24, 14x16, 8x16 and 8x8: 174, 135, 177, 206 and 169 us.
HALVES_OF_512 = {(14, 2): 0.97, (8, 3): 0.96}

# More rows than L1 has ways (8) at multiples of a way's size (4 KB) evict each other: 1024 channels, 14 rows ran at
# 80 % where 6 rows ran at 100 %.
L1_WAYS, L1_WAY_BYTES, CONFLICT = 8, 4096, 0.6

MAX_CHOICES = 1 << 13  # kept for the next layer of the same extents, of each kind: some 250 layers, 2 MB
MAX_COUNTED_ROWS = 1 << 22
MAX_MERGED_TAPS = 32  # a weight gradient's border pixels list every tap of a run
TILE_CYCLES = 40  # fixed cost of a tile: header, epilogue addresses
ROW_CYCLES = 6  # a row's address, epilogue and store
SEGMENT_ROW_CYCLES = 1  # a row's offset in a segment
# Results that leave the caches nearby: a tile stores all its sums at once and waits for memory; the fewer they are,
# the more of that the products of the next tiles hide. 3 -> 64 channels, 3x3, 224x224, 12.8 MB: tiles of 7x16 and 4x64
# take 0.73 of the time of 14x32, 7x32 0.92; deconvolved 64 -> 32, 2x2, 256x256, 8.4 MB: 7x16 0.83, 7x32 0.88.
FAR_BYTES, FAR_CYCLES = 4 << 20, 0.012  # for each byte of the result and each vector that a tile stores
TRANSFORMED_BYTES_PER_CYCLE = 16  # Winograd's inputs between its two kernels, through L2 and L3
WEIGHT_CYCLES = 25  # for a vector of weights of one frequency to be made and stored
WEIGHT_BYTES_PER_CYCLE = 12  # weights of a network rarely stay in a cache between two runs
# With 16 registers weights are asked for beside the products, so the slower of both counts. A core of Zen 3 reads 10 to
# 12 GB/s from memory; L3 is 32 MB, but others use it, too.
ASKED_BYTES_PER_CYCLE = 2

Shapes = dict[tuple[int, int], float]


def tiles_of(target: Target, dtype: str, wide: Shapes, narrow: Shapes) -> list[tuple[Tile, float]]:
    """Every tile the target can hold, with its efficiency relative to the FMA peak."""
    lanes, parts = target.lanes(dtype), PARTS_OF_512 if target.vector_bits == 512 else PARTS_OF_FEWER
    return [
        (Tile(rows, vectors, lanes // part), share * speed)
        for part, speed in parts.items()
        if lanes % part == 0 and lanes // part >= 2
        for (rows, vectors), share in (wide if target.has_32_registers else narrow).items()
    ]


def matrix_tiles(target: Target, products: Products, sections: int = 1) -> list[tuple[Tile, float]]:
    """Those of a forward contraction or data gradient whose columns fall into `sections`."""
    wide, narrow = (WIDE_SHIFTED_SHAPES, NARROW_SHIFTED_SHAPES) if products.n_more else (WIDE_SHAPES, NARROW_SHAPES)
    if sections > 1:
        wide = WIDE_SHAPES | WIDE_SECTION_SHAPES
    tiles = tiles_of(target, products.sums, wide, narrow)
    if target.vector_bits == 512 and products.n_together == 1:
        half = target.lanes(products.sums) // 2
        tiles = [(t, HALVES_OF_512.get((t.rows, t.vectors), s) if t.lanes == half else s) for t, s in tiles]
    return [(tile, share) for tile, share in tiles if tile.vectors % sections == 0]


def tiles_beside(tile: Tile, target: Target, products: Products, sections: int) -> tuple[Tile, ...]:
    """The tiles that share a kernel with `tile`, itself among them."""
    beside = tuple(
        t
        for t, _ in matrix_tiles(target, products, sections)
        if (t.vectors, t.lanes) == (tile.vectors, tile.lanes) and t.rows in SHARED_ROWS
    )
    return beside if tile in beside else (tile,)


def n_shorter(n_rows: int, tile: Tile, target: Target, products: Products, sections: int) -> int | None:
    """How many of the last tiles have a row less, so that evenly spaced rows fill them all: 196 rows are 31 tiles of
    six and 2 of five. None where no number of them does, or no kernel has such tiles.
    """
    missing = -n_rows % tile.rows
    if not missing:
        return 0
    is_told = (tile.rows, tile.vectors) == SHORTENED and not target.has_32_registers
    fits = products.n_together == sections == 1 and missing <= -(-n_rows // tile.rows)
    return missing if is_told and fits else None


def winograd_tiles(target: Target, products: Products) -> tuple[Tile, ...]:
    """The tiles of Winograd's kernel, which holds them all."""
    return tuple(tile for tile, _ in _winograd_shapes(target, products))


@dataclass(frozen=True)
class Choice:
    """A register tile and the time it is expected to take, in cycles of one core.

    is_merged  of a weight gradient: whether a line of taps is one run of columns
    last       of a weight gradient: the tile of a run's last panel, narrower where few columns are left
    """

    tile: Tile
    cycles: float
    is_merged: bool = False
    last: Tile | None = None


def cheapest(choices: Sequence[Choice]) -> Choice:
    """The choice with the lowest estimate; the first one of several."""
    return min(choices, key=lambda choice: choice.cycles)


@bounded(MAX_CHOICES, lambda key, choices: len(choices))
def matrix_choices(
    g: Geometry,
    batch: int,
    stack: int | None,
    groups: int,
    columns: int,
    products: Products,
    target: Target,
    sections: int,
) -> tuple[Choice, ...]:
    """The tiles of a forward contraction or data gradient.

    `g` covers one image, `columns` are the output channels of a group, of all its sections.
    """
    full_lanes = target.lanes(products.sums)
    row_bytes = (g.source_strides[-1] * g.scale[-1] if g.taps else g.image_stride) * ITEM_SIZE[products.dtype]
    result_bytes = (stack or 1) * batch * g.n_rows * groups * columns * ITEM_SIZE[products.sums]
    far_bytes = result_bytes if result_bytes >= FAR_BYTES else 0

    def cycles(tile: Tile, share: float) -> float:
        if tile.rows > L1_WAYS and row_bytes and row_bytes % L1_WAY_BYTES == 0:
            share *= CONFLICT
        n_tiles, steps, n_segments = tile_counts(g, batch, tile.rows, stack)
        images, n_repeats = table_cover(g, batch, tile.rows, stack)
        missing = n_shorter(images * g.n_rows, tile, target, products, sections)
        saved = 0
        if missing and row_distance(g.of_images(images)) is not None:
            saved = missing * g.channels * n_repeats
        rows = (tile.rows + products.n_more) / products.n_together
        multiply = (steps * rows - saved) * tile.vectors * tile.lanes / full_lanes / share
        fixed = n_tiles * (TILE_CYCLES + ROW_CYCLES * tile.rows * tile.vectors)
        panels = groups * -(-columns // sections // (tile.columns // sections))
        waiting = FAR_CYCLES * far_bytes * tile.rows * tile.vectors * tile.lanes / full_lanes
        return panels * (multiply + fixed + n_segments * tile.rows * SEGMENT_ROW_CYCLES) + waiting

    shapes = matrix_tiles(target, products, sections)
    return tuple(Choice(tile, cycles(tile, share)) for tile, share in shapes)


@bounded(MAX_CHOICES, lambda key, choices: len(choices))
def winograd_choices(
    transforms: Transforms,
    n_tiles: int,
    channels: int,
    columns: int,
    products: Products,
    target: Target,
    is_reused: bool,
) -> tuple[Choice, ...]:
    """The tiles of Winograd's products, whose rows are tiles of outputs; weights are transformed unless `is_reused`."""
    full_lanes, item, n_together = target.lanes(products.sums), ITEM_SIZE[products.dtype], products.n_together
    n_frequencies = transforms.n_frequencies
    into, back = (n_operations(factors_of(matrix)) for matrix in (transforms.input, transforms.output))
    input_cycles = 3 * n_frequencies + 2 * transforms.extent * into
    output_cycles = n_frequencies + (transforms.extent + transforms.outputs) * back
    output_cycles += ROW_CYCLES * transforms.outputs**2
    weight_cycles = 0 if is_reused else WEIGHT_CYCLES * n_frequencies

    def cycles(tile: Tile, share: float) -> float:
        n_groups, n_panels = -(-n_tiles // tile.rows), -(-columns // tile.columns)
        multiply = channels // n_together * tile.rows * tile.vectors * tile.lanes / full_lanes / share
        sums = n_frequencies * n_groups * n_panels * (multiply + TILE_CYCLES + tile.rows * tile.vectors)
        transformed_bytes = 2 * n_groups * tile.rows * channels * n_frequencies * item
        computing = (
            sums
            + n_tiles * (channels // n_together // tile.lanes) * input_cycles
            + n_tiles * n_panels * tile.vectors * output_cycles
            + channels * n_panels * tile.vectors * weight_cycles
            + transformed_bytes / TRANSFORMED_BYTES_PER_CYCLE
        )
        weight_bytes = n_frequencies * channels * columns * item
        if not target.has_32_registers:
            return max(computing, weight_bytes / ASKED_BYTES_PER_CYCLE)
        more_bytes = weight_bytes - N_TAPS**2 * channels * columns * item
        return computing + more_bytes / WEIGHT_BYTES_PER_CYCLE

    return tuple(Choice(tile, cycles(tile, share)) for tile, share in _winograd_shapes(target, products))


def _winograd_shapes(target: Target, products: Products) -> list[tuple[Tile, float]]:
    shapes = tiles_of(target, products.sums, WIDE_WINOGRAD_SHAPES, NARROW_WINOGRAD_SHAPES)
    return [(tile, share) for tile, share in shapes if tile.lanes == target.lanes(products.sums)]


@bounded(MAX_CHOICES, lambda key, choices: len(choices))
def gradient_choices(g: Geometry, batch: int, groups: int, rows: int, dtype: str, target: Target) -> tuple[Choice, ...]:
    """The tiles of a weight gradient with `rows` output channels a group, each with taps alone or in lines."""
    full_lanes = target.lanes(dtype)
    tiles = tiles_of(target, dtype, WIDE_GRADIENT_SHAPES, NARROW_GRADIENT_SHAPES)

    def panel_cycles(tile: Tile, share: float) -> float:
        return -(-rows // tile.rows) * tile.rows * tile.vectors * tile.lanes / full_lanes / share

    def choice(tile: Tile, share: float, is_merged: bool) -> Choice:
        width = g.taps[-1] if is_merged else 1
        n_whole, n_left = divmod(width * g.channels, tile.columns)
        narrow = [(t, s) for t, s in tiles if t.rows == tile.rows and n_left <= t.columns < tile.columns]
        last, last_share = min(narrow, key=lambda found: panel_cycles(*found)) if n_whole and narrow else (tile, share)
        run_cycles = n_whole * panel_cycles(tile, share) + bool(n_left) * panel_cycles(last, last_share)
        border_pixels = 1.1 if is_merged else 1.0  # gathered element by element
        cycles = g.n_taps // width * run_cycles * border_pixels * batch * g.n_rows * groups
        return Choice(tile, cycles, is_merged, last if n_left else tile)

    return tuple(
        choice(tile, share, is_merged)
        for tile, share in tiles
        for is_merged in ((False, True) if g.is_merged and g.taps[-1] <= MAX_MERGED_TAPS else (False,))
    )


def line_of(g: Geometry, tile: Tile, target: Target) -> Line:
    """The taps of a line whose positions the rows of a depthwise tile share: the rows must lie on one line and see all
    of its taps, their sums, the weights of the line and a position be in registers together. Elsewhere taps come one
    by one.
    """
    if not g.taps or not target.has_32_registers or g.step[-1] != 1 or g.divide[-1] != 1:
        return Line()
    line, extent, shift = Line(g.taps[-1], g.scale[-1]), g.row_extents[-1], g.shift[-1]
    first_tap_is_seen = (tile.rows - 1) * line.stride + shift >= 0
    last_tap_is_seen = (extent - tile.rows) * line.stride + line.n_taps - 1 + shift < g.source_extents[-1]
    is_on_line = extent % tile.rows == 0 and first_tap_is_seen and last_tap_is_seen
    fits = (tile.rows + line.n_taps + 1) * tile.vectors <= 32
    return line if is_on_line and fits and line.stride < line.n_taps else Line()


@bounded(MAX_CHOICES, lambda key, choices: len(choices))
def depthwise_choices(
    g: Geometry | None, rows: int, channels: int, length: int, dtype: str, target: Target
) -> tuple[Choice, ...]:
    """The tiles of a depthwise kernel: sums of `length` products for each channel, `rows` of them.

    Rows are the pixels of all images, of which `g` covers one, or the taps of a weight gradient, without `g`.
    """
    full_lanes = target.lanes(dtype)
    row_bytes = g.source_strides[-1] * g.scale[-1] * ITEM_SIZE[dtype] if g is not None and g.taps else 1

    def cycles(tile: Tile, share: float) -> float:
        if g is not None and line_of(g, tile, target) != Line():
            share *= LINE_GAIN * (CONFLICT if row_bytes % L1_WAY_BYTES == 0 else 1.0)
        slots = -(-rows // tile.rows) * tile.rows * -(-channels // tile.columns) * tile.columns
        return slots / full_lanes / share * length

    shapes = tiles_of(target, dtype, WIDE_DEPTHWISE_SHAPES, NARROW_DEPTHWISE_SHAPES)
    return tuple(Choice(tile, cycles(tile, share)) for tile, share in shapes)


@bounded(MAX_CHOICES, lambda key, choices: len(choices))
def strip_choices(g: Geometry, batch: int, channels: int, dtype: str, target: Target) -> tuple[Choice, ...]:
    """The strips of a depthwise kernel, whose tiles are as many outputs beside each other and one vector of channels;
    none where sums and weights would not stay in registers, or the windows are not of two axes or dilated.
    """
    if not _can_walk(g):
        return ()
    lanes, found = target.lanes(dtype), []
    n_sets = L1_WAY_BYTES // math.gcd(L1_WAY_BYTES, g.source_strides[-1] * ITEM_SIZE[dtype])
    for columns, share in STRIP_SHAPES.items():
        strip = Strip.of(g, columns)
        if g.row_extents[1] % columns == 0 and strip.n_registers <= 32:
            n_lines = len(strip.new_lines) * strip.n_positions  # of L1, that a row of outputs reads
            slots = batch * g.n_rows * -(-channels // lanes)
            found.append(Choice(Tile(columns, 1, lanes), slots * g.n_taps / share / min(1, L1_WAYS * n_sets / n_lines)))
    return tuple(found)


@bounded(MAX_CHOICES, lambda key, choices: len(choices))
def ring_choices(g: Geometry, batch: int, channels: int, dtype: str, target: Target) -> tuple[Choice, ...]:
    """The rings of a depthwise kernel, whose tiles are as many outputs beside each other and as many vectors of
    channels as are in a panel; none where the windows are not of two axes or dilated.
    """
    if not _can_walk(g):
        return ()
    lanes, found = target.lanes(dtype), []
    whole = channels // lanes if channels <= WHOLE_VECTORS * lanes else 1
    counts = [n for n in (whole, *RING_VECTORS) if n > 1 and channels % (n * lanes) == 0] + [1]
    for columns, share in RING_SHAPES.items():
        tiles = (Tile(columns, n, lanes) for n in counts)
        tile = next((tile for tile in tiles if ring_of(g, tile, dtype).fits), None)
        if g.row_extents[1] % columns == 0 and tile is not None:
            slots = batch * g.n_rows * -(-channels // lanes)
            found.append(Choice(tile, slots * g.n_taps / share))
    return tuple(found)


def ring_of(g: Geometry, tile: Tile, dtype: str) -> Ring:
    """The ring of a tile."""
    return Ring.of(g, tile.rows, tile.columns * ITEM_SIZE[dtype])


def _can_walk(g: Geometry) -> bool:
    """Whether windows are of two axes, and not dilated."""
    return len(g.taps) == 2 and set(g.step) | set(g.divide) == {1}


def table_cover(g: Geometry, batch: int, n_rows: int, stack: int | None = None) -> tuple[int, int]:
    """How many images the offset tables cover, and how often they are walked; `g` covers one image."""
    if stack is not None:
        return batch, stack
    images = images_per_table(batch, g.n_rows, n_rows)
    return images, batch // max(1, images)


def tile_counts(g: Geometry, batch: int, n_rows: int, stack: int | None = None) -> tuple[int, int, float]:
    """Tiles, reduction steps summed over tiles, and segments for the whole batch or stack of batches.

    Beyond MAX_COUNTED_ROWS every tile is taken to visit every tap: the border no longer matters, and a question about
    extents that no memory holds (`symc inspect`) must not allocate tables of their size.
    """
    images, repeats = table_cover(g, batch, n_rows, stack)
    whole = g.of_images(images)
    if whole.n_rows > MAX_COUNTED_ROWS:
        n_tiles = -(-whole.n_rows // n_rows)
        visited = n_tiles * g.n_taps
    else:
        rows, visited = row_order(whole, n_rows)
        n_tiles = len(rows)
    per_segment = g.taps[-1] if g.is_merged else 1
    return n_tiles * repeats, visited * g.channels * repeats, visited / per_segment * repeats
