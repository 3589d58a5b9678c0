"""Depthwise windows strip by strip: a few columns of outputs, one vector of channels wide, walked downwards.

    y[row, column, c] = sum over taps of  w[tap, c] * x[position(row, column, tap), c]

Each position of the source is read once and serves every output of the strip that sees it, in all rows that are not
finished. Their sums and all weights stay in registers: 3x3 windows over 7 columns take 9 loads for 63 products.
"""

# mypy: disable-error-code="no-untyped-def"
# (arguments of intrinsics are LLVM values)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symc.codegen.contraction.epilogue import Epilogue
from symc.codegen.contraction.geometry import Geometry
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import Chunks, KernelCall, KernelCode, Ref, Table
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I64
from symc.codegen.llvm.loops import loop, when
from symc.codegen.llvm.memory import Elements
from symc.core.dtypes import ITEM_SIZE

from .micro import vectors_of, with_masks
from .plan import StripPlan
from .stores import Place, emit_stores
from .strip import Strip
from .tile import Tile

SOURCE = '''
def kernel(chunk, n_chunks, desc, bufs):
    """Depthwise sums over windows, strip by strip: {shape}.

    {epilogue}
    """
    {words}
    first_unit = chunk * n_units // n_chunks
    last_unit = (chunk + 1) * n_units // n_chunks
    for strip in range(first_unit // n_panels, (last_unit + n_panels - 1) // n_panels):
        image = strip // n_strips
        column = (strip - image * n_strips) * {columns}
        for panel in range(max(0, first_unit - strip * n_panels), min(n_panels, last_unit - strip * n_panels)):
            walk(desc, bufs, x + image * x_image_bytes + panel * {panel_bytes}, factor + panel * factor_panel_bytes,
                 zero_page, column * {stride} + position_shift, n_positions, position_bytes,
                 line_shift, n_lines, line_bytes,
                 image * height * width + column, height, width, panel * {lanes}, n_channels - panel * {lanes})
'''


@dataclass(frozen=True)
class StripProblem:
    """Sums over windows of each channel alone; `geometry` is that of one image, its strides in elements."""

    dtype: str
    x: Ref
    factor: Ref
    geometry: Geometry
    images: int
    channels: int
    epilogue: Epilogue


def emit(problem: StripProblem, plan: StripPlan) -> KernelCall:
    """The kernel and its call; units are (image, strip, panel of channels)."""
    g, tile = problem.geometry, plan.tile
    d = Descriptor()
    d.add("x", problem.x)
    d.add("factor", problem.factor)
    d.add("zero_page", Table(np.zeros(tile.columns, problem.dtype)))
    n_strips, n_panels = g.row_extents[1] // tile.rows, -(-problem.channels // tile.columns)
    d.add("n_units", problem.images * n_strips * n_panels)
    d.add("n_strips", n_strips)
    d.add("n_panels", n_panels)
    add_windows(d, problem, tile)
    problem.epilogue.add_to(d)
    return KernelCall(
        _code(problem.dtype, Strip.of(g, tile.rows), plan, problem.epilogue, d),
        tuple(d.words),
        Chunks(plan.blocking.n_chunks),
        plan.why,
    )


def add_windows(d: Descriptor, problem: StripProblem, tile: Tile) -> None:
    """The words that say what the windows of an image read, and where panels of channels lie."""
    item, g = ITEM_SIZE[problem.dtype], problem.geometry
    d.add("height", g.row_extents[0])
    d.add("width", g.row_extents[1])
    d.add("x_image_bytes", g.image_stride * item)
    d.add("factor_panel_bytes", g.n_taps * tile.columns * item)
    d.add("n_channels", problem.channels)
    for name, axis in (("line", 0), ("position", 1)):
        d.add(f"n_{name}s", g.source_extents[axis])
        d.add(f"{name}_bytes", g.source_strides[axis] * item)
        d.add(f"{name}_shift", g.shift[axis])


def _code(dtype: str, shape: Strip, plan: StripPlan, epilogue: Epilogue, d: Descriptor) -> KernelCode:
    stores, tile = epilogue.structure(), plan.tile
    structure = f"strips {dtype} of {tile.lanes} channels: {shape}; masks={plan.has_avx512}: {stores}"
    source = SOURCE.format(
        shape=shape,
        epilogue=stores,
        words="\n    ".join(d.lines()),
        columns=shape.columns,
        stride=shape.line.stride,
        lanes=tile.lanes,
        panel_bytes=tile.lanes * ITEM_SIZE[dtype],
    ).lstrip()

    def build() -> Callable[..., Any]:
        scope = {"walk": _walk(dtype, shape, plan, epilogue, d)}
        exec(source, scope)
        return scope["kernel"]

    return KernelCode("strips", structure, lambda: source, build)


def _walk(dtype: str, shape: Strip, plan: StripPlan, epilogue: Epilogue, d: Descriptor) -> Any:
    """The intrinsic that walks down a strip from its first row, whose first output is number `row`.

    `first` is the column of the source that its first position lies in.
    """

    @intrinsic
    def walk(
        b, desc, bufs, x, factor, zero_page, first, n_positions, position_bytes, line_shift, n_lines, line_bytes,
        row, height, width, channel, n_channels,
    ):  # fmt: skip
        simd = vectors_of(b, dtype, plan.tile.lanes, plan.has_avx512)

        def finish(masks: list[Any]) -> None:
            line = _Line(simd, shape, zero_page, first, n_positions, position_bytes, masks[0])
            sums = _Sums(simd, shape, simd.pointer(factor), masks[0])

            def add(q: Any, tap_line: int, found: list[Any]) -> list[Any]:
                y = b.add(b.mul(q, I64(shape.line_stride)), b.add(line_shift, I64(tap_line)))

                def compute() -> list[Any]:
                    return sums.add(found, tap_line, line.positions(b.add(x, b.mul(y, line_bytes))))

                return when(b, b.icmp_unsigned("<", y, n_lines), compute, found)

            def step(q: Any, unfinished: list[Any]) -> list[Any]:
                found = unfinished
                for tap_line in shape.new_lines:
                    found = add(q, tap_line, found)
                at = b.add(row, b.mul(q, width))
                place = Place([b.add(at, I64(r)) for r in range(shape.columns)], channel, n_channels, masks)
                emit_stores(simd, epilogue, d, desc, bufs, [[total] for total in found[: shape.columns]], place)
                return found[shape.columns :]

            unfinished = sums.nothing * shape.n_unfinished
            for tap_line in range(shape.n_lines - shape.line_stride):
                unfinished = add(I64(0), tap_line, unfinished)
            bottom = b.sub(height, I64(1))
            unfinished = loop(b, I64(0), bottom, unfinished, lambda q, below: step(q, below + sums.nothing))
            step(bottom, (unfinished or sums.nothing)[: shape.columns])

        with_masks(simd, plan.tile, n_channels, plan.has_avx512, finish)

    return walk


class _Line:
    """A line of the source under a strip; positions beside the source are zeros."""

    def __init__(
        self, simd: Elements, shape: Strip, zero_page: Any, first: Any, n_positions: Any, position_bytes: Any, mask: Any
    ) -> None:
        b = simd.b
        self.simd, self.shape, self.zero_page, self.mask = simd, shape, simd.pointer(zero_page), mask
        columns = [b.add(first, I64(k)) for k in range(shape.n_positions)]
        self.is_inside = [b.icmp_unsigned("<", column, n_positions) for column in columns]
        self.offsets = [b.mul(column, position_bytes) for column in columns]

    def positions(self, line: Any) -> list[Any]:
        """The elements at all positions of the line at this address."""
        simd, found = self.simd, []
        for k, at in enumerate([simd.pointer(simd.b.add(line, offset)) for offset in self.offsets]):
            if self.shape.is_beside(k):
                at = simd.b.select(self.is_inside[k], at, self.zero_page)
            found.append(simd.load(at, self.mask))
        return found


class _Sums:
    """The sums of a row of outputs, then those of the rows below it, as many as are there."""

    def __init__(self, simd: Elements, shape: Strip, factor: Any, mask: Any) -> None:
        self.simd, self.shape = simd, shape
        n_taps = shape.n_lines * shape.line.n_taps
        self.weights = [simd.load(simd.at(factor, k * simd.vector_bytes), mask) for k in range(n_taps)]
        self.nothing = [simd.zero] * shape.columns  # of one row

    def add(self, sums: list[Any], tap_line: int, positions: list[Any]) -> list[Any]:
        """`sums` and what a line of the source adds, which lies under `tap_line` of the first row."""
        shape, sums = self.shape, list(sums)
        for position, value in enumerate(positions):
            for tap, column in shape.line.readers(position, shape.columns):
                for below in range(len(sums) // shape.columns):
                    line, k = tap_line - below * shape.line_stride, below * shape.columns + column
                    if line >= 0:
                        weight = self.weights[line * shape.line.n_taps + tap]
                        sums[k] = self.simd.v.fma(value, weight, sums[k])
        return sums
