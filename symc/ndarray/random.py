"""`mx.nd.random`: random arrays drawn from one generator per process, which `seed` restarts.

Parameters of a distribution are numbers, with `shape` the shape of the result, or arrays of one shape, each element of
which draws a block of `shape`. Results are float32 unless `dtype` says otherwise. The draws are NumPy's (PCG64), not
those of MXNet; the distributions are the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from symc.context import Context
from symc.core.dtypes import FLOATS, dtype_name
from symc.core.errors import ArgumentError, ConflictError
from symc.functions import _Null, names
from symc.ops.random.draws import SampleMultinomial
from symc.util import is_np_shape

from . import tape
from .creation import Shape, as_dtype, as_shape, without_attributes
from .fit import require_fit
from .generator import generator
from .generator import seed as seed
from .ndarray import NDArray
from .storage import allocating

__all__ = [
    "exponential", "gamma", "generalized_negative_binomial", "multinomial", "negative_binomial", "normal", "poisson",
    "randint", "randn", "seed", "shuffle", "uniform",
]  # fmt: skip

INTEGERS = ("int32", "int64")
MAX_MEAN = 9e18  # of Poisson numbers, which are drawn as int64


@without_attributes
def uniform(
    low: Any = 0, high: Any = 1, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None
) -> NDArray:
    """Evenly distributed in [low, high)."""

    def sample(low: Any, high: Any, size: Any) -> Any:
        return low + (high - low) * generator().random(size)

    def below(result: np.ndarray, low: Any, high: Any) -> None:
        """Rounding to a narrow type must not reach `high`."""
        limit = np.asarray(high).astype(result.dtype)
        edge = np.where(low < high, np.nextafter(limit, -np.inf, dtype=result.dtype), limit)
        np.minimum(result, edge, out=result)

    check = ("low <= high", lambda low, high: low <= high)
    return _draw("uniform", sample, (low, high), check, shape, dtype, ctx, out, finish=below)


@without_attributes
def normal(
    loc: Any = 0, scale: Any = 1, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None
) -> NDArray:
    """Normal with mean `loc` and standard deviation `scale`."""

    def sample(loc: Any, scale: Any, size: Any) -> Any:
        return loc + scale * generator().standard_normal(size)

    return _draw("normal", sample, (loc, scale), ("scale > 0", lambda loc, scale: scale > 0), shape, dtype, ctx, out)


def randn(*shape: int, loc: Any = 0, scale: Any = 1, dtype: Any = _Null, ctx: Any = None, out: Any = None) -> NDArray:
    """Normal, the shape given as numbers."""
    return normal(loc, scale, shape or _Null, dtype, ctx, out)


@without_attributes
def exponential(scale: Any = 1, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None) -> NDArray:
    """Exponential with mean `scale`."""

    def sample(scale: Any, size: Any) -> Any:
        return scale * generator().standard_exponential(size)

    return _draw("exponential", sample, (scale,), ("scale > 0", lambda s: s > 0), shape, dtype, ctx, out)


@without_attributes
def gamma(
    alpha: Any = 1, beta: Any = 1, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None
) -> NDArray:
    """Gamma with shape `alpha` and scale `beta`: mean alpha * beta."""

    def sample(alpha: Any, beta: Any, size: Any) -> Any:
        return beta * generator().standard_gamma(alpha, size)

    check = ("alpha > 0 and beta > 0", lambda a, b: (a > 0) & (b > 0))
    return _draw("gamma", sample, (alpha, beta), check, shape, dtype, ctx, out)


@without_attributes
def poisson(lam: Any = 1, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None) -> NDArray:
    """Poisson with mean `lam`, as floating-point numbers."""

    def sample(lam: Any, size: Any) -> Any:
        return generator().poisson(lam, size)

    return _draw(
        "poisson",
        sample,
        (lam,),
        ("0 <= lam <= 9e18", lambda lam: (lam >= 0) & (lam <= MAX_MEAN)),
        shape,
        dtype,
        ctx,
        out,
    )


@without_attributes
def negative_binomial(
    k: Any = 1, p: Any = 1, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None
) -> NDArray:
    """Failures before the k-th success of probability p: mean k (1 - p) / p."""

    def sample(k: Any, p: Any, size: Any) -> Any:
        return generator().poisson(np.minimum(generator().standard_gamma(k, size) * ((1 - p) / p), MAX_MEAN))

    check = ("k >= 0 and 0 < p <= 1", lambda k, p: (k >= 0) & (p > 0) & (p <= 1))
    return _draw("negative_binomial", sample, (k, p), check, shape, dtype, ctx, out)


@without_attributes
def generalized_negative_binomial(
    mu: Any = 1, alpha: Any = 1, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None
) -> NDArray:
    """Negative binomial by mean `mu` and dispersion `alpha`: variance mu + alpha * mu^2; Poisson for alpha 0."""

    def sample(mu: Any, alpha: Any, size: Any) -> Any:
        spread = np.where(np.asarray(alpha) > 0, alpha, 1)
        rates = np.where(np.asarray(alpha) > 0, generator().standard_gamma(1 / spread, size) * spread * mu, mu)
        return generator().poisson(np.minimum(rates, MAX_MEAN), size)

    check = ("mu >= 0 and alpha >= 0", lambda mu, alpha: (mu >= 0) & (alpha >= 0))
    return _draw("generalized_negative_binomial", sample, (mu, alpha), check, shape, dtype, ctx, out)


@without_attributes
def randint(low: int, high: int, shape: Any = _Null, dtype: Any = _Null, ctx: Any = None, out: Any = None) -> NDArray:
    """Integers evenly distributed in [low, high), int32 unless `dtype` says int64."""
    for name, bound in (("low", low), ("high", high)):
        if not isinstance(bound, (int, np.integer)):
            raise ArgumentError(f"randint: {name} must be an integer, got {bound!r}")

    def sample(low: Any, high: Any, size: Any) -> Any:
        return generator().integers(low, high, size)

    check = ("low < high", lambda low, high: low < high)
    return _draw("randint", sample, (low, high), check, shape, dtype, ctx, out, dtypes=INTEGERS)


@without_attributes
def multinomial(
    data: NDArray, shape: Any = _Null, get_prob: bool = False, out: Any = None, dtype: Any = "int32"
) -> NDArray | list[NDArray]:
    """Indices drawn with the probabilities in the last axis of `data` (..., K): shape (..., *shape).

    With `get_prob` also the logarithm of each drawn probability, which leads back to data when recorded.
    """
    *lead, n_categories = data.shape or (0,)
    if n_categories == 0:
        raise ArgumentError(f"multinomial: expected categories along the last axis of data, got shape {data.shape}")
    rows = data._host.reshape(math.prod(lead), n_categories).astype(np.float64)
    block = () if _is_missing(shape) else as_shape(shape)
    n_draws = math.prod(block)
    ends = np.cumsum(rows, axis=1)
    if not (rows >= 0).all() or not (ends[:, -1] > 0).all():
        raise ArgumentError("multinomial: probabilities must not be negative, nor all be 0")
    with allocating("multinomial"):
        picks = generator().random((len(rows), n_draws)) * ends[:, -1:]
        drawn = np.empty(picks.shape, np.int64)
    for line, end, pick in zip(drawn, ends, picks):
        line[:] = np.searchsorted(end, pick, side="right")
    result_shape = (*lead, *block) or (1,)
    indices = _placed(drawn.reshape(result_shape), as_dtype(dtype), data.context, out)
    if not get_prob:
        return indices
    chosen = np.log(np.take_along_axis(rows, drawn, axis=1)).reshape(result_shape)
    results = [indices, NDArray._copy_of(chosen, data.context, data._dtype)]
    if tape.mode.recording:
        op = SampleMultinomial(shape=block, get_prob=True, dtype=dtype_name(indices.dtype))
        tape.record(op, [data], results, results, tape.mode.training)
    return results


def shuffle(data: NDArray, out: NDArray | None = None, **_: Any) -> NDArray:
    """The array with its first axis in random order."""
    return _placed(generator().permutation(data._host), data._dtype, data.context, out)


def _draw(
    name: str,
    sample: Callable[..., Any],
    parameters: tuple[Any, ...],
    check: tuple[str, Callable[..., Any]],
    shape: Shape | None,
    dtype: Any,
    ctx: Context | None,
    out: NDArray | None,
    dtypes: tuple[str, ...] = FLOATS,
    finish: Callable[..., None] | None = None,
) -> NDArray:
    """Draws with `sample(*parameters, size)`; raises ArgumentError where the check of the parameters fails."""
    are_arrays = [isinstance(p, NDArray) for p in parameters]
    if any(are_arrays) != all(are_arrays):
        kinds = " and ".join(str(type(p)) for p in parameters)
        raise ConflictError(f"{name}: Distribution parameters must all have the same type, but got both {kinds}")
    text, holds = check
    block = () if _is_missing(shape) else as_shape(shape)  # type: ignore[arg-type]
    values: tuple[Any, ...]
    if all(are_arrays):
        if len({p.shape for p in parameters}) > 1:
            raise ArgumentError(f"{name}: parameters have different shapes {[p.shape for p in parameters]}")
        values = tuple(p._host.reshape(p.shape + (1,) * len(block)).astype(np.float64) for p in parameters)
        size, ctx = (*parameters[0].shape, *block), parameters[0].context
        kind = parameters[0]._dtype.name
    else:
        values, size, kind = parameters, block if not _is_missing(shape) else (1,), dtypes[0]
        kind = "float32" if dtypes is FLOATS else kind
        if out is not None and _is_missing(shape):
            size = out.shape
    if not np.all(holds(*values)):
        raise ArgumentError(f"{name}: expected {text}, got {', '.join(map(str, parameters))}")
    target = as_dtype(kind if _is_missing(dtype) else dtype)
    if target.name not in dtypes:
        raise ArgumentError(f"{name}: dtype {target.name} is not possible; expected one of {', '.join(dtypes)}")
    with allocating(name):
        drawn = np.asarray(sample(*values, size)).astype(target)
    if finish is not None:
        finish(drawn, *values)
    return _placed(drawn, target, ctx, out)


def _is_missing(value: Any) -> bool:
    if isinstance(value, (tuple, str)):  # not what is NumPy's, whose == has no truth
        return value == "None" or (value == () and not is_np_shape())
    return value is None or value is _Null


def _placed(drawn: np.ndarray, dtype: np.dtype, ctx: Context | None, out: NDArray | None) -> NDArray:
    """The draws as a new array, or in `out`."""
    if out is None:
        return NDArray._copy_of(drawn, ctx, dtype)
    require_fit("what is drawn goes to out=, which", out, drawn.shape)
    if tape.is_recording():
        tape.refuse_in_place([], [out])
    out._take(drawn)
    return out


def __getattr__(name: str) -> Any:
    """`uniform_like(data, low, high)` and the like: the operators whose draws have the shape and dtype of `data`."""
    if name.startswith("__"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from .functions import resolve

    return resolve("random", name)


def __dir__() -> list[str]:
    return sorted({*__all__, *names()["random"]})
