"""`mx.sym`: variables, groups, loading, and a function for every operator, each made when first asked for."""

from __future__ import annotations

from typing import Any

from symc.functions import OperatorModule, names

from . import contrib, functions, random
from .creation import Group, Variable, arange, eye, full, histogram, linspace, ones, split_v2, var, zeros
from .json import load, load_json
from .operators import hypot, maximum, minimum, pow, power
from .symbol import Symbol

_HELPERS = [
    "Symbol", "var", "Variable", "Group", "load", "load_json", "pow", "power", "maximum", "minimum", "hypot", "eye",
    "zeros", "ones", "full", "arange", "linspace", "histogram", "split_v2",
    "contrib", "linalg", "random", "sparse", "image", "op",
]  # fmt: skip

op = OperatorModule("symc.symbol", "op", functions.resolve)
_internal = OperatorModule("symc.symbol", "_internal", functions.resolve)
linalg = OperatorModule("symc.symbol", "linalg", functions.resolve)
sparse = OperatorModule("symc.symbol", "sparse", functions.resolve)
image = OperatorModule("symc.symbol", "image", functions.resolve)


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    function = functions.resolve("op", name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*_HELPERS, *names()["op"]})
