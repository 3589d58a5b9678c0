"""How the work of a contraction is cut: into units that caches hold, and these into chunks for threads."""

from __future__ import annotations

from dataclasses import dataclass

from symc.codegen.kernel import even

WEIGHTS_IN_L2_BYTES = 384 * 1024  # packed weights of a panel group; L2 is 1 MB or more on current cores
PIXELS_IN_L2_BYTES = 256 * 1024  # source read by a block of tiles
STACKED_ROWS = 16  # of Winograd's products that are finished together, so that deep layers read weights less often
CHUNK_FLOPS = 700_000  # about 7 us of one core; handing out a chunk costs 0.1 to 0.5 us
CHUNK_BYTES = 160_000  # about 8 us of memory traffic
MAX_CHUNKS = 64  # as fast as 16 on two idle cores, and little is left to wait for when one of them is held up
GRADIENT_PIXELS = 128  # most that a weight gradient sums in one block: a panel of x fills L1, 24 KB for 3 vectors
# Half as many leave room in L1 for dy and totals: x^T y, 1120 deep, 800 rows, GFLOP/s in blocks of 128, 96, 80, 64 and
# 48: 3 vectors 107.5, 107.7, 108.7, 108.9, 107.9; 2 vectors 109, 110.9, 111, 110.5, 109.8. But totals of many blocks
# round off more: those of 200,000 equal products by 3e-5, more than 2e-5.
MAX_HALF_BLOCKS = 128
WEIGHTS_PER_SOURCE = 10  # weights of more bytes than so many times the source's are read by one thread only
# Weights that come from memory are read once, and the source by each panel group, where that is less than the weights
# by each block: 128x3072 by 768 columns 5.75 -> 5.45 ms.
FAR_WEIGHTS_BYTES = 4 << 20


@dataclass(frozen=True)
class GradientTiles:
    """How many tiles of a weight gradient share a panel of x, for copying it takes as long as one or two of them.

    most         at once, because their totals are on the stack: 48 KB for 24 vectors of 512 bits, or 12 of 256
    from_memory  at least, where a pass over the pixels is one over more than L2
    single       where one block has all pixels, so that there are no totals
    """

    most: int
    from_memory: int
    single: int


WITH_32_REGISTERS = GradientTiles(most=32, from_memory=16, single=48)
# A tile of 12 vectors of 256 bits takes half as long as one of 24 of 512, copying does not. x^T y of 320x192 by 192 in
# units of 16, 32, 64 and 128 tiles: 84.5, 87.9, 89.5 and 91.8 % of the peak (Zen 3).
WITH_16_REGISTERS = GradientTiles(most=128, from_memory=64, single=64)


@dataclass(frozen=True)
class Blocking:
    """How the grid of tiles x panels is cut: unit = `block_tiles` x `group_panels`, and units into chunks."""

    block_tiles: int
    group_panels: int
    n_chunks: int
    is_block_major: bool = False  # units of one block follow each other, else units of one panel group
    turns: int = 1  # equal sections of the panels whose groups take turns: a thread has the same columns of each

    def bands(self, n_tiles: int, n_panels: int) -> int:
        """How many blocks there are, if chunk k has tiles of block k modulo that number alone; else 1."""
        n_blocks = -(-n_tiles // self.block_tiles)
        n_units = n_blocks * -(-n_panels // self.group_panels)
        return n_blocks if self.n_chunks == n_units and not self.is_block_major else 1


def count_chunks(flops: int, n_bytes: int) -> int:
    """Parts worth claiming one by one."""
    return even(max(1, min(MAX_CHUNKS, max(flops // CHUNK_FLOPS, n_bytes // CHUNK_BYTES))))


def choose_blocking(
    n_tiles: int,
    n_panels: int,
    panel_bytes: int,
    source_bytes: int,
    wanted: int,
    by_blocks: bool = False,
    n_sections: int = 1,
) -> Blocking:
    """Panels that share L2 and tiles whose pixels do; smaller blocks where they would not make `wanted` units.

    `by_blocks`: no chunk has tiles of several blocks, if that makes at most twice as many (see `Blocking.bands`).
    `n_sections`: others read the same columns of so many sections together (see `Blocking.turns`).
    """
    group_panels = max(1, min(n_panels, WEIGHTS_IN_L2_BYTES // max(1, panel_bytes)))
    block_tiles = max(1, min(n_tiles, PIXELS_IN_L2_BYTES * n_tiles // max(1, source_bytes)))
    n_groups = -(-n_panels // group_panels)
    if -(-n_tiles // block_tiles) * n_groups < wanted:
        block_tiles = max(1, n_tiles * n_groups // wanted)
    n_blocks = -(-n_tiles // block_tiles)
    if n_blocks * n_groups < wanted:
        group_panels = max(1, n_panels * n_blocks // wanted)
    # A thread that keeps to its block finds in its own cache what it wrote a step before: 5 % of ResNet-18 on 2
    # threads, 10 to 35 % at times when a virtual machine's cores reach each other's caches slowly.
    weight_bytes = n_panels * panel_bytes
    is_block_major, turns = weight_bytes < WEIGHTS_PER_SOURCE * source_bytes, 1
    if weight_bytes >= FAR_WEIGHTS_BYTES and (n_blocks - 1) * weight_bytes > n_groups * source_bytes:
        is_block_major = False
    if not is_block_major and group_panels < n_panels:  # equal halves for two threads, each with weights of its own
        n_groups = -(-n_panels // group_panels)
        group_panels = -(-n_panels // (n_groups + n_groups % 2))
        in_turns = [k for k in range(group_panels, 0, -1) if n_panels % (2 * n_sections * k) == 0]
        if n_blocks == 1 < n_sections and in_turns:
            group_panels, turns = in_turns[0], n_sections
        while n_blocks == 1 < group_panels and -(-n_panels // group_panels) % 2:  # 64 panels by 6 are 11 groups
            group_panels -= 1
    n_units = n_blocks * -(-n_panels // group_panels)
    n_chunks = n_units if by_blocks and n_units <= 2 * wanted else min(wanted, n_units)
    return Blocking(block_tiles, group_panels, max(1, n_chunks), is_block_major, turns)


def gradient_block_pixels(n_pixels: int) -> int:
    """How many pixels a weight gradient sums before the totals wait on the stack."""
    half = GRADIENT_PIXELS // 2
    return half if GRADIENT_PIXELS < n_pixels <= half * MAX_HALF_BLOCKS else GRADIENT_PIXELS


def choose_gradient_blocking(
    n_tiles: int, n_panels: int, operand_bytes: int, is_single: bool, wanted: int, limits: GradientTiles
) -> Blocking:
    """Every unit of a weight gradient streams all pixels, so from memory it must have tiles that share them.

    `is_single`: a block holds all pixels, so that no totals are kept.
    """
    few, most = (limits.single, limits.single) if is_single else (limits.from_memory, limits.most)
    least = few if operand_bytes > WEIGHTS_IN_L2_BYTES else 1
    tiles = min(most, max(least, n_tiles * n_panels // wanted))
    block_tiles = max(1, min(n_tiles, tiles))
    group_panels = max(1, min(n_panels, tiles // block_tiles))
    n_units = -(-n_tiles // block_tiles) * -(-n_panels // group_panels)
    return Blocking(block_tiles, group_panels, max(1, min(wanted, n_units)))
