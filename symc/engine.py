"""`mx.engine`: the size of operator bundles, accepted and remembered; symc runs every operator at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_bulk_size = 15  # MXNet's default


def set_bulk_size(size: int) -> int:
    """Remembers a size; gives the one before."""
    global _bulk_size
    before, _bulk_size = _bulk_size, int(size)
    return before


@contextmanager
def bulk(size: int) -> Iterator[None]:
    """`set_bulk_size` inside a `with`."""
    before = set_bulk_size(size)
    try:
        yield
    finally:
        set_bulk_size(before)
