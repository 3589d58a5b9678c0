"""A block's tile of a matrix product: operands in shared memory, sums in registers.

For a tile of 64 x 64 results, 16 products at a time, with 4 x 4 results a thread:

    load the first 16 x 64 of both operands into registers
    for each 16 products:
        wait until all threads have read shared memory; store the registers there; wait for all stores
        load the next 16 x 64 of both operands into registers          (while the sums are computed)
        for k in range(16): 4 x 4 sums += 4 elements of a column of the left * 4 of a row of the right operand

The last line is that of FMA; `arithmetic` has the other one, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llvmlite import ir

from symc.codegen.cuda.abilities import GLOBAL
from symc.codegen.cuda.ptx import SHARED, barrier, shared_memory
from symc.codegen.llvm.lanes import F32, I32, I64
from symc.codegen.llvm.loops import Values, loop, minimum

from .arithmetic import arithmetic_of
from .tile import ITEM_BYTES, Tile

PART_PRODUCTS = 512  # of sums that are added up in parts


class Operand(Protocol):
    """One side of the product: what a thread brings of it."""

    def load(self, step: ir.Value) -> Values:
        """Elements number `step` of this thread, one for each pass; 0 where there is none."""

    def place(self, number: int) -> tuple[ir.Value, ir.Value]:
        """(product, row or column) in the tile of the element of that pass."""


def emit_sums(
    b: ir.IRBuilder, tile: Tile, factors: tuple[Operand, Operand], first: ir.Value, stop: ir.Value, is_long: bool
) -> Values:
    """The sums of this thread, at its `places`, of products `first * tile.depth` to `stop * tile.depth`, int64."""
    left, right = factors
    arithmetic = arithmetic_of(b, tile)
    sizes = arithmetic.sizes
    memories = [shared_memory(b, tile.depth * size * ITEM_BYTES) for size in sizes]
    n_sums = tile.rows_of_thread * tile.columns_of_thread
    zeros: Values = [ir.Constant(F32, 0.0)] * n_sums
    n_left = tile.rows * tile.depth // tile.n_threads

    def pointer(number: int, at: ir.Value) -> ir.Value:
        return b.gep(memories[number], [b.mul(at, I32(ITEM_BYTES))])

    def step(index: ir.Value, values: Values) -> Values:
        sums, brought = values[:n_sums], values[n_sums:]
        barrier(b)
        for number, (operand, found) in enumerate(((left, brought[:n_left]), (right, brought[n_left:]))):
            for k, value in enumerate(found):
                product, position = operand.place(k)
                at = b.add(b.mul(product, I32(sizes[number])), position)
                value = arithmetic.prepared(value)
                b.store(value, b.bitcast(pointer(number, at), F32.as_pointer(addrspace=SHARED)), align=ITEM_BYTES)
        barrier(b)
        following = b.add(index, I64(1))
        brought = [*left.load(following), *right.load(following)]
        sums = arithmetic.multiplied(pointer, sums)
        return [*sums, *brought]

    start = [*left.load(first), *right.load(first)]
    if not is_long:
        return loop(b, first, stop, [*zeros, *start], step)[:n_sums]
    steps_of_part = PART_PRODUCTS // tile.depth

    def part(begin: ir.Value, values: Values) -> Values:
        end = minimum(b, b.add(begin, I64(steps_of_part)), stop)
        found = loop(b, begin, end, [*zeros, *values[n_sums:]], step)
        return [*(b.fadd(total, s) for total, s in zip(values[:n_sums], found)), *found[n_sums:]]

    return loop(b, first, stop, [*zeros, *start], part, step=steps_of_part)[:n_sums]


def element(b: ir.IRBuilder, address: ir.Value, fallback: ir.Value, conditions: Sequence[ir.Value]) -> ir.Value:
    """The float32 at an address where all conditions hold, else 0; `fallback` can always be read."""
    is_there = conditions[0]
    for condition in conditions[1:]:
        is_there = b.and_(is_there, condition)
    place = b.inttoptr(b.select(is_there, address, fallback), F32.as_pointer(addrspace=GLOBAL))
    return b.select(is_there, b.load(place, align=ITEM_BYTES), ir.Constant(F32, 0.0))
