"""Recorded kernels (tests/data/ptx), run over NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

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
    is_backwards: bool = False,
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
    packed = pack_arguments(kernel, words)
    launch(loaded, kernel, *shape, packed, dynamic_bytes, limits, is_racing, is_backwards)
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


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype("f4")


class Use(NamedTuple):
    """A correct launch of a kernel."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple
    dynamic_bytes: int = 0


def uses() -> dict[str, Use]:
    x = np.arange(1, 513, dtype="i4") % 50
    halves = np.zeros((16, 16), "u2"), np.zeros((16, 8), "u2"), Empty((16, 8))
    octets = np.zeros((16, 32), "i1"), np.zeros((8, 32), "i1"), Empty((16, 8), "i4")
    return {
        "relu4": Use((2,), (64,), (numbers(500), Empty(500), 500)),
        "waves": Use((3,), (64,), (numbers(200), Empty(200), 200)),
        "halves": Use((1,), (64,), (np.zeros(60, "u2"), Empty(120, "u2"), 60)),
        "softmax": Use((3,), (128,), (numbers(3, 300), Empty((3, 300)), 300)),
        "matmul": Use((2, 2), (16, 16), (numbers(20, 35), numbers(35, 30), Empty((20, 30)), 20, 30, 35)),
        "tensor_tf32": Use((1,), (32,), (numbers(16, 64), numbers(8, 64), Empty((16, 8)), 64)),
        "tensor_halves": Use((1,), (32,), (*halves, *octets)),
        "groups": Use((1,), (128,), (numbers(64, 8), numbers(8, 8), Empty((64, 8)))),
        "medians": Use((2,), (32,), (x[:50], Empty(50, "i4"), 50)),
        "calls": Use((1,), (64,), (numbers(60), Empty(60), 60)),
        "branches": Use((1,), (64,), (x[:60], Empty(60, "i4"), 60)),
        "votes": Use((2,), (256,), (x, np.zeros(512, "i4"), np.zeros(16, "i4"), 512)),
        "last_block": Use((4,), (128,), (numbers(999), Empty(4), np.zeros(1, "u4"), Empty(1), 999)),
        "dynamic": Use((2,), (64,), (numbers(100), Empty(128), 100), 256),
    }
