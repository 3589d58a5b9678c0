"""Cases of matrix factorisations."""

from __future__ import annotations

import numpy as np

from .cases import Case

DOUBLE = {"dtypes": "float64"}
DEFINITE = (4.0, 1.0, 0.5, 1.0, 3.0, -0.25, 0.5, -0.25, 2.0)  # a symmetric positive definite matrix, row by row
UPPER = (4.0, 1.0, 0.5, 7.0, 3.0, -0.25, -6.0, 9.0, 2.0)  # its upper triangle, beside what must not be read

CASES = [
    *(Case("_linalg_potrf", ((2, 3, 3),), points=DEFINITE, dtypes=d, smooth=False) for d in ("float32", "float64")),
    Case("_linalg_potrf", ((2, 3, 3),), {"lower": False}, points=DEFINITE, smooth=False),
    Case("_linalg_potrf", ((3, 3),), {"lower": False}, points=UPPER, **DOUBLE, smooth=False),
    Case("_linalg_potrf", ((1, 1),), points=(2.0,), **DOUBLE),
    Case("_linalg_potri", ((2, 3, 3),), points=DEFINITE, **DOUBLE, smooth=False),
    Case("_linalg_potri", ((2, 3, 3),), {"lower": False}, points=DEFINITE, **DOUBLE),
    Case("_linalg_potri", ((3, 3),), {"lower": False}, points=UPPER),
    *(Case("_linalg_trsm", ((2, 3, 3), (2, 4, 3) if right else (2, 3, 4)),
           {"rightside": right, "transpose": turned, "lower": low, "alpha": 2.0}, points=DEFINITE, **DOUBLE)
      for right in (False, True) for turned in (False, True) for low in (False, True)),
    Case("_linalg_inverse", ((2, 3, 3),), **DOUBLE),
    Case("_linalg_inverse", ((5, 5),), points=(*DEFINITE, 0.75, -3.5)),
    Case("_linalg_det", ((2, 3, 3),), **DOUBLE),
    Case("_linalg_det", ((4, 4),), **DOUBLE),
    Case("_linalg_det", ((1, 1),)),
    Case("_linalg_slogdet", ((2, 3, 3),), **DOUBLE),
    Case("_linalg_slogdet", ((4, 4),), **DOUBLE),
    Case("_linalg_gelqf", ((2, 4),), **DOUBLE),
    Case("_linalg_gelqf", ((2, 3, 5),), **DOUBLE),
    Case("_linalg_gelqf", ((3, 3),), points=DEFINITE, **DOUBLE),
    *(Case("_linalg_syevd", ((2, 3, 3),), points=DEFINITE, dtypes=d, smooth=False) for d in ("float32", "float64")),
    Case("_linalg_syevd", ((5, 5),), **DOUBLE, smooth=False),
    Case("_linalg_syevd", ((1, 1),), points=(-2.0,), smooth=False),
    Case("_linalg_syevd", ((4, 4),), points=(2.0, 9.0, 9.0, 9.0, 0.0, 2.0, 9.0, 9.0, 0.0, 0.0, -1.0, 9.0, 0.0, 0.0, 0.0,
                                             3.0), grads=()),
]  # fmt: skip


def _slogdet(a: np.ndarray) -> tuple:
    sign, size = np.linalg.slogdet(a)
    return np.atleast_1d(sign), np.atleast_1d(size)


# What NumPy says in float64.
ORACLE = {
    "_linalg_inverse": np.linalg.inv,
    "_linalg_det": lambda a: np.atleast_1d(np.linalg.det(a)),
    "_linalg_slogdet": _slogdet,
}
