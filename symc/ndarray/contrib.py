"""`mx.nd.contrib`: contributed operators, control flow, and tests for NaN and infinity."""

from __future__ import annotations

import math
from typing import Any

from symc.functions import names

from . import functions
from .control import cond as cond
from .control import foreach as foreach
from .control import while_loop as while_loop
from .ndarray import NDArray


def isnan(data: NDArray) -> NDArray:
    """1 where an element is NaN, else 0, in the data's dtype."""
    return data != data


def isinf(data: NDArray) -> NDArray:
    """1 where an element is infinite, else 0, in the data's dtype."""
    return data.abs() == math.inf  # type: ignore[attr-defined]


def isfinite(data: NDArray) -> NDArray:
    """1 where an element is neither NaN nor infinite, else 0, in the data's dtype."""
    return data.abs() < math.inf  # type: ignore[attr-defined]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    function = functions.resolve("contrib", name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({"cond", "foreach", "isfinite", "isinf", "isnan", "while_loop", *names()["contrib"]})
