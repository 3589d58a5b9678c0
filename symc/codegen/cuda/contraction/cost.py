"""How long tiles of a matrix product take on an H200: plans take the cheapest, `roofline` tells what they expect.

Instructions were counted in machine code for sm_90 (`cuobjdump`): those of one thread, unless it says otherwise.
"""

from __future__ import annotations

from symc.codegen.cuda import h200
from symc.codegen.cuda.launch import WARP

from .problem import Problem
from .tile import ITEM_BYTES, QUAD, STAGES, TOGETHER, Tile

OF_THREAD, OF_LINE, OF_RESULT = 225, 50, 6.5  # to find what a block does, each line that a thread copies; an epilogue
OF_STEP, OF_ROUND = 40, 12  # a step; a round of TOGETHER products
OF_COPY = 5  # to start a copy, and the place of the next
OF_PLACE, OF_DIVISION = 15, 25  # to find the place of a copy in another tap's channels; by divisions, of a gradient
OF_JOINED = 2.5  # a sum of a team: left, added to others, taken again
PARTS_TOGETHER = 4  # parts that a block asks for before it adds them up
GROUP_ROWS = 64  # of a group of warps, which reads the right operand once for them
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
    on_busiest = -(-n_tiles(p, tile) * n_parts // h200.PROCESSORS)
    of_block = -(-steps_of(tile, p) // n_parts)
    steps, n_running = on_busiest * of_block, min(n_together, on_busiest)
    n_warps, n_lines = tile.n_threads / WARP, tile.depth * tile.rows / widths[0] / tile.n_threads
    cycles = _cycles_of_step(tile, widths, p)
    once = OF_THREAD + OF_LINE * n_lines + (OF_RESULT / tile.n_teams + OF_JOINED * (tile.n_teams > 1)) * tile.n_sums
    cycles["instructions"] += n_warps * once / h200.SCHEDULERS / of_block
    supplied = {name: _share_of_schedulers(n * n_warps) for name, n in (("all", n_running), ("one", 1))}
    found = {name: steps * n / h200.CLOCK_HZ for name, n in cycles.items()}
    for name in ("arithmetic", "instructions"):
        found[name] /= supplied["all"]
    if tile.by_group:  # its threads wait for their products before they go on
        cycles = {"": cycles["arithmetic"] + cycles["instructions"], "shared memory": cycles["shared memory"]}
    alone_s = max(n / (1 if name == "shared memory" else supplied["one"]) for name, n in cycles.items()) / h200.CLOCK_HZ
    waited_s = _waited_s(p, tile) / (STAGES - 1)
    found["latency"] = steps / n_running * (max(alone_s, waited_s) + h200.BARRIER_S / 4)
    asked_s = (_brought_bytes(p, tile) + _left_bytes(p, tile, n_parts)) / h200.L2_BYTES_PER_S
    idle = on_busiest * h200.PROCESSORS / (n_tiles(p, tile) * n_parts)  # the busiest one's part, by that of all
    found["L2"] = asked_s * max(1.0, idle / h200.L2_OF_ONE)
    return found


def sharing_time(p: Problem, tile: Tile, n_parts: int) -> float:
    """Seconds for the teams of a block to add up their sums, and for the last block of a tile those of all parts.

    Sums of blocks that others compute after are left and read meanwhile: L2's work.
    """
    return (h200.BARRIER_S if tile.n_teams > 1 else 0.0) + _parts_time(p, tile, n_parts)


def _parts_time(p: Problem, tile: Tile, n_parts: int) -> float:
    """To count who has left the sums of a part, and for the last block to add them up."""
    if n_parts == 1:
        return 0.0
    waits = 2 + -(-n_parts // PARTS_TOGETHER)
    at_last = min(1.0, h200.PROCESSORS * tile.n_blocks / (n_parts * n_tiles(p, tile)))
    return waits * h200.NEAR_S + at_last * _left_bytes(p, tile, n_parts) / h200.L2_BYTES_PER_S


def steps_of(tile: Tile, p: Problem) -> int:
    """How often a block goes on to the next products."""
    return -(-p.depth // (tile.depth * tile.n_together))


def _waited_s(p: Problem, tile: Tile) -> float:
    """Seconds until products come: from memory what no other block has asked for, and L2 did not keep."""
    right_bytes = p.n_sets * p.n_columns * p.depth / tile.n_together * ITEM_BYTES
    is_new = p.n_rows <= tile.rows and right_bytes > h200.L2_BYTES / 2
    return h200.LATENCY_S if is_new else h200.NEAR_S


def _share_of_schedulers(n_warps: float) -> float:
    """Of those of a processor, how many have a warp: each starts an instruction of its own warps only."""
    return min(1.0, n_warps / h200.SCHEDULERS)


def _brought_bytes(p: Problem, tile: Tile) -> float:
    """What all blocks ask L2 for: rows and columns that are there, and the zeros that fill the last panel."""
    n_row_tiles, n_panels = -(-p.n_rows // tile.rows), -(-p.n_columns // tile.columns)
    lines = n_panels * p.n_rows + n_row_tiles * n_panels * tile.columns
    return p.n_sets * lines * p.depth / tile.n_together * ITEM_BYTES


def _left_bytes(p: Problem, tile: Tile, n_parts: int) -> float:
    """Sums of parts, written and read."""
    return 2 * n_parts * n_tiles(p, tile) * tile.rows * tile.columns * ITEM_BYTES if n_parts > 1 else 0.0


def _cycles_of_step(tile: Tile, widths: tuple[int, int], p: Problem) -> dict[str, float]:
    """Of one block alone on a processor: it brings elements of later steps while it multiplies those of this one."""
    brought = tile.depth * (tile.rows + tile.columns)
    copies = [tile.depth * n / width for n, width in zip((tile.rows, tile.columns), widths)]
    products, n_warps = tile.depth * tile.rows * tile.columns, tile.n_threads / WARP
    of_team = tile.depth / tile.n_teams
    if tile.by_group:
        arithmetic = products / h200.TF32_PER_CYCLE
        accesses = n_warps * 4 * tile.depth / OF_WORDS
        started = accesses * (2 if tile.kind == "tf32" else 1) + n_warps * tile.depth / OF_WORDS
        of_right = tile.rows / GROUP_ROWS * tile.depth * tile.columns * ITEM_BYTES / h200.SHARED_BYTES_PER_CYCLE
        wavefronts = accesses + of_right
    elif tile.kind == "fma":
        arithmetic = products / h200.LANES
        accesses = of_team * (tile.rows_of_thread + tile.columns_of_thread) / QUAD * n_warps
        started, wavefronts = products / WARP + accesses, 2 * accesses
    else:
        n_words = 2 if tile.kind == "bfloat16" else 1  # of a register: as many words of 8 or 16 bits as tf32 in a cycle
        arithmetic = products / n_words / (h200.TF32_PER_CYCLE * h200.MMA_SHARE)
        fragments = tile.rows * tile.columns / OF_WARP / OF_ROWS / n_warps  # of rows of a warp
        accesses = tile.depth / OF_WORDS * (4 * fragments + 2 * OF_WARP / OF_COLUMNS) * n_warps
        of_access = {"tf32": 3, "bfloat16": 2}.get(tile.kind, 1)  # two roundings of tf32 are one of bfloat16
        started = accesses * of_access + products / n_words / (OF_ROWS * OF_COLUMNS * OF_WORDS)
        wavefronts = accesses
    if p.run:
        places = copies[0] * OF_PLACE * min(1.0, tile.depth * tile.n_together / p.run)
    else:
        places = sum(copies) * OF_DIVISION
    started += n_warps * (OF_STEP + OF_ROUND * of_team / TOGETHER) + (sum(copies) * OF_COPY + places) / WARP
    return {
        "arithmetic": arithmetic,
        "instructions": started / h200.SCHEDULERS,
        "shared memory": wavefronts + brought * ITEM_BYTES / h200.SHARED_BYTES_PER_CYCLE,
    }
