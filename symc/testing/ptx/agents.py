"""Who touched which byte since all were last together: how races are found.

An agent is whoever has no order with others but by what they do together: a block of a grid in global memory, a warp
of a block or a thread of a warp in shared memory. An interval lasts until a barrier of them, or the end of the launch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .tracked import At, Plane, pattern

# Who touched a byte in an interval: nobody, an agent (1 to LAST_AGENT), or
NOBODY, LAST_AGENT = 0, 250
ATOMIC, RELEASED, CONSTANT, SEVERAL = 252, 253, 254, 255  # an atom; one who has told so; an ld.nc; many agents

WIDTHS = (1, 2, 4, 8, 16)


class Agents:
    """Those who wrote and read each byte of a piece of memory in this interval.

    is_written   somebody wrote

    Reads are put down only when a write follows them that may meet them, which for most memory is never.
    """

    def __init__(self, size_bytes: int) -> None:
        self.writer = Plane(size_bytes)
        self.reader = Plane(size_bytes)
        self.is_written = False
        self._has_readers = False
        self._reads: list[_Read] = []

    def forget(self) -> None:
        """Begins an interval: whatever was done before is ordered before it."""
        self._reads.clear()
        if self.is_written:
            self.writer.bytes[:] = NOBODY
        if self._has_readers:
            self.reader.bytes[:] = NOBODY
        self.is_written = self._has_readers = False

    def planes(self) -> tuple[Plane, Plane]:
        """Writers and readers, those of all reads so far."""
        self._put_reads_down()
        return self.writer, self.reader

    def forget_where(self, bytes_: np.ndarray) -> None:
        """Begins an interval for some bytes, bool."""
        self._put_reads_down()
        self.writer.bytes[bytes_] = NOBODY
        self.reader.bytes[bytes_] = NOBODY

    def note_reads(self, at: At, width: int, me: np.ndarray, who: np.ndarray, knows: np.ndarray | bool) -> np.ndarray:
        """Remembers reads by the agents `who` (`me` is their pattern); lanes that race with a writer of before."""
        self._reads.append(_Read(at, width, me, who))
        if len(self._reads) == _MOST_READS:
            self._put_reads_down()
        if not self.is_written:
            return _NO_LANES
        wrote = self.writer.get(at, width)
        return _others(wrote, who, knows) if np.count_nonzero(wrote) else _NO_LANES

    def _put_reads_down(self, at: At | None = None, width: int = 1) -> None:
        """Those that an access may meet; None: all."""
        if not self._reads:
            return
        first, end = (0, self.writer.bytes.size) if at is None else _range(at, width)
        meets = [read.range[0] < end and first < read.range[1] for read in self._reads]
        for read, does_meet in zip(self._reads, meets):
            if does_meet:
                self._put_read_down(read)
        self._reads = [read for read, does_meet in zip(self._reads, meets) if not does_meet]

    def _put_read_down(self, read: _Read) -> None:
        at, width, me, who = read.at, read.width, read.me, read.who
        self._has_readers = True
        seen = self.reader.get(at, width)
        if ((seen == me) | (seen == _SEVERAL[width])).all():
            return
        if not np.count_nonzero(seen):
            self.reader.put(at, width, me)
            noted = self.reader.get(at, width)
            if (noted == me).all():
                return
            seen = noted
        mine = who.astype(np.uint8)[:, None]
        old = _bytes(seen, width)
        is_new = (old == NOBODY) | (old == ATOMIC) | (old == mine)
        new = np.where(is_new, mine, np.where(old == CONSTANT, CONSTANT, SEVERAL))
        self.reader.put(at, width, _units(new, width))
        lost = _bytes(self.reader.get(at, width), width) != new  # several of these lanes read one place
        if lost.any():
            new[lost] = SEVERAL
            lanes = np.flatnonzero(lost.any(1))
            at = np.arange(at.start, at.stop)[lanes] if isinstance(at, slice) else at[lanes]
            self.reader.put(at, width, _units(new[lanes], width))

    def note_constant(self, at: At, width: int) -> np.ndarray:
        """Remembers reads that promise that nobody writes there in this interval; lanes for which somebody has."""
        self._put_reads_down(at, width)
        self._has_readers = True
        self.reader.put(at, width, _CONSTANT[width])
        if not self.is_written:
            return _NO_LANES
        wrote = self.writer.get(at, width)
        return np.flatnonzero(wrote.reshape(len(wrote), -1).any(1))

    def note_writes(
        self, at: At, width: int, me: np.ndarray, who: np.ndarray, knows: np.ndarray | bool, in_step: bool = False
    ) -> np.ndarray:
        """Remembers writes; lanes that race with a reader or writer of before or of the same instruction."""
        self._put_reads_down(at, width)
        racing: list[np.ndarray] = [_NO_LANES]
        for plane, is_used in ((self.writer, self.is_written), (self.reader, self._has_readers)):
            if is_used:
                seen = plane.get(at, width)
                if plane is self.reader and (_bytes(seen, width) == ATOMIC).any():
                    seen = self._not_atomic(at, width, seen, who)
                if np.count_nonzero(seen) and (seen != me).any():
                    racing.append(_others(seen, who, knows))
        self.is_written = True
        self.writer.put(at, width, me)
        if not (isinstance(at, slice) or in_step):
            noted = self.writer.get(at, width)
            if (noted != me).any():
                racing.append(np.flatnonzero((noted != me).reshape(len(noted), -1).any(1)))
        return np.concatenate(racing)

    def _not_atomic(self, at: At, width: int, seen: np.ndarray, who: np.ndarray) -> np.ndarray:
        """Bytes that only atoms touched are read by whoever writes there; who the atoms were of, writers say."""
        bytes_ = _bytes(seen, width)
        found = _units(np.where(bytes_ == ATOMIC, who.astype(np.uint8)[:, None], bytes_), width)
        self.reader.put(at, width, found)
        return found

    def overwrite(self, at: np.ndarray, width: int, me: np.ndarray) -> None:
        """Remembers writes that were looked at before."""
        self.is_written = True
        self.writer.put(at, width, me)

    def note_atomics(self, at: np.ndarray, width: int, who: np.ndarray) -> np.ndarray:
        """Remembers atomic accesses; lanes that race with a plain one of somebody else before.

        A byte that one agent alone changed so is written by it, with readers ATOMIC; by several, its writer is ATOMIC.
        """
        self._put_reads_down(at, width)
        self.is_written = self._has_readers = True
        mine = who.astype(np.uint8)[:, None]
        wrote, read = (_bytes(plane.get(at, width), width) for plane in (self.writer, self.reader))
        is_plain = (wrote != NOBODY) & (wrote != ATOMIC) & (wrote != RELEASED) & (wrote != mine) & (read != ATOMIC)
        is_read = (read != NOBODY) & (read != ATOMIC) & (read != RELEASED) & (read != mine)
        self.reader.put(at, width, _units(np.where((wrote == NOBODY) & (read == NOBODY), ATOMIC, read), width))
        new = np.where((wrote == NOBODY) | (wrote == mine), mine, ATOMIC)
        self.writer.put(at, width, _units(new, width))
        met = (_bytes(self.writer.get(at, width), width) != new).any(1)  # lanes of several agents at one place
        if met.any():
            self.writer.put(at[np.isin(at, at[met])], width, _ATOMIC[width])
        return np.flatnonzero((is_plain | is_read).any(1))

    def release(self, agents: np.ndarray) -> None:
        """What these agents did so far may be seen by those who know of it."""
        if not (self.is_written or self._has_readers or self._reads):
            return
        self._put_reads_down()
        known = np.zeros(256, bool)
        known[agents] = True
        for plane in (self.writer, self.reader):
            plane.bytes[known[plane.bytes]] = RELEASED


class _Read:
    """Reads that are not put down yet."""

    __slots__ = ("_range", "at", "me", "who", "width")

    def __init__(self, at: At, width: int, me: np.ndarray, who: np.ndarray) -> None:
        self.at, self.width, self.me, self.who = at, width, me, who
        self._range: tuple[int, int] | None = None

    @property
    def range(self) -> tuple[int, int]:
        """First byte and the one behind the last; looked for when it is asked for."""
        self._range = self._range or _range(self.at, self.width)
        return self._range


def _range(at: At, width: int) -> tuple[int, int]:
    if isinstance(at, slice):
        return at.start * width, at.stop * width
    return int(at.min()) * width, (int(at.max()) + 1) * width


class Level(NamedTuple):
    """One way to see lanes as agents.

    tags       of each lane
    patterns   the same over the width of an access
    others     how a message names who else was there
    in_step    whether they run instructions at the same time: of several that write one place, one does
    """

    agents: Agents
    tags: np.ndarray
    patterns: dict[int, np.ndarray]
    others: str
    in_step: bool = False

    @staticmethod
    def of(agents: Agents, tags: np.ndarray, others: str, in_step: bool = False) -> Level:
        """With the patterns of its tags."""
        return Level(agents, tags, {w: pattern(tags, w) for w in WIDTHS}, others, in_step)


_SEVERAL, _CONSTANT, _ATOMIC = ({w: pattern(tag, w) for w in WIDTHS} for tag in (SEVERAL, CONSTANT, ATOMIC))
_MOST_READS = 256
_NO_LANES = np.zeros(0, np.int64)


def _bytes(units: np.ndarray, width: int) -> np.ndarray:
    return np.ascontiguousarray(units).view(np.uint8).reshape(-1, width)


def _units(values: np.ndarray, width: int) -> np.ndarray:
    units = np.ascontiguousarray(values.astype(np.uint8)).view(f"u{min(width, 8)}")
    return units.reshape(-1, 2) if width == 16 else units.ravel()


def _others(seen: np.ndarray, who: np.ndarray, knows: np.ndarray | bool) -> np.ndarray:
    """Lanes before which somebody else was there who has not told them: `knows`."""
    tags = np.ascontiguousarray(seen).view(np.uint8).reshape(len(seen), -1)
    other = (tags != NOBODY) & (tags != who.astype(np.uint8)[:, None])
    if np.any(knows):
        other &= ~(np.broadcast_to(knows, len(seen))[:, None] & ((tags == RELEASED) | (tags == ATOMIC)))
    return np.flatnonzero(other.any(1))
