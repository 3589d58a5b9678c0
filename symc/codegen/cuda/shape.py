"""What compiled code looks like whose threads share rows, as far as its time depends on that."""

from __future__ import annotations

import re
from typing import NamedTuple

from .launch import WARP

LOAD = re.compile(r"ld\.global(?:\.nc)?(?:\.v(?P<n>\d))?\.(?:[fsb]|u(?!64))(?P<bits>\d+)")  # no word of a descriptor
BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$\w+);")
SHUFFLE = re.compile(r"shfl\.sync\.bfly\.b32 %\w+, %\w+, (%\w+)")
CONSTANT = re.compile(r"mov\.u32 \s*(%\w+), (\d+);")


class Shape(NamedTuple):
    """What the code of a nest looks like whose threads share rows.

    n_exchanges     totals that threads add up together
    n_barriers      of blocks, for that
    n_together      threads of a warp that add up theirs
    n_instructions  of a unit, outside of the loops that load
    loops           these: instructions, and how many numbers are loaded
    """

    n_exchanges: int
    n_barriers: int
    n_together: int
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
    n_barriers, shuffles = ptx.count("bar.sync") // 2, SHUFFLE.findall(ptx)
    numbers = {register: int(value) for register, value in CONSTANT.findall(ptx)}
    n_together = 2 * max((numbers.get(distance, WARP // 2) for distance in shuffles), default=1)
    n_exchanges = n_barriers or len(shuffles) // max(1, n_together.bit_length() - 1)
    return Shape(n_exchanges, n_barriers, n_together, sum(at not in counted for at in outer), tuple(loops))
