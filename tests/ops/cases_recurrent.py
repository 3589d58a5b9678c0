"""Cases of what recurrent networks are made of."""

from __future__ import annotations

import numpy as np

from .cases import Case, over_dtypes

CASES = [
    *over_dtypes(Case("_rnn_param_concat", ((2, 3), (4, 3)), {"dim": 0, "num_args": 2}), ("float32", "float64")),
    Case("_rnn_param_concat", ((2, 3), (2, 1)), {"num_args": 2}),
]

# What NumPy says in float64.
ORACLE = {"_rnn_param_concat": lambda *x, num_args, dim=1: np.concatenate(x, dim)}
