"""Places arena storage: in place first, where the kernel proves it legal, then sharing by liveness.

In-place rules follow NNVM's plan_memory; offsets are chosen largest first at the lowest gap that is free during the
storage's life (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020: greedy by size).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from symc.core.dtypes import ALIGNMENT
from symc.ir.kernels import ArenaPlan, KernelGraph, KernelNode
from symc.loopir.expr import Affine, Expr, walk
from symc.loopir.kernel import LoopKernel, Store, buffer_of, loads_of


@dataclass
class Life:
    """A span of kernels during which some storages (one unless shared in place) hold a live value."""

    names: list[str]
    size_bytes: int
    first: int  # the kernel that writes it first
    last: int  # the kernel that touches it last


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
    lives: dict[str, Life] = {}
    for k, kernel in enumerate(kernels.kernels):
        for buffer in (*kernel.writes, *kernel.reads):
            storage = kernels.storage_of(buffer)
            if storage.place != "arena":
                continue
            if storage.name not in lives:
                lives[storage.name] = Life([storage.name], storage.size_bytes, k, k)
            lives[storage.name].last = k
    return lives


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
                if source.name in taken_over:
                    continue
                if lives[source.name].last == k and lives[source.name] is not lives[target.name]:
                    reads = reads_of(kernel.kernel) if reads is None else reads
                    if is_in_place_legal(kernels, kernel, read, write, reads):
                        merged, taken = lives[source.name], lives[target.name]
                        merged.names += taken.names
                        merged.last = taken.last
                        for name in taken.names:
                            lives[name] = merged
                        shared[target.name] = source.name
                        taken_over.add(source.name)
                        break
    return shared


class Read(NamedTuple):
    """One load in a kernel: by which store, at which index, and whether inside a reduction."""

    store: int
    at: tuple[Affine | Expr, ...]
    is_reduced: bool


def reads_of(kernel: LoopKernel) -> dict[str, list[Read]]:
    """Every load of a kernel's stores, by buffer."""
    found: dict[str, list[Read]] = {}
    for k, store in enumerate(kernel.stores):
        loads: list[Expr] = []
        reduced: set[Expr] = set()
        for e in walk(store.value):
            if e.op == "load":
                loads.append(e)
            elif e.op == "reduce":
                reduced.update(loads_of(e))
        for e in loads:
            found.setdefault(e.data[0], []).append(Read(k, e.data[1], e in reduced))
    return found


def is_in_place_legal(
    kernels: KernelGraph, kernel: KernelNode, read: str, write: str, reads: dict[str, list[Read]]
) -> bool:
    """Whether `write` may take the memory of `read`: each load of the one is at exactly the store's index of the other.

    A kernel may run its stores one after the other, so no store after the overwriting one may read what it overwrites.
    """
    source, target = buffer_of(kernel.kernel, read), buffer_of(kernel.kernel, write)
    if (source.shape, source.strides, source.dtype) != (target.shape, target.strides, target.dtype):
        return False
    storage = kernels.storage_of(read).name
    if any(kernels.storage_of(other).name == storage for other in (*kernel.reads, *kernel.writes) if other != read):
        return False  # another view of the same memory is in use
    if read in kernel.kernel.operands or write in kernel.kernel.written:
        return False
    stores = kernel.kernel.stores
    if any(s.axes != stores[0].axes or s.mode != "set" for s in stores):
        return False
    at, own = next((k, s) for k, s in enumerate(stores) if s.buffer == write)
    return all(r.store <= at and not r.is_reduced and _equal_index(r.at, own.index, own) for r in reads.get(read, ()))


def _equal_index(a: tuple[Affine | Expr, ...], b: tuple[Affine | Expr, ...], store: Store) -> bool:
    """Equal components, where an axis of extent 1 counts as the constant 0."""
    single = {axis for axis in store.axes if axis.extent == 1}

    def plain(i: Affine | Expr) -> Affine | Expr:
        return i if isinstance(i, Expr) else Affine(tuple(t for t in i.terms if t[0] not in single), i.constant)

    return all(plain(x) == plain(y) for x, y in zip(a, b))


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
    """Rounded up to whole cache lines."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
