"""A ring of source lines for a depthwise kernel with few registers: how it is cut, and what its code depends on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from symc.codegen.contraction.geometry import Geometry
from symc.codegen.contraction.tables import Line

# A ring stays in L1, 32 KB, beside what is read and stored. 128x56x56 in strips of 14, 28 and 56 columns of 4 vectors,
# 6, 12 and 22 KB: 132, 132 and 145 us (Zen 3).
RING_BYTES = 14 << 10


@dataclass(frozen=True)
class Ring:
    """How an image falls into strips, and what the code that walks down them depends on: all but `n_blocks`.

    n_lines, line_stride  lines of taps, and by how many lines of the source two rows of outputs are apart
    line                  the taps of a line
    columns               outputs beside each other whose sums are in registers together
    n_blocks              as many of them beside each other are a strip; the last one may have fewer
    position_bytes        channels of a position, all in whole vectors
    """

    n_lines: int
    line_stride: int
    line: Line
    columns: int
    n_blocks: int
    position_bytes: int

    @staticmethod
    def of(g: Geometry, columns: int, position_bytes: int) -> Ring:
        """As few strips of about the same width as L1 has room for, of blocks of so many columns."""
        n_blocks = g.row_extents[1] // columns
        ring = Ring(g.taps[0], g.scale[0], Line(g.taps[1], g.scale[1]), columns, max(1, n_blocks), position_bytes)
        n_strips = 1
        while ring.n_bytes > RING_BYTES and ring.n_blocks > 1:
            n_strips += 1
            ring = replace(ring, n_blocks=-(-n_blocks // n_strips))
        return ring

    @property
    def width(self) -> int:
        """Columns of a strip."""
        return self.columns * self.n_blocks

    @property
    def line_bytes(self) -> int:
        """A line of the ring."""
        return self.line.n_positions(self.width) * self.position_bytes

    @property
    def n_bytes(self) -> int:
        """All lines of the ring."""
        return self.n_lines * self.line_bytes

    @property
    def fits(self) -> bool:
        """Whether L1 and 16 registers have room for what is needed at once: sums, a line's weights, what is read."""
        return self.n_bytes <= RING_BYTES and self.columns + self.line.n_taps + 1 <= 16

    @property
    def n_kept(self) -> int:
        """Lines of taps that a row of outputs shares with the row above it."""
        return max(0, self.n_lines - self.line_stride)

    def __str__(self) -> str:
        steps = f"{self.line_stride}x{self.line.stride}"
        return f"{self.columns} columns at once, {self.n_lines}x{self.line.n_taps} taps in steps of {steps}"
