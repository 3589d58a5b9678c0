"""Places arena storage: in place first, where the kernel proves it legal, then sharing by liveness.

In-place rules follow NNVM's plan_memory; offsets are chosen largest first at the lowest gap that is free during the
storage's life (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020: greedy by size).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from symc.core.dtypes import ALIGNMENT
from symc.ir.kernels import ArenaPlan, KernelGraph, KernelLoop, KernelNode

from .in_place import Read, is_in_place_legal, reads_of

SPACED_BYTES = 64 * 1024  # more than lie in a core's first cache, and much more than a page
PAGE_BYTES, SPACE_BYTES = 4096, 1088  # a quarter of a page and a line: four arrays behind each other begin apart


@dataclass
class Life:
    """A span of kernels during which some storages (one unless shared in place) hold a live value."""

    names: list[str]
    size_bytes: int
    first: int  # the kernel that writes it first
    last: int  # the kernel that touches it last
    home: Loops = ()  # the loops in one round of which it lives and dies


def plan_memory(kernels: KernelGraph) -> KernelGraph:
    """Adds the arena plan; storage that is never live at the same time may share bytes.

    before:  a: 400 bytes [0, 1], b: 400 bytes [1, 2], c: 400 bytes [2, 3]
    after:   a at 0, b at 448, c at 0; 896 bytes planned, 1344 naive
    """
    lives = _lives(kernels)
    naive = sum(aligned(life.size_bytes) for life in lives.values())
    in_place = _share_in_place(kernels, lives)
    spans = list({id(life): life for life in lives.values()}.values())
    offsets, size = place(spans)
    bound = lower_bound(spans)
    plan = ArenaPlan(
        {name: offset for life, offset in zip(spans, offsets) for name in life.names}, size, naive, bound, in_place
    )
    return replace(kernels, arena=plan)


def _lives(kernels: KernelGraph) -> dict[str, Life]:
    """What a loop only reads, or hands from round to round, lives as long as the loop runs."""
    spans = loop_spans([kernel.loops for kernel in kernels.kernels])
    return {
        name: Life([name], kernels.storages[name].size_bytes, *life_of(found, spans))
        for name, found in touches(kernels, kernels.kernels).items()
        if kernels.storages[name].place == "arena"
    }


Loops = tuple[KernelLoop, ...]  # around a kernel, the outermost first


Touch = tuple[int, Loops]  # by what stands at a position, inside these loops


def touches(kernels: KernelGraph, steps: Sequence[KernelNode]) -> dict[str, list[Touch]]:
    """Who touches each storage; loops look at their flags."""
    found: dict[str, list[Touch]] = {}
    for k, kernel in enumerate(steps):
        touched = [(buffer, kernel.loops) for buffer in (*kernel.writes, *kernel.reads)]
        touched += [(loop.flag, kernel.loops[:depth]) for depth, loop in enumerate(kernel.loops) if loop.flag]
        for buffer, loops in touched:
            found.setdefault(kernels.storage_of(buffer).name, []).append((k, loops))
    return found


def loop_spans(loops: Sequence[Loops]) -> dict[KernelLoop, tuple[int, int]]:
    """The first and the last position of every loop, from the loops around what stands at each position."""
    spans: dict[KernelLoop, tuple[int, int]] = {}
    for k, around in enumerate(loops):
        for loop in around:
            spans[loop] = spans.get(loop, (k, k))[0], k
    return spans


def life_of(found: Sequence[Touch], spans: Mapping[KernelLoop, tuple[int, int]]) -> tuple[int, int, Loops]:
    """From where to where something lives that is touched so, and the loops in a round of which."""
    home = tuple(level[0] for level in zip(*(loops for _, loops in found)) if all(loop == level[0] for loop in level))
    depth = len(home)
    ends = [spans[loops[depth]] if len(loops) > depth else (k, k) for k, loops in found]
    return min(first for first, _ in ends), max(last for _, last in ends), home


def _share_in_place(kernels: KernelGraph, lives: dict[str, Life]) -> dict[str, str]:
    """Merges the life of a kernel's output with that of an operand that dies there."""
    shared: dict[str, str] = {}
    taken_over: set[str] = set()
    n_writers: dict[str, int] = {}
    for kernel in kernels.kernels:
        for storage in {kernels.storage_of(b).name for b in kernel.writes}:
            n_writers[storage] = n_writers.get(storage, 0) + 1
    for k, kernel in enumerate(kernels.kernels):
        reads: dict[str, list[Read]] | None = None
        for write in kernel.writes:
            target = kernels.storage_of(write)
            if target.place != "arena" or n_writers[target.name] != 1 or lives[target.name].first != k:
                continue
            for read in kernel.reads:
                source = kernels.storage_of(read)
                if source.place != "arena" or source.name == target.name or source.size_bytes != target.size_bytes:
                    continue
                if source.name in taken_over or not lives[source.name].home == lives[target.name].home == kernel.loops:
                    continue
                if lives[source.name].last == k and lives[source.name] is not lives[target.name]:
                    reads = reads_of(kernel.kernel) if reads is None else reads
                    if is_in_place_legal(kernels.views, kernel, read, write, reads):
                        merged, taken = lives[source.name], lives[target.name]
                        merged.names += taken.names
                        merged.last = taken.last
                        for name in taken.names:
                            lives[name] = merged
                        shared[target.name] = source.name
                        taken_over.add(source.name)
                        break
    return shared


def place(spans: list[Life]) -> tuple[list[int], int]:
    """Byte offsets, one a span, so that spans alive together never overlap; and the total size."""
    sizes = [aligned(s.size_bytes) for s in spans]
    offsets = [0] * len(spans)
    # What is placed, by offset: first and last kernel, start and end in bytes.
    placed = np.zeros((4, len(spans)), dtype=np.int64)
    for n, k in enumerate(sorted(range(len(spans)), key=lambda k: (-sizes[k], spans[k].first))):
        first, last, starts, ends = placed[:, :n]
        alive = np.flatnonzero((first <= spans[k].last) & (last >= spans[k].first))
        free_from = np.maximum.accumulate(np.concatenate(([0], ends[alive])))
        fits = starts[alive] - free_from[:-1] >= sizes[k]
        gap = int(fits.argmax()) if fits.any() else len(alive)
        here = offsets[k] = int(free_from[gap])
        at = int(np.searchsorted(starts, here, side="right"))
        placed[:, at + 1 : n + 1] = placed[:, at:n].copy()
        placed[:, at] = spans[k].first, spans[k].last, here, here + sizes[k]
    return offsets, int(placed[3].max(initial=0))


def lower_bound(spans: list[Life]) -> int:
    """The largest sum of aligned sizes alive at one kernel: no plan can be smaller."""
    change: dict[int, int] = {}
    for s in spans:
        change[s.first] = change.get(s.first, 0) + aligned(s.size_bytes)
        change[s.last + 1] = change.get(s.last + 1, 0) - aligned(s.size_bytes)
    best = now = 0
    for k in sorted(change):
        now += change[k]
        best = max(best, now)
    return best


def aligned(size_bytes: int) -> int:
    """Rounded up to whole cache lines; what is large ends apart from a page's beginning, where the next one begins.

    A load waits for an earlier store to the same place of another page: a kernel that reads one array of whole pages
    and writes another one behind it would meet each of its stores.
    """
    if size_bytes < SPACED_BYTES:
        return -(-size_bytes // ALIGNMENT) * ALIGNMENT
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES + SPACE_BYTES
