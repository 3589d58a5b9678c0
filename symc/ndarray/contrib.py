"""`mx.nd.contrib`: contributed operators, control flow, and tests for NaN and infinity."""

from __future__ import annotations

import functools
import math
from typing import Any

from symc import functions as shared
from symc.context import Context, current_context
from symc.functions import names

from . import functions as operators
from . import random
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


def rand_zipfian(
    true_classes: NDArray, num_sampled: int, range_max: int, ctx: Context | None = None
) -> tuple[NDArray, NDArray, NDArray]:
    """Classes with an approximately Zipfian distribution, and how often true ones and they are to be expected."""
    device = ctx or current_context()
    uniform = functools.partial(random.uniform, ctx=device)
    return shared.rand_zipfian(true_classes.as_in_context(device), num_sampled, range_max, uniform)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    function = operators.resolve("contrib", name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({"cond", "foreach", "isfinite", "isinf", "isnan", "rand_zipfian", "while_loop", *names()["contrib"]})
