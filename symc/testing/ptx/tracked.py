"""Bytes that know whether they hold something, in planes: one byte of each kind for each byte of memory.

Every access is of `width` bytes a lane, 1 to 16. Where it goes is a slice or an array of positions in units of the
width; values are `(n,)` unsigned integers of that width, `(n, 2)` uint64 for 16 bytes.
"""

from __future__ import annotations

import numpy as np

At = slice | np.ndarray

EMPTY, FULL, PENDING = 0, 1, 2  # state of a byte: nobody wrote it; it holds something; a cp.async will fill it
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

    state     for each byte EMPTY, FULL or PENDING
    is_full   all of it holds something: nothing has to be looked up
    """

    def __init__(self, size_bytes: int, fill: int = 0xFF) -> None:
        self.size_bytes = size_bytes
        self.data = Plane(size_bytes, fill)
        self.state = Plane(size_bytes)
        self.is_full = False

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
