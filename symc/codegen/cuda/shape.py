"""What compiled code looks like whose threads share rows, as far as its time depends on that."""

from __future__ import annotations

import re
from typing import NamedTuple

LOAD = re.compile(r"ld\.global(?:\.nc)?(?:\.v(?P<n>\d))?\.(?:[fsb]|u(?!64))(?P<bits>\d+)")  # no word of a descriptor
BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$\w+);")


class Shape(NamedTuple):
    """What the code of a nest looks like whose threads share rows.

    n_shuffles      by which threads of a warp exchange totals
    n_barriers      of blocks, for the same: pairs
    n_instructions  of a unit, outside of the loops that load
    loops           these: instructions, and how many numbers are loaded
    """

    n_shuffles: int
    n_barriers: int
    n_instructions: int
    loops: tuple[tuple[int, int], ...]


def shape_of(ptx: str) -> Shape:
    """See Shape."""
    lines = [line for line in map(str.strip, ptx.splitlines()) if line and not line.startswith(("//", ".", "{", "}"))]
    labels = {line.rstrip(":"): at for at, line in enumerate(lines) if line.startswith("$L")}
    branches = [(labels.get(b[1], at + 1), at) for at, line in enumerate(lines) if (b := BRANCH.search(line))]
    spans = sorted((span for span in branches if span[0] <= span[1]), key=lambda span: span[1] - span[0])
    loops: list[tuple[int, int]] = []
    counted: set[int] = set()
    for first, last in spans[:-1]:  # the outermost is that over units
        inside = [line for at, line in enumerate(lines[first:last], first) if at not in counted]
        n_loaded = sum(int(load["n"] or 1) for line in inside if (load := LOAD.match(line)))
        if n_loaded:
            loops.append((len(inside), n_loaded))
            counted.update(range(first, last + 1))
    outer = range(*spans[-1]) if spans else range(len(lines))
    n_instructions = sum(at not in counted for at in outer)
    return Shape(ptx.count("shfl.sync"), ptx.count("bar.sync") // 2, n_instructions, tuple(loops))
