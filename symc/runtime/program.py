"""The compiled form of a graph: steps over slots, as plain data that can be stored.

A Program holds no address.  Slots 0 to 3 are the arena, the prepared memory of a session, the offset tables and the
random seed; each further slot is an array of the caller, or a piece of what is prepared.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from symc.codegen.kernel import Launch
from symc.core.lazy import lazy
from symc.core.shapes import FullShape
from symc.ir.kernels import HeadInfo, Place

ARENA, PREPARED, TABLES, SEED_SLOT, FIRST_ARRAY = range(5)  # slots; those of the caller's arrays begin with FIRST_ARRAY
_LENGTHS = struct.Struct("<QQQ")  # bytes of the header, the descriptors, the tables


@dataclass(frozen=True)
class Slot:
    """An array of the caller: which one (argument name, head index ...), and its size."""

    place: Place
    key: str
    size: int
    dtype: str


@dataclass(frozen=True)
class KernelStep:
    """One kernel call of the program."""

    kernel: str
    desc_offset: int  # words into the descriptors
    launch: Launch
    phase: str


class Moving(NamedTuple):
    """An address that a loop moves: slot `slot` is slot `base` in the first round, `stride` bytes more in each other.

    After `period` rounds, unless that is 0, it is slot `base` again. `slot` is one that no array has.
    """

    slot: int
    base: int
    stride: int
    period: int = 0

    def moved(self, n_rounds: int) -> int:
        """How far it has moved, in bytes, when so many rounds are done."""
        return self.stride * (n_rounds % self.period if self.period else n_rounds)


class Flag(NamedTuple):
    """A number in a slot's memory, which a loop looks at before each round; 0 ends it. 8 bytes there can be read."""

    slot: int
    offset: int  # bytes
    dtype: str


@dataclass(frozen=True)
class Loop:
    """Steps that run `count` times, or until the flag is 0 where there is one.

    counter   a slot, of no array, in which the rounds that are done are counted
    bands     1, or into how many bands of rows its work falls that never read of each other what the loop writes; chunk
              k of each step works on band k % bands
    """

    steps: tuple[Step, ...]
    count: int
    counter: int
    moving: tuple[Moving, ...]
    flag: Flag | None
    phase: str
    bands: int = 1


class Piece(NamedTuple):
    """Memory for what some steps prepare of the caller's arrays, which no other step of the phase touches.

    key      names what they compute: the same for whoever computes it from `sources` in this order
    sources  numbers of the arrays that they read
    steps    positions among the steps of the phase
    """

    key: str
    size_bytes: int
    sources: tuple[int, ...]
    steps: tuple[int, ...]


class Lent(NamedTuple):
    """An array that a call-back sees: bytes into a slot; of a result, whether anything reads it."""

    slot: int
    offset: int
    shape: FullShape
    dtype: str
    is_read: bool = True


@dataclass(frozen=True)
class CallBack:
    """A call of a Python function that the instance has under this name; its exceptions come out of the run."""

    name: str
    phase: str
    ins: tuple[Lent, ...] = ()
    outs: tuple[Lent, ...] = ()


Step = KernelStep | Loop | CallBack


@dataclass(frozen=True, eq=False)
class Program:
    """Everything a run needs except memory and kernel addresses."""

    steps: tuple[Step, ...]
    descriptors: np.ndarray  # int64
    tables: np.ndarray  # uint8
    slots: tuple[Slot, ...]
    heads: tuple[HeadInfo, ...]
    arena_bytes: int
    is_random: bool
    pieces: tuple[Piece, ...] = ()  # whose slots come after those of the arrays
    n_registers: int = 0  # slots after these, in which loops keep counters and addresses

    def slot_number(self, place: str, key: str) -> int:
        """The number of a caller's array in `bufs`; raises KeyError when the program does not touch it."""
        return self._numbers[place, key]

    @lazy
    def _numbers(self) -> dict[tuple[str, str], int]:
        return {(slot.place, slot.key): k for k, slot in self.numbered_slots()}

    def numbered_slots(self) -> Iterator[tuple[int, Slot]]:
        """The caller's arrays with their numbers in `bufs`."""
        return enumerate(self.slots, FIRST_ARRAY)

    @property
    def first_piece(self) -> int:
        """The slot of the first piece."""
        return FIRST_ARRAY + len(self.slots)

    @property
    def n_slots(self) -> int:
        """All of them, which is the length of `bufs`."""
        return self.first_piece + len(self.pieces) + self.n_registers

    @property
    def prepared_bytes(self) -> int:
        """What all pieces take."""
        return sum(piece.size_bytes for piece in self.pieces)

    @lazy
    def prepared_from(self) -> frozenset[int]:
        """Numbers of the arrays that the phase "prepare" reads."""
        return frozenset(number for piece in self.pieces for number in piece.sources)

    def needs(self, place: str) -> list[str]:
        """Keys of the caller's arrays of one kind."""
        return [s.key for s in self.slots if s.place == place]

    def phase_steps(self, phase: str) -> list[Step]:
        """Steps of one phase in order."""
        return [s for s in self.steps if s.phase == phase]

    @lazy
    def kernel_names(self) -> list[str]:
        """The kernels it calls, each once."""
        return list(dict.fromkeys(step.kernel for step in walk(self.steps) if isinstance(step, KernelStep)))

    @lazy
    def call_names(self) -> list[str]:
        """The functions it calls back, each once."""
        return list(dict.fromkeys(step.name for step in walk(self.steps) if isinstance(step, CallBack)))

    def to_bytes(self) -> bytes:
        """The program as it is stored: lengths, a header in JSON, descriptors, tables."""
        small = {
            "steps": [_stored(s) for s in self.steps],
            "slots": [asdict(s) for s in self.slots],
            "heads": [asdict(h) for h in self.heads],
            "arena_bytes": self.arena_bytes,
            "is_random": self.is_random,
            "pieces": self.pieces,
        }
        if self.n_registers:
            small["n_registers"] = self.n_registers
        parts = (json.dumps(small).encode(), self.descriptors.tobytes(), self.tables.tobytes())
        return _LENGTHS.pack(*map(len, parts)) + b"".join(parts)

    @staticmethod
    def from_bytes(data: bytes) -> Program:
        """What `to_bytes` stored. The bytes must be known to be whole: a program says where memory is written."""
        n_header, n_descriptors, n_tables = _LENGTHS.unpack_from(data)
        start = _LENGTHS.size + n_header
        small = json.loads(data[_LENGTHS.size : start])
        return Program(
            tuple(map(_restored, small["steps"])),
            np.frombuffer(data[start : start + n_descriptors], np.int64),
            np.frombuffer(data[start + n_descriptors : start + n_descriptors + n_tables], np.uint8),
            tuple(Slot(**s) for s in small["slots"]),
            tuple(HeadInfo(h["name"], tuple(h["shape"]), h["dtype"]) for h in small["heads"]),
            small["arena_bytes"],
            small["is_random"],
            tuple(Piece(key, size, tuple(sources), tuple(at)) for key, size, sources, at in small["pieces"]),
            small.get("n_registers", 0),
        )


def walk(steps: Iterable[Step]) -> Iterator[Step]:
    """All steps, those of loops after their loop."""
    for step in steps:
        yield step
        if isinstance(step, Loop):
            yield from walk(step.steps)


def _stored(step: Step) -> list | dict:
    """A step as JSON holds it: a kernel's is a list, the others say what they are."""
    if isinstance(step, KernelStep):
        return [step.kernel, step.desc_offset, *step.launch, step.phase]
    if isinstance(step, CallBack):
        return {"call": step.name, "phase": step.phase, "ins": step.ins, "outs": step.outs}
    return {"loop": [_stored(s) for s in step.steps], **{k: v for k, v in vars(step).items() if k != "steps"}}


def _restored(data: list | dict) -> Step:
    """What `_stored` made."""
    if isinstance(data, list):
        kernel, offset, *launch, phase = data
        return KernelStep(kernel, offset, tuple(launch), phase)
    if "call" in data:
        ins, outs = (tuple(Lent(s, o, tuple(n), *rest) for s, o, n, *rest in data[part]) for part in ("ins", "outs"))
        return CallBack(data["call"], data["phase"], ins, outs)
    moving, flag = tuple(Moving(*m) for m in data["moving"]), data["flag"] and Flag(*data["flag"])
    rest = data["count"], data["counter"], moving, flag, data["phase"], data.get("bands", 1)
    return Loop(tuple(map(_restored, data["loop"])), *rest)
