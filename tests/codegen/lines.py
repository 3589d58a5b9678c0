"""Lines of numbers that are hard to sort."""

from __future__ import annotations

import numpy as np

rng = np.random.default_rng(0)


def awkward(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Many ties; in floats also both zeros, infinities and NaN."""
    values = rng.integers(0 if dtype == "uint8" else -9, 10, shape).astype(dtype)
    if dtype.startswith("float"):
        special = rng.integers(0, 12, shape)
        for k, number in enumerate((np.nan, -np.inf, np.inf, -0.0)):
            values[special == k] = number
    return values
