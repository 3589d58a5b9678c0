"""A block's tile of a matrix product: operands in shared memory, sums in registers.

For a tile of 64 x 64 results, 32 products at a time, with 8 x 4 results a thread and three stages of shared memory:

    start copying the first two times 32 x 64 of both operands to stages 0, 1
    for each 32 products:
        wait until those that are next have come, for all threads
        start copying what is two steps ahead to the stage that was read last
        for k in range(32): 8 x 4 sums += 8 elements of a column of the left * 4 of a row of the right operand

The last line is that of FMA and of one team; `arithmetic` has the other one, `teams` what else several of them do.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, Protocol

from llvmlite import ir

from symc.codegen.cuda.ptx import (
    barrier,
    commit_copies,
    copy_to_shared,
    launched_memory,
    show_to_tensor_cores,
    wait_for_copies,
)
from symc.codegen.llvm.lanes import I32, scalar_type
from symc.codegen.llvm.loops import Values, loop, minimum, when

from .multiplier import arithmetic_of
from .teams import first_product
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

    steps   words in its memory from one word of products to the next, and from one row or column to the next
    words   of its memory
    width   words of a copy
    """

    steps: tuple[int, int]
    words: int
    width: int

    def begin(self, step: ir.Value) -> Values:
        """Where this thread is with products `step * tile.depth` and following."""

    def copies(self, at: Values) -> list[Copy]:
        """What it brings there."""

    def advance(self, at: Values) -> Values:
        """Where it is with the next `tile.depth` products."""


def emit_sums(
    b: ir.IRBuilder, tile: Tile, factors: tuple[Operand, Operand], first: ir.Value, stop: ir.Value, is_long: bool
) -> Values:
    """The sums of this thread, at its `places`, of products `first * tile.depth` to `stop * tile.depth`, int32.

    Of several teams' products, those of its own (see `teams`).
    """
    left, right = factors
    arithmetic = arithmetic_of(b, tile, left.steps, right.steps)
    starts = (0, left.words * ITEM_BYTES)
    stage_bytes = (left.words + right.words) * ITEM_BYTES
    last = (STAGES - 1) * stage_bytes
    memory, of_team = launched_memory(b), first_product(b, tile)
    n_sums = tile.n_sums

    def start(places: Values, stage: ir.Value) -> Values:
        following = []
        for operand, at, begin in zip(factors, (places[:n_left], places[n_left:]), starts):
            for copy in operand.copies(at):
                place = b.gep(b.gep(memory, [stage]), [b.mul(copy.place, I32(ITEM_BYTES))])
                place = b.gep(place, [I32(begin + copy.further * ITEM_BYTES)])
                copy_to_shared(b, place, copy.address, operand.width * ITEM_BYTES, copy.size_bytes)
            following += operand.advance(at)
        return following

    def started(index: ir.Value, places: Values, stage: ir.Value) -> Values:
        """The places after the copies of a step, of which there are none behind the last one."""
        places = when(b, b.icmp_signed("<", index, stop), lambda: start(places, stage), places)
        commit_copies(b)
        return places

    def multiplied(here: ir.Value, first: ir.Value, sums: Values) -> Values:
        """The sums with some products of a stage of shared memory, those from `first` on, added."""
        first = b.add(first, of_team)
        places = (b.mul(first, I32(operand.steps[0] * ITEM_BYTES)) for operand in factors)
        lines = (b.gep(b.gep(here, [place]), [I32(begin)]) for place, begin in zip(places, starts))
        return arithmetic.multiplied(tuple(lines), sums)

    def step(index: ir.Value, values: Values) -> Values:
        sums, stage, places = values[:n_sums], values[n_sums], values[n_sums + 1 :]
        wait_for_copies(b, STAGES - 2)
        if tile.by_group:
            show_to_tensor_cores(b)
        barrier(b)
        free = b.select(b.icmp_unsigned("==", stage, I32(0)), I32(last), b.sub(stage, I32(stage_bytes)))
        places = started(b.add(index, I32(STAGES - 1)), places, free)
        of_stage = partial(multiplied, b.gep(memory, [stage]))
        sums = loop(b, I32(0), I32(tile.depth), sums, of_stage, step=tile.round, at_least_once=True)
        following = b.select(b.icmp_unsigned("==", stage, I32(last)), I32(0), b.add(stage, I32(stage_bytes)))
        return [*sums, following, *places]

    begun_left, begun_right = (operand.begin(first) for operand in factors)
    n_left, places = len(begun_left), [*begun_left, *begun_right]
    for k in range(STAGES - 1):
        places = started(b.add(first, I32(k)), places, I32(k * stage_bytes))
    zeros = [ir.Constant(scalar_type(tile.sum_dtype), None)] * n_sums
    begun = [*zeros, I32(0), *places]
    if is_long:
        steps_of_part = PART_PRODUCTS // tile.depth

        def part(begin: ir.Value, values: Values) -> Values:
            end = minimum(b, b.add(begin, I32(steps_of_part)), stop)
            found = loop(b, begin, end, [*zeros, *values[n_sums:]], step)
            return [*(b.fadd(total, s) for total, s in zip(values[:n_sums], found)), *found[n_sums:]]

        sums = loop(b, first, stop, begun, part, step=steps_of_part)[:n_sums]
    else:
        sums = loop(b, first, stop, begun, step)[:n_sums]
    wait_for_copies(b, 0)
    return sums
