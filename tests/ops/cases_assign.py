"""Cases of operators that replace a box of an array, and of optimizer updates (whose values tests/ndarray compares)."""

from __future__ import annotations

import numpy as np

from .cases import Case

STATES = {
    "sgd_update": 0, "signsgd_update": 0, "sgd_mom_update": 1, "nag_mom_update": 1, "signum_update": 1,
    "rmsprop_update": 1, "adam_update": 2, "ftrl_update": 2, "ftml_update": 3, "rmspropalex_update": 3,
}  # fmt: skip

CASES = [
    Case("_slice_assign", ((3, 4, 5), (2, 4, 2)), {"begin": (1, None, 0), "end": (3, None, 4), "step": (1, 1, 2)}),
    Case("_slice_assign", ((5, 3), (2, 3)), {"begin": (4, None), "end": (0, None), "step": (-2, 1)}),
    Case("_slice_assign_scalar", ((3, 4),), {"begin": (0, 1), "end": (2, 3), "scalar": 2.5}),
    Case("_slice_assign_scalar", ((7,),), {"begin": (1,), "end": (None,), "step": (3,), "scalar": 2.5}, "int32"),
    *(
        Case(name, ((3, 7),) * (2 + n), {"lr": 0.1, **({"t": 1} if name == "ftml_update" else {})}, domain=(0.1, 2.0),
             grads=(), smooth=False)
        for name, n in STATES.items()
    ),
]  # fmt: skip


def _assigned(lhs: np.ndarray, value: object, begin: tuple, end: tuple, step: tuple = ()) -> np.ndarray:
    steps = (*step, *(None,) * (len(begin) - len(step)))
    result = lhs.copy()
    result[tuple(slice(*parts) for parts in zip(begin, end, steps))] = value
    return result


# What NumPy says in float64.
ORACLE = {
    "_slice_assign": _assigned,
    "_slice_assign_scalar": lambda x, scalar, begin, end, step=(): _assigned(x, scalar, begin, end, step),
}
