"""How a kernel is spread over a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

WARP = 32
MOST_BLOCKS = 2048  # of one launch: more than run at once on any GPU, few enough that a block's start does not show


class Grid(NamedTuple):
    """The launch of a GPU kernel: blocks, threads of a block, bytes of dynamic shared memory of a block."""

    n_blocks: int
    n_threads: int
    shared_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.n_blocks} x {self.n_threads} threads"


def with_threads(function: Callable[..., Any], n_threads: int) -> Callable[..., Any]:
    """A kernel's function with the number of threads of its blocks, for which it is compiled."""
    function.n_threads = n_threads  # type: ignore[attr-defined]
    return function
