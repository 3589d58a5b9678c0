"""A block's tile of a matrix product: operands in shared memory, sums in registers.

For a tile of 64 x 64 results, 16 products at a time, with 4 x 4 results a thread and four stages of shared memory:

    start copying the first three times 16 x 64 of both operands to stages 0, 1, 2
    for each 16 products:
        wait until those that are next have come, for all threads
        start copying what is three steps ahead to the stage that was read last
        for k in range(16): 4 x 4 sums += 4 elements of a column of the left * 4 of a row of the right operand

The last line is that of FMA; `arithmetic` has the other one, too.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from llvmlite import ir

from symc.codegen.cuda.ptx import barrier, commit_copies, copy_to_shared, launched_memory, wait_for_copies
from symc.codegen.llvm.lanes import F32, I32, I64
from symc.codegen.llvm.loops import Values, loop, minimum

from .arithmetic import arithmetic_of
from .tile import ITEM_BYTES, STAGES, Tile

PART_PRODUCTS = 512  # of sums that are added up in parts


class Copy(NamedTuple):
    """Some neighbours that a thread brings.

    place, further   int32 and words: where they go in the operand's memory is the sum of both
    address          int64, of a multiple of their size
    size_bytes       int32, that are there; zeros for all others
    """

    place: ir.Value
    further: int
    address: ir.Value
    size_bytes: ir.Value


class Operand(Protocol):
    """One side of the product.

    steps   words in its memory from one product to the next, and from one row or column to the next
    words   of its memory
    width   words of a copy
    """

    steps: tuple[int, int]
    words: int
    width: int

    def copies(self, step: ir.Value) -> list[Copy]:
        """What this thread brings of products `step * tile.depth` and following."""


def emit_sums(
    b: ir.IRBuilder, tile: Tile, factors: tuple[Operand, Operand], first: ir.Value, stop: ir.Value, is_long: bool
) -> Values:
    """The sums of this thread, at its `places`, of products `first * tile.depth` to `stop * tile.depth`, int64."""
    left, right = factors
    arithmetic = arithmetic_of(b, tile, left.steps, right.steps)
    starts = (0, left.words * ITEM_BYTES)
    stage_bytes = (left.words + right.words) * ITEM_BYTES
    last = (STAGES - 1) * stage_bytes
    memory = launched_memory(b)
    n_sums = tile.n_sums

    def start(index: ir.Value, stage: ir.Value) -> None:
        for operand, begin in zip(factors, starts):
            for copy in operand.copies(index):
                place = b.gep(b.gep(memory, [stage]), [b.mul(copy.place, I32(ITEM_BYTES))])
                place = b.gep(place, [I32(begin + copy.further * ITEM_BYTES)])
                copy_to_shared(b, place, copy.address, operand.width * ITEM_BYTES, copy.size_bytes)
        commit_copies(b)

    def step(index: ir.Value, values: Values) -> Values:
        *sums, stage = values
        wait_for_copies(b, STAGES - 2)
        barrier(b)
        free = b.select(b.icmp_unsigned("==", stage, I32(0)), I32(last), b.sub(stage, I32(stage_bytes)))
        start(b.add(index, I64(STAGES - 1)), free)
        here = b.gep(memory, [stage])
        sums = arithmetic.multiplied((here, b.gep(here, [I32(starts[1])])), sums)
        following = b.select(b.icmp_unsigned("==", stage, I32(last)), I32(0), b.add(stage, I32(stage_bytes)))
        return [*sums, following]

    for k in range(STAGES - 1):
        start(b.add(first, I64(k)), I32(k * stage_bytes))
    begun: Values = [*[ir.Constant(F32, 0.0)] * n_sums, I32(0)]
    if is_long:
        steps_of_part = PART_PRODUCTS // tile.depth

        def part(begin: ir.Value, values: Values) -> Values:
            end = minimum(b, b.add(begin, I64(steps_of_part)), stop)
            *found, stage = loop(b, begin, end, [*begun[:n_sums], values[-1]], step)
            return [*(b.fadd(total, s) for total, s in zip(values[:n_sums], found)), stage]

        sums = loop(b, first, stop, begun, part, step=steps_of_part)[:n_sums]
    else:
        sums = loop(b, first, stop, begun, step)[:n_sums]
    wait_for_copies(b, 0)
    return sums
