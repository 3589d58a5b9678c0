"""What a program prepares, cut into pieces that have nothing to do with each other, each with a name of what it is.

    prepare   fold(gamma, var) -> s;  pack(weight, s) -> w;  pack(bias) -> b      two pieces: {s, w} and {b}

Programs of one network for inputs of different shapes prepare mostly the same pieces of the same parameters, and share
them (`prepared.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from symc.codegen.kernel import KernelCall, Ref, Table
from symc.ir.kernels import HELD, KernelGraph, KernelNode, Storage

Calls = Sequence[tuple[KernelNode, KernelCall]]


class PieceOfGraph(NamedTuple):
    """Storages that are prepared together.

    key       a name of what is computed; the same for others that compute it from `sources` in this order
    storages  in the order in which they are met
    sources   the callers' arrays that are read
    steps     positions of the steps, among those of the phase
    """

    key: str
    storages: list[Storage]
    sources: list[Storage]
    steps: list[int]


def pieces_of(kernels: KernelGraph, calls: Calls) -> list[PieceOfGraph]:
    """The pieces of everything that a program prepares, in the order of their first steps."""
    prepare = [(node, call) for node, call in calls if node.phase == "prepare"]
    steps = _steps(prepare)
    root: dict[str, str] = {}  # of each storage that is prepared, another one of its piece, up to one that is its own

    def found(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    made = [[s.name for s in _storages(kernels, step) if s.place not in HELD] for step in steps]
    for names in made:
        for name in names:
            root[found(name)] = found(names[0])
    positions: dict[str, list[int]] = {}
    for k, names in enumerate(made):
        positions.setdefault(found(names[0]), []).append(k)
    return [_piece(kernels, [steps[k] for k in own], own) for own in positions.values()]


def _steps(calls: Calls) -> list[Calls]:
    """The calls of each step: those in one loop are one."""
    steps: list[Calls] = []
    for loops, run in groupby(calls, lambda c: c[0].loops[:1]):
        inside = list(run)
        steps += [inside] if loops else [[c] for c in inside]
    return steps


def _storages(kernels: KernelGraph, step: Calls) -> list[Storage]:
    """What a step touches, each once."""
    found = {s.name: s for node, call in step for s in (kernels.storage_of(r.buffer) for r in _refs(node, call))}
    return list(found.values())


def _refs(node: KernelNode, call: KernelCall) -> Iterable[Ref]:
    yield from map(Ref, node.flags)
    yield from (word for word in call.words if isinstance(word, Ref))


def _piece(kernels: KernelGraph, steps: Sequence[Calls], positions: list[int]) -> PieceOfGraph:
    numbers: dict[str, int] = {}  # of storages and loops, by when they are met
    storages: dict[str, Storage] = {}

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    def ref_text(ref: Ref) -> str:
        view, storage = kernels.views[ref.buffer], kernels.storage_of(ref.buffer)
        storages.setdefault(storage.name, storage)
        moves = [(number(loop), stride, period) for loop, stride, period in view.moves]
        what = number(storage.name), storage.place in HELD, storage.size, storage.dtype
        return f"{what} {view.offset} {ref.offset_bytes} {moves}"

    text = hashlib.sha256()
    for node, call in (pair for step in steps for pair in step):
        loops = [(number(loop.name), loop.count, loop.flag and ref_text(Ref(loop.flag))) for loop in node.loops]
        text.update(f"{call.code.name} {call.launch} {loops}\n".encode())
        for word in call.words:
            if isinstance(word, Table):
                dtype, data = word.content()
                text.update(f"table {dtype} {len(data)} ".encode() + data)
            else:
                text.update(f"{ref_text(word) if isinstance(word, Ref) else repr(word)}\n".encode())
    sources = [s for s in storages.values() if s.place in HELD]
    own = [s for s in storages.values() if s.place not in HELD]
    return PieceOfGraph(text.hexdigest(), own, sources, positions)
