"""Cases of operators without inputs."""

from __future__ import annotations

import numpy as np

from .cases import Case

TYPES = ("float32", "float64", "float16", "int32", "int64", "int8", "uint8")

CASES = [
    *(Case(op, (), {"shape": (2, 3), "dtype": d}) for op in ("_zeros", "_ones") for d in TYPES),
    *(Case("_full", (), {"shape": (2, 3), "dtype": d, "value": 2.5}) for d in TYPES),
    Case("_arange", (), {"start": 1, "stop": 7, "step": 2}),
    Case("_arange", (), {"start": 0, "stop": 3, "repeat": 2, "dtype": "int32"}),
    Case("_arange", (), {"start": 4}),
    Case("_arange", (), {"start": 5, "stop": -2, "step": -1.5}),
    Case("_arange", (), {"start": 0.25, "stop": 1.5, "step": 0.1, "dtype": "float64"}),
    Case("_linspace", (), {"start": 0, "stop": 1, "num": 5}),
    Case("_linspace", (), {"start": 0, "stop": 1, "num": 7, "endpoint": False}),
    Case("_linspace", (), {"start": 3, "stop": -1, "num": 1}),
    Case("_eye", (), {"N": 3}),
    Case("_eye", (), {"N": 3, "M": 4, "k": 1}),
    Case("_eye", (), {"N": 4, "M": 3, "k": -2, "dtype": "int32"}),
    Case("_contrib_arange_like", ((2, 3),), {"start": 1.0, "step": 0.5}, grads=()),
    Case("_contrib_arange_like", ((2, 3),), {"axis": 1}, grads=()),
]


def _arange(start: float, stop: object = None, step: float = 1, repeat: int = 1, dtype: str = "float32") -> np.ndarray:
    first, last = (0, start) if stop is None else (start, stop)
    return np.repeat(np.arange(first, last, step), repeat)


# What NumPy says.
ORACLE = {
    "_zeros": lambda shape, dtype: np.zeros(shape),
    "_ones": lambda shape, dtype: np.ones(shape),
    "_full": lambda shape, dtype, value: np.full(shape, value).astype(dtype),
    "_arange": _arange,
    "_linspace": lambda start, stop, num, endpoint=True: np.linspace(start, stop, num, endpoint),
    "_eye": lambda N, M=0, k=0, dtype="float32": np.eye(N, M or N, k),
}
