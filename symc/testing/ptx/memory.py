"""A device's global memory: allocations at addresses of their own, which are never used twice."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from .agents import Agents
from .tracked import At, Tracked

FIRST_ADDRESS = 1 << 40  # above every 32-bit number, and where no host memory is
ALIGNMENT = 256
# Windows of the generic address space, one for each block and one for each thread.
SHARED_WINDOW, LOCAL_WINDOW, WINDOW_BYTES = 1 << 33, 1 << 34, 1 << 32


class Region(Tracked):
    """One allocation."""

    def __init__(self, start: int, size_bytes: int, name: str, is_read_only: bool = False) -> None:
        super().__init__(size_bytes)
        self.agents = Agents(size_bytes)
        self.start = start
        self.name = name
        self.is_read_only = is_read_only

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.size_bytes

    def write(self, offset: int, data: np.ndarray) -> None:
        """Fills bytes from the host's side; data: uint8."""
        self.data.bytes[offset : offset + len(data)] = data
        self.state.bytes[offset : offset + len(data)] = 1
        self.is_full |= len(data) == self.size_bytes


class Outside(Exception):
    """Lanes whose addresses are in no region; `lane` counts among those asked for."""

    def __init__(self, lane: int) -> None:
        self.lane = lane


class GlobalMemory:
    """Regions by address; between two lie at least 256 bytes that nobody owns."""

    def __init__(self, first_address: int = FIRST_ADDRESS) -> None:
        self._starts: list[int] = []
        self._regions: list[Region] = []
        self._freed: dict[int, tuple[int, str]] = {}
        self._next = first_address

    def allocate(self, size_bytes: int, name: str, is_read_only: bool = False) -> Region:
        """A new region of undefined bytes."""
        region = Region(self._next, size_bytes, name, is_read_only)
        self._next += -(-(size_bytes + ALIGNMENT) // ALIGNMENT) * ALIGNMENT
        self._starts.append(region.start)
        self._regions.append(region)
        return region

    def free(self, start: int) -> Region:
        """Takes the region that begins there out; raises KeyError where none does."""
        k = bisect_right(self._starts, start) - 1
        if k < 0 or self._starts[k] != start:
            raise KeyError(start)
        del self._starts[k]
        region = self._regions.pop(k)
        self._freed[start] = (region.end, region.name)
        return region

    def find(self, address: int) -> Region | None:
        """The region that has this byte."""
        k = bisect_right(self._starts, address) - 1
        return self._regions[k] if k >= 0 and address < self._regions[k].end else None

    def was_freed(self, address: int) -> str | None:
        """The name of the region that had this byte until it was freed."""
        return next((name for start, (end, name) in self._freed.items() if start <= address < end), None)

    def nearest(self, address: int) -> Region | None:
        """The region that begins before an address, or the first of all."""
        k = bisect_right(self._starts, address) - 1
        return self._regions[max(k, 0)] if self._regions else None

    def __iter__(self) -> Iterator[Region]:
        return iter(self._regions)

    def parts(self, addresses: np.ndarray, width: int) -> Iterator[tuple[Region, At, np.ndarray | None]]:
        """The regions that an access goes to: where in each, and for which lanes (None: all of them).

        addresses   uint64 (n,), multiples of the width
        Raises Outside for addresses that no region has.
        """
        low, high = int(addresses[0]), int(addresses[-1])
        is_run = high - low == (len(addresses) - 1) * width and _is_run(addresses, low, width)
        if not is_run:
            low, high = int(addresses.min()), int(addresses.max())
        region = self.find(low)
        if region is not None and high + width <= region.end:
            yield region, _at(addresses, low, high, region.start, width, is_run), None
            return
        yield from self._split(addresses, width)

    def _split(self, addresses: np.ndarray, width: int) -> Iterator[tuple[Region, At, np.ndarray | None]]:
        starts = np.array(self._starts, np.uint64)
        owner = np.searchsorted(starts, addresses, "right").astype(np.int64) - 1
        ends = np.array([r.end for r in self._regions], np.uint64)
        is_outside = owner < 0
        if len(ends):
            is_outside |= addresses + np.uint64(width) > ends[np.maximum(owner, 0)]
        if is_outside.any():
            raise Outside(int(np.argmax(is_outside)))
        for k in np.unique(owner).tolist():
            lanes = np.flatnonzero(owner == k)
            region = self._regions[k]
            yield region, ((addresses[lanes] - np.uint64(region.start)) // np.uint64(width)).astype(np.int64), lanes


def _is_run(addresses: np.ndarray, low: int, width: int) -> bool:
    """Whether lane k goes to low + k * width."""
    n = len(addresses)
    ramp = _RAMP[:n] if n <= len(_RAMP) else np.arange(n, dtype=np.uint64)
    return n == 1 or bool((addresses - np.uint64(low) == ramp * np.uint64(width)).all())


_RAMP = np.arange(1 << 14, dtype=np.uint64)


def _at(addresses: np.ndarray, low: int, high: int, start: int, width: int, is_run: bool) -> At:
    if is_run:
        return slice((low - start) // width, (high - start) // width + 1)
    shift = np.uint64(width.bit_length() - 1)
    return ((addresses - np.uint64(start)) >> shift).view(np.int64)
