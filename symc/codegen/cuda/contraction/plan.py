"""Which contractions are computed in tiles, and in which ones; all others are loop nests."""

from __future__ import annotations

from dataclasses import dataclass, replace

from symc.codegen.contraction.epilogue import epilogue_of, even_stride
from symc.codegen.contraction.geometry import Geometry, window_geometry
from symc.codegen.contraction.panels import panels_of
from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.contraction.tables import LONGEST_SUM
from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.expr import Axis
from symc.loopir.kernel import Buffer, Contraction, buffer_of

from .tile import LARGE, TILES, Tile

DTYPE = "float32"
FILLED_BLOCKS = 132  # as many tiles as an H200 has processors; where there are fewer, smaller ones keep more busy
LEAST_DEPTH = 8  # products of a sum: below, a tile would wait for memory alone
LEAST_ROWS = 16  # of a matrix, and columns: below, most of a tile would be empty
CLOCK_FMA, CLOCK_TF32 = 128, 1024  # multiplications and additions of a processor in a cycle, of an H100


@dataclass(frozen=True, kw_only=True)
class TilePlan(ContractionPlan):
    """Tiles of a matrix product, each by one block.

    is_long   sums are added up in parts, whose totals take twice the registers: in small tiles alone
    """

    tile: Tile
    is_long: bool


@dataclass(frozen=True)
class Problem:
    """A contraction as matrix products: `n_sets` of (n_rows, depth) by (depth, n_columns)."""

    n_sets: int
    n_rows: int
    n_columns: int
    depth: int


def problem_of(c: Contraction) -> Problem:
    """Its matrices; a set is a group of channels or a member of a stack."""
    inner, outer = c.in_channels // c.groups, c.out_channels // c.groups
    n_sets = c.groups * (c.stack or 1)
    pixels = size_of(c.window.out_extents)
    if c.kind == "weight_gradient":
        return Problem(n_sets, outer, c.window.n_taps * inner, c.batch * pixels)
    if c.kind == "data_gradient":
        return Problem(n_sets, c.batch * size_of(c.window.in_extents), inner, c.window.n_taps * outer)
    return Problem(n_sets, c.batch * pixels, outer, c.window.n_taps * inner)


def plan_contraction(c: Contraction, is_tf32: bool = False) -> TilePlan | None:
    """How tiles compute it, by tensor cores where operands may be rounded to tf32; None where they cannot, or where too
    little of them would be filled."""
    p = problem_of(c)
    if not _is_tiled(c, p):
        return None
    is_long = p.depth > LONGEST_SUM
    sizes = [t for t in TILES if not (is_long and t is LARGE)]
    tile = next((t for t in sizes if p.n_sets * _tiles(p, t) >= FILLED_BLOCKS), sizes[-1])
    tile = replace(tile, is_tf32=is_tf32)
    n_tiles = p.n_sets * _tiles(p, tile)
    n_products = n_tiles * tile.rows * tile.columns * p.depth
    by = "tensor cores" if is_tf32 else "FMA in float32"
    packing = None if c.kind == "weight_gradient" else panels_of(c, DTYPE, tile.columns)
    return TilePlan(
        algorithm="tiles",
        cycles=n_products / (CLOCK_TF32 if is_tf32 else CLOCK_FMA) / min(n_tiles, FILLED_BLOCKS),
        why=f"{n_tiles} tiles of {tile}, sums of {p.depth} products by {by}",
        packing=packing,
        tile=tile,
        is_long=is_long,
    )


def _tiles(p: Problem, tile: Tile) -> int:
    return -(-p.n_rows // tile.rows) * -(-p.n_columns // tile.columns)


def _is_tiled(c: Contraction, p: Problem) -> bool:
    if p.depth < LEAST_DEPTH or min(p.n_rows, p.n_columns) < LEAST_ROWS:
        return False
    streamed = (c.lhs, c.rhs) if c.kind == "weight_gradient" else (c.lhs,)
    if any(buffer_of(c, name).dtype != DTYPE for name in c.operands) or c.is_depthwise:
        return False
    try:
        epilogue_of(c)
        for name in streamed:
            pixel_stride(c, first_of_stack(c, name)) if name == c.rhs else require_channels_last(c, name)
    except CodegenError:
        return False
    return True


def require_channels_last(c: Contraction, name: str) -> None:
    """Raises CodegenError where neighbouring channels are no neighbours in memory."""
    b = first_of_stack(c, name)
    if b.shape[1] > 1 and b.strides[1] != 1:
        raise CodegenError(f"{c.kind} contraction: operand {name!r} has channel stride {b.strides[1]}\n{c.text()}")


def pixel_stride(c: Contraction, b: Buffer) -> int:
    """The distance of two pixels; raises CodegenError unless those of an image are evenly spaced."""
    require_channels_last(c, b.name)
    axes = [Axis(f"q{d}", n) for d, n in enumerate(b.shape[2:])]
    try:
        return even_stride(axes, dict(zip(axes, b.strides[2:])))
    except ValueError as error:
        raise CodegenError(f"{c.kind} contraction: operand {b.name!r}: {error}\n{c.text()}") from error


def first_of_stack(c: Contraction, name: str) -> Buffer:
    """An operand without the axis of a stack."""
    b = buffer_of(c, name)
    return b if c.stack is None else Buffer(b.name, b.shape[1:], b.dtype, b.strides[1:], b.offset)


def geometry_of(c: Contraction) -> Geometry:
    """The windows of one image over the left operand."""
    channels = (c.out_channels if c.kind == "data_gradient" else c.in_channels) // c.groups
    return window_geometry(c, first_of_stack(c, c.lhs), channels, merge=False)
