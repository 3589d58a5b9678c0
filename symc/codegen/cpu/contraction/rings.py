"""Depthwise windows from a ring of lines: strips of columns, walked downwards, for machines with 16 registers.

    y[row, column, c] = sum over taps of  w[tap, c] * x[position(row, column, tap), c]

Sums of several rows and all weights do not find room in so few registers, so a row is summed up at once, and reads
lines that the row above it has read. In the source a line's positions are far apart, and where that is a power of two
bytes they evict each other from L1. So each line of the strip is copied once, side by side, into a ring of as many as
there are lines of taps; zeros stand there for what lies beside the source. 3x3 windows over 7 columns take 36 loads
from near memory for 63 products.
"""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symc.codegen.contraction.epilogue import Epilogue
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I8, I64
from symc.codegen.llvm.loops import loop, minimum
from symc.codegen.llvm.memory import LINE_BYTES, Elements
from symc.core.dtypes import ITEM_SIZE

from .micro import vectors_of, with_masks
from .plan import RingPlan
from .ring import RING_BYTES, Ring
from .stores import EvenRows, Place, emit_stores
from .strips import StripProblem, add_windows

SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Depthwise sums over windows from a ring of lines: {shape}.

    {epilogue}
    """
    {words}
    for unit in range(chunk * n_units // n_chunks, (chunk + 1) * n_units // n_chunks):
        strip = unit // n_panels
        panel = unit - strip * n_panels
        band = strip // n_strips
        column = (strip - band * n_strips) * strip_columns
        image = band // n_bands
        top = (band - image * n_bands) * band_rows
        bottom = min(top + band_rows, height)
        walk(desc, bufs, x + image * x_image_bytes + panel * {position_bytes}, factor + panel * factor_panel_bytes,
             column * {stride} + position_shift, n_positions, position_bytes, line_shift, n_lines, line_bytes,
             image * height * width + column, top, bottom, width, min(strip_columns, width - column), ring_line_bytes,
             panel * {channels}, n_channels - panel * {channels})
'''


def emit(problem: StripProblem, plan: RingPlan) -> KernelCall:
    """The kernel and its call; units are (image, band of rows, strip, panel of channels)."""
    g, tile, band_rows = problem.geometry, plan.tile, plan.blocking.block_tiles
    d = Descriptor()
    d.add("x", problem.x)
    d.add("factor", problem.factor)
    n_bands, n_strips = (-(-n // size) for n, size in zip(g.row_extents, (band_rows, plan.ring.width)))
    n_panels = -(-problem.channels // tile.columns)
    d.add("n_units", problem.images * n_bands * n_strips * n_panels)
    d.add("n_bands", n_bands)
    d.add("band_rows", band_rows)
    d.add("n_strips", n_strips)
    d.add("n_panels", n_panels)
    d.add("strip_columns", plan.ring.width)
    d.add("ring_line_bytes", plan.ring.line_bytes)
    add_windows(d, problem, tile)
    problem.epilogue.add_to(d)
    code = _code(problem.dtype, plan, problem.epilogue, d)
    return KernelCall(code, tuple(d.words), Chunks(plan.blocking.n_chunks), plan.why)


def _code(dtype: str, plan: RingPlan, epilogue: Epilogue, d: Descriptor) -> KernelCode:
    stores, tile, ring = epilogue.structure(), plan.tile, plan.ring
    structure = f"rings {dtype} of {tile.vectors} x {tile.lanes} channels: {ring}; masks={plan.has_avx512}: {stores}"
    if plan.asks_ahead:
        structure = f"asking ahead, {structure}"
    source = SOURCE.format(
        shape=ring,
        epilogue=stores,
        words="\n    ".join(d.lines()),
        stride=ring.line.stride,
        channels=tile.columns,
        position_bytes=tile.columns * ITEM_SIZE[dtype],
    ).lstrip()

    def build() -> Callable[..., Any]:
        scope = {"walk": _walk(dtype, plan, epilogue, d)}
        exec(source, scope)
        return scope["kernel"]

    return KernelCode("rings", structure, lambda: source, build)


def _walk(dtype: str, plan: RingPlan, epilogue: Epilogue, d: Descriptor) -> Any:
    """The intrinsic that walks down a strip of so many columns, from row `top` to the one before row `bottom`.

    `first` is the column of the source that its first position lies in, `output` the number of its first output of
    row 0.
    """
    ring, tile = plan.ring, plan.tile

    @intrinsic
    def walk(
        b, desc, bufs, x, factor, first, n_positions, position_bytes, line_shift, n_lines, line_bytes,
        output, top, bottom, width, n_columns, ring_line_bytes, channel, n_channels,
    ):  # fmt: skip
        simd = vectors_of(b, dtype, tile.lanes, plan.has_avx512)
        with b.goto_entry_block():
            memory = b.alloca(I8, I64(RING_BYTES))
            memory.align = LINE_BYTES

        def finish(masks: list[Any]) -> None:
            lines = [simd.at(memory, b.mul(ring_line_bytes, I64(k))) for k in range(ring.n_lines)]
            read = b.add(b.mul(n_columns, I64(ring.line.stride)), I64(ring.line.n_taps - ring.line.stride))
            begin, end = (_within(b, place, read) for place in (b.neg(first), b.sub(n_positions, first)))
            copies = _Copies(simd, ring, begin, end, position_bytes, masks)
            for line in lines:
                copies.clear(line, I64(0), begin)
                copies.clear(line, end, read)
            corner, below = b.add(x, b.mul(first, position_bytes)), b.mul(line_bytes, I64(ring.line_stride))

            def bring(line: Any, row: Any, tap_line: int) -> None:
                y = b.add(b.mul(row, I64(ring.line_stride)), b.add(line_shift, I64(tap_line)))
                with b.if_else(b.icmp_unsigned("<", y, n_lines), likely=True) as (inside, beside):
                    with inside:
                        source = simd.pointer(b.add(corner, b.mul(y, line_bytes)))
                        copies.fill(line, source, below if plan.asks_ahead else None)
                    with beside:
                        copies.clear(line, begin, end)

            def step(row: Any, lines: list[Any]) -> list[Any]:
                for tap_line in range(ring.n_kept, ring.n_lines):
                    bring(lines[tap_line], row, tap_line)
                at = b.add(output, b.mul(row, width))

                def block(column: Any, _: list[Any]) -> list[Any]:
                    moved = b.mul(column, I64(ring.line.stride * ring.position_bytes))
                    rows = EvenRows(b.add(at, column), ring.columns)

                    def vector(v: Any, _: list[Any]) -> list[Any]:
                        near, before = b.mul(v, I64(simd.vector_bytes)), b.mul(v, I64(tile.lanes))
                        places = [simd.at(line, b.add(moved, near)) for line in lines]
                        sums = _sums(simd, ring, places, simd.at(simd.pointer(factor), near), masks[0])
                        place = Place(rows, b.add(channel, before), b.sub(n_channels, before), masks[:1])
                        emit_stores(simd, epilogue, d, desc, bufs, [[total] for total in sums], place)
                        return []

                    return loop(b, I64(0), I64(tile.vectors), [], vector, at_least_once=True)

                loop(b, I64(0), n_columns, [], block, step=ring.columns, at_least_once=True)
                return [*lines[ring.line_stride :], *lines[: ring.line_stride]]

            for tap_line in range(ring.n_kept):
                bring(lines[tap_line], top, tap_line)
            loop(b, top, bottom, lines, step)

        if tile.vectors > 1:  # panels of several vectors are whole
            finish([None] * tile.vectors)
        else:
            with_masks(simd, tile, n_channels, plan.has_avx512, finish)

    return walk


def _within(b: Any, place: Any, n: Any) -> Any:
    """The nearest place from 0 to n."""
    return minimum(b, b.select(b.icmp_signed("<", place, I64(0)), I64(0), place), n)


class _Copies:
    """What is written to lines of a ring, where positions from `begin` to `end` lie in the source."""

    def __init__(self, simd: Elements, ring: Ring, begin: Any, end: Any, position_bytes: Any, masks: list[Any]) -> None:
        self.simd, self.ring, self.begin, self.end = simd, ring, begin, end
        self.position_bytes, self.masks = position_bytes, masks

    def fill(self, line: Any, source: Any, below: Any | None) -> None:
        """Copies a line of the source, and asks for that which lies so many bytes below it."""
        simd = self.simd

        def load(position: Any) -> list[Any]:
            at = simd.at(source, simd.b.mul(position, self.position_bytes))
            for offset in range(0, 0 if below is None else self.ring.position_bytes, LINE_BYTES):
                simd.prefetch(simd.at(simd.at(at, below), offset))
            return [simd.load(simd.at(at, v * simd.vector_bytes), mask) for v, mask in enumerate(self.masks)]

        self._store(line, self.begin, self.end, load)

    def clear(self, line: Any, begin: Any, end: Any) -> None:
        """Zeros for positions that lie beside the source."""
        self._store(line, begin, end, lambda _: [self.simd.zero] * len(self.masks))

    def _store(self, line: Any, begin: Any, end: Any, values: Callable[[Any], list[Any]]) -> None:
        simd = self.simd

        def store(position: Any, _: list[Any]) -> list[Any]:
            at = simd.at(line, simd.b.mul(position, I64(self.ring.position_bytes)))
            for v, value in enumerate(values(position)):
                simd.store(value, simd.at(at, v * simd.vector_bytes))
            return []

        loop(simd.b, begin, end, [], store)


def _sums(simd: Elements, ring: Ring, lines: list[Any], factor: Any, mask: Any) -> list[Any]:
    """The sums of a block, whose first positions lie at these places of the ring's lines."""
    sums, n_taps = [simd.zero] * ring.columns, ring.line.n_taps
    for number, line in enumerate(lines):
        taps = range(number * n_taps, (number + 1) * n_taps)
        weights = [simd.load(simd.at(factor, tap * ring.position_bytes), mask) for tap in taps]
        for position in range(ring.line.n_positions(ring.columns)):
            value = simd.load(simd.at(line, position * ring.position_bytes))
            for tap, column in ring.line.readers(position, ring.columns):
                sums[column] = simd.v.fma(value, weights[tap], sums[column])
    return sums
