"""Modules of MXNet's that symc has divided: the names that the module of MXNet's path lacks are its package's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def rest_of(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that MXNet has whole, `mxnet.optimizer.optimizer` with all of `mx.optimizer`.

    Scripts import such names from there, and pickles name the place. Raises AttributeError where the package has no
    such name either.
    """
    package = module.rpartition(".")[0]

    def find(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(sys.modules[package], name)

    return find
