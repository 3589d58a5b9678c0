"""Recorded kernels (tests/data/ptx), run over NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from symc.testing.ptx.launch import Limits, launch, load, pack_arguments
from symc.testing.ptx.memory import GlobalMemory

FOLDER = Path(__file__).parents[2] / "data" / "ptx"


@cache
def text_of(name: str) -> str:
    """The PTX of a recorded kernel."""
    return (FOLDER / f"{name}.ptx").read_text(encoding="utf-8")


def run_text(
    text: str,
    grid: Sequence[int],
    block: Sequence[int],
    *arguments: object,
    dynamic_bytes: int = 0,
    limits: Limits | None = None,
    is_racing: bool = True,
) -> list[np.ndarray]:
    """Runs the first kernel of a text; arrays become memory. What the memory holds afterwards, in the order of them."""
    memory = GlobalMemory()
    loaded = load(text, memory)
    (kernel, *_) = loaded.module.kernels
    regions, words = [], []
    for k, a in enumerate(arguments):
        if not isinstance(a, (np.ndarray, Empty)):
            words.append(a)
            continue
        array = a if isinstance(a, np.ndarray) else a.like
        region = memory.allocate(array.nbytes, f"argument {k}", isinstance(a, Constant))
        if not isinstance(a, Empty):
            region.write(0, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        regions.append((region, array))
        words.append(region.start)
    shape = [tuple([*extents, 1, 1][:3]) for extents in (grid, block)]
    launch(loaded, kernel, *shape, pack_arguments(kernel, words), dynamic_bytes, limits, is_racing)
    return [r.data.bytes[: a.nbytes].view(a.dtype).reshape(a.shape).copy() for r, a in regions]


class Empty:
    """Memory of an array's size in which nothing was written."""

    def __init__(self, shape: object, dtype: str = "f4") -> None:
        self.like = np.empty(shape, dtype)


class Constant(np.ndarray):
    """An array that a kernel may only read."""


def edited(name: str, *edits: tuple[str, str] | Callable[[str], str]) -> str:
    """A recorded kernel with texts replaced at their first place, which has to be there."""
    text = text_of(name)
    for edit in edits:
        new = edit(text) if callable(edit) else text.replace(*edit, 1)
        assert new != text, f"{name} has no {edit}"
        text = new
    return text
