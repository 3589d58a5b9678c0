"""How long a kernel should take on an H200, and what no kernel for the same work could beat.

The time is that of the slowest of what has to happen: bytes through memory, bytes through L2 (of which warps get whole
sectors), instructions, and waiting for what was asked for, which only other threads' work can hide. How many of those
there are follows from registers and shared memory. None of it has been compared with hardware yet.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from symc.codegen.cuda.contraction.cost import sharing_time, tile_times
from symc.codegen.cuda.contraction.direct import nest_of
from symc.codegen.cuda.contraction.plan import TilePlan
from symc.codegen.cuda.contraction.problem import problem_of
from symc.codegen.cuda.nest.grid import GridPlan
from symc.codegen.cuda.nest.schedule import planned
from symc.codegen.cuda.nest.sectors import moved_bytes
from symc.codegen.kernel import KernelCall
from symc.codegen.nest.form import Form
from symc.loopir.kernel import Contraction, LoopKernel, Nest, Template
from symc.loopir.work import Work, operations, work_of

from . import h200
from .image import KernelImage
from .launch import WARP, Grid
from .shape import BRANCH, LOAD, shape_of

UNROLLED = 4  # rounds of a short loop that the compiler or the assembler puts together
READ, WRITE = (re.compile(rf"\b{word}\.(?:global\.|shared\.)?(?:nc\.)?(?:v(\d)\.)?[fsbu]\d+") for word in ("ld", "st"))
REGISTER = re.compile(r"%\w+")
PRIMITIVES = dict.fromkeys("div sqrt rsqrt".split(), 9) | dict.fromkeys(
    "exp expm1 log log1p log2 log10 pow sin cos tanh sigmoid erf mod floordiv".split(), 25
)  # instructions of what takes more than one
OF_UNIT = 40  # instructions to find a unit's places


class Prediction(NamedTuple):
    """What to expect of one launch.

    time_s    by the model
    limit_s   of any kernel that does the same: arithmetic at the full rate of the units used, each byte moved once;
              0 for what nobody asked for, the sum of parts
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
    more_s = 0.0
    if isinstance(kernel, Contraction) and isinstance(kernel.plan, TilePlan):
        plan = kernel.plan
        more_s = sharing_time(problem_of(kernel), plan.tile, plan.n_parts)
        times = tile_times(plan.tile, plan.widths, problem_of(kernel), plan.n_parts, n_blocks)
        n_together = 2 if plan.tile.kind == "bfloat16" else plan.tile.n_together
        per_cycle = h200.LANES if plan.tile.kind == "fma" else h200.TF32_PER_CYCLE * n_together
    elif isinstance(kernel, Template):
        times = _routine(kernel, call, image, n_blocks, grid)
        per_cycle = h200.LANES
    else:
        times = _nest(kernel, _plan_of(kernel, call), work, image, n_blocks, grid)
        per_cycle = h200.LANES
    times["memory"] = work.size_bytes / h200.COPY_BYTES_PER_S
    bound = max(times, key=lambda name: times[name])
    full_s = max(times["memory"], work.flops / 2 / per_cycle / h200.PROCESSORS / h200.CLOCK_HZ)
    limit_s = h200.START_S + min(full_s, times[bound])
    return Prediction(h200.START_S + times[bound] + more_s, limit_s, bound, n_blocks)


def blocks_of_processor(image: KernelImage, grid: Grid) -> int:
    """How many blocks fit on one processor at once."""
    warps = -(-grid.n_threads // WARP)
    registers = -(-(image.registers or 1) * WARP // h200.REGISTERS_TOGETHER) * h200.REGISTERS_TOGETHER * warps
    shared = image.shared_bytes + grid.shared_bytes + h200.SHARED_OF_SYSTEM
    return max(1, min(h200.BLOCKS, h200.WARPS // warps, h200.REGISTERS // registers, h200.SHARED_BYTES // shared))


def _plan_of(kernel: Nest | Contraction, call: KernelCall) -> GridPlan:
    """The plan of one of the calls that carry out loops."""
    plans = planned(nest_of(kernel) if isinstance(kernel, Contraction) else kernel)
    return next(plan for plan, made in plans if (made.code.name, made.launch) == (call.code.name, call.launch))


def _nest(
    kernel: LoopKernel, plan: GridPlan, work: Work, image: KernelImage, n_blocks: int, grid: Grid
) -> dict[str, float]:
    """Threads that each walk their units: they wait for every bunch of loads, and then compute."""
    n_running = min(grid.n_blocks, h200.PROCESSORS * n_blocks)
    threads = n_running * grid.n_threads
    busy = min(1.0, n_running * grid.n_threads / WARP / h200.PROCESSORS / h200.BUSY_WARPS)
    code = image.code.decode("ascii")
    under_way, shape = _asked_at_once(code), shape_of(code)
    n_units = work.size_bytes / 4 / max(1, under_way)
    instructions: float = operations(kernel.stores, lambda e: PRIMITIVES.get(e.op, 1)) + kernel.work_flops // 2
    instructions += n_units * OF_UNIT
    written = sum(b.size_bytes for b in kernel.buffers if b.name in {s.buffer for s in kernel.stores})
    read, moved = max(0, work.size_bytes - written), moved_bytes(plan)
    n_exchanges = shape.n_shuffles // max(1, min(plan.team, WARP).bit_length() - 1)
    exchange_s = shape.n_barriers * h200.BARRIER_S or n_exchanges * h200.SHUFFLES_S
    rounds = -(-plan.n_units // (threads // plan.team))
    waiting_s = read / (threads * under_way) * h200.LATENCY_S + rounds * exchange_s
    if plan.kind == "row":
        extents, axes = plan.form.extents, plan.form.reduce_axes.values()
        length = max(math.prod(extents[a] for a in of) for of in axes)
        trips = (n * -(-length // (plan.team * at_once)) for n, at_once in shape.loops)
        instructions = plan.n_units * plan.team * (shape.n_instructions + sum(trips))
        if shape.loops:
            again = max(0, _bytes_asked(plan.form) - read)
            is_near = threads // plan.team * read / plan.n_units <= h200.PROCESSORS * h200.L1_BYTES
            waiting_s += again / (threads * under_way) * (h200.NEAREST_S if is_near else h200.NEAR_S)
            moved += 0 if is_near else again
    return {
        "L2": moved / h200.L2_BYTES_PER_S,
        "instructions": instructions / h200.LANES / h200.PROCESSORS / h200.CLOCK_HZ / busy,
        "latency": waiting_s,
    }


def _bytes_asked(form: Form) -> int:
    """By each load of each walk, once for every element."""
    return sum(access.item_size * math.prod(form.extents[a] for a in form.free(e)) for e, access in form.loads.items())


def _routine(kernel: Template, call: KernelCall, image: KernelImage, n_blocks: int, grid: Grid) -> dict[str, float]:
    """Threads that each take steps one after the other, as the loops of the routine are compiled: every instruction
    waits for the one before, and every number read for the memory that is nearest."""
    n_instructions, n_reads = _step(image.code.decode("ascii"))
    if call.share is None:  # a thread for each part: the others of its warp wait with it
        n_threads, n_steps = kernel.n_parts, kernel.work_flops
    else:
        n_threads, n_steps = grid.n_blocks * grid.n_threads, call.share.work.flops
    n_running = min(n_threads, h200.PROCESSORS * n_blocks * grid.n_threads)
    warps = -(-n_running // WARP)
    own_s = n_instructions * h200.DEPENDENT_CYCLES / h200.CLOCK_HZ + n_reads * h200.NEAREST_S
    busy = min(1.0, warps / h200.PROCESSORS / h200.SCHEDULERS)
    per_s = h200.LANES * h200.PROCESSORS * h200.CLOCK_HZ * busy * min(1.0, n_running / WARP)
    n_barriers = image.code.count(b"bar.sync") * -(-grid.n_blocks // (h200.PROCESSORS * n_blocks))
    return {
        "instructions": n_steps * n_instructions / per_s,
        "steps of a thread": n_steps / n_running * own_s + n_barriers * h200.BARRIER_S,
    }


def _step(ptx: str) -> tuple[float, float]:
    """(instructions, reads of arrays) of a round of the innermost loops: the median of those that read."""
    labels: dict[str, int] = {}
    lines = list(map(str.strip, ptx.splitlines()))
    loops: list[tuple[int, int]] = []
    for k, line in enumerate(lines):
        if line.startswith("$L"):
            labels[line.rstrip(":")] = k
        elif (branch := BRANCH.search(line)) and branch[1] in labels:
            loops.append((labels[branch[1]], k))
    rounds = []
    for first, last in loops:
        if not any(first <= other and end <= last and (other, end) != (first, last) for other, end in loops):
            own = [line for line in lines[first : last + 1] if line.endswith(";") and not line.startswith(".")]
            n_reads, n_writes = (
                sum(int(found[1] or 1) for line in own if (found := what.search(line))) for what in (READ, WRITE)
            )
            n_branches = sum(1 for line in own if BRANCH.search(line))
            is_unrolled = not any(n % UNROLLED for n in (n_reads, n_writes, n_branches - 1))
            n_together = UNROLLED if is_unrolled else 1
            if n_reads:
                rounds.append((len(own) / n_together, n_reads / n_together))
    return sorted(rounds)[len(rounds) // 2] if rounds else (1.0, 1.0)


def _asked_at_once(ptx: str) -> int:
    """The most bytes that a thread asks for before it needs one of them, past branches ahead; in a loop that stores
    nothing, those of some rounds. Words of the descriptor (u64) do not count."""
    lines = [*map(str.strip, ptx.splitlines())]
    ahead = {b[1] for at, line in enumerate(lines) if (b := BRANCH.search(line)) and f"{b[1]}:" in lines[at:]}
    most, size_bytes, label, is_storing = 4, 0, "", False
    asked: set[str] = set()
    of_block = 0
    for line in lines:
        if line.startswith("$L"):
            of_block, label, is_storing = 0, line.rstrip(":"), False
            if label not in ahead:
                size_bytes, asked = 0, set()
        elif load := LOAD.match(line):
            n_bytes = int(load["n"] or 1) * int(load["bits"]) // 8
            size_bytes, of_block = size_bytes + n_bytes, of_block + n_bytes
            asked.update(REGISTER.findall(line.rsplit("[", 1)[0]))
            most = max(most, size_bytes)
        elif line.startswith("st.global"):
            is_storing = True
        elif branch := BRANCH.search(line):
            if branch[1] == label and not is_storing:
                most = max(most, of_block * UNROLLED)
            of_block, label = 0, ""
        if not LOAD.match(line) and not asked.isdisjoint(REGISTER.findall(line.partition(",")[2])):
            if line.startswith("cvt."):  # the assembler puts it behind the other loads
                asked.update(REGISTER.findall(line.partition(",")[0]))
            else:
                size_bytes, asked = 0, set()
    return most
