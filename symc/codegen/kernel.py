"""What code generation hands to the runtime: kernel code, and one call of it with its descriptor.

Kernel ABI (CPU):  void kernel(int64 chunk, int64 n_chunks, const int64 *desc, const int64 *bufs)

`desc` holds everything that differs between two calls of the same code (extents, strides, table positions, scalar
parameters).  It contains no address: a buffer is a pair of words (slot, byte offset) and its address is
`bufs[slot] + offset`, so a descriptor can be shared by threads, stored in an artifact and used at any place.
A kernel does the part of its work that belongs to `chunk` of `n_chunks`; parts are independent and their split
never depends on the number of threads, which is why results are bit-equal for any of them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from symc.core.lazy import lazy
from symc.loopir.work import Work


@dataclass(frozen=True)
class Ref:
    """A buffer argument: two descriptor words, slot and byte offset, filled in when memory is planned."""

    buffer: str
    offset_bytes: int = 0


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array (offset tables): two descriptor words, slot and byte offset inside the tables' memory."""

    data: np.ndarray = field(repr=False)

    def content(self) -> tuple[str, bytes]:
        """What makes two tables the same."""
        return self.data.dtype.str, self.data.tobytes()


Word = int | float | Ref | Table  # int and float are one word each; a float is its float64 bit pattern


@dataclass(frozen=True, eq=False)
class KernelCode:
    """Code that can be compiled: `structure` is everything the machine code depends on besides the target.

    name      symbol of the compiled function: family and hash of the structure
    describe  writes the readable text of the kernel with its header (called when somebody looks, or on a cache miss)
    build     makes the Python function that numba compiles (called only on a cache miss)
    """

    family: str
    structure: str
    describe: Callable[[], str] = field(repr=False)
    build: Callable[[], Callable[..., Any]] = field(repr=False)

    @lazy
    def source(self) -> str:
        """The readable text of the kernel."""
        return self.describe()

    @lazy
    def name(self) -> str:
        return f"symc_{self.family}_{hashlib.sha256(self.structure.encode()).hexdigest()[:16]}"


# How a call is spread over its device: plain numbers that programs store and the device's runner understands. On the
# CPU these are `Chunks`, on a GPU they would be grid, block and bytes of shared memory.
Launch = tuple[int, ...]


class Chunks(NamedTuple):
    """The launch of a CPU kernel: how many chunks its threads share."""

    n_chunks: int

    def __str__(self) -> str:
        return f"{self.n_chunks} chunk{'s' * (self.n_chunks != 1)}"


def even(n_chunks: int) -> int:
    """As many chunks or one less, so that two threads have as much to do: of five chunks one has three, or takes one
    whose data lie in the other's cache and which the other will look for in the next step."""
    return n_chunks - n_chunks % 2 if n_chunks > 1 else n_chunks


@dataclass(frozen=True)
class Share:
    """What one of several calls that carry out one kernel does.

    title   what readers call it, where it does not compute the kernel's results
    work    its part of the kernel's work
    reads, writes  names of buffers
    """

    title: str
    work: Work
    reads: tuple[str, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One call of a kernel: its descriptor, how it is spread over the device, and why it looks as it does.

    bands   into how many bands of rows its chunks fall: chunk k computes, and reads if it reads rows, those of band
            k % bands
    """

    code: KernelCode
    words: tuple[Word, ...]
    launch: Launch
    schedule: str = ""  # the decision and its reason, shown by Executor.explain()
    share: Share | None = None  # None: the whole kernel
    bands: int = 1

    def renamed(self, names: Mapping[str, str]) -> KernelCall:
        """The call on buffers of other names."""
        words = tuple([Ref(names[w.buffer], w.offset_bytes) if isinstance(w, Ref) else w for w in self.words])
        share = self.share
        if share is not None:
            reads, writes = (tuple(map(names.__getitem__, part)) for part in (share.reads, share.writes))
            share = replace(share, reads=reads, writes=writes)
        return replace(self, words=words, share=share)


def float_bits(value: float) -> int:
    """The float64 bit pattern of a number as a signed 64-bit integer."""
    return struct.unpack("<q", struct.pack("<d", value))[0]
