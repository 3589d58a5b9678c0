"""Cases of reductions."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

FLOATS = ("float32", "float64", "float16")
ALL = (*FLOATS, "int32", "int64", "int8", "uint8")
NAN = float("nan")
NAMES = "sum mean prod nansum nanprod max min".split()
AXES = [
    {}, {"axis": ()}, {"axis": 1}, {"axis": (0, 2)}, {"axis": -1, "keepdims": True}, {"axis": 1, "exclude": True},
    {"axis": (0, 1), "exclude": True, "keepdims": True}, {"axis": (0, 1, 2)}, {"keepdims": True},
    {"axis": (0, 1, 2), "exclude": True}, {"exclude": True}, {"axis": (2, -3)},
]  # fmt: skip
NORMS = [
    {}, {"axis": 1}, {"ord": 1}, {"ord": 1, "axis": (0, 2)}, {"axis": (0, 2), "keepdims": True}, {"axis": (0, 1)},
    {"keepdims": True},
]  # fmt: skip

CASES = [
    *(Case(name, ((2, 3, 4),), params, domain=(-1, 2)) for name in NAMES for params in AXES),
    *(c for name in NAMES for c in over_dtypes(Case(name, ((3, 5),), {"axis": 1}, domain=(1, 4)), ALL)),
    *(Case(name, ((1, 7),), {"axis": 1}, points=(1.0, NAN, 2.0, -3.0, 0.0, 2.0, NAN), smooth=False) for name in NAMES),
    *(Case(name, ((2, 3),), {"axis": 1}, points=(2.0, 2.0, 1.0, 0.0), smooth=False) for name in NAMES),
    *(Case(name, ((1,),), {}) for name in NAMES),
    *(Case(name, ((33, 7),), {"axis": 0}, domain=(0.5, 1.5)) for name in NAMES),
    Case("mean", ((7,),), dtypes="int32", points=(-3, -4, 2, 1, -7, 5, -5)),
    *(Case("norm", ((2, 3, 4),), params) for params in NORMS),
    *over_dtypes(Case("norm", ((3, 5),), {"axis": 1}, domain=(1, 4)), ALL),
    *(Case("_square_sum", ((2, 3, 4),), params) for params in AXES[:6]),
    Case("norm", ((2, 2),), {"axis": 1}, points=(0.0, 0.0, 1e30, 1e30), smooth=False),
    Case("norm", ((33, 65),), {"axis": 0}),
]


def _axes(x: np.ndarray, axis: object = None, exclude: bool = False, **_: object) -> tuple[int, ...]:
    if axis is None or axis == ():
        return tuple(range(x.ndim))
    given = [a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))]
    return tuple(a for a in range(x.ndim) if (a in given) != exclude)


def _reduction(function):
    def oracle(x: np.ndarray, keepdims: bool = False, **params: object) -> np.ndarray:
        order = {k: v for k, v in params.items() if k == "ord"}
        found = function(x, axis=_axes(x, **params), keepdims=keepdims, **order)
        return found if np.ndim(found) else np.reshape(found, (1,))

    return oracle


def _norm(x: np.ndarray, axis: tuple[int, ...], keepdims: bool, ord: int = 2) -> np.ndarray:
    if ord == 1:
        return np.abs(x).sum(axis=axis, keepdims=keepdims)
    return np.sqrt((x * x).sum(axis=axis, keepdims=keepdims))


# What NumPy says in float64.
ORACLE = {
    **{name: _reduction(getattr(np, name)) for name in NAMES},
    "norm": _reduction(_norm),
    "_square_sum": _reduction(lambda x, axis, keepdims: (x * x).sum(axis=axis, keepdims=keepdims)),
}
