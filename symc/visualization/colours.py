"""The colours of drawings: one for each kind of operator, and as many as there are kernels."""

from __future__ import annotations

import colorsys
from typing import TYPE_CHECKING

from .picture import Colour

if TYPE_CHECKING:
    from symc.ir.op import Op

INPUT = Colour("input", "#e6f4ef", "#3d9a7c")
MEMORY = Colour("memory", "#f4f4f2", "#8a8a86")
_PRODUCT = Colour("convolution, product", "#fde7e2", "#d2604a")
_NORM = Colour("normalisation", "#ece9f7", "#7a67b5")
_ACTIVATION = Colour("activation", "#fff6cf", "#b8941c")
_POOLING = Colour("pooling", "#e0eef8", "#4385ba")
_MOVEMENT = Colour("shape, order", "#fdecd9", "#cf842c")
_LOSS = Colour("softmax, loss", "#e8f4da", "#6b9c3b")
_ARITHMETIC = Colour("arithmetic", "#f8e5ef", "#b95a8d")
_OTHER = Colour("other operator", "#eeeeec", "#7c7c78")

# The family file an operator lives in -> its colour.
_FAMILIES = {
    "convolution": _PRODUCT, "dense": _PRODUCT,
    "batch_norm": _NORM, "norm": _NORM,
    "activation": _ACTIVATION,
    "pooling": _POOLING,
    "reshape": _MOVEMENT, "movement": _MOVEMENT, "slicing": _MOVEMENT, "indexing": _MOVEMENT, "padding": _MOVEMENT,
    "softmax": _LOSS, "loss": _LOSS,
    "elementwise": _ARITHMETIC, "binary": _ARITHMETIC, "reduce": _ARITHMETIC,
}  # fmt: skip
_GOLDEN_ANGLE = 0.381966  # of a turn: hues that follow each other differ most
_N_HUES = 8  # then hues come close to earlier ones, and get darker


def of_operator(op: Op | None) -> Colour:
    """The colour of an operator's kind; None is a variable."""
    return INPUT if op is None else _FAMILIES.get(op.family, _OTHER)


def of_kernel(number: int, meaning: str) -> Colour:
    """The colour of the n-th kernel of a program."""
    hue = (0.58 + number * _GOLDEN_ANGLE) % 1
    is_pale = number // _N_HUES % 2 == 0
    return Colour(meaning, _hex(hue, 0.94 if is_pale else 0.86, 0.75), _hex(hue, 0.45 if is_pale else 0.33, 0.5))


def _hex(hue: float, lightness: float, saturation: float) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in colorsys.hls_to_rgb(hue, lightness, saturation))
