"""Tiles whose products several blocks share: each leaves its sums in scratch memory, and the last one adds up all.

The sums of a tile lie as its threads have them: scratch[part, quad of a thread's sums, thread] are four of them.
"""

from __future__ import annotations

from llvmlite import ir

from symc.codegen.cuda.abilities import GPU
from symc.codegen.cuda.ptx import thread
from symc.codegen.llvm.lanes import I64, Lanes, scalar_type
from symc.codegen.llvm.loops import Values, loop
from symc.codegen.llvm.memory import Elements

from .tile import ITEM_BYTES, QUAD, Tile

QUADS_TOGETHER = 4  # of all parts, before others: so many registers, times the parts that are asked for at once


def part_bytes(tile: Tile) -> int:
    """Of the sums of a block."""
    return tile.rows * tile.columns * ITEM_BYTES


def leave(b: ir.IRBuilder, tile: Tile, scratch: ir.Value, part: ir.Value, sums: Values) -> None:
    """Stores the sums of this thread; scratch: the address of a tile's, int64."""
    v = Lanes(b, QUAD, GPU, is_aligned=True)
    for quad, place in enumerate(_places(b, tile, scratch, part)):
        Elements(v, tile.sum_dtype).store(v.pack(sums[quad * QUAD : (quad + 1) * QUAD]), place)


def totals(b: ir.IRBuilder, tile: Tile, scratch: ir.Value, n_parts: ir.Value) -> Values:
    """The sums of all parts, added up in their order, for the places that this thread has.

    n_parts   int64, no constant: all parts at once would take more registers than there are, as would all quads
    """
    v, found = Lanes(b, QUAD, GPU, is_aligned=True), []
    zero = ir.Constant(scalar_type(tile.sum_dtype), None)
    plus = b.fadd if tile.sum_dtype == "float32" else b.add
    for first in range(0, tile.n_sums // QUAD, QUADS_TOGETHER):

        def add(part: ir.Value, sums: Values, first: int = first) -> Values:
            places = _places(b, tile, scratch, part)[first : first + QUADS_TOGETHER]
            quads = [Elements(v, tile.sum_dtype).load(place) for place in places]
            return [plus(s, v.extract(quads[k // QUAD], k % QUAD)) for k, s in enumerate(sums)]

        begun = [zero] * (QUADS_TOGETHER * QUAD)
        found += loop(b, I64(0), n_parts, begun, add, at_least_once=True)
    return found


def _places(b: ir.IRBuilder, tile: Tile, scratch: ir.Value, part: ir.Value) -> Values:
    """Where the quads of this thread lie."""
    quad_bytes = QUAD * ITEM_BYTES
    own = b.mul(b.zext(thread(b), I64), I64(quad_bytes))
    first = b.add(b.add(scratch, own), b.mul(part, I64(part_bytes(tile))))
    return [b.add(first, I64(k * tile.team_threads * quad_bytes)) for k in range(tile.n_sums // QUAD)]
