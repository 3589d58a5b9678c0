"""Register tiles: what one call of a micro-kernel computes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """`rows` x (`vectors` x `lanes`) sums, which stay in registers over the whole reduction."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        return self.vectors * self.lanes

    @property
    def record_bytes(self) -> int:
        """The size of a record of `TileTables`: two int32 numbers and one for each row."""
        return 4 * (2 + self.rows)

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns} ({self.vectors} vectors of {self.lanes})"
