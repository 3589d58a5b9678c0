"""The compiled form of a graph: steps over slots, as plain data that can be stored.

A Program holds no address.  Slots 0 to 3 are the arena, the prepared parameters, the offset tables and the random
seed; each further slot is an array of the caller.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass

import numpy as np

from symc.codegen.kernel import Launch
from symc.core.lazy import lazy
from symc.ir.kernels import HeadInfo, Place

ARENA, PREPARED, TABLES, SEED_SLOT = range(4)
_LENGTHS = struct.Struct("<QQQ")  # bytes of the header, the descriptors, the tables


@dataclass(frozen=True)
class Slot:
    """An array of the caller: which one (argument name, head index ...), and its size."""

    place: Place
    key: str
    size: int
    dtype: str


@dataclass(frozen=True)
class Step:
    """One kernel call of the program."""

    kernel: str
    desc_offset: int  # words into the descriptors
    launch: Launch
    phase: str


@dataclass(frozen=True, eq=False)
class Program:
    """Everything a run needs except memory and kernel addresses."""

    steps: tuple[Step, ...]
    descriptors: np.ndarray  # int64
    tables: np.ndarray  # uint8
    slots: tuple[Slot, ...]
    heads: tuple[HeadInfo, ...]
    arena_bytes: int
    prepared_bytes: int
    is_random: bool

    def slot_number(self, place: str, key: str) -> int:
        """The number of a caller's array in `bufs`; raises KeyError when the program does not touch it."""
        return self._numbers[place, key]

    @lazy
    def _numbers(self) -> dict[tuple[str, str], int]:
        return {(slot.place, slot.key): k + 4 for k, slot in enumerate(self.slots)}

    def needs(self, place: str) -> list[str]:
        """Keys of the caller's arrays of one kind."""
        return [s.key for s in self.slots if s.place == place]

    def phase_steps(self, phase: str) -> list[Step]:
        """Steps of one phase in order."""
        return [s for s in self.steps if s.phase == phase]

    @property
    def kernel_names(self) -> list[str]:
        """The kernels it calls, each once."""
        return list(dict.fromkeys(s.kernel for s in self.steps))

    def to_bytes(self) -> bytes:
        """The program as it is stored: lengths, a header in JSON, descriptors, tables."""
        small = {
            "steps": [(s.kernel, s.desc_offset, *s.launch, s.phase) for s in self.steps],
            "slots": [asdict(s) for s in self.slots],
            "heads": [asdict(h) for h in self.heads],
            "arena_bytes": self.arena_bytes,
            "prepared_bytes": self.prepared_bytes,
            "is_random": self.is_random,
        }
        parts = (json.dumps(small).encode(), self.descriptors.tobytes(), self.tables.tobytes())
        return _LENGTHS.pack(*map(len, parts)) + b"".join(parts)

    @staticmethod
    def from_bytes(data: bytes) -> Program:
        """What `to_bytes` stored. The bytes must be known to be whole: a program says where memory is written."""
        n_header, n_descriptors, n_tables = _LENGTHS.unpack_from(data)
        start = _LENGTHS.size + n_header
        small = json.loads(data[_LENGTHS.size : start])
        return Program(
            tuple(Step(kernel, offset, tuple(launch), phase) for kernel, offset, *launch, phase in small["steps"]),
            np.frombuffer(data[start : start + n_descriptors], np.int64),
            np.frombuffer(data[start + n_descriptors : start + n_descriptors + n_tables], np.uint8),
            tuple(Slot(**s) for s in small["slots"]),
            tuple(HeadInfo(h["name"], tuple(h["shape"]), h["dtype"]) for h in small["heads"]),
            small["arena_bytes"],
            small["prepared_bytes"],
            small["is_random"],
        )
