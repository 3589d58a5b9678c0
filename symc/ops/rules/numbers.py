"""Numbers that belong to a node, as MXNet keeps and converts them."""

from __future__ import annotations

import math

import numpy as np

from symc.core.dtypes import is_float
from symc.loopir.expr import Expr
from symc.loopir.expr import param as node_number


def number(value: float, dtype: str) -> Expr:
    """A number that belongs to a node; for integers it truncates and wraps first, as MXNet's conversion does."""
    if is_float(dtype):
        return node_number(value, dtype)
    if dtype == "bool":
        return node_number(int(value != 0), dtype)
    limits = np.iinfo(dtype)
    whole = math.trunc(value) if math.isfinite(value) else 0 if math.isnan(value) else limits.min
    return node_number((whole - limits.min) % 2**limits.bits + limits.min, dtype)


def single(value: float) -> float:
    """The float32 nearest to a number: what MXNet keeps of a parameter it declares as float."""
    return float(np.float32(value))
