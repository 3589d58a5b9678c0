"""Cases of CTCLoss: both blanks, lengths, repeated labels, sequences just long enough."""

from __future__ import annotations

from typing import Tuple

from .cases import Case, Shape

Numbers = Tuple[float, ...]


def case(shape: Shape, labels: Numbers, params: dict, dtype: str = "float32", **lengths: Numbers) -> Case:
    """Labels (N, L), int32, and lengths for data (T, N, C)."""
    n = shape[1]
    shapes = (shape, (n, len(labels) // n), *[(n,)] * len(lengths))
    params = {**params, **{f"use_{k}": True for k in lengths}}
    dtypes = (dtype, "int32", *(dtype if k == "data_lengths" else "int32" for k in lengths))
    return Case(
        "CTCLoss", shapes, params, dtypes, grads=(0,), given={1: labels, **dict(enumerate(lengths.values(), 2))}
    )


LAST = {"blank_label": "last"}

CASES = [
    Case("CTCLoss", ((6, 2, 4), (2, 3)), grads=(0,), smooth=False, given={1: (1, 2, 0, 3, 3, 1)}),
    case((6, 2, 4), (1, 2, 0, 3, 3, 1), {}),
    case((6, 2, 4), (1, 2, -1, 0, 0, 1), LAST),
    case((6, 3, 4), (0, 0, 1, 1, 3, 2), {}),
    case((7, 3, 5), (1, 2, 1, 4, 4, 4, 2, 1, 3), {}, data_lengths=(7, 5, 4)),
    case((7, 3, 5), (1, 2, 1, 0, 0, 0, 2, 1, 3), LAST, label_lengths=(2, 3, 1)),
    case((7, 3, 5), (1, 2, 1, 3, 3, 3, 2, 1, 3), LAST, data_lengths=(5, 6, 1), label_lengths=(2, 3, 1)),
    case((4, 1, 3), (1, 1), {}, data_lengths=(3,)),
    case((1, 2, 2), (1, 0), {}),
    case((6, 2, 4), (1, 2, 0, 3, 3, 1), {}, "float64"),
]  # fmt: skip
ORACLE: dict = {}
