"""Whether a kernel may write its result over one of its operands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from symc.ir.kernels import KernelNode, View
from symc.loopir.expr import Affine, Expr, walk
from symc.loopir.kernel import LoopKernel, buffer_of, loads_of


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
    views: Mapping[str, View], kernel: KernelNode, read: str, write: str, reads: dict[str, list[Read]]
) -> bool:
    """Whether `write` may take the memory of `read`: each load of the one is at exactly the store's index of the other.

    A kernel may run its stores one after the other, so no store after the overwriting one may read what it overwrites.
    """
    source, target = buffer_of(kernel.kernel, read), buffer_of(kernel.kernel, write)
    if (source.shape, source.strides, source.dtype) != (target.shape, target.strides, target.dtype):
        return False
    if views[read].offset != views[write].offset:
        return False  # a slice of the one and a part of the other, at different places
    storage = views[read].storage
    if any(views[other].storage == storage for other in (*kernel.reads, *kernel.writes) if other not in (read, write)):
        return False  # another view of the same memory is in use
    if read in kernel.kernel.operands or write in kernel.kernel.written:
        return False
    stores = kernel.kernel.stores
    if any(s.axes != stores[0].axes or s.mode != "set" for s in stores):
        return False
    at, own = next((k, s) for k, s in enumerate(stores) if s.buffer == write)
    return all(r.store <= at and not r.is_reduced and own.is_at(r.at) for r in reads.get(read, ()))
