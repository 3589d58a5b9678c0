"""What sessions have prepared of parameters, piece by piece; a piece that several of them need is there once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from symc.core.locks import new_lock, new_reentrant_lock

from .device import Block, Device
from .program import Program


class Array(Protocol):
    """What is needed of a bound NDArray: where it lies, and a number that changes with every write."""

    @property
    def _address(self) -> int: ...

    @property
    def _version(self) -> int: ...

    def _touch(self) -> None: ...


Sources = Sequence[Array]  # of a piece, in the order of its key


class Made:
    """A piece in memory.

    sources    the arrays it is made from, which it keeps: their addresses name it
    versions   of these when it was made; None before
    """

    __slots__ = ("__weakref__", "_block", "address", "sources", "versions")

    def __init__(self, block: Block, offset: int, sources: Sources) -> None:
        self._block = block
        self.address = block.address + offset
        self.sources = sources
        self.versions: list[int] | None = None


class Prepared(NamedTuple):
    """The pieces of a program.

    own      memory of this session alone, where the pieces lie that nobody had when it began
    lock     of whoever makes pieces
    """

    own: Block
    pieces: Sequence[Made]
    lock: Any  # reentrant: what a signal's handler runs may make pieces as well

    @property
    def addresses(self) -> list[int]:
        """Of all pieces."""
        return [made.address for made in self.pieces]


_shared: WeakValueDictionary[tuple, Made] = WeakValueDictionary()  # by device, key, and where the sources lie
_lock = new_lock()
# One for all that are shared, not one for each who made some: a program may need what hundreds of others have made.
_making = new_reentrant_lock()


def alone(device: Device, program: Program, sources: Sequence[Sources] | None = None) -> Prepared:
    """Memory for the pieces of a program, made from these arrays each, that nobody else uses."""
    none_found = [None] * len(program.pieces)
    return _with_memory(device, program, sources or [()] * len(program.pieces), none_found, new_reentrant_lock())


def shared(device: Device, program: Program, sources: Sequence[Sources]) -> Prepared:
    """The same, but for pieces that others have of these arrays, and will find of this program."""
    maker = device.backend.identity()
    keys = [(maker, piece.key, *[a._address for a in own]) for piece, own in zip(program.pieces, sources)]
    with _lock:
        prepared = _with_memory(device, program, sources, [_shared.get(key) for key in keys], _making)
        _shared.update(zip(keys, prepared.pieces))
    return prepared


def _with_memory(
    device: Device, program: Program, sources: Sequence[Sources], found: Sequence[Made | None], lock: Any
) -> Prepared:
    """The pieces that were found, and one block for all others."""
    missing = sum(piece.size_bytes for piece, made in zip(program.pieces, found) if made is None)
    block, offset = device.memory.zeros(missing), 0
    pieces = []
    for piece, own, made in zip(program.pieces, sources, found):
        if made is None:
            made = Made(block, offset, own)
            offset += piece.size_bytes
        pieces.append(made)
    return Prepared(block, pieces, lock)
