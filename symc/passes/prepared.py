"""Kernels that prepare operands: those that read one parameter together, and what is written long before it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from symc.ir.kernels import KernelNode, Storage, View
from symc.loopir.kernel import Contraction, Nest

LARGE_BYTES = 1 << 18  # of a gradient: what is less is not worth a kernel of its own


def arranged(
    kernels: Sequence[KernelNode], storages: Mapping[str, Storage], views: Mapping[str, View]
) -> list[KernelNode]:
    """The kernels of all phases; those that prepare know distances and follow each other by what they read."""
    return _by_source(_with_distances(kernels, storages, views), storages, views)


def _with_distances(
    kernels: Sequence[KernelNode], storages: Mapping[str, Storage], views: Mapping[str, View]
) -> list[KernelNode]:
    """Tells kernels how much is written before their results are read.

    Between a result that no kernel beside it reads and its use, all else is prepared. Between a gradient that no
    kernel reads and its update, all others are made, and for each of these its weight is read.
    """
    prepared, gradients = (
        sum(s.size_bytes for s in storages.values() if s.place == place) for place in ("prepared", "gradient")
    )
    beside = Counter(name for k in kernels if k.phase == "prepare" for name in {*k.reads, *k.writes})
    touched = Counter(s for k in kernels for s in {views[name].storage for name in (*k.reads, *k.writes)})

    def is_late(storage: Storage) -> bool:
        return storage.place == "gradient" and storage.size_bytes >= LARGE_BYTES and touched[storage.name] == 1

    def told(k: KernelNode) -> KernelNode:
        kernel = k.kernel
        if k.phase == "prepare" and isinstance(kernel, Nest) and all(beside[name] == 1 for name in k.writes):
            return replace(k, kernel=replace(kernel, distance_bytes=prepared))
        is_last = not k.loops and all(is_late(storages[views[name].storage]) for name in k.writes)
        if is_last and isinstance(kernel, (Nest, Contraction)):
            return replace(k, kernel=replace(kernel, distance_bytes=2 * gradients))
        return k

    return [told(k) for k in kernels]


def _by_source(
    kernels: Sequence[KernelNode], storages: Mapping[str, Storage], views: Mapping[str, View]
) -> list[KernelNode]:
    """Kernels that read the same parameters alone follow each other, so that these come from memory once.

    What finishes such a result in place goes with it. All others stay where they are, those in loops, too.
    """
    first: dict[tuple[str, ...], int] = {}  # sources -> number of the first kernel that reads them
    made_from: dict[tuple[str, ...], tuple[str, ...]] = {}  # results -> sources
    places = list(range(len(kernels)))
    for n, k in enumerate(kernels):
        if k.phase != "prepare" or k.loops:
            continue
        if k.reads and all(storages[views[name].storage].place == "parameter" for name in k.reads):
            made_from[k.writes] = k.reads
        elif k.writes not in made_from or not set(k.reads) <= set(k.writes):
            continue
        places[n] = first.setdefault(made_from[k.writes], n)
    return [kernels[n] for n in sorted(range(len(kernels)), key=places.__getitem__)]
