"""Constant: a parameter that never changes and has no gradient."""

from __future__ import annotations

import warnings
from typing import Any

from symc import initializer, ndarray
from symc.ndarray import NDArray

from .parameter import Parameter


class Constant(Parameter):
    """An array among the parameters of a block: saved and moved with them, never trained.

    Its initializer is registered as `Constant_<name>_<id>`, so that the exported symbol can name it.
    """

    def __init__(self, name: str, value: Any) -> None:
        value = value if isinstance(value, NDArray) else ndarray.array(value)
        self.value = value

        class Init(initializer.Initializer):
            def _init_weight(self, name: str, arr: NDArray) -> None:
                value.copyto(arr)

        init_name = f"Constant_{name}_{id(self)}"
        initializer.alias(init_name)(Init)
        super().__init__(name, grad_req="null", shape=value.shape, dtype=value.dtype, init=init_name)

    def __repr__(self) -> str:
        return f"Constant {self.name} (shape={self.shape}, dtype={self.dtype})"

    @property
    def grad_req(self) -> str:
        """Always "null"; assigning another warns."""
        return "null"

    @grad_req.setter
    def grad_req(self, req: str) -> None:
        if req != "null":
            warnings.warn(
                f'Constant parameter "{self.name}" does not support grad_req other than "null", '
                f'and new value "{req}" is ignored.',
                stacklevel=2,
            )
