"""Cases of operators that compare elements: positions of extremes, sorting, the first k."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

NAMES = ("argmax", "argmin")
PARAMS = [{}, {"axis": 0}, {"axis": 1}, {"axis": -1, "keepdims": True}, {"keepdims": True, "axis": -3}]
SORTED = ("float32", "float64", "int32", "int64", "int8", "uint8")
TIES = (2.0, 1.0, -0.0, 2.0, 0.0, 1.0, -3.0)

TOPK = [
    {}, {"k": 2}, {"k": 2, "ret_typ": "value"}, {"k": 3, "ret_typ": "both", "axis": 1}, {"k": 2, "ret_typ": "mask"},
    {"k": 2, "ret_typ": "both", "is_ascend": True, "axis": 0}, {"k": 0, "ret_typ": "value"},
    {"k": 4, "axis": None, "ret_typ": "both"}, {"k": 4, "axis": None, "ret_typ": "mask"},
    {"k": 3, "ret_typ": "indices", "dtype": "int64", "axis": -2}, {"k": 3, "dtype": "uint8"},
]  # fmt: skip

CASES = [
    *(Case(name, ((2, 3, 7),), params, smooth=False) for name in NAMES for params in PARAMS),
    *(Case(name, ((3, 4),), {"axis": 1}, points=(2.0, 1.0, 2.0, 1.0), smooth=False) for name in NAMES),
    *(Case(name, ((33, 17),), {"axis": 0}, dtypes="float64", smooth=False) for name in NAMES),
    *(Case(name, ((1,),), {"axis": 0}, smooth=False) for name in NAMES),
    *(Case("argmax_channel", (s,), grads=()) for s in ((2, 3), (4,), (2, 3, 4), (1, 1))),
    *(Case("topk", ((2, 5, 4),), params, grads=None if params.get("ret_typ") in ("value", "both") else ())
      for params in TOPK),
    *(Case(name, ((3, 5),), params) for name in ("sort", "argsort")
      for params in ({}, {"axis": 0, "is_ascend": False}, {"axis": None}, {"axis": -2})),
    *(Case(name, ((3, 40),), {"axis": 1, "is_ascend": up}, smooth=False)
      for name in ("sort", "argsort") for up in (True, False)),
    *(case for name in ("sort", "argsort") for case in over_dtypes(Case(name, ((4, 7),), smooth=False), SORTED)),
    *over_dtypes(Case("topk", ((4, 7),), {"k": 3, "ret_typ": "both"}, smooth=False), (*SORTED, "float16")),
    *(Case(name, ((3, 7),), {"is_ascend": up}, points=TIES, smooth=False)
      for name in ("sort", "argsort", "topk") for up in (True, False)),
    *(Case(name, ((1, 1),)) for name in ("sort", "argsort", "topk")),
    Case("argsort", ((5,),), {"dtype": "int32", "is_ascend": False}),
]  # fmt: skip


def _position(function):
    def oracle(x: np.ndarray, axis: int | None = None, keepdims: bool = False) -> np.ndarray:
        return np.atleast_1d(function(x, axis=axis, keepdims=keepdims))

    return oracle


def _order(x: np.ndarray, axis: int, is_ascend: bool) -> np.ndarray:
    return np.argsort(x if is_ascend else -x, axis, kind="stable")


def _line(x: np.ndarray, axis: int | None) -> tuple[np.ndarray, int]:
    return (x.ravel(), 0) if axis is None else (x, axis)


def _sort(x: np.ndarray, axis: int | None = -1, is_ascend: bool = True) -> np.ndarray:
    x, axis = _line(x, axis)
    return np.take_along_axis(x, _order(x, axis, is_ascend), axis)


def _argsort(x: np.ndarray, axis: int | None = -1, is_ascend: bool = True, dtype: str = "") -> np.ndarray:
    return _order(*_line(x, axis), is_ascend)


def _topk(
    x: np.ndarray, axis: int | None = -1, k: int = 1, ret_typ: str = "indices", is_ascend: bool = False, dtype: str = ""
):
    line, axis = _line(x, axis)
    order = np.take(_order(line, axis, is_ascend), np.arange(k or line.shape[axis]), axis)
    values = np.take_along_axis(line, order, axis)
    mask = np.zeros_like(line)
    np.put_along_axis(mask, order, 1, axis)
    return {"indices": order, "value": values, "both": (values, order), "mask": mask.reshape(x.shape)}[ret_typ]


# What NumPy says in float64.
ORACLE = {
    **{name: _position(getattr(np, name)) for name in NAMES},
    "argmax_channel": lambda x: np.atleast_1d(np.argmax(x, min(1, x.ndim - 1))),
    "sort": _sort,
    "argsort": _argsort,
    "topk": _topk,
}
