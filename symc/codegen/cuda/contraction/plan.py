"""Which contractions are computed in tiles, and in which ones; all others are loop nests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from symc.codegen.contraction.epilogue import epilogue_of, even_stride
from symc.codegen.contraction.geometry import Geometry, window_geometry
from symc.codegen.contraction.panels import Panels, panels_of
from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.contraction.tables import LONGEST_SUM
from symc.codegen.cuda.h200 import CLOCK_HZ, L2_BYTES
from symc.core.dtypes import BYTES, ITEM_SIZE
from symc.core.errors import CodegenError
from symc.loopir.expr import Axis
from symc.loopir.kernel import Buffer, Contraction, buffer_of

from .cost import n_tiles, sharing_time, steps_of, tile_times
from .parts import part_bytes
from .problem import Problem, problem_of
from .tile import (
    FEW_ROWS,
    ITEM_BYTES,
    LEAST_ROWS,
    QUAD,
    SECTIONS,
    SIXTEEN_OF_CORES,
    TILES,
    TILES_OF_CORES,
    TILES_OF_FEW_ROWS,
    TILES_OF_GROUPS,
    TILES_OF_SECTIONS,
    TOGETHER,
    Kind,
    Tile,
)

PARTS = range(1, 17)  # blocks that may share a tile
PART_STEPS = 2  # of a part at least: bringing the first products takes as long as a step or two
LONG_SUMS = 16  # of a thread: registers have room for as many totals
KINDS: dict[str, Kind] = {"float16": "float16", "int8": "int8", "uint8": "uint8"}  # of what is stored so
DTYPES = {("float32", "float32"), ("float16", "float16"), *((dtype, "int8") for dtype in BYTES)}  # left and right
SHARED_SUMS = 64  # of a thread of a group of warps
TF32_BITS = 11  # that are significant, the first one not stored
LEAST_DEPTH = 8  # products of a sum: below, a tile would wait for memory alone


@dataclass(frozen=True, kw_only=True)
class TilePlan(ContractionPlan):
    """Tiles of a matrix product, each by one block.

    widths    words of each operand that are copied together: 4, where all lie at multiples of 16 bytes
    is_long   sums are added up in parts, whose totals take twice the registers: in small tiles alone
    n_parts   blocks that share the products of each tile (see `parts`)
    """

    tile: Tile
    widths: tuple[int, int]
    is_long: bool
    n_parts: int = 1


def plan_contraction(
    c: Contraction, float32_by: Kind = "fma", is_reused: bool = False, by_groups: bool = False
) -> TilePlan | None:
    """The cheapest way to compute it in tiles, by tensor cores where operands have 8 or 16 bits or may be rounded.

    None where tiles cannot, or where too little of them would be filled. A weight that is packed for one run alone
    (not `is_reused`) is to have many rows: for a few, that would take longer than to read it again for each.
    by_groups   whether groups of warps may multiply together
    """
    return min(candidates(c, float32_by, is_reused, by_groups), key=lambda plan: plan.cycles, default=None)


def candidates(
    c: Contraction, float32_by: Kind = "fma", is_reused: bool = False, by_groups: bool = False
) -> list[TilePlan]:
    """All tiles, each for itself and shared by several blocks."""
    p = problem_of(c)
    if not _is_tiled(c, p) or (p.n_rows < LEAST_ROWS and not (is_reused or c.kind == "weight_gradient")):
        return []
    kind = KINDS.get(buffer_of(c, c.lhs).dtype, float32_by)
    if c.sections > 1:
        tiles: Sequence[Tile] = TILES_OF_SECTIONS if (kind, c.sections) == ("fma", SECTIONS) else ()
    else:
        tiles, few = (TILES, TILES_OF_FEW_ROWS) if kind == "fma" else (TILES_OF_CORES, (SIXTEEN_OF_CORES,))
        tiles = [replace(t, kind=kind) for t in (*tiles, *(few if p.n_rows <= FEW_ROWS else ()))]
    if by_groups and kind in ("tf32", "float16") and _is_packed_by_words(c):
        tiles = [*(replace(t, kind=kind) for t in TILES_OF_GROUPS), *tiles]  # first: of equal times theirs is taken
    if 1 in widths_of(c):  # so many copies that registers have no room for the places of more
        tiles = [replace(t, depth=t.depth // 2) for t in tiles if _may_halve(t, p)]
    pairs = [(t, n) for t in tiles for n in PARTS if n == 1 or _may_share(p, t, n)]
    return [_plan(c, p, t, n) for t, n in pairs if t.n_sums <= LONG_SUMS or not _is_long(p, t, n)]


def _is_packed_by_words(c: Contraction) -> bool:
    """Whether the right operand is packed, and so many products of a column lie side by side as groups read."""
    return c.kind != "weight_gradient" and c.sections == 1 and widths_of(c)[0] == QUAD


def packing_of(c: Contraction, tile: Tile) -> Panels | None:
    """How the right operand lies for a tile; that of a weight gradient is read as it is."""
    if c.kind == "weight_gradient":
        return None
    n_bits = TF32_BITS if tile.by_group and tile.kind == "tf32" else None  # others are rounded by who reads them
    return panels_of(c, buffer_of(c, c.rhs).dtype, tile.columns, tile.packed_together, n_bits)


def _may_halve(tile: Tile, p: Problem) -> bool:
    has_room = tile.n_sums < 64 or (tile.n_threads > 64 and (p.run > 0 or tile.n_sums < 128))
    return has_room and tile.depth >= 2 * TOGETHER * tile.n_teams


def _may_share(p: Problem, tile: Tile, n_parts: int) -> bool:
    """Whether each part has some products to multiply, the sums of all of them stay in L2, and a thread can add them up
    in its registers."""
    if tile.by_group and tile.n_sums > SHARED_SUMS:
        return False
    sums_bytes = n_parts * n_tiles(p, tile) * part_bytes(tile)
    return n_parts * PART_STEPS <= steps_of(tile, p) and sums_bytes <= L2_BYTES // 2


def _is_long(p: Problem, tile: Tile, n_parts: int) -> bool:
    """Whether sums would lose too much if they were not added up in parts; integers lose nothing."""
    return tile.sum_dtype == "float32" and -(-p.depth // n_parts) > LONGEST_SUM


def _plan(c: Contraction, p: Problem, tile: Tile, n_parts: int) -> TilePlan:
    widths = widths_of(c)
    time_s = max(tile_times(tile, widths, p, n_parts, tile.n_blocks).values()) + sharing_time(p, tile, n_parts)
    by = "FMA in float32" if tile.kind == "fma" else "tensor cores"
    shared = f", each shared by {n_parts} blocks" if n_parts > 1 else ""
    n_sums = n_parts * n_tiles(p, tile) * tile.rows * tile.columns
    return TilePlan(
        algorithm="tiles",
        cycles=time_s * CLOCK_HZ,
        why=f"{n_tiles(p, tile)} tiles of {tile}{shared}, sums of {p.depth} products by {by}",
        packing=packing_of(c, tile),
        scratch=(n_sums * tile.n_together,) if n_parts > 1 else (),  # counted in elements of the left operand
        tile=tile,
        widths=widths,
        is_long=_is_long(p, tile, n_parts),
        n_parts=n_parts,
    )


def _is_tiled(c: Contraction, p: Problem) -> bool:
    if p.depth < LEAST_DEPTH or p.n_columns < LEAST_ROWS:
        return False
    streamed = (c.lhs, c.rhs) if c.kind == "weight_gradient" else (c.lhs,)
    left, right = (buffer_of(c, name).dtype for name in (c.lhs, c.rhs))
    if (left, right) not in DTYPES or c.is_depthwise or 0 in widths_of(c):
        return False
    try:
        epilogue_of(c)
        for name in streamed:
            pixel_stride(c, first_of_stack(c, name)) if name == c.rhs else require_channels_last(c, name)
    except CodegenError:
        return False
    return True


def widths_of(c: Contraction) -> tuple[int, int]:
    """Words of the left and of the right operand of tiles that are copied together; 0 where not even one can be."""
    inner, outer = c.in_channels // c.groups, c.out_channels // c.groups
    if c.kind == "weight_gradient":
        if buffer_of(c, c.lhs).dtype == "float16" and (inner % 2 or outer % 2):
            return 0, 0  # words are pairs of channels
        return _width(c, c.rhs, outer if c.groups > 1 else 2 * QUAD), _width(c, c.lhs, inner)
    return _width(c, c.lhs, outer if c.kind == "data_gradient" else inner), QUAD


def _width(c: Contraction, name: str, channels: int) -> int:
    b = buffer_of(c, name)
    channel = 1 if c.stack is None else 2
    steps = [step for k, (n, step) in enumerate(zip(b.shape, b.strides)) if n > 1 and k != channel]
    n_together = ITEM_BYTES // ITEM_SIZE[b.dtype]
    fitting = (w for w in (QUAD, 1) if not any(n % (w * n_together) for n in (b.offset, channels, *steps)))
    return next(fitting, 0)


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
