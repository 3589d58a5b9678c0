"""Strips of a depthwise kernel: which outputs are computed together, and what the code of one depends on."""

from __future__ import annotations

from dataclasses import dataclass

from symc.codegen.contraction.geometry import Geometry
from symc.codegen.contraction.tables import Line


@dataclass(frozen=True)
class Strip:
    """What the code of a strip depends on.

    n_lines, line_stride  lines of taps, and by how many lines of the source two rows of outputs are apart
    line                  the taps of a line
    columns               outputs beside each other
    before, behind        positions that lie beside the source in the first strip, in the last one
    """

    n_lines: int
    line_stride: int
    line: Line
    columns: int
    before: int
    behind: int

    @staticmethod
    def of(g: Geometry, columns: int) -> Strip:
        line, shift = Line(g.taps[1], g.scale[1]), g.shift[1]
        n_positions = line.n_positions(columns)
        last = (g.row_extents[1] - columns) * line.stride + shift + n_positions - 1
        before, behind = (min(n_positions, max(0, n)) for n in (-shift, last + 1 - g.source_extents[1]))
        return Strip(g.taps[0], g.scale[0], line, columns, before, behind)

    @property
    def n_positions(self) -> int:
        """Positions of a line of the source that a strip reads."""
        return self.line.n_positions(self.columns)

    @property
    def n_unfinished(self) -> int:
        """Rows of outputs that see some, but not all, of their lines when a row above them is finished."""
        return (self.n_lines - 1) // self.line_stride

    @property
    def new_lines(self) -> range:
        """The lines of taps of a row that the row above does not see."""
        return range(max(0, self.n_lines - self.line_stride), self.n_lines)

    @property
    def n_registers(self) -> int:
        """Vectors that are needed at once: sums, weights, and what is read."""
        return (1 + self.n_unfinished) * self.columns + self.n_lines * self.line.n_taps + 1

    def is_beside(self, position: int) -> bool:
        """Whether a position may lie beside the source."""
        return position < self.before or position >= self.n_positions - self.behind

    def __str__(self) -> str:
        steps = f"{self.line_stride}x{self.line.stride}"
        windows = f"{self.n_lines}x{self.line.n_taps} taps in steps of {steps}"
        return f"{self.columns} columns, {windows}, {self.before} and {self.behind} positions beside the source"
