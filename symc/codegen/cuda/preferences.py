"""What a GPU asks of the graph beside what all tiles do."""

from __future__ import annotations

NEAR_ROW, NEAR_COLUMN = (
    16_384,
    1024,
)  # elements that a block walks several times: they stay in L1 or L2


def keeps_near(n_elements: int, is_contiguous: bool) -> bool:
    """Rows of up to 64 KB; columns, which many threads walk side by side, of 1024 elements."""
    return n_elements <= (NEAR_ROW if is_contiguous else NEAR_COLUMN)
