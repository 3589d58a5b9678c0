"""Cases of numbers about whole arrays and of small operators of contrib."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

NAN, INF = float("nan"), float("inf")
RANGE = {"bin_cnt": 5, "range": (-1.0, 1.5)}

CASES = [
    *over_dtypes(Case("moments", ((2, 3, 4),), {"axes": (0, 2)}), ("float32", "float64")),
    Case("moments", ((2, 3, 4),), {"axes": (-1,), "keepdims": True}),
    Case("all_finite", ((3, 4),), grads=()),
    *(Case("all_finite", ((3,),), points=(1.0, bad, 2.0), grads=()) for bad in (NAN, INF, -INF)),
    *over_dtypes(Case("all_finite", ((5,),), grads=()), ("float64", "float16")),
    Case("multi_all_finite", ((3,), (2, 2)), {"num_arrays": 2}, grads=()),
    Case("multi_all_finite", ((3,), (2, 2)), {"num_arrays": 2}, points=(1.0, 2.0, 3.0, 4.0, NAN), grads=()),
    Case("multi_sum_sq", ((3,), (2, 2), (1,)), {"num_arrays": 3}, grads=()),
    Case("_contrib_allclose", ((2, 3), (2, 3)), grads=()),
    Case("_contrib_allclose", ((3,), (3,)), points=(1.0,), grads=()),
    Case("_contrib_allclose", ((3,), (3,)), points=(NAN,), grads=()),
    Case("_contrib_allclose", ((3,), (3,)), {"equal_nan": False}, points=(NAN,), grads=()),
    Case("_contrib_allclose", ((2,), (2,)), points=(INF,), grads=()),
    Case("_contrib_allclose", ((2,), (2,)), {"rtol": 0.5}, points=(1.0, 1.25), grads=()),
    *over_dtypes(Case("_histogram", ((4, 10),), RANGE, grads=()), ("float32", "float64", "int32")),
    Case("_histogram", ((8,),), {"bin_cnt": 4, "range": (0.0, 1.0)}, points=(0.0, 0.25, 0.5, 1.0, 2.0, -0.1, 0.3),
         grads=()),
    # Bounds that the dtype does not hold: they say what is inside, nevertheless.
    Case("_histogram", ((8,),), {"bin_cnt": 2, "range": (-1.284, 1.716)}, "uint8", points=(1, 2, 5, 1), grads=()),
    Case("_histogram", ((8,),), {"bin_cnt": 2, "range": (-1.5, 2.5)}, "int32", points=(-2, -1, 2, 3), grads=()),
    Case("_histogram", ((3,),), {"bin_cnt": 2, "range": (0.7, 1.5)}, points=(0.7, 0.75, 1.5), grads=()),
    Case("_histogram", ((8,),), {"bin_cnt": 2, "range": (1.0, 1.0)}, points=(1.0, 0.5, 1.5, 1.6), grads=()),
    Case("_histogram", ((9,), (4,)), points=(-1.0, 0.0, 0.5, 2.0), grads=()),
    *over_dtypes(Case("_contrib_quadratic", ((2, 3),), {"a": 1.5, "b": 2.0, "c": -1.0}),
                 ("float32", "float64", "float16", "int32")),
    Case("_contrib_quadratic", ((7,),), {"a": 0.2, "b": 1.9, "c": -1.0}, "int32", (-9, 9), grads=(0,)),
    *over_dtypes(Case("_contrib_div_sqrt_dim", ((2, 5),)), ("float32", "float64", "float16")),
    Case("_contrib_div_sqrt_dim", ((2, 8),), {}, "int32", (-9, 9), grads=(0,)),
    Case("_contrib_gradientmultiplier", ((2, 3),), {"scalar": -0.5}, smooth=False),
    *(Case("amp_multicast", ((3,), (2, 2)), {"num_outputs": 2, "cast_narrow": narrow}, ("float16", "float32"),
           smooth=False) for narrow in (True, False)),
    *(Case("amp_multicast", ((3,), (2, 2), (2,)), {"num_outputs": 3, "cast_narrow": narrow}, dtypes, smooth=False)
      for dtypes in (("float64", "float16", "float16"), ("float64", "float16", "float32"),
                     ("float16", "int32", "float64"))
      for narrow in (True, False)),
    Case("shape_array", ((2, 3, 4),), grads=()),
    Case("shape_array", ((7,),), dtypes="int32"),
    Case("size_array", ((2, 3, 4),), grads=()),
    Case("_contrib_index_array", ((2, 3),), grads=()),
    Case("_contrib_index_array", ((2, 3, 4),), {"axes": (2, 0)}, grads=()),
]  # fmt: skip


# What NumPy says in float64.
ORACLE = {
    "moments": lambda x, axes, keepdims=False: (x.mean(axes, keepdims=keepdims), x.var(axes, keepdims=keepdims)),
    "multi_sum_sq": lambda *x, num_arrays: np.array([(a * a).sum() for a in x]),
    "_contrib_quadratic": lambda x, a, b, c: a * x * x + b * x + c,
    "_contrib_div_sqrt_dim": lambda x: x / np.sqrt(x.shape[-1]),
    "_contrib_gradientmultiplier": lambda x, scalar: x,
    "shape_array": lambda x: np.array(x.shape),
    "size_array": lambda x: np.array([x.size]),
}
