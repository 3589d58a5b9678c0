"""What a GPU asks of the graph beside what all tiles do."""

from __future__ import annotations

from symc.codegen.cuda.contraction.tile import SECTIONS
from symc.core.dtypes import BYTES
from symc.loopir.tensor import Product

NEAR_ROW, NEAR_COLUMN = 16_384, 1024  # elements that a block walks several times: they stay in L1 or L2


def channels_together(product: Product, dtype: str) -> int | None:
    """Tensor cores multiply words of neighbours: four bytes, or pairs of float16.

    In a weight gradient what is summed are pixels, and channels must come in pairs.
    """
    if dtype == "float16" and product.kind == "weight_gradient":
        return 1 if not any(n // product.groups % 2 for n in product.sizes[1:]) else None
    if dtype == "float16":
        return 2
    if dtype not in BYTES or product.kind != "forward":
        return None
    is_filled_up = product.groups == 1 and product.stack is None
    return 4 if is_filled_up or product.summed_channels % 4 == 0 else None


def keeps_near(n_elements: int, is_contiguous: bool) -> bool:
    """Rows of up to 64 KB; columns, which many threads walk side by side, of 1024 elements."""
    return n_elements <= (NEAR_ROW if is_contiguous else NEAR_COLUMN)


def fits_sections(product: Product, dtype: str, n: int) -> bool:
    """A tile of a layer's results may have the same columns of each of 4 gates."""
    is_layer = product.kind == "forward" and product.stack is None and not product.window.kernel
    return is_layer and product.groups == 1 and dtype == "float32" and n == SECTIONS
