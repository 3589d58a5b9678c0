"""Cases of reading and writing at coordinates."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

INT = ("float32", "int64")


CASES = [
    Case("gather_nd", ((2, 3, 4), (2, 6)), dtypes=INT, domain=(0, 1), grads=(0,)),
    Case("gather_nd", ((3, 4), (1, 2, 3)), domain=(0.0, 1.9), grads=(0,), smooth=False),
    Case("gather_nd", ((3, 3), (2, 5)), dtypes=("float64", "int32"), domain=(0, 2), grads=(0,)),
    Case("gather_nd", ((3, 3), (2, 5)), dtypes=("float64", "int32"), domain=(-3, -1), grads=()),  # MXNet's is wrong
    Case("gather_nd", ((5,), (1, 1)), dtypes=("float16", "int32"), domain=(0, 4), grads=(0,)),
    Case("gather_nd", ((3, 4), (2, 3)), dtypes=("int32", "int32"), domain=(0, 2)),
    Case("scatter_nd", ((6,), (2, 6)), {"shape": (3, 4)}, dtypes=INT, domain=(0, 2), grads=(0,), smooth=False),
    Case("scatter_nd", ((3, 2), (1, 3)), {"shape": (4, 2)}, dtypes=INT, domain=(0, 3), grads=(0,), smooth=False),
    Case("_scatter_set_nd", ((3, 4), (6,), (2, 6)), {"shape": (3, 4)}, dtypes=("float32", "float32", "int32"),
         domain=(0, 2), grads=(), smooth=False),
    Case("_contrib_index_copy", ((5, 3), (2,), (2, 3)), dtypes=("float32", "int32", "float32"), domain=(1, 2),
         grads=(0, 2), smooth=False),
    Case("_contrib_index_copy", ((5,), (1,), (1,)), dtypes=("float64", "int64", "float64"), domain=(0, 4),
         grads=(0, 2)),
    *over_dtypes(Case("_ravel_multi_index", ((2, 5),), {"shape": (7, 6)}, domain=(0, 5), smooth=False),
                 ("float32", "float64", "int32", "int64")),
    Case("_ravel_multi_index", ((3, 4),), {"shape": (-1, 3, 5)}, dtypes="int64", domain=(0, 2)),
    *over_dtypes(Case("_unravel_index", ((5,),), {"shape": (7, 6)}, domain=(0, 41), smooth=False),
                 ("float32", "float64", "int32", "int64")),
    Case("_unravel_index", ((4,),), {"shape": (-1, 3, 5)}, dtypes="int64", domain=(0, 100)),
    Case("_unravel_index", ((4,),), {"shape": (9,)}, dtypes="int64", domain=(0, 8)),
]  # fmt: skip


def _gather(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return x[tuple(indices.astype(int))]


# What NumPy says in float64.
ORACLE = {"gather_nd": _gather}
