"""Offset tables are small, whatever the batch and the kernel, and are given back."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from symc.codegen.contraction.geometry import Geometry, source_offsets
from symc.codegen.contraction.tables import images_per_table, pixel_tables, tile_tables
from symc.codegen.cpu.contraction import plan_contraction, schedule_contraction
from symc.codegen.cpu.target import host_target
from symc.codegen.kernel import Table
from tests.codegen.contractions import bias_residual_relu, check, contraction, strided_gradient, with_plan


def test_tables_repeat_over_large_batches(target):
    c = contraction(batch=6, channels=(3, 8), inputs=(24, 28), epilogue=bias_residual_relu)
    call = check(c, target)
    tables = sum(w.data.nbytes for w in call.words if isinstance(w, Table))
    assert tables < 6 * 24 * 28 * 9 * 4 / 2


@pytest.mark.parametrize("batch", [1, 7, 12, 97, 36, 1 << 20, 999_983, (1 << 40) - 87])
@pytest.mark.parametrize("pixels, n_rows", [(1, 14), (49, 6), (12544, 14)])
def test_images_of_a_table_are_the_fewest_that_fill_its_tiles(batch, pixels, n_rows):
    images = images_per_table(batch, pixels, n_rows)
    assert batch % images == 0

    def is_full(n):
        return n * pixels >= 1024 and -(-n * pixels // n_rows) * n_rows <= n * pixels * 1.02

    assert is_full(images) or images == batch
    assert not any(is_full(n) for n in range(1, min(images, 5000)) if batch % n == 0)


KINDS = [("data_gradient", 1), ("data_gradient", 4), ("weight_gradient", 4)]
LARGE = [((64, 64), 32, (6, 7)), ((4096,), 2048, (20,)), ((16, 16, 16), 8, (3, 4, 3))]


# One line of 4096 in one group takes half a minute and shows nothing that four groups do not.
@pytest.mark.parametrize(
    "kernel, stride, inputs, kind, groups",
    [(*large, *kind) for large in LARGE for kind in KINDS if (len(large[0]), *kind) != (1, "data_gradient", 1)],
)
def test_tables_of_large_kernels_are_as_large_as_what_rows_see(kernel, stride, inputs, kind, groups):
    """Not as all taps of all rows: the first of these would take 0.9 GB, were they looked at one by one."""
    target = host_target()
    c = strided_gradient(kernel, stride, inputs, kind, groups=groups, channels=(4, 4))
    tracemalloc.start()
    try:
        (call,) = schedule_contraction(with_plan(c, plan_contraction(c, target)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    n_rows = np.prod(c.window.in_extents)
    assert sum(w.data.nbytes for w in call.words if isinstance(w, Table)) < 100 * n_rows
    assert peak < 1.2e8 < np.prod(kernel) * n_rows


def test_tables_are_given_back(monkeypatch):
    """Images of many sizes: what is kept for the next one has a bound in bytes, not in number."""
    target, limit = host_target(), 1 << 20
    for kind, kept in (("forward", tile_tables.cache), ("weight_gradient", pixel_tables.cache)):
        kept.clear()
        monkeypatch.setattr(kept, "limit", limit)
        for extent in range(30, 50):
            c = contraction(kind, inputs=(extent, 2 * extent), kernel=(7, 7), pad=(3, 3), dilate=(2, 1))
            schedule_contraction(with_plan(c, plan_contraction(c, target)))
            assert kept.weight <= limit
        assert 0 < len(kept) < 20


@pytest.mark.parametrize("n_rows", [1, 4])
def test_large_images_have_the_offsets_of_small_ones(n_rows):
    """More than 8192 pixels, beyond which numpy.unravel_index is wrong for an array of one column."""
    height, width = 130, 140
    g = Geometry(1, (height, width), (height, width), 0, (width, 1), (1, 1), (2, 3), (1, 1), (-1, -1), channels=1)
    y, x = np.divmod(np.arange(height * width)[:, None], width)
    row, column = np.divmod(np.arange(6)[None, :], 3)
    y, x = y + row - 1, x + column - 1
    wanted = np.where((y >= 0) & (y < height) & (x >= 0) & (x < width), y * width + x, -1)
    np.testing.assert_array_equal(source_offsets(g), wanted)
    tables = tile_tables(g, n_rows)
    found = np.full_like(wanted, -1)
    for first, count, *rows in tables.tiles.tolist():
        for tap, _, *offsets in tables.segments[first : first + count].tolist():
            found[rows, tap] = offsets
    np.testing.assert_array_equal(found, wanted)
