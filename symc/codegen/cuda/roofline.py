"""How long a kernel should take on an H200, and what no kernel for the same work could beat.

The time is that of the slowest of what has to happen: bytes through memory, bytes through L2, instructions, and waiting
for what was asked for, which only other threads' work can hide. How many of those there are follows from registers and
shared memory. None of it has been compared with hardware yet: numbers marked * are NVIDIA's, others published
measurements, rounded.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from symc.codegen.cuda.contraction.plan import Problem, TilePlan, problem_of
from symc.codegen.kernel import KernelCall
from symc.loopir.kernel import Contraction, LoopKernel
from symc.loopir.work import Work, operations, work_of

from .image import KernelImage
from .launch import WARP, Grid

PROCESSORS, CLOCK_HZ = 132, 1.98e9  # * of an H200, at its best
LANES, SCHEDULERS = 128, 4  # * of a processor: threads of which it starts an instruction in a cycle
WARPS, BLOCKS, REGISTERS, SHARED_BYTES = 64, 32, 65_536, 228 << 10  # * that a processor holds at once
REGISTERS_TOGETHER, SHARED_OF_SYSTEM = 256, 1024  # * given to a warp, taken from a block
COPY_BYTES_PER_S = 4.3e12  # of 4.8e12 *: what a copy reaches
L2_BYTES_PER_S = 5.5e12
SHARED_BYTES_PER_CYCLE = 128  # *
LATENCY_S, NEAR_S = 0.7e-6, 0.25e-6  # from asking for a number to having it: from memory that is busy, from L2
BARRIER_S = 0.1e-6  # to add up what threads of a block have found: shuffles and two barriers
START_S = 1.5e-6  # of a kernel in a graph, until its first instruction and after its last one
TF32_PER_CYCLE = 1024  # * multiplications and additions of a processor by wgmma
MMA_SHARE = 0.62  # of that by mma.sync
BUSY_WARPS = 16  # of a processor that keep its schedulers supplied
UNROLLED = 4  # rounds of a short loop that the assembler puts together
LOAD = re.compile(r"ld\.global(?:\.nc)?(?:\.v(?P<n>\d))?\.[fsb](?P<bits>\d+)")
BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$\w+);")
PRIMITIVES = dict.fromkeys("div sqrt rsqrt".split(), 9) | dict.fromkeys(
    "exp expm1 log log1p log2 log10 pow sin cos tanh sigmoid erf mod floordiv".split(), 25
)  # instructions of what takes more than one
OF_UNIT, OF_BROUGHT = 40, 14  # instructions to find a unit's places, and those of an element of a tile


class Prediction(NamedTuple):
    """What to expect of one launch.

    time_s    by the model
    limit_s   of any kernel that does the same: arithmetic at the full rate of the units used, each byte moved once
    bound     what takes that time
    n_blocks  that run on one processor at once
    """

    time_s: float
    limit_s: float
    bound: str
    n_blocks: int

    def __str__(self) -> str:
        return (
            f"{self.n_blocks} blocks a processor; on an H200 {self.time_s * 1e6:.1f} us by {self.bound}, "
            f"{self.limit_s / self.time_s:.0%} of the limit"
        )


def predict(kernel: LoopKernel, call: KernelCall, image: KernelImage) -> Prediction:
    """The prediction for one launch of a call whose kernel was compiled to an image."""
    grid = Grid(*call.launch)
    n_blocks = blocks_of_processor(image, grid)
    work = work_of(kernel) if call.share is None else call.share.work
    if isinstance(kernel, Contraction) and isinstance(kernel.plan, TilePlan):
        times = _tiles(kernel.plan, problem_of(kernel), n_blocks, grid)
        per_cycle = TF32_PER_CYCLE if kernel.plan.tile.is_tf32 else LANES
    else:
        times = _nest(kernel, work, image, n_blocks, grid)
        per_cycle = LANES
    times["memory"] = work.size_bytes / COPY_BYTES_PER_S
    limit_s = max(times["memory"], work.flops / 2 / per_cycle / PROCESSORS / CLOCK_HZ)
    bound = max(times, key=lambda name: times[name])
    return Prediction(START_S + times[bound], START_S + min(limit_s, times[bound]), bound, n_blocks)


def blocks_of_processor(image: KernelImage, grid: Grid) -> int:
    """How many blocks fit on one processor at once."""
    warps = -(-grid.n_threads // WARP)
    registers = -(-(image.registers or 1) * WARP // REGISTERS_TOGETHER) * REGISTERS_TOGETHER * warps
    shared = image.shared_bytes + grid.shared_bytes + SHARED_OF_SYSTEM
    return max(1, min(BLOCKS, WARPS // warps, REGISTERS // registers, SHARED_BYTES // shared))


def _nest(kernel: LoopKernel, work: Work, image: KernelImage, n_blocks: int, grid: Grid) -> dict[str, float]:
    """Threads that each walk their units: they wait for every bunch of loads, and then compute."""
    n_running = min(grid.n_blocks, PROCESSORS * n_blocks)
    threads = n_running * grid.n_threads
    busy = min(1.0, n_running * grid.n_threads / WARP / PROCESSORS / BUSY_WARPS)
    under_way, n_barriers = _asked_at_once(image.code.decode("ascii")), image.code.count(b"bar.sync") // 2
    n_units = work.size_bytes / 4 / max(1, under_way)
    instructions = operations(kernel.stores, PRIMITIVES) + kernel.work_flops / 2 + n_units * OF_UNIT
    rounds = -(-grid.n_blocks // n_running)
    written = sum(b.size_bytes for b in kernel.buffers if b.name in {s.buffer for s in kernel.stores})
    read = max(0, work.size_bytes - written)
    return {
        "instructions": instructions / LANES / PROCESSORS / CLOCK_HZ / busy,
        "latency": read / (threads * under_way) * LATENCY_S + rounds * n_barriers * BARRIER_S,
    }


def _asked_at_once(ptx: str) -> int:
    """The most bytes that a thread asks for before it needs one of them: loads of one basic block, in some rounds of it
    where it is a loop that stores nothing. Words of the descriptor (u64) do not count."""
    most, size_bytes, label, is_storing = 4, 0, "", False
    for line in map(str.strip, ptx.splitlines()):
        if line.startswith("$L"):
            size_bytes, label, is_storing = 0, line.rstrip(":"), False
        elif load := LOAD.match(line):
            size_bytes += int(load["n"] or 1) * int(load["bits"]) // 8
            most = max(most, size_bytes)
        elif line.startswith("st.global"):
            is_storing = True
        elif branch := BRANCH.search(line):
            if branch[1] == label and not is_storing:
                most = max(most, size_bytes * UNROLLED)
            size_bytes, label = 0, ""
    return most


def _tiles(plan: TilePlan, p: Problem, n_blocks: int, grid: Grid) -> dict[str, float]:
    """Blocks that bring a step's elements while they multiply those of the one before."""
    tile = plan.tile
    on_busiest = -(-grid.n_blocks // PROCESSORS)
    together = min(n_blocks, on_busiest)
    warps = tile.n_threads / WARP
    brought = tile.depth * (tile.rows + tile.columns)
    products = tile.depth * tile.rows * tile.columns
    quads = tile.depth * (tile.rows_of_thread + tile.columns_of_thread) / 4 * warps
    if tile.is_tf32:
        quads *= 2  # fragments are read word by word, each by a quarter as many threads
        arithmetic, started = products / (TF32_PER_CYCLE * MMA_SHARE), quads
    else:
        arithmetic = products / LANES
        started = products / WARP + quads
    started += brought * OF_BROUGHT / WARP
    cycles = {
        "arithmetic": arithmetic,
        "instructions": started / SCHEDULERS,
        "shared memory": 2 * quads + 4 * brought / SHARED_BYTES_PER_CYCLE,
    }
    n_steps = math.ceil(p.depth / tile.depth)
    rounds = on_busiest * n_steps
    once = max(cycles.values()) / CLOCK_HZ
    found = {name: rounds * number / CLOCK_HZ for name, number in cycles.items()}
    found["latency"] = rounds / together * (max(once, NEAR_S) + BARRIER_S / 2)
    found["L2"] = grid.n_blocks * n_steps * 4 * brought / L2_BYTES_PER_S
    return found
