"""Cases of operators of one operand."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

FLOATS = ("float32", "float64", "float16")
ALL = (*FLOATS, "int32", "int64", "int8", "uint8")
INF, NAN = float("inf"), float("nan")
HALVES = (-2.5, -1.9, -1.5, -0.5, -0.2, 0.0, 0.2, 0.5, 1.5, 1.9, 2.1, 2.5, 3.5)
EDGES = (0.0, -1.0, 0.5, 1e-30, 1e30, INF, -INF, NAN)
BEYOND = (NAN, INF, -INF, 3e9, -3e9, 1e20, -1e20, 300.7, -300.7, -1.5)  # of what integers hold

REAL = (
    "sin cos tan arctan sinh tanh arcsinh degrees radians sigmoid softsign relu erf exp expm1 abs sign negative square"
)
POSITIVE = "sqrt rsqrt log log2 log10 log1p reciprocal rcbrt gamma gammaln cbrt"
LIMITED = "arcsin arccosh arctanh erfinv cosh"
ROUNDING = "floor ceil trunc fix round rint logical_not"
GAMMAS = ("gamma", "gammaln")
STRAIGHT = ("_contrib_round_ste", "_contrib_sign_ste")
COPIES = "_copy BlockGrad make_loss zeros_like ones_like"

CASES = [
    *(Case(n, ((3, 5),), points=(-1.5, -0.5, 0.0, 0.5, 2.5, 0.3), smooth=False) for n in STRAIGHT),
    Case("cast_storage", ((2, 3),), {"stype": "default"}),
    *(c for op in REAL.split() for c in over_dtypes(Case(op, ((2, 3, 5),)), ALL)),
    *(c for op in POSITIVE.split() for c in over_dtypes(Case(op, ((3, 7),), domain=(0.25, 5.0)), ALL)),
    *(c for op in "arcsin arccos arctanh erfinv".split() for c in over_dtypes(Case(op, domain=(-0.9, 0.9)), FLOATS)),
    *(c for op in ["cosh"] for c in over_dtypes(Case(op, domain=(-2, 2)), ALL)),
    *over_dtypes(Case("arccosh", domain=(1.1, 5)), FLOATS),
    *(c for op in COPIES.split() for c in over_dtypes(Case(op, ((1, 33),), smooth=False), ALL)),
    *(Case(op, ((13,),), points=HALVES, smooth=False) for op in f"{ROUNDING} abs sign relu hard_sigmoid".split()),
    *(c for op in ROUNDING.split() for c in over_dtypes(Case(op, smooth=False), ALL)),
    *(
        Case(op, ((8,),), points=EDGES, smooth=False)
        for op in f"{REAL} {POSITIVE} {ROUNDING} {LIMITED}".split()
        if op not in GAMMAS
    ),
    *(c for op in GAMMAS for c in over_dtypes(Case(op, ((6,),), points=(-1.5, -0.25, 0.5, 3.0, 12.5, 30.0)), FLOATS)),
    *(Case(op, ((5,),), points=(0.0, -1.0, 0.5, 1e-30, INF), grads=()) for op in GAMMAS),
    *over_dtypes(Case("clip", params={"a_min": -1.0, "a_max": 1.0}, smooth=False), ALL),
    Case("clip", ((8,),), {"a_min": -1.0, "a_max": 0.5}, points=EDGES, smooth=False),
    Case("clip", ((8,),), {"a_min": -1.0, "a_max": 0.5}, "float16", points=EDGES[:3] + EDGES[5:], smooth=False),
    Case("clip", ((8,),), {"a_min": 2.0, "a_max": -2.0}, points=(-3, -2, -1, 0, 1, 2, 3, 5), smooth=False),
    Case("clip", ((6,),), {"a_min": -0.5, "a_max": 2.5}, "int32", (-5, 5)),
    Case("clip", ((6,),), {"a_min": -3, "a_max": 300}, "uint8", (0, 200)),
    Case("clip", ((6,),), {"a_min": -2.7, "a_max": -2.1}, "uint8", (0, 200)),
    Case("clip", ((6,),), {"a_min": 130, "a_max": 300}, "int8", (-100, 100)),
    *over_dtypes(Case("hard_sigmoid", ((4, 5),), domain=(-4, 4)), FLOATS),
    Case("hard_sigmoid", ((4, 5),), {"alpha": 0.3, "beta": 0.4}, domain=(-4, 4)),
    *over_dtypes(Case("smooth_l1", ((4, 5),)), FLOATS),
    Case("smooth_l1", ((4, 5),), {"scalar": 2.0}),
    Case("smooth_l1", ((5,),), {"scalar": 2.0}, points=(-0.25, 0.25, 0.0, 0.3, -0.3), smooth=False),
    *(Case("Cast", ((6,),), {"dtype": to}, of, (-3, 120), smooth=False) for of in ALL for to in (*ALL, "bool")),
    Case("Cast", ((6,),), {"dtype": "uint8"}, "float32", points=(300.0, -1.0, 255.0, 0.9, -0.9, 3.7), smooth=False),
    *(
        Case("Cast", ((10,),), {"dtype": to}, of, points=BEYOND, smooth=False)
        for of in ("float32", "float64")
        for to in ("int8", "uint8", "int32", "int64")
    ),
    Case("sqrt", ((6,),), dtypes="int64", points=(-1.0, 4.0)),
    Case("reciprocal", ((6,),), dtypes="int32", points=(0.0, 1.0, 2.0)),
    Case("clip", ((6,),), {"a_min": -2.9, "a_max": -2.4}, "int32", points=(-3, -2, -1), grads=(0,)),
    Case("amp_cast", ((6,),), {"dtype": "int8"}, "float64", smooth=False),
    Case("amp_cast", ((6,),), {"dtype": "float16"}, smooth=False),
    Case("amp_cast", ((6,),), {"dtype": "float16"}, "int32", smooth=False),
]


def _rint(x: np.ndarray) -> np.ndarray:
    return np.where(x - np.floor(x) <= np.ceil(x) - x, np.floor(x), np.ceil(x))


def _round(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x - np.trunc(x)) == 0.5, np.trunc(x) + np.sign(x), np.round(x))


def _smooth_l1(x: np.ndarray, scalar: float = 1.0) -> np.ndarray:
    return np.where(np.abs(x) < scalar**-2, 0.5 * (scalar * x) ** 2, np.abs(x) - 0.5 / scalar**2)


# What NumPy says in float64.
ORACLE = {
    **{name: getattr(np, name) for name in (
        "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh exp expm1 log log1p log2 log10 sqrt "
        "cbrt square abs sign negative floor ceil trunc zeros_like ones_like logical_not"
    ).split()},
    "fix": np.trunc,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "relu": lambda x: np.maximum(x, 0),
    "rint": _rint,
    "round": _round,
    "_copy": lambda x: x,
    "BlockGrad": lambda x: x,
    "make_loss": lambda x: x,
    "clip": lambda x, a_min, a_max: np.clip(x, a_min, a_max),
    "hard_sigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(np.float32(alpha) * x + np.float32(beta), 0, 1),
    "smooth_l1": _smooth_l1,
}  # fmt: skip
