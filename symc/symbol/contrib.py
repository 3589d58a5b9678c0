"""`mx.sym.contrib`: contributed operators, control flow, and drawn classes."""

from __future__ import annotations

from typing import Any

from symc import functions

from . import random
from .control import cond, foreach, while_loop
from .functions import names, resolve
from .symbol import Symbol

__all__ = ["cond", "foreach", "rand_zipfian", "while_loop"]


def rand_zipfian(true_classes: Symbol, num_sampled: int, range_max: int) -> tuple[Symbol, Symbol, Symbol]:
    """Classes with an approximately Zipfian distribution, and how often true ones and they are to be expected."""
    return functions.rand_zipfian(true_classes, num_sampled, range_max, random.uniform)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    function = resolve("contrib", name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*__all__, *names()["contrib"]})
