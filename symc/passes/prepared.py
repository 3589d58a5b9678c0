"""Kernels that prepare operands: those that read one parameter together, and what is written long before it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from symc.ir.kernels import KernelNode, Storage, View
from symc.loopir.kernel import Nest


def arranged(
    kernels: Sequence[KernelNode], storages: Mapping[str, Storage], views: Mapping[str, View]
) -> list[KernelNode]:
    """The kernels of all phases; those that prepare know distances and follow each other by what they read."""
    return _by_source(_with_distances(kernels, storages), storages, views)


def _with_distances(kernels: Sequence[KernelNode], storages: Mapping[str, Storage]) -> list[KernelNode]:
    """Between a result that no kernel beside it reads and its use, all else is prepared."""
    distance = sum(s.size_bytes for s in storages.values() if s.place == "prepared")
    touched = Counter(name for k in kernels if k.phase == "prepare" for name in {*k.reads, *k.writes})
    return [
        replace(k, kernel=replace(k.kernel, distance_bytes=distance))
        if k.phase == "prepare" and isinstance(k.kernel, Nest) and all(touched[name] == 1 for name in k.writes)
        else k
        for k in kernels
    ]


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
