"""`mx.nd`: the NDArray, the functions that make, combine, save and load arrays, and a function for every operator."""

from __future__ import annotations

from typing import Any

from symc.functions import OperatorModule, names

from . import contrib, functions, ndarray, operators, random, utils
from .combining import (
    concatenate,
    histogram,
    imdecode,
    moveaxis,
    onehot_encode,
    split_v2,
)
from .creation import (
    arange,
    array,
    empty,
    eye,
    from_dlpack,
    from_numpy,
    full,
    linspace,
    ones,
    to_dlpack_for_read,
    to_dlpack_for_write,
    waitall,
    zeros,
)
from .ndarray import NDArray
from .serialize import load, load_frombuffer, save

_HELPERS = [
    "CachedOp", "NDArray", "arange", "array", "concatenate", "contrib", "empty", "eye",
    "from_dlpack", "from_numpy", "full", "histogram", "image", "imdecode", "linalg", "linspace",
    "load", "load_frombuffer", "moveaxis", "ndarray", "onehot_encode", "ones", "op", "random", "save", "sparse",
    "split_v2", "to_dlpack_for_read", "to_dlpack_for_write", "true_divide", "utils", "waitall", "zeros",
    *operators.FUNCTIONS,
]  # fmt: skip

op = OperatorModule("symc.ndarray", "op", functions.resolve)
_internal = OperatorModule("symc.ndarray", "_internal", functions.resolve)
linalg = OperatorModule("symc.ndarray", "linalg", functions.resolve)
sparse = OperatorModule("symc.ndarray", "sparse", functions.resolve)
image = OperatorModule("symc.ndarray", "image", functions.resolve)

globals().update((name, operators.function_form(name)) for name in operators.FUNCTIONS)
true_divide, power = operators.function_form("divide"), operators.power
vars(sparse).update((name, globals()[name]) for name in ("add", "subtract", "multiply", "divide"))


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    if name == "CachedOp":
        from symc.executor.cached_op import CachedOp

        return CachedOp
    function = functions.resolve("op", name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*_HELPERS, *names()["op"]})
