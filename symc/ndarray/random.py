"""Random NDArrays drawn from one generator per process, which `seed` restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from symc.context import Context
from symc.core.errors import ArgumentError

from .creation import Shape, as_dtype, as_shape
from .ndarray import NDArray

_generator = np.random.default_rng()


def seed(seed_state: int, ctx: Context | str = "all") -> None:
    """Restarts the generator from a number; the draws repeat, but are not those of MXNet. `ctx` does not matter."""
    global _generator
    _generator = np.random.default_rng(int(seed_state) % 2**64)


@contextmanager
def seeded(seed_state: int) -> Iterator[None]:
    """Draws inside repeat for a number; afterwards the generator goes on as if there had been none."""
    global _generator
    outside = _generator
    seed(seed_state)
    try:
        yield
    finally:
        _generator = outside


def generator() -> np.random.Generator:
    """The process's generator, for everything that draws."""
    return _generator


def uniform(
    low: float = 0.0, high: float = 1.0, shape: Shape = (1,), dtype: Any = None, ctx: Context | None = None
) -> NDArray:
    """Numbers evenly distributed in [low, high), float32 unless `dtype` is given."""
    return NDArray._copy_of(_generator.uniform(low, high, as_shape(shape)), ctx, as_dtype(dtype))


def normal(
    loc: float = 0.0, scale: float = 1.0, shape: Shape = (1,), dtype: Any = None, ctx: Context | None = None
) -> NDArray:
    """Normally distributed numbers with mean `loc` and standard deviation `scale`, float32 unless `dtype` is given."""
    return NDArray._copy_of(_generator.normal(loc, scale, as_shape(shape)), ctx, as_dtype(dtype))


def randint(low: int, high: int, shape: Shape = (1,), dtype: Any = "int32", ctx: Context | None = None) -> NDArray:
    """Integers evenly distributed in [low, high); raises ArgumentError where there are none."""
    if low >= high:
        raise ArgumentError(f"randint: low {low} must be below high {high}")
    return NDArray._copy_of(_generator.integers(low, high, as_shape(shape)), ctx, as_dtype(dtype))
