"""Sectors and conflicts of banks, of accesses that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from symc.testing.ptx.traffic import Traffic

LANES = np.arange(64)  # two warps


def counts(space: str, step: int, width: int, first: int = 0, lanes: np.ndarray = LANES) -> dict[str, int]:
    traffic = Traffic()
    traffic.note(space, (first + lanes * step).astype(np.uint64), lanes, width)
    return traffic.counts


@pytest.mark.parametrize(
    "step, width, first, n_sectors",
    [(4, 4, 0, 8), (4, 4, 16, 10), (8, 4, 0, 16), (32, 4, 0, 64), (1 << 20, 1, 0, 64), (0, 8, 0, 2), (16, 16, 0, 32)],
)
def test_sectors_of_global_memory(step, width, first, n_sectors):
    assert counts("global", step, width, first) == {"asked": 64 * width, "sectors": n_sectors}


@pytest.mark.parametrize(
    "step, width, served, least",
    [
        (4, 4, 2, 2),
        (8, 4, 4, 2),  # every second bank
        (128, 4, 64, 2),  # one bank
        (132, 4, 2, 2),  # a word of padding
        (0, 4, 2, 2),  # a word for all
        (1, 1, 2, 2),
        (68, 2, 2, 2),
        (8, 8, 4, 4),
        (264, 8, 4, 4),
        (256, 8, 64, 4),
        (16, 16, 8, 8),
    ],
)
def test_conflicts_of_banks(step, width, served, least):
    assert counts("shared", step, width) == {"served": served, "least": least}


def test_threads_that_do_not_take_part_ask_for_nothing():
    assert counts("global", 32, 4, lanes=LANES[5:9]) == {"asked": 16, "sectors": 4}
    assert counts("local", 4, 4) == {}
