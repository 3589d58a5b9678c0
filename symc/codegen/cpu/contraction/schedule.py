"""Decisions for contractions: which kernel, register tile, blocking and chunks, and why."""

from __future__ import annotations

from collections.abc import Sequence

from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall, Ref
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.expr import Axis
from symc.loopir.kernel import Buffer, Contraction, Store, buffer_of
from symc.loopir.packing import Packing, packing_of
from symc.loopir.winograd import N_TAPS, TRANSFORMS, WinogradPacking

from . import depthwise, forward, weight_gradient, winograd
from .blocking import WEIGHTS_IN_L2_BYTES, Blocking, choose_blocking, count_chunks
from .epilogue import Epilogue, epilogue_of, even_stride
from .micro import Tile
from .shapes import (
    Choice,
    choose_depthwise_tile,
    choose_gradient_tile,
    choose_tile,
    choose_winograd_tile,
    tiles_beside,
    winograd_shapes,
)
from .tables import Geometry, images_per_table, source_offsets, tile_tables, window_geometry

DTYPES = ("float32", "float64")

WINOGRAD_OUTPUTS = 2  # tiles of 4 x 4 took another 9 % off ResNet-18, but round ten times as much as direct sums
PART_BYTES, MAX_PARTS = 4 << 20, 16  # Winograd's transformed inputs that are in memory at one time
WINOGRAD_GAIN = 0.9  # worth it when its estimate is that much of the direct kernel's
GRADIENT_TILES_FROM_MEMORY = 16  # tiles that share one pass over pixels larger than L2


def schedule_contraction(c: Contraction, target: Target) -> list[KernelCall]:
    """The kernel calls that compute `c`, in order; for forward and data gradient `c.rhs` names the packed weight.

    Raises CodegenError when an operand is not channels-last or a store cannot be fused (`can_store`).
    """
    source = _source(c, c.lhs)
    if c.kind == "weight_gradient":
        other = _source(c, c.rhs)
        return [(_depthwise_gradient if is_depthwise(c) else _weight_gradient)(c, source, other, target)]
    if isinstance(c.packing, WinogradPacking):
        return _winograd(c, c.packing, source, target)
    return [(_depthwise if is_depthwise(c) else _matrix)(c, source, target)]


def packing(c: Contraction, target: Target, is_reused: bool = False) -> Packing | WinogradPacking:
    """The layout that `schedule_contraction` expects of the weight `c.rhs` of a forward or data gradient.

    `is_reused`: a packed weight serves many runs, so that transforming it costs nothing.
    """
    source = _source(c, c.lhs)
    if is_depthwise(c):
        return packing_of(c, source.dtype, _depthwise_tile(c, source, target).columns)
    direct = _tile(c, source, target)
    if is_reused and is_winograd(c) and c.in_channels % target.lanes(source.dtype) == 0:
        packed, cycles = winograd_packing(c, target)
        if cycles < WINOGRAD_GAIN * direct.cycles:
            return packed
    return packing_of(c, source.dtype, direct.tile.columns)


def is_depthwise(c: Contraction) -> bool:
    """Whether every channel is convolved alone (one channel of one group is a matrix product)."""
    return c.groups == c.in_channels == c.out_channels and c.groups > 1


def can_store(c: Contraction) -> bool:
    """Whether the stores of `c` can run on the finished sums; `why_not_store` gives the reason."""
    return why_not_store(c) is None


def why_not_store(c: Contraction) -> str | None:
    """Why the stores of `c` cannot run on the finished sums, or None."""
    try:
        _epilogue(c)
    except CodegenError as error:
        return str(error)
    return None


# forward and data gradient


def _matrix(c: Contraction, source: Buffer, target: Target) -> KernelCall:
    item = ITEM_SIZE[source.dtype]
    tile, g = _tile(c, source, target).tile, _geometry(c, source)
    packed = packing_of(c, source.dtype, tile.columns)
    images, n_repeats = c.batch, c.stack
    if n_repeats is None:
        images = images_per_table(c.batch, g.n_rows, tile.rows)
        n_repeats = c.batch // max(1, images)
    problem = forward.Problem(
        dtype=source.dtype,
        lhs=_ref(source),
        weight=_ref(buffer_of(c, c.rhs)),
        tables=tile_tables(g.of_images(images), tile.rows),
        n_repeats=n_repeats,
        rows_per_table=images * g.n_rows,
        lhs_repeat_stride=images * g.image_stride if c.stack is None else buffer_of(c, c.lhs).strides[0],
        lhs_group_stride=g.channels,
        is_stacked=c.stack is not None,
        groups=c.groups,
        columns=packed.columns,
        depth=packed.channels * g.n_taps,
        epilogue=_epilogue(c),
    )
    n_tiles = len(problem.tables.tiles) * problem.n_repeats
    n_panels = c.groups * packed.n_panels
    panel_bytes = problem.depth * tile.columns * item
    source_bytes = n_repeats * images * size_of(g.source_extents) * g.channels * c.groups * item
    wanted = count_chunks(c.work_flops, size_of(packed.shape) * item + source_bytes)
    blocking = choose_blocking(n_tiles, n_panels, panel_bytes, source_bytes, wanted)
    steps = problem.tables.steps * problem.n_repeats / max(1, n_tiles * problem.depth)
    skipped = f" ({1 - steps:.0%} of the taps are padding and skipped)" if steps < 0.995 else ""
    reason = (
        f"{tile} tile, {n_tiles} row tiles x {n_panels} panels{skipped}; unit = {blocking.block_tiles} row tiles "
        f"x {blocking.group_panels} panels ({blocking.group_panels * panel_bytes // 1024} KB of weights stay in "
        f"cache), {blocking.n_chunks} chunks"
    )
    tiles = tiles_beside(tile, target, source.dtype)
    return forward.emit(problem, tile, tiles, blocking, _has_masks(target), reason)


def _depthwise(c: Contraction, source: Buffer, target: Target) -> KernelCall:
    tile, g = _depthwise_tile(c, source, target), _geometry(c, source)
    images = images_per_table(c.batch, g.n_rows, tile.rows)
    problem = depthwise.Problem(
        dtype=source.dtype,
        x=_ref(source),
        factor=_ref(buffer_of(c, c.rhs)),
        # The packed weight has one vector group for each tap, so that is the length of a segment.
        tables=tile_tables(g.of_images(images).with_channels(tile.columns), tile.rows),
        channels=c.groups,
        panel_stride=g.n_taps * tile.columns,
        epilogue=_epilogue(c),
        n_repeats=c.batch // max(1, images),
        rows_per_table=images * g.n_rows,
        x_repeat_stride=images * g.image_stride,
    )
    n_tiles = len(problem.tables.tiles) * problem.n_repeats
    return depthwise.emit(problem, tile, *_depthwise_plan(c, tile, n_tiles), _has_masks(target))


def _depthwise_gradient(c: Contraction, x: Buffer, dy: Buffer, target: Target) -> KernelCall:
    g = _geometry(c, x)
    tile = choose_depthwise_tile(c.window.n_taps, 1, c.groups, x.dtype, target)
    images = images_per_table(c.batch, g.n_rows, 1)
    tables = depthwise.gradient_tables(g.of_images(images), dy.strides[0], _pixel_stride(c, dy), tile.rows)
    problem = depthwise.Problem(
        dtype=x.dtype,
        x=_ref(x),
        factor=_ref(dy),
        tables=tables,
        channels=c.groups,
        panel_stride=tile.columns,
        epilogue=_epilogue(c),
        n_sums=c.batch // max(1, images),
        x_sum_stride=images * x.strides[0],
        factor_sum_stride=images * dy.strides[0],
    )
    return depthwise.emit(problem, tile, *_depthwise_plan(c, tile, len(tables.tiles)), _has_masks(target))


def _depthwise_plan(c: Contraction, tile: Tile, n_tiles: int) -> tuple[Blocking, str]:
    n_panels = -(-c.groups // tile.columns)
    # Depthwise work is bound by loads: two vector loads a multiplication.
    wanted = min(count_chunks(2 * c.work_flops, 0), max(1, n_tiles * n_panels))
    block_tiles = max(1, n_tiles // wanted)
    reason = (
        f"depthwise, {tile} tile, {n_tiles} row tiles x {n_panels} panels; unit = {block_tiles} row tiles x "
        f"1 panel, {wanted} chunks"
    )
    return Blocking(block_tiles, 1, wanted), reason


# Winograd


def is_winograd(c: Contraction) -> bool:
    """Whether Winograd's algorithm can compute `c`."""
    w = c.window
    has_work = c.batch * c.in_channels * c.out_channels * size_of(w.out_extents) > 0
    return (
        c.kind == "forward"
        and c.groups == 1
        and c.stack is None
        and has_work
        and w.kernel == (N_TAPS, N_TAPS)
        and w.stride == w.dilate == (1, 1)
    )


def winograd_packing(c: Contraction, target: Target) -> tuple[WinogradPacking, float]:
    """The transformed weight, and the cycles to expect; input channels must fill whole vectors."""
    dtype = buffer_of(c, c.lhs).dtype
    n_tiles = c.batch * size_of([-(-n // WINOGRAD_OUTPUTS) for n in c.window.out_extents])
    transforms = TRANSFORMS[WINOGRAD_OUTPUTS]
    choice = choose_winograd_tile(transforms, n_tiles, c.in_channels, c.out_channels, dtype, target)
    tile = choice.tile
    n_groups = -(-n_tiles // tile.rows)
    n_bytes = n_groups * transforms.n_frequencies * tile.rows * c.in_channels * ITEM_SIZE[dtype]
    n_parts = min(MAX_PARTS, -(-n_bytes // PART_BYTES))
    packed = WinogradPacking(
        WINOGRAD_OUTPUTS,
        dtype,
        c.in_channels,
        c.out_channels,
        tile.vectors,
        tile.lanes,
        tile.rows,
        -(-n_groups // n_parts),
    )
    return packed, choice.cycles


def _winograd(c: Contraction, packed: WinogradPacking, source: Buffer, target: Target) -> list[KernelCall]:
    item, w, m = ITEM_SIZE[source.dtype], c.window, packed.outputs
    transforms = packed.transforms
    tiles = [tile for tile, _ in winograd_shapes(target, source.dtype)]
    tile = Tile(packed.rows, packed.vectors, packed.lanes)
    n_tiles = tuple(-(-n // m) for n in w.out_extents)
    inputs = Geometry(
        1,
        n_tiles,
        w.in_extents,
        source.strides[0],
        source.strides[2:],
        scale=(m, m),
        taps=(transforms.extent,) * 2,
        step=(1, 1),
        shift=tuple(-p for p in w.pad),
    )
    (transformed,) = c.written
    problem = winograd.Problem(
        dtype=source.dtype,
        transforms=transforms,
        source=_ref(source),
        weight=_ref(buffer_of(c, c.rhs)),
        transformed=_ref(buffer_of(c, transformed)),
        offsets=source_offsets(inputs),
        pixels=winograd.output_pixels(w.out_extents, m),
        source_repeat_stride=source.strides[0],
        pixels_per_table=size_of(w.out_extents),
        channels=c.in_channels,
        columns=c.out_channels,
        epilogue=_epilogue(c),
    )
    n_all, part_tiles = c.batch * size_of(n_tiles), packed.part_groups * tile.rows
    parts = [winograd.Part(first, min(part_tiles, n_all - first)) for first in range(0, n_all, part_tiles)]
    panel_bytes = transforms.n_frequencies * c.in_channels * tile.columns * item
    transformed_bytes = size_of(packed.scratch) * item
    flops = 2 * part_tiles * transforms.n_frequencies * c.in_channels * c.out_channels
    blocking = choose_blocking(
        packed.part_groups,
        packed.n_panels,
        panel_bytes,
        transformed_bytes,
        count_chunks(flops, packed.n_panels * panel_bytes + transformed_bytes),
    )
    name = f"Winograd F({m}x{m}, 3x3), {n_all} tiles in groups of {tile.rows}"
    reason = (
        f"{name}, {tile} tile, {packed.n_panels} panels; unit = {blocking.block_tiles} groups x "
        f"{blocking.group_panels} panels, {blocking.n_chunks} chunks"
    )
    calls = []
    for k, part in enumerate(parts):
        of = f"; part {k + 1} of {len(parts)}" if len(parts) > 1 else ""
        n_chunks = min(part.n_tiles, count_chunks(0, 2 * transformed_bytes))
        calls += [
            winograd.emit_input(problem, part, tile, n_chunks, f"{name}: input transform, {n_chunks} chunks{of}"),
            winograd.emit(problem, part, tile, tiles, blocking, _has_masks(target), reason + of),
        ]
    return calls


# weight gradient


def _weight_gradient(c: Contraction, x: Buffer, dy: Buffer, target: Target) -> KernelCall:
    g = _geometry(c, x)
    rows = c.out_channels // c.groups
    n_groups = c.groups if c.stack is None else c.stack
    tile, is_merged = choose_gradient_tile(g, rows, x.dtype, target)
    images = images_per_table(c.batch, g.n_rows, 1)
    width = g.taps[-1] if is_merged else 1
    problem = weight_gradient.Problem(
        dtype=x.dtype,
        x=_ref(x),
        dy=_ref(dy),
        tables=weight_gradient.pixel_tables(g.of_images(images), dy.strides[0], _pixel_stride(c, dy), is_merged),
        n_repeats=c.batch // max(1, images),
        x_repeat_stride=images * x.strides[0],
        dy_repeat_stride=images * dy.strides[0],
        x_group_stride=g.channels if c.stack is None else buffer_of(c, c.lhs).strides[0],
        dy_group_stride=rows if c.stack is None else buffer_of(c, c.rhs).strides[0],
        groups=n_groups,
        rows=rows,
        channels=g.channels,
        n_runs=g.n_taps // width,
        run_columns=width * g.channels,
        epilogue=_epilogue(c),
    )
    n_panels = n_groups * problem.n_runs * -(-problem.run_columns // tile.columns)
    n_row_tiles = -(-rows // tile.rows)
    operand_bytes = (size_of(x.shape) + size_of(dy.shape)) * ITEM_SIZE[x.dtype]
    block_tiles, block_panels, n_chunks = _gradient_units(c, n_row_tiles, n_panels, operand_bytes)
    reason = (
        f"{tile} tile, {n_row_tiles} tiles of output channels x {n_panels} panels of (tap, channel), pixels in "
        f"blocks of {weight_gradient.BLOCK_PIXELS}; unit = {block_tiles} tiles x {block_panels} panels, "
        f"{n_chunks} chunks"
    )
    return weight_gradient.emit(
        problem, tile, block_tiles * tile.rows, block_panels, n_chunks, _has_masks(target), reason
    )


def _gradient_units(c: Contraction, n_row_tiles: int, n_panels: int, operand_bytes: int) -> tuple[int, int, int]:
    """(row tiles, panels, chunks): every unit streams all pixels, so from memory it must have tiles that share them."""
    wanted = count_chunks(c.work_flops, 0)
    least = GRADIENT_TILES_FROM_MEMORY if operand_bytes > WEIGHTS_IN_L2_BYTES else 1
    tiles = min(weight_gradient.STACK_TILES, max(least, n_row_tiles * n_panels // wanted))
    block_tiles = min(n_row_tiles, tiles)
    block_panels = max(1, min(n_panels, tiles // block_tiles))
    n_units = -(-n_row_tiles // block_tiles) * -(-n_panels // block_panels)
    return block_tiles, block_panels, max(1, min(wanted, n_units))


def gradient_buffer(c: Contraction, name: str) -> Buffer:
    """The buffer that a weight gradient can store into: logical (O, C / groups, *kernel), channels fastest in memory.

    Kernels of one tap need no other: (O, C) is stored as it is.
    """
    per_group = c.in_channels // c.groups
    shape = (c.out_channels, per_group, *c.window.kernel)
    step = c.out_channels if is_depthwise(c) else per_group
    strides = [0] * len(shape)
    for d in reversed(range(2, len(shape))):
        strides[d], step = step, step * shape[d]
    strides[0], strides[1] = (1, 1) if is_depthwise(c) else (step, 1)
    return Buffer(name, shape, buffer_of(c, c.lhs).dtype, tuple(strides))


# shared


def _source(c: Contraction, name: str) -> Buffer:
    """A streamed operand, the first of a stack."""
    buffer = buffer_of(c, name)
    if c.stack is not None:
        buffer = Buffer(name, buffer.shape[1:], buffer.dtype, buffer.strides[1:], buffer.offset)
    if buffer.dtype not in DTYPES:
        raise CodegenError(
            f"{c.kind} contraction: operand {name!r} is {buffer.dtype}; expected one of {', '.join(DTYPES)}\n{c.text()}"
        )
    if buffer.shape[1] > 1 and buffer.strides[1] != 1:
        raise CodegenError(
            f"{c.kind} contraction: operand {name!r} has channel stride {buffer.strides[1]}; "
            f"expected channels-last (stride 1)\n{c.text()}"
        )
    return buffer


def _ref(buffer: Buffer) -> Ref:
    return Ref(buffer.name, buffer.offset * ITEM_SIZE[buffer.dtype])


def _geometry(c: Contraction, source: Buffer) -> Geometry:
    channels = (c.out_channels if c.kind == "data_gradient" else c.in_channels) // c.groups
    return window_geometry(c, source, channels, merge=c.groups == 1)


def _pixel_stride(c: Contraction, dy: Buffer) -> int:
    """The distance of two pixels of dy; raises CodegenError unless the pixels of an image are evenly spaced."""
    axes = [Axis(f"q{d}", n) for d, n in enumerate(c.window.out_extents)]
    try:
        return even_stride(axes, dict(zip(axes, dy.strides[2:])))
    except ValueError as error:
        raise CodegenError(f"{c.kind} contraction: operand {dy.name!r}: {error}\n{c.text()}") from error


def _tile(c: Contraction, source: Buffer, target: Target) -> Choice:
    columns = (c.in_channels if c.kind == "data_gradient" else c.out_channels) // c.groups
    return choose_tile(_geometry(c, source), c.batch, c.groups, columns, source.dtype, target)


def _depthwise_tile(c: Contraction, source: Buffer, target: Target) -> Tile:
    return choose_depthwise_tile(_geometry(c, source).n_rows, c.batch, c.groups, source.dtype, target)


def _has_masks(target: Target) -> bool:
    """Whether part of a vector is loaded and stored as fast as a whole one (AVX-512's mask registers)."""
    return target.vector_bits == 512


def _epilogue(c: Contraction) -> Epilogue:
    flatten = _pixels_and_channels
    if c.kind == "weight_gradient":
        flatten = _taps_and_channels if is_depthwise(c) else _outputs_and_taps
    n_stacks = 0 if c.stack is None else 1

    def rows_and_columns(store: Store, strides: dict[Axis, int]) -> tuple[int, int]:
        rows, columns = flatten(*store.axes[n_stacks:])
        return even_stride([*store.axes[:n_stacks], *rows], strides), even_stride(columns, strides, single=1)

    return epilogue_of(c, rows_and_columns)


# Rows and columns of the stores.  A single column counts as contiguous, so that it may be loaded under a mask.


def _pixels_and_channels(image: Axis, channel: Axis, *positions: Axis) -> tuple[Sequence[Axis], Sequence[Axis]]:
    return (image, *positions), (channel,)


def _outputs_and_taps(output: Axis, channel: Axis, *taps: Axis) -> tuple[Sequence[Axis], Sequence[Axis]]:
    return (output,), (*taps, channel)


def _taps_and_channels(output: Axis, _: Axis, *taps: Axis) -> tuple[Sequence[Axis], Sequence[Axis]]:
    return taps, (output,)
