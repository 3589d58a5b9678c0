"""What the CPU asks of the graph beside what all tiles do: words of channels, and rows that stay in its caches."""

from __future__ import annotations

from functools import partial

from symc.codegen.contraction import preferences
from symc.codegen.contraction.preferences import fits_prologue as fits_prologue
from symc.codegen.contraction.preferences import layout_of as layout_of
from symc.codegen.cpu.contraction.planner import FILLING_BYTES
from symc.codegen.cpu.contraction.products import KINDS, PER_WORD
from symc.core.shapes import size_of
from symc.loopir.tensor import Product

fits_epilogue = partial(preferences.fits_epilogue, takes_rows=True)

SECTIONS = (2, 4)  # that register tiles hold; of three, a GRU of 16 sentences took 2 % longer with one thread
# Of a row, so that it and what is computed from it stay in the caches of a core while it is walked several times: the
# elements of one that is contiguous, and of one whose elements lie in as many cache lines, with its neighbours beside.
NEAR_ROW, NEAR_COLUMN = 16_384, 1024
# What one step may read and write so that the next one finds it in L2, or in a core's share of L3.
NEAR_BYTES = 1 << 20
# An LSTM's product of 560 rows of 4 KB and its steps, which read these, take 5 to 8 % less time with gaps (Zen 3).
WAY_BYTES, GAP_BYTES = 4096, 64
# 56x56, 28x28, 14x14: 0.55, 0.53, 0.67 ms beside 0.98, 0.96, 0.94 of bfloat16; 7x7 1.23 ms beside 0.90.
FILTERED_PIXELS = 100


def channels_together(product: Product, dtype: str) -> int | None:
    """A tile multiplies words of four bytes or two int16 or bfloat16; not of stacked data, nor channels one by one."""
    if product.kind not in KINDS.get(dtype, ()) or product.stack is not None:
        return None
    n = PER_WORD[dtype]
    return n if product.groups == 1 or product.summed_channels % n == 0 else None


def is_better_filtered(product: Product, n_lanes: int) -> bool:
    """Whether Winograd's algorithm, in float32 and so more exact, takes less time than pairs of bfloat16."""
    w = product.window
    is_filter = w.kernel == (3, 3) and w.stride == w.dilate == (1, 1) and product.groups == 1
    n_pixels = product.sizes[0] * size_of(w.out_extents)
    return is_filter and product.summed_channels % n_lanes == 0 and n_pixels >= FILTERED_PIXELS


def fits_sections(product: Product, dtype: str, n: int) -> bool:
    """A panel of a layer's weights holds columns of all sections, in vectors of their own.

    Not for one row, where an LSTM's step took 1 % longer with one thread.
    """
    is_layer = product.kind == "forward" and product.stack is None and not product.window.kernel
    n_rows, _, _ = product.sizes
    return is_layer and n_rows > 1 and product.groups == 1 and dtype not in PER_WORD and n in SECTIONS


def wants_columns(n_rows: int, weight_bytes: int, n_lanes: int) -> bool:
    """Rows that, as columns, fill a panel of two vectors, times weights that fill L2.

    The panel of 16 KB stays in L1 while the weights stream by once; of rows, L1 holds no panel of weights beside them.
    """
    return n_rows == 2 * n_lanes and weight_bytes >= FILLING_BYTES


def gap_behind(row_bytes: int) -> int:
    """A cache line behind rows that would all begin in the same set of L1."""
    return GAP_BYTES if row_bytes and row_bytes % WAY_BYTES == 0 else 0


def keeps_near(n_elements: int, is_contiguous: bool) -> bool:
    """Rows of up to 64 KB, and columns of 1024 cache lines, are read from L2 at worst when they are walked again."""
    return n_elements <= (NEAR_ROW if is_contiguous else NEAR_COLUMN)
