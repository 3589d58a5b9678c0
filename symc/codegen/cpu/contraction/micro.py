"""The register tile: rows x vectors of sums that stay in registers over the whole reduction.

For a tile of 2 rows x 2 vectors the emitted loop is

    for each segment (weight position, length, one source offset a row):
        a0, a1 = source + offset0, source + offset1          (an offset of -1 selects the zero page)
        for k in range(length):
            b0, b1 = weight[k][0:lanes], weight[k][lanes:2 * lanes]
            acc00 += a0[k] * b0;  acc01 += a0[k] * b1
            acc10 += a1[k] * b0;  acc11 += a1[k] * b1

Where rows are evenly spaced, and each is one run, there is one segment and no table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from llvmlite import ir

from symc.codegen.cpu.abilities import SINGLE_AND_DOUBLE
from symc.codegen.llvm.lanes import I8, I64, Lanes
from symc.codegen.llvm.loops import loop, minimum, when
from symc.codegen.llvm.memory import LINE_BYTES, Elements

from .products import Products
from .tile import Tile
from .words import add_words, shift_of

# Bytes of packed weight asked for ahead of their use.  1024 got in the way of the hardware's own prefetching (Zen 4):
# 7x7 layers and FullyConnected, whose weights come from memory, took 8 to 20 % longer.
PREFETCH_BYTES = 256

# Without AVX-512 tiles of so many rows do two steps at once and do not ask for weights, which takes 47 instructions
# instead of 50 and two loads less: alone a core is 1 to 5 % faster, where others take a part of it 10 to 15 %. Not
# where sums, weights and an element need all registers: in two steps of 4x24 LLVM moves all sums twice.
PAIRED_ROWS, PAIRED_REGISTERS = 4, 15
# Without AVX-512 a single row, which waits for its weights, reads them in so many places at a time: a core reads four
# streams from memory at 20 GB/s where one comes at 13, and from L2 at 77 instead of 60 (Zen 3; three and six the same).
STREAMS = 4

Rows = Callable[[Any], list[Any]]  # bytes from the beginning of each row -> pointers to there


@dataclass(frozen=True)
class Ask:
    """What a tile asks for beside its sums.

    at      number of a step -> what to ask for before it
    every   how many steps, an even number, lie between two lines of the cache; None: each round of steps asks, however
            often for the same line
    """

    at: Callable[[Any], Any]
    every: Any = None


def vectors_of(b: Any, dtype: str, lanes: int, has_avx512: bool) -> Elements:
    """Vectors of what a register tile holds: float32, float64, or int32 sums of bytes; `has_avx512` speeds up exp and
    chooses how products are walked."""
    return Elements(Lanes(b, lanes, SINGLE_AND_DOUBLE[has_avx512]), dtype)


def plain_vectors_of(b: Any, dtype: str, lanes: int) -> Elements:
    """Vectors for code that copies and adds alone, which is the same for all CPUs."""
    return vectors_of(b, dtype, lanes, has_avx512=False)


def emit_tile(
    simd: Elements,
    tile: Tile,
    products: Products,
    source: Any,
    zero_page: Any,
    weight: Any,
    segments: Any,
    n_segments: Any,
    part_segments: Any = None,
    ask: Ask | None = None,
) -> list[list[Any]]:
    """The finished sums [row][vector].

    `source`, `zero_page`, `weight` and `segments` are addresses; `segments` points to int32 records
    (weight position, length, offset of each row) as `tables.py` makes them.  With `part_segments`, so many segments
    are added up on their own, and their sums to the totals. `ask(k)` asks for what is read later, of all steps in turn.
    """
    b = simd.b
    nothing = [simd.zero] * ((tile.rows + products.n_more) * tile.vectors)
    element_bytes = simd.item_bytes // products.n_together
    row_at = partial(row_pointer, simd, source, zero_page, element_bytes)
    shift = shift_of(simd.v) if products.is_shifted else None

    def segment(index: Any, sums: list[Any]) -> list[Any]:
        record = simd.at(segments, b.mul(index, I64(tile.record_bytes)))
        position = simd.load_int32(record, 0)
        first = simd.at(weight, b.mul(position, I64(tile.columns * element_bytes)))
        rows = apart(simd, [row_at(simd.load_int32(record, 2 + r)) for r in range(tile.rows)])
        before = b.udiv(position, I64(products.n_together))
        of_segment = ask and replace(ask, at=lambda k: ask.at(b.add(before, k)))
        return emit_products(simd, tile, products, rows, first, simd.load_int32(record, 1), sums, shift, of_segment)

    def part(number: Any) -> list[Any]:
        return emit_part(b, n_segments, part_segments, number, nothing, segment)

    if part_segments is None:
        sums = loop(b, I64(0), n_segments, nothing, segment)
    else:
        sums = add_parts(simd, len(nothing), count_parts(b, n_segments, part_segments), part)
    return _without_shift(simd, tile, products, sums)


def emit_even_tile(
    simd: Elements,
    tile: Tile,
    products: Products,
    source: Any,
    row_bytes: Any,
    weight: Any,
    length: Any,
    ask: Ask | None = None,
) -> list[list[Any]]:
    """The finished sums [row][vector] of rows `row_bytes` apart, each a run of `length` elements."""
    nothing = [simd.zero] * ((tile.rows + products.n_more) * tile.vectors)
    shift = shift_of(simd.v) if products.is_shifted else None
    rows = evenly_spaced(simd, source, row_bytes, tile.rows)
    sums = emit_products(simd, tile, products, rows, weight, length, nothing, shift, ask)
    return _without_shift(simd, tile, products, sums)


def _without_shift(simd: Elements, tile: Tile, products: Products, sums: list[Any]) -> list[list[Any]]:
    """The sums row by row, without what a shift has added to them."""
    found = [sums[k : k + tile.vectors] for k in range(0, len(sums), tile.vectors)]
    if not products.is_shifted:
        return found
    *rows_of_sums, excess = found
    return [[simd.b.sub(total, more) for total, more in zip(row, excess)] for row in rows_of_sums]


def count_parts(builder: Any, count: Any, part: Any) -> Any:
    """How many parts of length `part` hold `count` things, at least one."""
    return builder.add(I64(1), builder.sdiv(builder.sub(count, I64(1)), part))


def emit_part(
    builder: Any, count: Any, part: Any, number: Any, nothing: list[Any], step: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """The sums of part `number` of a loop of `count` steps."""
    begin = builder.mul(number, part)
    length = minimum(builder, builder.sub(count, begin), part)
    return loop(builder, I64(0), length, nothing, lambda index, sums: step(builder.add(begin, index), sums))


def add_parts(simd: Elements, n_sums: int, n_parts: Any, part: Callable[[Any], list[Any]]) -> list[Any]:
    """The sums of all parts, at least one, added up in memory because the registers are taken.

    Each total has a second number: what its last addition rounded away, to be taken off the next one (Kahan).
    """
    b = simd.b
    with b.goto_entry_block():
        memory = b.alloca(I8, I64(2 * n_sums * simd.vector_bytes))
        memory.align = 64
    places = [simd.at(memory, i * simd.vector_bytes) for i in range(2 * n_sums)]
    for at in places:
        simd.store(simd.zero, at)

    def add(number: Any, _: list[Any]) -> list[Any]:
        for value, at, excess_at in zip(part(number), places[:n_sums], places[n_sums:]):
            total, wanted = simd.load(at), b.fsub(value, simd.load(excess_at))
            after = b.fadd(total, wanted)
            excess = b.fsub(b.fsub(after, total), wanted)
            simd.store(after, at)
            simd.store(b.select(b.fcmp_ordered("ord", excess, excess), excess, simd.zero), excess_at)  # inf - inf: none
        return []

    loop(b, I64(0), n_parts, [], add, at_least_once=True)
    return [simd.load(at) for at in places[:n_sums]]


def emit_products(
    simd: Elements,
    tile: Tile,
    products: Products,
    rows: Rows,
    weight: Any,
    length: Any,
    sums: list[Any],
    shift: Any = None,
    ask: Ask | None = None,
) -> list[Any]:
    """`sums` plus the products of a run: row[k] * weight[k][column] for k below `length`, which is at least 1.

    With `shift`, which is added to all rows, one more row of sums is that of the shift itself.
    """
    b = simd.b
    step_bytes = tile.vectors * simd.vector_bytes
    n_registers = (tile.rows + 1) * tile.vectors + 1
    may_pair = not simd.v.abilities.has_32_registers and products.n_together == 1
    is_paired = may_pair and tile.rows >= PAIRED_ROWS and n_registers <= PAIRED_REGISTERS
    has_streams = may_pair and tile.rows == 1

    def step(k: Any, sums: list[Any]) -> list[Any]:
        position = simd.at(weight, b.mul(k, I64(step_bytes)))
        for line in range(0, 0 if is_paired or has_streams else step_bytes, LINE_BYTES):
            simd.prefetch(simd.at(position, PREFETCH_BYTES + line))
        columns = [simd.load(simd.at(position, v * simd.vector_bytes)) for v in range(tile.vectors)]
        advance = b.mul(k, I64(simd.item_bytes))
        result = list(sums)
        for r, element in enumerate(_of_rows(simd, rows(advance), shift)):
            for v, column in enumerate(columns):
                k = r * tile.vectors + v
                if products.n_together == 1:
                    result[k] = simd.v.fma(element, column, sums[k])
                else:
                    result[k] = add_words(simd.v, products, sums[k], element, column)
        return result

    def round_of(k: Any, sums: list[Any]) -> list[Any]:
        if ask is not None and ask.every is None:
            simd.prefetch(ask.at(k))
        return step(b.add(k, I64(1)), step(k, sums)) if is_paired else step(k, sums)

    def rounds(end: Any, at_least_once: bool) -> list[Any]:
        walk = partial(loop, b, body=round_of, step=1 + is_paired)
        if ask is None or ask.every is None:
            return walk(I64(0), end, sums, at_least_once=at_least_once)

        def line(number: Any, sums: list[Any]) -> list[Any]:
            begin = b.mul(number, ask.every)
            simd.prefetch(ask.at(begin))
            return walk(begin, minimum(b, b.add(begin, ask.every), end), sums, at_least_once=True)

        n_lines = b.udiv(b.add(end, b.sub(ask.every, I64(1))), ask.every)
        return loop(b, I64(0), n_lines, sums, line, at_least_once=at_least_once)

    def abreast(k: Any, sums: list[Any]) -> list[Any]:
        for stream in range(STREAMS):
            sums = step(b.add(k, b.mul(share, I64(stream))), sums)
        return sums

    n_steps = length if products.n_together == 1 else b.udiv(length, I64(products.n_together))
    if has_streams:
        share = b.udiv(n_steps, I64(STREAMS))
        sums = loop(b, I64(0), share, sums, abreast)
        return loop(b, b.mul(share, I64(STREAMS)), n_steps, sums, step)
    if not is_paired:
        return rounds(n_steps, at_least_once=True)
    last = b.sub(n_steps, I64(1))
    sums = rounds(last, at_least_once=False)
    return when(b, b.icmp_signed("==", b.and_(n_steps, I64(1)), I64(1)), lambda: step(last, sums), sums)


def asking(simd: Elements, first: Any, step_bytes: Any, every: Any = None) -> Ask:
    """Asks for the memory that begins at the address `first` and has so many bytes for each step."""
    at = simd.pointer(first)
    return Ask(lambda k: simd.at(at, simd.b.mul(k, step_bytes)), every)


def apart(simd: Elements, firsts: list[Any]) -> Rows:
    """Rows that begin anywhere."""
    return lambda advance: [simd.at(first, advance) for first in firsts]


def evenly_spaced(simd: Elements, first: Any, row_bytes: Any, n_rows: int) -> Rows:
    """Rows whose distance is known: where x86 loads, it adds a power of two times an odd multiple of it to one pointer.

    14 pointers of their own are more than it has registers for. LLVM must not know where the one comes from: it would
    go from row to row by additions.
    """
    b = simd.b
    odd = {m: b.mul(row_bytes, I64(m)) for m in range(1, n_rows, 2)}
    hidden = ir.InlineAsm(ir.FunctionType(first.type, [first.type]), "", "=r,0")

    def at(advance: Any) -> list[Any]:
        moving = b.call(hidden, [simd.at(first, advance)])
        powers = [(r & -r).bit_length() - 1 for r in range(1, n_rows)]
        return [moving, *(simd.at(moving, b.shl(odd[r >> p], I64(p))) for r, p in enumerate(powers, 1))]

    return at


def _of_rows(simd: Elements, rows: list[Any], shift: Any) -> Iterator[Any]:
    """What each row multiplies the weights with, in all lanes."""
    for pointer in rows:
        element = simd.broadcast(pointer)
        yield element if shift is None else simd.b.xor(element, shift)
    if shift is not None:
        yield shift


def row_pointer(simd: Elements, source: Any, zero_page: Any, element_bytes: int, offset: Any) -> Any:
    """Where a row's run starts; taps outside the input (-1) read zeros."""
    b = simd.b
    inside = simd.at(source, b.mul(offset, I64(element_bytes)))
    return b.select(b.icmp_signed("<", offset, I64(0)), zero_page, inside)


def by_rows(builder: Any, tiles: Sequence[Tile], n_rows: Any, emit_for: Callable[[Tile], None]) -> None:
    """Emits code for each of several tiles, of which the one with `n_rows` rows runs."""
    if len(tiles) == 1:
        emit_for(tiles[0])
        return
    for tile in tiles:
        with builder.if_then(builder.icmp_signed("==", n_rows, I64(tile.rows))):
            emit_for(tile)


def with_masks(
    simd: Elements, tile: Tile, n_columns: Any, has_masks: bool, emit_for: Callable[[list[Any]], None]
) -> None:
    """Emits code for the columns that exist: masked when masks are free, else in two variants, whole and partial."""
    b = simd.b

    def masks() -> list[Any]:
        return [simd.v.below(b.sub(n_columns, I64(v * tile.lanes))) for v in range(tile.vectors)]

    if has_masks:
        emit_for(masks())
        return
    with b.if_else(b.icmp_signed(">=", n_columns, I64(tile.columns)), likely=True) as (whole, partial):
        with whole:
            emit_for([None] * tile.vectors)
        with partial:
            emit_for(masks())
