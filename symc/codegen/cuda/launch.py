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


def bounded(function: Callable[..., Any], n_threads: int, n_blocks: int = 1) -> Callable[..., Any]:
    """A kernel's function for blocks of `n_threads`, of which `n_blocks` shall run on one processor at once."""
    function.launch_bounds = n_threads, n_blocks  # type: ignore[attr-defined]
    return function
