"""Bytes that know who wrote them: contents, and for each byte whether it holds something and who touched it last.

Every access is of `width` bytes a lane, 1 to 16. Where it goes is a slice or an array of positions in units of the
width; values are `(n,)` unsigned integers of that width, `(n, 2)` uint64 for 16 bytes.
"""

from __future__ import annotations

import numpy as np

At = slice | np.ndarray

EMPTY, FULL, PENDING = 0, 1, 2  # state of a byte: nobody wrote it; it holds something; a cp.async will fill it
# Who touched a byte in this interval: nobody, an agent (1 to LAST_AGENT), or
NOBODY, LAST_AGENT = 0, 250
ATOMIC, RELEASED, CONSTANT, SEVERAL = 252, 253, 254, 255  # an atom; one who has told so; an ld.nc; many agents

_UNIT = {1: np.dtype("u1"), 2: np.dtype("u2"), 4: np.dtype("u4"), 8: np.dtype("u8"), 16: np.dtype("c16")}
ONES = {w: int.from_bytes(b"\1" * min(w, 8), "little") for w in _UNIT}


def pattern(tags: np.ndarray | int, width: int) -> np.ndarray:
    """One byte for each lane, repeated over the width of an access."""
    repeated = np.asarray(tags).astype(f"u{min(width, 8)}") * np.array(ONES[width], f"u{min(width, 8)}")
    return repeated[..., None] if width == 16 else repeated


class Plane:
    """One byte of something for each byte of memory, read and written in units of any width."""

    __slots__ = ("bytes", "views")

    def __init__(self, size_bytes: int, fill: int = 0) -> None:
        padded = -(-size_bytes // 16) * 16
        self.bytes = np.full(padded, fill, np.uint8) if fill else np.zeros(padded, np.uint8)
        self.views = {w: self.bytes.view(t) for w, t in _UNIT.items()}

    def get(self, at: At, width: int) -> np.ndarray:
        """What lies there."""
        view = self.views[width]
        found = view[at] if isinstance(at, slice) else view.take(at)
        return found.view(np.uint64).reshape(-1, 2) if width == 16 else found

    def put(self, at: At, width: int, values: np.ndarray | int) -> None:
        """Writes there; of several lanes that write one place, one wins."""
        view = self.views[width]
        if width == 16:
            n = (at.stop - at.start) if isinstance(at, slice) else len(at)
            values = np.ascontiguousarray(np.broadcast_to(np.asarray(values, np.uint64), (n, 2))).view("c16").ravel()
        view[at] = values


class Tracked:
    """A piece of memory.

    writer, reader   for each byte, the agents of this interval
    is_full          all of it holds something: nothing has to be looked up
    """

    def __init__(self, size_bytes: int, fill: int = 0xFF) -> None:
        self.size_bytes = size_bytes
        self.data = Plane(size_bytes, fill)
        self.state = Plane(size_bytes)
        self.writer = Plane(size_bytes)
        self.reader = Plane(size_bytes)
        self.is_full = False
        self.is_touched = False

    def forget_agents(self) -> None:
        """Begins an interval: whatever was done before is ordered before it."""
        if self.is_touched:
            self.writer.bytes[:] = NOBODY
            self.reader.bytes[:] = NOBODY
            self.is_touched = False

    def empty_lanes(self, at: At, width: int) -> tuple[np.ndarray, int] | None:
        """Lanes that would read bytes that hold nothing, and the state of the first; None when there are none."""
        if self.is_full:
            return None
        state = self.state.get(at, width)
        full = FULL * np.uint64(ONES[width])
        if (state == full).all():
            return None
        lanes = np.flatnonzero((state != full).reshape(len(state), -1).any(1))
        seen = np.ascontiguousarray(state[lanes[:1]]).view(np.uint8)
        return lanes, PENDING if (seen == PENDING).any() else EMPTY

    def note_reads(self, at: At, width: int, me: np.ndarray, who: np.ndarray, knows: np.ndarray | bool) -> np.ndarray:
        """Remembers reads by the agents `who` (`me` is their pattern); lanes that race with a writer of before."""
        self.is_touched = True
        wrote = self.writer.get(at, width)
        racing = _others(wrote, who, knows) if wrote.any() else _NO_LANES
        seen = self.reader.get(at, width)
        if ((seen == me) | (seen == pattern(SEVERAL, width))).all():
            return racing
        if not seen.any():
            self.reader.put(at, width, me)
            noted = self.reader.get(at, width)
            if (noted == me).all():
                return racing
            seen = noted
        mine = who.astype(np.uint8)[:, None]
        old = _bytes(seen, width)
        new = np.where((old == NOBODY) | (old == mine), mine, np.where(old == CONSTANT, CONSTANT, SEVERAL))
        self.reader.put(at, width, _units(new.astype(np.uint8), width))
        lost = _bytes(self.reader.get(at, width), width) != new  # several of these lanes read one place
        if lost.any():
            new[lost] = SEVERAL
            lanes = np.flatnonzero(lost.any(1))
            at = np.arange(at.start, at.stop)[lanes] if isinstance(at, slice) else at[lanes]
            self.reader.put(at, width, _units(new[lanes].astype(np.uint8), width))
        return racing

    def note_constant(self, at: At, width: int) -> np.ndarray:
        """Remembers reads that promise that nobody writes there in this interval; lanes for which somebody has."""
        self.is_touched = True
        wrote = self.writer.get(at, width)
        self.reader.put(at, width, pattern(CONSTANT, width))
        return np.flatnonzero(wrote.reshape(len(wrote), -1).any(1))

    def note_writes(self, at: At, width: int, me: np.ndarray, who: np.ndarray, knows: np.ndarray | bool) -> np.ndarray:
        """Remembers writes; lanes that race with a reader or writer of before or of the same instruction."""
        self.is_touched = True
        wrote, read = self.writer.get(at, width), self.reader.get(at, width)
        racing = [_NO_LANES]
        if wrote.any() and (wrote != me).any():
            racing.append(_others(wrote, who, knows))
        if read.any() and (read != me).any():
            racing.append(_others(read, who, knows))
        self.writer.put(at, width, me)
        if not isinstance(at, slice):
            noted = self.writer.get(at, width)
            if (noted != me).any():
                racing.append(np.flatnonzero((noted != me).reshape(len(noted), -1).any(1)))
        return np.concatenate(racing)

    def note_atomics(self, at: At, width: int) -> np.ndarray:
        """Remembers atomic accesses; lanes that race with a plain one of before."""
        self.is_touched = True
        racing = []
        for plane in (self.writer, self.reader):
            seen = _bytes(plane.get(at, width), width)
            racing.append(np.flatnonzero(((seen != NOBODY) & (seen != ATOMIC) & (seen != RELEASED)).any(1)))
        self.writer.put(at, width, pattern(ATOMIC, width))
        return np.concatenate(racing)

    def release(self, agents: np.ndarray) -> None:
        """What these agents did so far may be seen by those who know of it."""
        known = np.zeros(256, bool)
        known[agents] = True
        for plane in (self.writer, self.reader):
            plane.bytes[known[plane.bytes]] = RELEASED


_NO_LANES = np.zeros(0, np.int64)


def _bytes(units: np.ndarray, width: int) -> np.ndarray:
    return np.ascontiguousarray(units).view(np.uint8).reshape(-1, width)


def _units(values: np.ndarray, width: int) -> np.ndarray:
    units = np.ascontiguousarray(values).view(f"u{min(width, 8)}")
    return units.reshape(-1, 2) if width == 16 else units.ravel()


def _others(seen: np.ndarray, who: np.ndarray, knows: np.ndarray | bool) -> np.ndarray:
    """Lanes before which somebody else was there who has not told them: `knows`."""
    tags = np.ascontiguousarray(seen).view(np.uint8).reshape(len(seen), -1)
    other = (tags != NOBODY) & (tags != who.astype(np.uint8)[:, None])
    if np.any(knows):
        other &= ~(np.broadcast_to(knows, len(seen))[:, None] & ((tags == RELEASED) | (tags == ATOMIC)))
    return np.flatnonzero(other.any(1))
