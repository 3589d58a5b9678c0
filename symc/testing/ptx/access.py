"""One access of many lanes to memory: every check that a device makes, or should, and the bytes.

Values have one unsigned integer of the access's width for each lane, two uint64 for 16 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from .agents import SEVERAL, Level
from .memory import FIRST_ADDRESS, LOCAL_WINDOW, SHARED_WINDOW, WINDOW_BYTES, Outside, Region
from .tracked import FULL, PENDING, At, Tracked, pattern

if TYPE_CHECKING:
    from .machine import Machine

_FULL = {w: pattern(FULL, w) for w in (1, 2, 4, 8, 16)}


def space_of(addresses: np.ndarray) -> np.ndarray:
    """The space that each generic address lies in."""
    choices = [addresses >= FIRST_ADDRESS, addresses // np.uint64(WINDOW_BYTES) == SHARED_WINDOW // WINDOW_BYTES]
    choices.append(addresses // np.uint64(WINDOW_BYTES) == LOCAL_WINDOW // WINDOW_BYTES)
    return np.select(choices, ["global", "shared", "local"], "nowhere")


def _pick(lanes: np.ndarray | None, at: int) -> int:
    return at if lanes is None else int(lanes[at])


class Access:
    """Loads and stores of one instruction; made once, used whenever it runs.

    space     "global", "shared", "local" or "generic"
    width     bytes a lane
    is_constant   an ld.nc: nobody may write there as long as the kernel runs
    """

    def __init__(self, machine: Machine, space: str, width: int, is_constant: bool = False) -> None:
        self.machine, self.space, self.width, self.is_constant = machine, space, width, is_constant

    # where

    def parts(
        self, addresses: np.ndarray, lanes: np.ndarray | None, space: str
    ) -> Iterator[tuple[Tracked, At, np.ndarray | None, np.ndarray | None]]:
        """The memory that addresses lie in: piece, place, which of the addresses, which lanes of the machine."""
        if (addresses & np.uint64(self.width - 1)).any():
            self._complain_of_alignment(addresses, lanes, space)
        if space == "global":
            yield from self._global(addresses, lanes)
        elif space == "shared":
            yield self._shared(addresses, lanes)
        else:
            yield self._local(addresses, lanes)

    def _complain_of_alignment(self, addresses: np.ndarray, lanes: np.ndarray | None, space: str) -> None:
        k = int(np.argmax(addresses & np.uint64(self.width - 1) != 0))
        what = f"{self.width} bytes at {space} address {int(addresses[k]):#x}, which is no multiple of {self.width}"
        raise self.machine.fault("alignment", _pick(lanes, k), what)

    def _global(
        self, addresses: np.ndarray, lanes: np.ndarray | None
    ) -> Iterator[tuple[Tracked, At, np.ndarray | None, np.ndarray | None]]:
        memory = self.machine.memory
        try:
            for region, at, which in memory.parts(addresses, self.width):
                yield region, at, which, which if lanes is None else lanes if which is None else lanes[which]
        except Outside as outside:
            address, lane = int(addresses[outside.lane]), _pick(lanes, outside.lane)
            raise self.machine.fault(*self._lost(address, lane)) from None

    def _lost(self, address: int, lane: int) -> tuple[str, int, str]:
        """What is wrong with a global address that no region has."""
        memory = self.machine.memory
        freed = memory.was_freed(address)
        if freed is not None:
            return "freed", lane, f"{self.width} bytes at {address:#x}, in {freed}, which was freed"
        near = memory.nearest(address)
        if near is None:
            return "bounds", lane, f"{self.width} bytes at {address:#x}; nothing is allocated"
        by = address - near.end if address + self.width > near.end else address - near.start
        side = f"{by} bytes behind the end of" if address >= near.start else f"{-by} bytes before"
        return "bounds", lane, f"{self.width} bytes at {address:#x}, {side} {near.name} of {near.size_bytes} bytes"

    def _shared(
        self, addresses: np.ndarray, lanes: np.ndarray | None
    ) -> tuple[Tracked, At, np.ndarray | None, np.ndarray | None]:
        machine = self.machine
        high = int(addresses.max())
        if high + self.width > machine.shared_bytes:
            k = int(np.argmax(addresses))
            what = f"{self.width} bytes at shared address {high}; a block has {machine.shared_bytes} bytes"
            raise machine.fault("bounds", _pick(lanes, k), what)
        base = machine.shared_base if lanes is None else machine.shared_base[lanes]
        shift = np.uint64(self.width.bit_length() - 1)
        return machine.shared, ((addresses + base) >> shift).view(np.int64), None, lanes

    def _local(
        self, addresses: np.ndarray, lanes: np.ndarray | None
    ) -> tuple[Tracked, At, np.ndarray | None, np.ndarray | None]:
        machine = self.machine
        local, stride = machine.local_memory()
        inside = addresses & np.uint64(WINDOW_BYTES - 1)
        high = int(inside.max())
        if high + self.width > machine.local_bytes:
            k = int(np.argmax(inside))
            what = f"{self.width} bytes at local address {high}; a thread has {machine.local_bytes} bytes"
            raise machine.fault("bounds", _pick(lanes, k), what)
        numbers = np.arange(machine.n_lanes) if lanes is None else lanes
        return (
            local,
            ((inside + (numbers * stride).astype(np.uint64)) // np.uint64(self.width)).astype(np.int64),
            None,
            lanes,
        )

    # what

    def spaces(self, addresses: np.ndarray, lanes: np.ndarray | None) -> Iterator[tuple[str, np.ndarray | None]]:
        """The spaces that addresses are of, and which are of each."""
        if self.space != "generic":
            yield self.space, None
            return
        if int(addresses.min()) >= FIRST_ADDRESS:
            yield "global", None
            return
        names = space_of(addresses)
        for name in np.unique(names).tolist():
            which = np.flatnonzero(names == name)
            if name == "nowhere":
                k = int(which[0])
                what = f"{self.width} bytes at {int(addresses[k]):#x}, which is no address of any space"
                raise self.machine.fault("bounds", _pick(lanes, k), what)
            yield name, which if len(which) < len(addresses) else None

    def each(
        self, addresses: np.ndarray, lanes: np.ndarray | None
    ) -> Iterator[tuple[str, Tracked, At, np.ndarray | None, np.ndarray | None]]:
        """Space, piece of memory, place in it, which addresses (None: all), which lanes (None: all)."""
        for space, which in self.spaces(addresses, lanes):
            some = addresses if which is None else addresses[which]
            if space == "shared" and self.space == "generic":
                some = some - np.uint64(SHARED_WINDOW)
            own = which if lanes is None else lanes if which is None else lanes[which]
            if self.machine.traffic is not None:
                numbers = np.arange(len(some)) if own is None else own
                self.machine.traffic.note(space, some, numbers, self.width)
            for piece, at, inner, numbers in self.parts(some, own, space):
                picked = which if inner is None else inner if which is None else which[inner]
                yield space, piece, at, picked, numbers

    def load(self, addresses: np.ndarray, lanes: np.ndarray | None) -> np.ndarray:
        """What lies at the addresses of some lanes."""
        whole: np.ndarray | None = None
        for space, piece, at, which, numbers in self.each(addresses, lanes):
            self._check_filled(space, piece, at, numbers, addresses if which is None else addresses[which])
            self._note_load(space, piece, at, numbers)
            found = piece.data.get(at, self.width)
            if which is None:
                return found
            if whole is None:
                whole = np.empty((len(addresses), *found.shape[1:]), found.dtype)
            whole[which] = found
        assert whole is not None
        return whole

    def load_as_group(self, addresses: np.ndarray, lanes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What lies at addresses of shared memory that the warps of each lane's group read together, and where."""
        piece, at, *_ = next(self.parts(addresses, lanes, "shared"))
        assert isinstance(at, np.ndarray)
        self._check_filled("shared", piece, at, lanes, addresses)
        if self.machine.is_racing:
            who = np.full(len(at), SEVERAL)
            for level in self.machine.levels("shared", piece):
                racing = level.agents.note_reads(at, self.width, pattern(who, self.width), who, False)
                if len(racing):
                    self._complain_of_race(level, "reads", piece, at, lanes, int(racing[0]))
        return piece.data.get(at, self.width), at

    def _check_filled(
        self, space: str, piece: Tracked, at: At, lanes: np.ndarray | None, addresses: np.ndarray
    ) -> None:
        empty = piece.empty_lanes(at, self.width)
        if empty is None:
            return
        k, state = int(empty[0][0]), empty[1]
        where = f"{self.width} bytes at {space} address {int(addresses[k]):#x}"
        if isinstance(piece, Region):
            where += f" ({piece.name} + {int(addresses[k]) - piece.start})"
        if state == PENDING:
            raise self.machine.fault(
                "pending", _pick(lanes, k), f"reads {where}, which a cp.async may not have filled yet"
            )
        raise self.machine.fault("uninitialised", _pick(lanes, k), f"reads {where}, where nothing was written")

    def _note_load(self, space: str, piece: Tracked, at: At, lanes: np.ndarray | None) -> None:
        machine = self.machine
        if not machine.is_racing or space == "local":
            return
        if self.is_constant and isinstance(piece, Region):
            racing = piece.agents.note_constant(at, self.width)
            if len(racing):
                what = "ld.global.nc reads what this kernel has written; it may see what was there before"
                raise machine.fault("race", _pick(lanes, int(racing[0])), what)
            return
        knows = self._knows(space, lanes)
        for level in machine.levels(space, piece):
            me, who = self._agents(level, lanes)
            racing = level.agents.note_reads(at, self.width, me, who, knows)
            if len(racing):
                self._complain_of_race(level, "reads", piece, at, lanes, int(racing[0]))

    def _agents(self, level: Level, lanes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        me, who = level.patterns[self.width], level.tags
        return (me, who) if lanes is None else (me[lanes], who[lanes])

    def _knows(self, space: str, lanes: np.ndarray | None) -> np.ndarray | bool:
        knows = self.machine.knows
        return space == "global" and self.machine.does_know and (knows if lanes is None else knows[lanes])

    def _complain_of_race(
        self, level: Level, does: str, piece: Tracked, at: At, lanes: np.ndarray | None, k: int
    ) -> None:
        byte = (at.start + k if isinstance(at, slice) else int(at[k])) * self.width
        where = f"{piece.name} +" if isinstance(piece, Region) else "shared byte"
        if not isinstance(piece, Region):
            byte %= self.machine.shared_stride
        raise self.machine.fault("race", _pick(lanes, k), f"{does} {where} {byte}, where {level.others}")

    def store(self, addresses: np.ndarray, lanes: np.ndarray | None, values: np.ndarray) -> None:
        """Writes values to the addresses of some lanes."""
        for space, piece, at, which, numbers in self.each(addresses, lanes):
            some = values if which is None else values[which]
            self.write(space, piece, at, numbers, some)

    def write(self, space: str, piece: Tracked, at: At, lanes: np.ndarray | None, values: np.ndarray) -> None:
        """Writes to one piece of memory."""
        machine = self.machine
        if isinstance(piece, Region) and piece.is_read_only:
            raise machine.fault("read-only", _pick(lanes, 0), f"writes {piece.name}, which is only to be read")
        if space == "shared":
            machine.products.note_write(lanes, at, self.width)
        if space != "local" and machine.is_racing:
            self.note_write(space, piece, at, lanes)
        piece.data.put(at, self.width, values)
        if not piece.is_full:
            piece.state.put(at, self.width, _FULL[self.width])
        if not isinstance(at, slice) and space != "local" and machine.is_racing:
            kept = piece.data.get(at, self.width)
            if (kept != values).any():
                k = int(np.flatnonzero((kept != values).reshape(len(kept), -1).any(1))[0])
                what = "writes where another thread writes something else at the same time"
                raise machine.fault("race", _pick(lanes, k), what)

    def note_write(self, space: str, piece: Tracked, at: At, lanes: np.ndarray | None) -> None:
        """Looks whether a write races with what others did."""
        knows = self._knows(space, lanes)
        for level in self.machine.levels(space, piece):
            me, who = self._agents(level, lanes)
            racing = level.agents.note_writes(at, self.width, me, who, knows, level.in_step)
            if len(racing):
                self._complain_of_race(level, "writes", piece, at, lanes, int(racing[0]))
