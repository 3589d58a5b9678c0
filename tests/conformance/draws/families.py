"""Which generator draws the cases of an operator."""

from __future__ import annotations

from typing import Dict

from . import elements, layers, matrices, movement
from .draw import Generator

GENERATORS: Dict[str, Generator] = {
    **elements.GENERATORS,
    **movement.GENERATORS,
    **layers.GENERATORS,
    **matrices.GENERATORS,
}
ONEDNN = (
    "_contrib_BatchNormWithReLU",
    "_contrib_quantize",
    "_contrib_quantized",
    "_contrib_dequantize",
    "_contrib_requantize",
)


def needs_onednn(op: str) -> bool:
    """Whether MXNet has the operator's kernels there alone."""
    return op.startswith(ONEDNN)
