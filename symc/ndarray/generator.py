"""The generator that everything random draws from: one per process, which `seed` restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from symc.context import Context
from symc.core.errors import ArgumentError
from symc.core.locks import adopted


def _new_generator(seed: int | None) -> np.random.Generator:
    made = np.random.default_rng(seed)
    adopted(made.bit_generator.lock)  # held while numbers are drawn, the GIL released
    return made


_generator = _new_generator(None)


def seed(seed_state: int, ctx: Context | str = "all") -> None:
    """Restarts the generator from a number, for every device whatever `ctx`; raises ArgumentError for no number."""
    global _generator
    if not isinstance(seed_state, (int, np.integer)):
        raise ArgumentError(f"seed_state must be int, got {seed_state!r}")
    if ctx != "all":
        Context(ctx)  # raises for what is none
    _generator = _new_generator(int(seed_state) % 2**64)


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
