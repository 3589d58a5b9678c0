"""`mx.sym.contrib`: contributed operators, and control flow."""

from __future__ import annotations

from typing import Any

from .control import cond, foreach, while_loop
from .functions import names, resolve

__all__ = ["cond", "foreach", "while_loop"]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    function = resolve("contrib", name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({*__all__, *names()["contrib"]})
