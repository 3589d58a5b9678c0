"""Plans of contractions on the CPU: what their kernels are told."""

from __future__ import annotations

from dataclasses import dataclass

from symc.codegen.contraction.panels import Panels
from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.contraction.tables import Line
from symc.codegen.contraction.winograd import WinogradPanels

from .blocking import Blocking
from .products import Products
from .ring import Ring
from .tile import Tile


@dataclass(frozen=True, kw_only=True)
class CpuPlan(ContractionPlan):
    """What every kernel of contractions on the CPU is told.

    tile        the register tile
    tiles       all tiles that the kernel's code holds, for other layers
    has_avx512  whether part of a vector is loaded and stored as fast as a whole one, and scaled by powers of two
    blocking    units of work, and chunks
    images      how many images the offset tables cover
    n_repeats   how often they are walked, each time for the next images
    """

    tile: Tile
    tiles: tuple[Tile, ...]
    has_avx512: bool
    blocking: Blocking
    images: int
    n_repeats: int

    @property
    def name(self) -> str:
        return f"{self.algorithm}, {self.tile}"


@dataclass(frozen=True, kw_only=True)
class MatrixPlan(CpuPlan):
    """Forward or data gradient: tiles of pixels x panels of channels.

    products      what one step multiplies
    is_long       whether sums are added up part by part, because one accumulator would round off too much
    asks_ahead    whether a tile asks for what it will read and store beside its sums before it adds them up
    asks_weights  whether the tiles of a unit, while they are multiplied with a panel, ask for the next one
    asks_rows     whether a tile, while it is multiplied, asks for the rows of the next one
    row_distance  elements between neighbouring rows where all tiles are of evenly spaced ones, each a single run; None
                  where tables say what a tile reads
    n_shorter     how many of the last tiles of such rows have a row less
    """

    packing: Panels
    products: Products
    is_long: bool
    asks_ahead: bool
    asks_weights: bool
    asks_rows: bool
    row_distance: int | None
    n_shorter: int


@dataclass(frozen=True, kw_only=True)
class WinogradPlan(CpuPlan):
    """3x3 windows in tiles of `packing.outputs` squared results; a group is as many of them as `tile` has rows.

    products        what one step multiplies
    grid            the tiles of outputs in words
    part_groups     groups whose inputs are transformed at one time
    input_chunks    chunks of such a transform
    stacked_groups  groups that are transformed back together, so that weights are read less often
    asks_weights    whether these, while they are multiplied at one frequency, ask for the weights of the next
    """

    packing: WinogradPanels
    products: Products
    grid: str
    part_groups: int
    input_chunks: int
    stacked_groups: int
    asks_weights: bool


@dataclass(frozen=True, kw_only=True)
class GradientPlan(CpuPlan):
    """Weight gradient: tiles of output channels x panels of (tap, channel).

    is_merged     whether a line of taps is one run of columns
    last          the tile of a run's last panel, which may have fewer columns
    block_pixels  pixels that are summed before the totals wait on the stack
    most_tiles    tiles whose totals the stack holds
    """

    is_merged: bool
    last: Tile
    block_pixels: int
    most_tiles: int

    @property
    def name(self) -> str:
        return f"{super().name}{', lines of taps' * self.is_merged}"


@dataclass(frozen=True, kw_only=True)
class DepthwisePlan(CpuPlan):
    """Forward, data gradient or weight gradient of channels that are convolved alone.

    line  the taps whose positions the rows of a tile share
    """

    line: Line


@dataclass(frozen=True, kw_only=True)
class StripPlan(CpuPlan):
    """Forward or data gradient of channels that are convolved alone: strips of as many columns as `tile` has rows."""


@dataclass(frozen=True, kw_only=True)
class RingPlan(CpuPlan):
    """The same from a ring of lines; `blocking.block_tiles` are the rows of a band.

    asks_ahead  whether a line that is copied asks for those of the next row
    """

    ring: Ring
    asks_ahead: bool
