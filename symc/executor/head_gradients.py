"""What `backward` is given: the gradients of the outputs, in one order, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError, ArgumentTypeError, GradientError
from symc.core.shapes import FullShape
from symc.ndarray.ndarray import NDArray, as_numpy


def listed(out_grads: Any, names: Sequence[str]) -> list[Any]:
    """The gradient of each output, None where there is none; more than outputs do not count.

    out_grads   None, an array, a list, or a mapping from names of outputs
    Raises ArgumentError for the name of no output.
    """
    if isinstance(out_grads, Mapping):
        strange = [n for n in out_grads if n not in names]
        if strange:
            raise ArgumentError(f"backward: no output {strange[0]}; the outputs are {', '.join(names)}")
        return [out_grads.get(name) for name in names]
    given = out_grads if isinstance(out_grads, (list, tuple)) else [out_grads]
    return [*given, *[None] * len(names)][: len(names)]


def checked(value: Any, k: int, name: str, shape: FullShape) -> NDArray | np.ndarray:
    """The gradient given for output k, of that name and shape.

    Raises GradientError where there is none, ArgumentTypeError where it is no array, ArgumentError for another shape.
    """
    if value is None:
        raise GradientError(
            f"backward: output {name} is not a loss. Because the last operator is not Loss function, "
            f"head_gradient is required when calling backward; pass out_grads of shape {shape}"
        )
    if not hasattr(value, "shape"):  # a number or a list is taken for a mistake: MXNet takes NDArrays alone
        raise ArgumentTypeError(f"backward: head gradient {k} must be an NDArray, got {type(value).__name__}")
    array = value if isinstance(value, NDArray) else as_numpy(value, f"head gradient {k}")
    if array.shape != shape:
        raise ArgumentError(f"backward: head gradient {k} has shape {array.shape}, expected {shape}")
    return array
