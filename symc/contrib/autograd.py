"""`mx.contrib.autograd`: automatic differentiation as it was before 1.0, where training and recording were one mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from symc.autograd import backward as _backward
from symc.autograd import mark_variables as mark_variables
from symc.autograd import set_recording, set_training
from symc.core.errors import ArgumentTypeError
from symc.ndarray import NDArray, tape, zeros_like

__all__ = [
    "backward", "compute_gradient", "grad", "grad_and_loss", "mark_variables", "set_is_training", "test_section",
    "train_section",
]  # fmt: skip


def set_is_training(is_train: bool) -> bool:
    """Switches training and recording; gives whether recording was on."""
    set_training(is_train)
    return set_recording(is_train)


def train_section() -> Any:
    """Trains and records inside the `with`."""
    return tape.scope(True, True)


def test_section() -> Any:
    """Does neither inside the `with`."""
    return tape.scope(False, False)


def backward(
    outputs: Sequence[NDArray], out_grads: Sequence[NDArray | None] | None = None, retain_graph: bool = False
) -> None:
    """Computes gradients into those that variables were marked with; raises ArgumentTypeError for a single array."""
    if not isinstance(outputs, (list, tuple)):
        raise ArgumentTypeError(f"outputs must be a list or tuple of NDArrays, got {type(outputs)}")
    _backward(outputs, out_grads, retain_graph)


def compute_gradient(outputs: Sequence[NDArray]) -> None:
    """The same, from ones."""
    backward(outputs)


def grad_and_loss(func: Callable[..., Any], argnum: int | list[int] | None = None) -> Callable[..., tuple]:
    """A function that gives the gradients of `func` for its arguments, or for those numbered, and its results."""

    @functools.wraps(func)
    def wrapped(*args: Any) -> tuple:
        numbers = range(len(args)) if argnum is None else argnum if isinstance(argnum, list) else [argnum]
        variables = [args[k] for k in numbers]
        for x in variables:
            if not isinstance(x, NDArray):
                raise ArgumentTypeError(f"arguments to differentiate for must be NDArrays, got {type(x)}")
        grads = [zeros_like(x) for x in variables]
        mark_variables(variables, grads)
        with train_section():
            outputs = func(*args)
        compute_gradient([outputs] if isinstance(outputs, NDArray) else outputs)
        return grads, outputs

    return wrapped


def grad(func: Callable[..., Any], argnum: int | list[int] | None = None) -> Callable[..., list[NDArray]]:
    """A function that gives the gradients alone."""
    both = grad_and_loss(func, argnum)

    @functools.wraps(both)
    def wrapped(*args: Any) -> list[NDArray]:
        return both(*args)[0]

    return wrapped
