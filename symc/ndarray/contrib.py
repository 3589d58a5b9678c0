"""`mx.nd.contrib`: contributed operators, control flow, and tests for NaN and infinity."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from symc import functions as shared
from symc.context import Context, current_context
from symc.functions import names

from . import functions as operators
from . import random
from .control import cond as cond
from .control import foreach as foreach
from .control import while_loop as while_loop
from .creation import full
from .ndarray import NDArray

Arrays = Sequence[NDArray]
Numbers = Sequence[float]


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


def adamw_update(
    weight: NDArray, grad: NDArray, mean: NDArray, var: NDArray, rescale_grad: Any, lr: float, eta: float,
    beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, wd: float = 0, clip_gradient: float = -1,
    out: NDArray | None = None, name: str | None = None,
) -> NDArray:  # fmt: skip
    """Adam with decoupled weight decay; `rescale_grad` is a number or an array of one; NaN skips the step."""
    arrays = weight, grad, mean, var, _factor(rescale_grad, weight)
    numbers = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "wd": wd, "clip_gradient": clip_gradient}
    return _updated("adamw_update", arrays, lr=lr, eta=eta, out=out, name=name, **numbers)


def mp_adamw_update(
    weight: NDArray, grad: NDArray, mean: NDArray, var: NDArray, weight32: NDArray, rescale_grad: Any, lr: float,
    eta: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, wd: float = 0,
    clip_gradient: float = -1, out: NDArray | None = None, name: str | None = None,
) -> NDArray:  # fmt: skip
    """`adamw_update` of a float16 weight with its float32 copy."""
    arrays = weight, grad, mean, var, weight32, _factor(rescale_grad, weight)
    numbers = {"beta1": beta1, "beta2": beta2, "epsilon": epsilon, "wd": wd, "clip_gradient": clip_gradient}
    return _updated("mp_adamw_update", arrays, lr=lr, eta=eta, out=out, name=name, **numbers)


def multi_adamw_update(
    weights: Arrays, grads: Arrays, mean: Arrays, var: Arrays, rescale_grad: Any, lrs: Numbers, wds: Numbers,
    etas: Numbers, out: Any = None, name: str | None = None, size: int = 0, **kwargs: Any,
) -> Any:  # fmt: skip
    """`adamw_update` of many weights at once."""
    arrays = *_in_turn(weights, grads, mean, var), _factor(rescale_grad, weights[0])
    kwargs |= {"lrs": lrs, "wds": wds, "etas": etas, "num_weights": size or len(weights)}
    return _updated("multi_adamw_update", arrays, out=out, name=name, **kwargs)


def multi_mp_adamw_update(
    weights: Arrays, grads: Arrays, mean: Arrays, var: Arrays, weights32: Arrays, rescale_grad: Any, lrs: Numbers,
    wds: Numbers, etas: Numbers, out: Any = None, name: str | None = None, size: int = 0, **kwargs: Any,
) -> Any:  # fmt: skip
    """`mp_adamw_update` of many weights at once."""
    arrays = *_in_turn(weights, grads, mean, var, weights32), _factor(rescale_grad, weights[0])
    kwargs |= {"lrs": lrs, "wds": wds, "etas": etas, "num_weights": size or len(weights)}
    return _updated("multi_mp_adamw_update", arrays, out=out, name=name, **kwargs)


def multi_lamb_update(
    weights: Arrays, grads: Arrays, mean: Arrays, var: Arrays, step_count: Numbers, lrs: Numbers, wds: Numbers,
    out: Any = None, num_tensors: int = 0, **kwargs: Any,
) -> Any:  # fmt: skip
    """Both phases of LAMB for many weights at once."""
    kwargs |= {"learning_rates": lrs, "wds": wds, "step_count": step_count, "num_tensors": num_tensors or len(weights)}
    return _updated("multi_lamb_update", _in_turn(weights, grads, mean, var), out=out, **kwargs)


def multi_mp_lamb_update(
    weights: Arrays, grads: Arrays, mean: Arrays, var: Arrays, weights32: Arrays, step_count: Numbers, lrs: Numbers,
    wds: Numbers, out: Any = None, num_tensors: int = 0, **kwargs: Any,
) -> Any:  # fmt: skip
    """`multi_lamb_update` of float16 weights with their float32 copies."""
    kwargs |= {"learning_rates": lrs, "wds": wds, "step_count": step_count, "num_tensors": num_tensors or len(weights)}
    return _updated("multi_mp_lamb_update", _in_turn(weights, grads, mean, var, weights32), out=out, **kwargs)


def _updated(operator: str, arrays: Arrays, **kwargs: Any) -> Any:
    return operators.resolve("contrib", operator)(*arrays, **kwargs)


def _in_turn(*lists: Arrays) -> list[NDArray]:
    """The first of each list, then the second of each ..."""
    return [array for each in zip(*lists, strict=True) for array in each]


def _factor(rescale_grad: Any, weight: NDArray) -> NDArray:
    """The gradients' factor as an array beside the weight."""
    if isinstance(rescale_grad, NDArray):
        return rescale_grad.as_in_context(weight.context)
    return full((1,), rescale_grad, ctx=weight.context)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    function = operators.resolve("contrib", name)
    globals()[name] = function
    return function


def __dir__() -> list[str]:
    return sorted({"cond", "foreach", "isfinite", "isinf", "isnan", "rand_zipfian", "while_loop", *names()["contrib"]})
