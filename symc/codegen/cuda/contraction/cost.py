"""How long tiles of a matrix product take on an H200: plans take the cheapest, `roofline` tells what they expect."""

from __future__ import annotations

from symc.codegen.cuda import h200
from symc.codegen.cuda.launch import WARP

from .problem import Problem
from .tile import ITEM_BYTES, QUAD, STAGES, Tile

OF_RESULT, OF_THREAD = 6, 400  # instructions of an epilogue (a bias, a residual, a ReLU); to find what a block does
OF_COPY = 14  # instructions to find the place of what is copied, and to start that
PARTS_TOGETHER = 4  # parts that a block asks for before it adds them up
OF_ROWS, OF_COLUMNS, OF_WORDS, OF_WARP = 16, 8, 8, 32  # of one mma.sync; columns of a warp (see `arithmetic`)


def n_tiles(p: Problem, tile: Tile) -> int:
    """The tiles that cover all results."""
    return p.n_sets * -(-p.n_rows // tile.rows) * -(-p.n_columns // tile.columns)


def tile_times(tile: Tile, widths: tuple[int, int], p: Problem, n_parts: int, n_together: int) -> dict[str, float]:
    """Seconds of each thing that has to happen, of which the longest decides.

    widths       words of each operand that are copied together
    n_parts      blocks that share the products of a tile
    n_together   blocks that a processor holds at once
    """
    n_blocks = n_tiles(p, tile) * n_parts
    on_busiest = -(-n_blocks // h200.PROCESSORS)
    of_block = -(-steps_of(tile, p) // n_parts)
    steps = on_busiest * of_block
    cycles = _cycles_of_step(tile, widths)
    once = (tile.rows * tile.columns * OF_RESULT + tile.n_threads * OF_THREAD) / WARP / h200.SCHEDULERS
    cycles["instructions"] += once / of_block
    found = {name: steps * number / h200.CLOCK_HZ for name, number in cycles.items()}
    once_s = max(max(cycles.values()) / h200.CLOCK_HZ, h200.NEAR_S / (STAGES - 1)) + h200.BARRIER_S / 4
    found["latency"] = steps / min(n_together, on_busiest) * once_s
    brought = n_tiles(p, tile) * steps_of(tile, p) * tile.depth * (tile.rows + tile.columns)
    found["L2"] = brought * ITEM_BYTES / h200.L2_BYTES_PER_S
    return found


def parts_time(p: Problem, tile: Tile, n_parts: int) -> float:
    """Seconds to leave the sums of all parts, to count who has, and for the last block to add them up."""
    if n_parts == 1:
        return 0.0
    n_sums = n_parts * n_tiles(p, tile) * tile.rows * tile.columns
    waits = 2 + -(-n_parts // PARTS_TOGETHER)
    return waits * h200.NEAR_S + 2 * n_sums * ITEM_BYTES / h200.L2_BYTES_PER_S


def steps_of(tile: Tile, p: Problem) -> int:
    """How often a block goes on to the next products."""
    return -(-p.depth // (tile.depth * tile.n_together))


def _cycles_of_step(tile: Tile, widths: tuple[int, int]) -> dict[str, float]:
    """Of one block alone on a processor: it brings elements of later steps while it multiplies those of this one."""
    brought = tile.depth * (tile.rows + tile.columns)
    copies = tile.depth * (tile.rows / widths[0] + tile.columns / widths[1])
    products, n_warps = tile.depth * tile.rows * tile.columns, tile.n_threads / WARP
    if tile.kind == "fma":
        arithmetic = products / h200.LANES
        accesses = tile.depth * (tile.rows_of_thread + tile.columns_of_thread) / QUAD * n_warps
        started, wavefronts = products / WARP + accesses, 2 * accesses
    else:
        n_words = 2 if tile.kind == "bfloat16" else 1  # of a register: as many pairs of 16 bits as tf32 in a cycle
        arithmetic = products / n_words / (h200.TF32_PER_CYCLE * h200.MMA_SHARE)
        fragments = tile.rows * tile.columns / OF_WARP / OF_ROWS / n_warps  # of rows of a warp
        accesses = tile.depth / OF_WORDS * (4 * fragments + 2 * OF_WARP / OF_COLUMNS) * n_warps
        of_access = {"tf32": 3, "bfloat16": 2, "float16": 1}[tile.kind]  # two roundings of tf32 are one of bfloat16
        started = accesses * of_access + products / n_words / (OF_ROWS * OF_COLUMNS * OF_WORDS)
        wavefronts = accesses
    return {
        "arithmetic": arithmetic,
        "instructions": (started + copies * OF_COPY / WARP) / h200.SCHEDULERS,
        "shared memory": wavefronts + brought * ITEM_BYTES / h200.SHARED_BYTES_PER_CYCLE,
    }
