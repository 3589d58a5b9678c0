"""`mx.sym.random`: distributions whose parameters are numbers (one distribution) or symbols (one for each element)."""

from __future__ import annotations

from numbers import Number
from typing import Any

from symc.core.errors import ArgumentError, ConflictError

from .functions import _Null, names, resolve
from .symbol import Symbol

__all__ = [
    "uniform", "normal", "randn", "poisson", "exponential", "gamma", "multinomial", "negative_binomial",
    "generalized_negative_binomial", "shuffle", "randint",
]  # fmt: skip


def _draw(distribution: str, params: list[Any], shape: Any, dtype: Any, kwargs: dict[str, Any]) -> Symbol:
    wanted = Symbol if isinstance(params[0], Symbol) else Number
    if not isinstance(params[0], (Symbol, Number)):
        raise ArgumentError(f"Distribution parameters must be either Symbol or numbers, but got {type(params[0])}.")
    if not all(isinstance(p, wanted) for p in params):
        kinds = " and ".join(str(type(p)) for p in params)
        raise ConflictError(
            f"{distribution}: Distribution parameters must all have the same type, but got both {kinds}"
        )
    prefix = "_sample_" if wanted is Symbol else "_random_"
    return resolve("_internal", prefix + distribution)(*params, shape=shape, dtype=dtype, **kwargs)


def uniform(low: Any = 0, high: Any = 1, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any) -> Symbol:
    """Uniform in [low, high)."""
    return _draw("uniform", [low, high], shape, dtype, kwargs)


def normal(loc: Any = 0, scale: Any = 1, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any) -> Symbol:
    """Normal with mean `loc` and standard deviation `scale`."""
    return _draw("normal", [loc, scale], shape, dtype, kwargs)


def randn(*shape: int, **kwargs: Any) -> Symbol:
    """Normal of the given shape; `loc`, `scale` and `dtype` by keyword."""
    params = [kwargs.pop("loc", 0), kwargs.pop("scale", 1)]
    return _draw("normal", params, shape, kwargs.pop("dtype", _Null), kwargs)


def poisson(lam: Any = 1, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any) -> Symbol:
    """Poisson with rate `lam`."""
    return _draw("poisson", [lam], shape, dtype, kwargs)


def exponential(scale: Any = 1, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any) -> Symbol:
    """Exponential with mean `scale`."""
    return _draw("exponential", [1.0 / scale], shape, dtype, kwargs)


def gamma(alpha: Any = 1, beta: Any = 1, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any) -> Symbol:
    """Gamma with shape `alpha` and scale `beta`."""
    return _draw("gamma", [alpha, beta], shape, dtype, kwargs)


def negative_binomial(k: Any = 1, p: Any = 1, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any) -> Symbol:
    """Failures before the k-th success of probability p."""
    return _draw("negative_binomial", [k, p], shape, dtype, kwargs)


def generalized_negative_binomial(
    mu: Any = 1, alpha: Any = 1, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any
) -> Symbol:
    """Negative binomial by mean `mu` and dispersion `alpha`."""
    return _draw("generalized_negative_binomial", [mu, alpha], shape, dtype, kwargs)


def randint(low: Any, high: Any, shape: Any = _Null, dtype: Any = _Null, **kwargs: Any) -> Symbol:
    """Integers in [low, high)."""
    return _draw("randint", [low, high], shape, dtype, kwargs)


def multinomial(data: Symbol, shape: Any = _Null, get_prob: bool = True, dtype: Any = "int32", **kwargs: Any) -> Symbol:
    """Indices drawn with the probabilities in the last axis of `data`."""
    return resolve("_internal", "_sample_multinomial")(data, shape=shape, get_prob=get_prob, dtype=dtype, **kwargs)


def shuffle(data: Symbol, **kwargs: Any) -> Symbol:
    """`data` with its first axis in random order."""
    return resolve("_internal", "_shuffle")(data, **kwargs)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return resolve("random", name)


def __dir__() -> list[str]:
    return sorted({*__all__, *names()["random"]})
