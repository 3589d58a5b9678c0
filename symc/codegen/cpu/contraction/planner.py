"""Decides how a contraction is computed: algorithm, register tile, units of work, chunks, and why, as one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from symc.codegen.contraction.geometry import Geometry, row_distance, window_geometry
from symc.codegen.contraction.panels import panels_of
from symc.codegen.contraction.plan import problem_text
from symc.codegen.contraction.tables import LONGEST_SUM, Line
from symc.codegen.contraction.winograd import (
    MOST_CHANNELS,
    OF_INTEGERS,
    TRANSFORMS,
    Filtering,
    Transforms,
    WinogradPanels,
    is_winograd,
    work_flops,
)
from symc.codegen.cpu.target import Target
from symc.codegen.kernel import even
from symc.codegen.tuned import NOTHING, Choices
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.kernel import Buffer, Contraction, buffer_of

from .blocking import (
    GRADIENT_PIXELS,
    STACKED_ROWS,
    WITH_16_REGISTERS,
    WITH_32_REGISTERS,
    Blocking,
    choose_blocking,
    choose_gradient_blocking,
    count_chunks,
    gradient_block_pixels,
)
from .plan import CpuPlan, DepthwisePlan, GradientPlan, MatrixPlan, RingPlan, StripPlan, WinogradPlan
from .products import KINDS, PER_WORD, products_of
from .rows import RowsPlan
from .shapes import (
    Choice,
    cheapest,
    depthwise_choices,
    gradient_choices,
    line_of,
    matrix_choices,
    n_shorter,
    ring_choices,
    ring_of,
    strip_choices,
    table_cover,
    tile_counts,
    tiles_beside,
    winograd_choices,
    winograd_tiles,
)

DTYPES = ("float32", "float64")

PART_BYTES, MAX_PARTS = 4 << 20, 16  # Winograd's transformed inputs that are in memory at one time
# Between two frequencies of these, so that 36 rows stored together fall into different sets of L1: of 14x14x128, 2 KB
# apart, transformed in 17.5 us instead of 28 (Zen 3). Not tried with 32 registers.
FREQUENCY_GAP_BYTES = 64
# A plain product whose result leaves L2: its stores would wait. 1120 x 200 by 800 8 % faster, 2048 x 512 by 512 2 %.
ASKED_BYTES = 1 << 20  # of a result, or of a depthwise layer's source
# Or one that L1 does not hold, and that so many bytes of weights push out of an L2 of 512 KB, as CPUs with 16 registers
# have, in every step of a loop: a GRU of 16 rows 13 % faster, an LSTM 2 % (Zen 3).
ASKED_BESIDE_WEIGHTS, FILLING_BYTES = 32 << 10, 512 << 10
# Tiles that ask, for the next panel of weights that fill L2: with more of them a panel takes long, and is read once.
MOST_ASKING_TILES = 64
BAND_ROWS = 14  # at least, of a depthwise band
WORTHWHILE = 0.9  # another algorithm is, when its estimate is that much of the direct kernel's


@dataclass(frozen=True)
class Algorithm:
    """One way to compute a contraction: the tiles it can use, and the whole plan that follows from one.

    must_be_measured   whether no estimate can tell that it pays: it is a candidate of `symc tune` alone
    """

    choices: tuple[Choice, ...]
    plan: Callable[[Choice], CpuPlan]
    must_be_measured: bool = False

    @property
    def best(self) -> Choice:
        return cheapest(self.choices)


def plan_contraction(
    c: Contraction,
    target: Target,
    is_reused: bool = False,
    has_winograd: bool = True,
    tuned: Choices = NOTHING,
) -> CpuPlan | RowsPlan:
    """The plan that was measured to be the fastest, else the one to expect most of.

    `is_reused`: an arranged weight serves many runs, so that arranging it costs nothing.

    Raises CodegenError when the left operand is not channels-last or has a dtype that no kernel computes.
    """
    expected = _expected(c, target, is_reused, has_winograd)
    wanted = tuned.get(problem_text(c, is_reused), expected.name)
    if wanted == expected.name:
        return expected
    for plan in _every(c, target, is_reused, has_winograd):
        if plan.name == wanted:
            return replace(plan, why=f"{plan.why}; as measured by symc tune")
    return replace(expected, why=f"{expected.why}; the tuned plan is ignored: {wanted!r} is none of the candidates")


def _expected(c: Contraction, target: Target, is_reused: bool, has_winograd: bool) -> CpuPlan | RowsPlan:
    """The plan with the lowest estimate; another algorithm's must be clearly below the direct one's."""
    direct, *others = _algorithms(c, target, is_reused, has_winograd)
    others = [algorithm for algorithm in others if not algorithm.must_be_measured]
    along_rows = None if is_reused or source_of(c, c.lhs).dtype not in DTYPES else RowsPlan.of(c)
    if along_rows is not None:
        return along_rows
    other = min(others, key=lambda algorithm: algorithm.best.cycles, default=direct)
    best = other if other.best.cycles < WORTHWHILE * direct.best.cycles else direct
    return replace(best.plan(best.best), is_reused=is_reused)


def candidates(c: Contraction, target: Target, is_reused: bool = False, has_winograd: bool = True) -> list[CpuPlan]:
    """Every plan that computes `c`, algorithm by algorithm."""
    return list(_every(c, target, is_reused, has_winograd))


def _every(c: Contraction, target: Target, is_reused: bool, has_winograd: bool) -> Iterator[CpuPlan]:
    for algorithm in _algorithms(c, target, is_reused, has_winograd):
        for choice in algorithm.choices:
            yield replace(algorithm.plan(choice), is_reused=is_reused)


def source_of(c: Contraction, name: str) -> Buffer:
    """A streamed operand, the first of a stack; raises CodegenError where no kernel can read it."""
    buffer = _first_of_stack(c, name)
    computed = (*DTYPES, *(dtype for dtype in PER_WORD if takes_words(c, dtype)))
    if buffer.dtype not in computed:
        raise CodegenError(
            f"{c.kind} contraction: operand {name!r} is {buffer.dtype}; expected one of {', '.join(computed)}\n"
            f"{c.text()}"
        )
    if buffer.shape[1] > 1 and buffer.strides[1] != 1:
        raise CodegenError(
            f"{c.kind} contraction: operand {name!r} has channel stride {buffer.strides[1]}; "
            f"expected channels-last (stride 1)\n{c.text()}"
        )
    return buffer


def takes_words(c: Contraction, dtype: str) -> bool:
    """Whether there is a kernel for a dtype that comes in words: a contraction of whole words of channels."""
    channels = c.out_channels if c.kind == "data_gradient" else c.in_channels
    return c.kind in KINDS[dtype] and c.stack is None and (channels // c.groups) % PER_WORD[dtype] == 0


def _first_of_stack(c: Contraction, name: str) -> Buffer:
    buffer = buffer_of(c, name)
    if c.stack is None:
        return buffer
    return Buffer(name, buffer.shape[1:], buffer.dtype, buffer.strides[1:], buffer.offset)


def geometry_of(c: Contraction) -> Geometry:
    """The windows of one image over the left operand."""
    channels = (c.out_channels if c.kind == "data_gradient" else c.in_channels) // c.groups
    return window_geometry(c, _first_of_stack(c, c.lhs), channels, merge=c.groups == 1)


def _algorithms(c: Contraction, target: Target, is_reused: bool, has_winograd: bool) -> list[Algorithm]:
    """The direct algorithm, then those that compute the same in another way."""
    source = source_of(c, c.lhs)
    if c.is_depthwise:
        return [_depthwise(c, source.dtype, target), *_walks(c, source.dtype, target)]
    if c.kind == "weight_gradient":
        return [_weight_gradient(c, source.dtype, target)]
    found = [_matrix(c, source.dtype, target)]
    transforms = _transforms_of(c, source.dtype, target) if has_winograd and is_winograd(c) else ()
    if transforms and Filtering.of(c).channels % target.lanes(source.dtype) == 0:
        found += [_winograd(c, source.dtype, t, target, is_reused) for t in transforms]
    return found


def _transforms_of(c: Contraction, dtype: str, target: Target) -> tuple[Transforms, ...]:
    """Those whose products there are, of int16 as long as their sums are exact. (With 32 registers not measured.)"""
    if dtype in DTYPES:
        return tuple(TRANSFORMS.values())
    is_exact = dtype == "int16" and products_of(dtype, target).has_dot and c.in_channels <= MOST_CHANNELS
    return (OF_INTEGERS,) if is_exact and not target.has_32_registers else ()


def _matrix(c: Contraction, dtype: str, target: Target) -> Algorithm:
    g, item, products = geometry_of(c), ITEM_SIZE[dtype], products_of(dtype, target)
    columns = (c.in_channels if c.kind == "data_gradient" else c.out_channels) // c.groups

    def plan(choice: Choice) -> MatrixPlan:
        tile = choice.tile
        packing = panels_of(c, dtype, tile.columns, products.n_together)
        images, n_repeats = table_cover(g, c.batch, tile.rows, c.stack)
        n_tiles, steps, _ = tile_counts(g, c.batch, tile.rows, c.stack)
        n_panels, depth = c.groups * packing.n_panels, packing.channels * g.n_taps
        panel_bytes = depth * tile.columns * item
        source_bytes = n_repeats * images * size_of(g.source_extents) * g.channels * c.groups * item
        wanted = count_chunks(c.work_flops // products.n_together, size_of(packing.shape) * item + source_bytes)
        result_bytes = c.batch * g.n_rows * c.groups * columns * ITEM_SIZE[products.sums]
        is_step = c.sections > 1  # of a recurrent layer: threads may keep to their rows
        leaves_l2, fills_l2 = result_bytes >= ASKED_BYTES, n_panels * panel_bytes >= FILLING_BYTES
        if not target.has_32_registers and tile.rows > 2:  # fewer wait for weights alone
            leaves_l2 |= result_bytes >= ASKED_BESIDE_WEIGHTS and fills_l2
        may_ask = not target.has_32_registers and tile.rows > 2 and not is_step and c.stack is None
        asks_weights = may_ask and fills_l2 and 1 < n_tiles <= MOST_ASKING_TILES
        # Rows that fill L2, by a single panel: pixels, or weights that are multiplied with few columns.
        is_read_once = may_ask and n_panels == 1 and source_bytes >= FILLING_BYTES
        leaves_l2 |= is_read_once and result_bytes >= ASKED_BESIDE_WEIGHTS
        whole = n_tiles if asks_weights else 1  # tiles that no unit cuts, for they share what is asked for
        n_blocks = -(-n_tiles // whole)
        read_sections = 1 if target.has_32_registers else c.read_sections  # there steps compute gates themselves
        blocking = choose_blocking(n_blocks, n_panels, panel_bytes, source_bytes, wanted, is_step, read_sections)
        blocking = replace(blocking, block_tiles=whole * blocking.block_tiles)
        seen = steps / max(1, n_tiles * depth)
        is_long = depth > LONGEST_SUM and products.sums != "int32"
        missing = n_shorter(images * g.n_rows, tile, target, products, c.sections)
        has_tables = is_long or not depth or missing is None
        distance = None if has_tables else row_distance(g.of_images(images))
        shorter = missing if missing and distance is not None else 0
        beside = tiles_beside(tile, target, products, c.sections)
        skipped = f" ({1 - seen:.0%} of the taps are padding and skipped)" if seen < 0.995 else ""
        return MatrixPlan(
            algorithm="direct sums",
            cycles=choice.cycles,
            packing=packing,
            is_in_place=not target.has_32_registers and packing.lies_in(buffer_of(c, c.rhs)),
            products=products,
            is_long=is_long,
            asks_ahead=is_step or (c.stack is None and g.n_rows == 1 and leaves_l2),
            asks_weights=asks_weights,
            asks_rows=is_read_once and distance == depth,
            row_distance=distance,
            n_shorter=shorter,
            tile=tile,
            tiles=(tile, replace(tile, rows=tile.rows - 1)) if shorter else beside,
            has_avx512=_has_avx512(target),
            blocking=blocking,
            images=images,
            n_repeats=n_repeats,
            why=f"{tile} tile, {n_tiles} row tiles x {n_panels} panels{skipped}; unit = {blocking.block_tiles} row "
            f"tiles x {blocking.group_panels} panels ({blocking.group_panels * panel_bytes // 1024} KB of weights stay "
            f"in cache), {blocking.n_chunks} chunks",
        )

    return Algorithm(matrix_choices(g, c.batch, c.stack, c.groups, columns, products, target, c.sections), plan)


def _winograd(c: Contraction, dtype: str, transforms: Transforms, target: Target, is_reused: bool) -> Algorithm:
    """Winograd's algorithm in tiles of `transforms.outputs` squared; channels must fill whole vectors."""
    m, item, f, products = transforms.outputs, ITEM_SIZE[dtype], Filtering.of(c), products_of(dtype, target)
    n_tiles = c.batch * f.n_tiles(m)

    def plan(choice: Choice) -> WinogradPlan:
        tile = choice.tile
        is_gradient = c.kind == "data_gradient"
        packing = WinogradPanels(m, dtype, f.channels, f.columns, tile.columns, is_gradient, products.n_together)
        n_groups = -(-n_tiles // tile.rows)
        gap = 0 if target.has_32_registers else FREQUENCY_GAP_BYTES // item
        frequency_length = tile.rows * f.channels + gap
        group_bytes = transforms.n_frequencies * frequency_length * item
        n_parts = min(MAX_PARTS, -(-n_groups * group_bytes // PART_BYTES))
        part_groups = -(-n_groups // n_parts)
        part_bytes = part_groups * group_bytes
        panel_bytes = transforms.n_frequencies * f.channels * tile.columns * item
        flops = 2 * part_groups * tile.rows * transforms.n_frequencies * f.channels * f.columns
        wanted = count_chunks(flops // products.n_together, packing.n_panels * panel_bytes + part_bytes)
        asks_weights, stack = not target.has_32_registers, max(1, STACKED_ROWS // tile.rows)
        whole = stack if asks_weights else 1  # groups that no unit cuts, for they share what is asked for
        blocking = choose_blocking(-(-part_groups // whole), packing.n_panels, panel_bytes, part_bytes, wanted)
        blocking = replace(blocking, block_tiles=whole * blocking.block_tiles)
        algorithm, grid = f"Winograd F({m}x{m}, 3x3)", f"{n_tiles} tiles in groups of {tile.rows}"
        return WinogradPlan(
            algorithm=algorithm,
            cycles=choice.cycles,
            packing=packing,
            products=products,
            scratch=(part_groups, transforms.n_frequencies, frequency_length),
            tile=tile,
            tiles=winograd_tiles(target, products),
            has_avx512=_has_avx512(target),
            blocking=blocking,
            images=1,
            n_repeats=c.batch,
            grid=grid,
            part_groups=part_groups,
            input_chunks=count_chunks(0, 2 * part_bytes),
            stacked_groups=stack,
            asks_weights=asks_weights,
            work_flops=sum(work_flops(c, transforms)),
            why=f"{algorithm}, {grid}, {tile} tile, {packing.n_panels} panels; unit = {blocking.block_tiles} groups x "
            f"{blocking.group_panels} panels, {blocking.n_chunks} chunks",
        )

    return Algorithm(winograd_choices(transforms, n_tiles, f.channels, f.columns, products, target, is_reused), plan)


def _weight_gradient(c: Contraction, dtype: str, target: Target) -> Algorithm:
    g = geometry_of(c)
    rows = c.out_channels // c.groups
    n_groups = c.groups if c.stack is None else c.stack
    images, n_repeats = table_cover(g, c.batch, 1)
    operand_bytes = sum(size_of(_first_of_stack(c, name).shape) for name in c.operands) * ITEM_SIZE[dtype]
    limits = WITH_32_REGISTERS if target.has_32_registers else WITH_16_REGISTERS

    def plan(choice: Choice) -> GradientPlan:
        tile, width = choice.tile, g.taps[-1] if choice.is_merged else 1
        n_panels = n_groups * (g.n_taps // width) * -(-width * g.channels // tile.columns)
        n_tiles = -(-rows // tile.rows)
        is_single = n_repeats == 1 and images * g.n_rows <= GRADIENT_PIXELS
        block_pixels = gradient_block_pixels(c.batch * g.n_rows)
        wanted = count_chunks(c.work_flops, 0)
        blocking = choose_gradient_blocking(n_tiles, n_panels, operand_bytes, is_single, wanted, limits)
        return GradientPlan(
            algorithm="weight gradient",
            cycles=choice.cycles,
            tile=tile,
            tiles=(tile,),
            has_avx512=_has_avx512(target),
            blocking=blocking,
            images=images,
            n_repeats=n_repeats,
            is_merged=choice.is_merged,
            last=choice.last or tile,
            block_pixels=block_pixels,
            most_tiles=limits.most,
            why=f"{tile} tile, {n_tiles} tiles of output channels x {n_panels} panels of (tap, channel), pixels in "
            f"blocks of {block_pixels}; unit = {blocking.block_tiles} tiles x {blocking.group_panels} panels, "
            f"{blocking.n_chunks} chunks",
        )

    return Algorithm(gradient_choices(g, c.batch, n_groups, rows, dtype, target), plan)


def _depthwise(c: Contraction, dtype: str, target: Target) -> Algorithm:
    g = geometry_of(c)
    n_pixels = c.batch * g.n_rows
    is_gradient = c.kind == "weight_gradient"
    rows, length = (g.n_taps, n_pixels) if is_gradient else (n_pixels, g.n_taps)

    def plan(choice: Choice) -> DepthwisePlan:
        tile = choice.tile
        line = Line() if is_gradient else line_of(g, tile, target)
        n_panels = -(-c.groups // tile.columns)
        n_tiles = -(-rows // tile.rows) if is_gradient else tile_counts(g, c.batch, tile.rows)[0]
        images, n_repeats = table_cover(g, c.batch, 1 if is_gradient else tile.rows)
        # Depthwise work is bound by loads: two vector loads a multiplication.
        n_chunks = even(min(count_chunks(2 * c.work_flops, 0), max(1, n_tiles * n_panels)))
        blocking = Blocking(max(1, n_tiles // n_chunks), 1, n_chunks)
        return DepthwisePlan(
            algorithm="depthwise sums",
            cycles=choice.cycles,
            packing=None if is_gradient else panels_of(c, dtype, tile.columns),
            tile=tile,
            tiles=(tile,),
            has_avx512=_has_avx512(target),
            blocking=blocking,
            images=images,
            n_repeats=n_repeats,
            line=line,
            why=f"depthwise, {tile} tile, {n_tiles} row tiles x {n_panels} panels; unit = {blocking.block_tiles} row "
            f"tiles x 1 panel, {n_chunks} chunks",
        )

    windows = None if is_gradient else g
    return Algorithm(depthwise_choices(windows, rows, c.groups, length, dtype, target), plan)


def _walks(c: Contraction, dtype: str, target: Target) -> list[Algorithm]:
    """Depthwise windows in strips of columns, walked downwards: in registers, or from a ring of lines."""
    if c.kind == "weight_gradient":
        return []
    walk = _strips(c, dtype, target) if target.has_32_registers else _rings(c, dtype, target)
    return [walk] if walk.choices else []


def _strips(c: Contraction, dtype: str, target: Target) -> Algorithm:
    g = geometry_of(c)

    def plan(choice: Choice) -> StripPlan:
        tile = choice.tile
        n_strips, n_panels = g.row_extents[1] // tile.rows, -(-c.groups // tile.columns)
        n_chunks = even(min(count_chunks(2 * c.work_flops, 0), max(1, c.batch * n_strips * n_panels)))
        return StripPlan(
            algorithm="depthwise strips",
            cycles=choice.cycles,
            packing=panels_of(c, dtype, tile.columns),
            tile=tile,
            tiles=(tile,),
            has_avx512=_has_avx512(target),
            blocking=Blocking(1, 1, n_chunks),
            images=1,
            n_repeats=c.batch,
            why=f"depthwise, {n_strips} strips of {tile.rows} columns x {n_panels} panels, {n_chunks} chunks",
        )

    # Threads that share one image take strips, and so columns, of what others computed the rows of in the layer before:
    # 4 to 17 % of MobileNets on two cores that share no cache, where one core gains 1 %.
    choices = strip_choices(g, c.batch, c.groups, dtype, target)
    return Algorithm(choices, plan, must_be_measured=c.batch == 1)


def _rings(c: Contraction, dtype: str, target: Target) -> Algorithm:
    g = geometry_of(c)
    height, width = g.row_extents[0], g.row_extents[-1]

    def plan(choice: Choice) -> RingPlan:
        tile = choice.tile
        ring = ring_of(g, tile, dtype)
        n_strips, n_panels = -(-width // ring.width), -(-c.groups // tile.columns)
        wanted = count_chunks(2 * c.work_flops, 0)
        # Bands of rows are what a thread has written itself in the layer before; each copies some lines again.
        n_bands = min(-(-wanted // max(1, c.batch * n_strips * n_panels)), max(1, height // BAND_ROWS))
        band_rows = max(1, -(-height // n_bands))
        n_units = c.batch * -(-height // band_rows) * n_strips * n_panels
        n_chunks = even(min(wanted, max(1, n_units)))
        return RingPlan(
            algorithm="depthwise rings",
            cycles=choice.cycles,
            packing=panels_of(c, dtype, tile.columns),
            tile=tile,
            tiles=(tile,),
            has_avx512=_has_avx512(target),
            blocking=Blocking(band_rows, 1, n_chunks),
            images=1,
            n_repeats=c.batch,
            ring=ring,
            asks_ahead=size_of(g.source_extents) * c.groups * ITEM_SIZE[dtype] >= ASKED_BYTES,
            why=f"depthwise, {n_strips} strips of {ring.width} columns x {n_panels} panels, from a ring of "
            f"{ring.n_lines} lines, bands of {band_rows} rows, {n_chunks} chunks",
        )

    return Algorithm(ring_choices(g, c.batch, c.groups, dtype, target), plan)


def _has_avx512(target: Target) -> bool:
    return target.vector_bits == 512
