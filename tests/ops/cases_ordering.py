"""Cases of operators that find positions by comparing elements."""

from __future__ import annotations

import numpy as np

from .cases import Case

NAMES = ("argmax", "argmin")
PARAMS = [{}, {"axis": 0}, {"axis": 1}, {"axis": -1, "keepdims": True}, {"keepdims": True, "axis": -3}]

CASES = [
    *(Case(name, ((2, 3, 7),), params, smooth=False) for name in NAMES for params in PARAMS),
    *(Case(name, ((3, 4),), {"axis": 1}, points=(2.0, 1.0, 2.0, 1.0), smooth=False) for name in NAMES),
    *(Case(name, ((33, 17),), {"axis": 0}, dtypes="float64", smooth=False) for name in NAMES),
    *(Case(name, ((1,),), {"axis": 0}, smooth=False) for name in NAMES),
]


def _position(function):
    def oracle(x: np.ndarray, axis: int | None = None, keepdims: bool = False) -> np.ndarray:
        return np.atleast_1d(function(x, axis=axis, keepdims=keepdims))

    return oracle


# What NumPy says in float64.
ORACLE = {name: _position(getattr(np, name)) for name in NAMES}
