"""Cases of matrix operators over leading batch axes, and of attention."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

DOUBLE = {"dtypes": "float64"}

CASES = [
    *over_dtypes(Case("_linalg_gemm2", ((3, 4), (4, 5)), {"alpha": 0.5}), ("float32", "float64")),
    Case("_linalg_gemm2", ((2, 4, 3), (2, 5, 4)), {"transpose_a": True, "transpose_b": True}),
    Case("_linalg_gemm2", ((3, 2, 4), (4, 2, 5)), {"axis": 0}),
    Case("_linalg_gemm2", ((2, 3, 2, 4), (2, 5, 2, 4)), {"axis": 1, "transpose_b": True}),
    Case("_linalg_gemm", ((3, 4), (4, 5), (3, 5)), {"alpha": 2.0, "beta": 0.5}),
    Case("_linalg_gemm", ((2, 4, 3), (2, 4, 5), (2, 3, 5)), {"transpose_a": True}),
    Case("_linalg_gemm", ((4, 2, 3), (4, 2, 5), (3, 2, 5)), {"transpose_a": True, "axis": 0}),
    Case("_linalg_syrk", ((3, 4),)),
    Case("_linalg_syrk", ((2, 3, 4),), {"transpose": True, "alpha": 0.5}),
    *(Case("_linalg_trmm", ((3, 3), (4, 3) if right else (3, 4)),
           {"rightside": right, "transpose": turned, "lower": low, "alpha": 2.0}, **DOUBLE)
      for right in (False, True) for turned in (False, True) for low in (False, True)),
    Case("_linalg_trmm", ((2, 1, 1), (2, 1, 3)), **DOUBLE),
    *(Case("_linalg_extractdiag", ((2, 4, 4),), {"offset": k}) for k in (0, 1, -3)),
    *(Case("_linalg_makediag", ((2, 3),), {"offset": k}) for k in (0, 2, -1)),
    *(Case(name, (shape,), {"offset": k, "lower": low})
      for name, shape in (("_linalg_extracttrian", (2, 5, 5)), ("_linalg_maketrian", (2, 10)))
      for k in (0, 2, -1) for low in (True, False)),
    Case("_linalg_extracttrian", ((33, 33),), smooth=False),
    Case("_linalg_maketrian", ((1,),)),
    Case("_linalg_sumlogdiag", ((2, 3, 3),), domain=(0.5, 2.0), **DOUBLE),
    Case("_linalg_sumlogdiag", ((3, 3),), domain=(0.5, 2.0)),
    Case("khatri_rao", ((2, 3), (4, 3)), {"num_args": 2}, grads=()),
    Case("khatri_rao", ((2, 3), (1, 3), (5, 3)), {"num_args": 3}, grads=()),
    Case("_contrib_interleaved_matmul_selfatt_qk", ((4, 2, 24),), {"heads": 2}),
    Case("_contrib_interleaved_matmul_selfatt_valatt", ((4, 2, 24), (4, 4, 4)), {"heads": 2}),
    Case("_contrib_interleaved_matmul_encdec_qk", ((3, 2, 8), (5, 2, 16)), {"heads": 2}),
    Case("_contrib_interleaved_matmul_encdec_valatt", ((5, 2, 16), (4, 3, 5)), {"heads": 2}),
    Case("_contrib_interleaved_matmul_selfatt_qk", ((1, 1, 3),), {"heads": 1}),
]  # fmt: skip


def _gemm2(a, b, transpose_a=False, transpose_b=False, alpha=1.0, axis=-2):
    a, b = np.moveaxis(a, axis, -2), np.moveaxis(b, axis, -2)
    a, b = (np.swapaxes(x, -1, -2) if t else x for x, t in ((a, transpose_a), (b, transpose_b)))
    return np.moveaxis(alpha * (a @ b), -2, axis)


def _syrk(a, transpose=False, alpha=1.0):
    turned = np.swapaxes(a, -1, -2)
    return alpha * (turned @ a if transpose else a @ turned)


def _trmm(a, b, transpose=False, rightside=False, lower=True, alpha=1.0):
    a = np.tril(a) if lower else np.triu(a)
    a = np.swapaxes(a, -1, -2) if transpose else a
    return alpha * (b @ a if rightside else a @ b)


# What NumPy says in float64.
ORACLE = {
    "_linalg_gemm2": _gemm2,
    "_linalg_gemm": lambda a, b, c, beta=1.0, **more: _gemm2(a, b, **more) + beta * c,
    "_linalg_syrk": _syrk,
    "_linalg_trmm": _trmm,
    "_linalg_extractdiag": lambda a, offset=0: np.diagonal(a, offset, -2, -1),
    "_linalg_makediag": lambda a, offset=0: np.stack([np.diag(row, offset) for row in a]),
    "_linalg_sumlogdiag": lambda a: np.atleast_1d(np.log(np.diagonal(a, 0, -2, -1)).sum(-1)),
}
