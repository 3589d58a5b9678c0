"""Teams of threads that share the products of a block's tile: each has sums of its own, the first one gets the totals.

Where tiles are few, a block that shared its products with others would have to wait for them through device memory; the
teams of one block meet in shared memory.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import reduce

from llvmlite import ir

from symc.codegen.cuda.ptx import SHARED, barrier, launched_memory, thread
from symc.codegen.llvm.lanes import F32, I32
from symc.codegen.llvm.loops import Values

from .tile import ITEM_BYTES, QUAD, STAGES, TOGETHER, Tile


def member(b: ir.IRBuilder, tile: Tile) -> ir.Value:
    """The number of this thread in its team, int32."""
    return b.urem(thread(b), I32(tile.team_threads)) if tile.n_teams > 1 else thread(b)


def first_product(b: ir.IRBuilder, tile: Tile) -> ir.Value:
    """The one that this thread's team begins with in each n_teams * TOGETHER, int32."""
    return b.mul(b.udiv(thread(b), I32(tile.team_threads)), I32(TOGETHER)) if tile.n_teams > 1 else I32(0)


def first_team(b: ir.IRBuilder, tile: Tile) -> AbstractContextManager[object]:
    """What is emitted in this context only threads of the first team do."""
    if tile.n_teams == 1:
        return nullcontext()
    return b.if_then(b.icmp_unsigned("<", thread(b), I32(tile.team_threads)))


def totals(b: ir.IRBuilder, tile: Tile, sums: Values) -> Values:
    """The sums of all teams, added up in their order, for threads of the first one.

    In shared memory, where nobody reads products any longer, all teams leave their sums; every thread of the block adds
    up those of some places, and leaves the totals where the first team's lay.
    """
    if tile.n_teams == 1:
        return sums
    team_words = tile.rows * tile.columns
    assert tile.n_teams * team_words <= STAGES * sum(tile.words(is_gradient=False)), tile
    memory = launched_memory(b)
    barrier(b)
    team, first = b.udiv(thread(b), I32(tile.team_threads)), b.mul(member(b, tile), I32(QUAD))
    for quad, place in enumerate(_quads(b, tile, memory, b.add(b.mul(team, I32(team_words)), first))):
        value = ir.Constant(ir.VectorType(F32, QUAD), ir.Undefined)
        for k in range(QUAD):
            value = b.insert_element(value, sums[quad * QUAD + k], I32(k))
        b.store(value, place, align=QUAD * ITEM_BYTES)
    barrier(b)
    for further in range(0, team_words, tile.n_threads):
        words = [_word(b, memory, b.add(thread(b), I32(further + k * team_words))) for k in range(tile.n_teams)]
        b.store(reduce(b.fadd, [b.load(word) for word in words]), words[0])
    barrier(b)
    quads = [b.load(place, align=QUAD * ITEM_BYTES) for place in _quads(b, tile, memory, first)]
    return [b.extract_element(value, I32(k)) for value in quads for k in range(QUAD)]


def _quads(b: ir.IRBuilder, tile: Tile, memory: ir.Value, first: ir.Value) -> Values:
    """Where the sums of a thread lie, four by four, from a word (int32) on: neighbouring threads have neighbours."""
    words = (_word(b, memory, b.add(first, I32(k * tile.team_threads))) for k in range(0, tile.n_sums, QUAD))
    return [b.bitcast(word, ir.VectorType(F32, QUAD).as_pointer(SHARED)) for word in words]


def _word(b: ir.IRBuilder, memory: ir.Value, number: ir.Value) -> ir.Value:
    return b.bitcast(b.gep(memory, [b.mul(number, I32(ITEM_BYTES))]), F32.as_pointer(SHARED))
