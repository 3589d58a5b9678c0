"""Memory for machine code: few large mappings, cut into pages that are given back when nobody needs their code.

A process may have only so many mappings (Linux: vm.max_map_count, 65,530).  Pages are written before they may be
executed and never both at once; neighbours with equal rights are one mapping to the system, so a region counts two or
three.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections import deque
from pathlib import Path

from symc.core.errors import CodegenError
from symc.core.locks import new_lock

REGION_BYTES = 4 << 20
_PAGE = mmap.PAGESIZE
_WRITABLE, _EXECUTABLE = mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_EXEC


class _Region:
    """One mapping and its free pages, as (first, number) in order."""

    def __init__(self, n_pages: int) -> None:
        # Not an object of Python's: that would be unmapped when the interpreter ends, under the feet of native threads.
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.address: int = _libc.mmap(None, ctypes.c_size_t(n_pages * _PAGE), _WRITABLE, private, -1, ctypes.c_long(0))
        if self.address == ctypes.c_void_p(-1).value:
            raise _no_memory(os.strerror(ctypes.get_errno()))
        self.free = [(0, n_pages)]

    def take(self, n_pages: int) -> int | None:
        """The first of so many pages in a row."""
        for k, (first, n_free) in enumerate(self.free):
            if n_free >= n_pages:
                self.free[k : k + 1] = [(first + n_pages, n_free - n_pages)] if n_free > n_pages else []
                return first
        return None

    def give_back(self, first: int, n_pages: int) -> None:
        runs: list[tuple[int, int]] = []
        for begin, n in sorted([*self.free, (first, n_pages)]):
            if runs and sum(runs[-1]) == begin:
                runs[-1] = runs[-1][0], runs[-1][1] + n
            else:
                runs.append((begin, n))
        self.free = runs

    def write(self, first: int, code: bytes) -> None:
        """Puts code into pages that nobody executes."""
        self._protect(first, len(code), _WRITABLE)
        ctypes.memmove(self.address + first * _PAGE, code, len(code))
        self._protect(first, len(code), _EXECUTABLE)

    def _protect(self, first: int, size_bytes: int, rights: int) -> None:
        if _libc.mprotect(ctypes.c_void_p(self.address + first * _PAGE), ctypes.c_size_t(size_bytes), rights):
            raise _no_memory(os.strerror(ctypes.get_errno()))


class Code:
    """Pages for machine code; they are used for other code when this object is gone.

    address   where they begin
    Raises CodegenError when the system gives no more memory.
    """

    def __init__(self, size_bytes: int) -> None:
        self._n_pages = -(-size_bytes // _PAGE)
        with _lock:
            while _returned:
                region, first, n_pages = _returned.popleft()
                region.give_back(first, n_pages)
            self._region, self._first = _found(self._n_pages)
        self.address = self._region.address + self._first * _PAGE
        # By way of a queue: an object may go while this very thread holds the lock.
        weakref.finalize(self, _returned.append, (self._region, self._first, self._n_pages)).atexit = False

    def write(self, code: bytes) -> None:
        """Fills the pages; they can be executed then."""
        assert len(code) <= self._n_pages * _PAGE
        with _lock:
            self._region.write(self._first, code)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_lock = new_lock()
_regions: list[_Region] = []
_returned: deque[tuple[_Region, int, int]] = deque()


def _found(n_pages: int) -> tuple[_Region, int]:
    for region in _regions:
        first = region.take(n_pages)
        if first is not None:
            return region, first
    region = _Region(max(n_pages, REGION_BYTES // _PAGE))
    _regions.append(region)
    first = region.take(n_pages)
    assert first is not None
    return region, first


def _no_memory(reason: str) -> CodegenError:
    limit = Path("/proc/sys/vm/max_map_count")
    allowed = f"; this system allows a process {limit.read_text().strip()} mappings" if limit.exists() else ""
    return CodegenError(
        f"loading kernels: the system gives no memory for machine code ({reason}){allowed}. Fewer programs, or fewer "
        f"shapes kept alive at once, need less"
    )
