"""Python's cycle collector, which has nothing to find where many objects are made that all live."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from .locks import in_child

_pauses: list[bool] = []  # whether the collector was on before each


@contextmanager
def collector_paused() -> Iterator[None]:
    """Without the collector: looking at a graph, or at numba's objects, again and again takes 10 to 15 % of a compile
    and half of the time to read a large file. Any number of threads may pause it."""
    _pauses.append(gc.isenabled())
    gc.disable()
    try:
        yield
    finally:
        if _pauses and _pauses.pop():
            gc.enable()


@in_child
def _end_pauses() -> None:
    """Those who paused the collector are not in the child to start it again."""
    if any(_pauses):
        gc.enable()
    _pauses.clear()
