"""Runs programs on a GPU: one graph launch for a phase, between what is brought and what is fetched.

The caller's arrays have addresses in host memory. Those of this GPU's contexts lie on it (`shadow.py`) and are brought
where the host has written them since, but to the side where they begin at no multiple of 16 bytes: a view, or another
library's memory. A run copies others that the phase may read to the device, and back those that it may have changed;
parameters are copied when they are prepared, and kept. Kernels find all of them in a table of
addresses, which lies in device memory as the descriptors do: so launches are the same in every run, and one graph is
made of them. Loops are unrolled in it: each round has a table of its own. Those that a number in memory ends, and very
long ones, are walked by the host, which writes the table anew for each round.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from symc.codegen.cuda.launch import Grid
from symc.codegen.objects import Build
from symc.core.errors import DeviceError
from symc.core.lazy import lazy
from symc.core.locks import new_lock
from symc.runtime.device import CallRow, LoopRows, Row, StepRow, Touched
from symc.runtime.operands import Expected
from symc.runtime.program import PREPARED, Loop

from .block import DeviceBlock
from .driver import Driver, Graph, Launch
from .memory import DeviceMemory
from .shadow import Shadow

FLAG_BYTES = 8
ALIGNED_BYTES = 16  # kernels read so many at once where strides and offsets allow it, whatever is bound
WRITTEN = ("changed", "filled")
MOST_LAUNCHES = 1 << 13  # of one graph
Place = tuple[int, ...]  # of a row: its number, before it those of the loops around it
Rounds = tuple[tuple[Loop, int], ...]  # of the loops around a row, the outermost first: which one it is
Start = Callable[[Launch, Place], None]


@dataclass(frozen=True)
class Phase:
    """The rows of a phase, and the caller's arrays that it may touch."""

    rows: tuple[Row, ...]
    arrays: tuple[Touched, ...]

    @lazy
    def unrolled(self) -> list[tuple[StepRow, Rounds]] | None:
        """All that is launched, in order; None where nobody can know it before, or where it is too much."""
        return unrolled(self.rows)

    @lazy
    def rounds(self) -> tuple[Rounds, ...]:
        """Those that need a table of their own; outside of loops is the first."""
        return tuple(dict.fromkeys([(), *(rounds for _, rounds in self.unrolled or ())]))


def unrolled(rows: Sequence[Row], around: Rounds = ()) -> list[tuple[StepRow, Rounds]] | None:
    """Every step as often as it runs, with the rounds of the loops around it; see Phase.unrolled."""
    found: list[tuple[StepRow, Rounds]] = []
    for row in rows:
        if not isinstance(row, LoopRows):
            assert not isinstance(row, CallRow)
            found.append((row, around))
            continue
        if row.loop.flag is not None:
            return None
        loop = replace(row.loop, steps=())  # quick to compare
        for number in range(loop.count):
            inside = unrolled(row.rows, (*around, (loop, number)))
            if inside is None or len(found) + len(inside) > MOST_LAUNCHES:
                return None
            found += inside
    return found


class DeviceRunner:
    """Runs phases on one GPU, one at a time."""

    keeps_parameters = True
    can_pause = False

    def __init__(self, driver: Driver, memory: DeviceMemory) -> None:
        self.driver, self.memory = driver, memory
        self.lock = new_lock()

    def steps(self, rows: Iterable[Row], arrays: Sequence[Touched]) -> Phase:
        """The phase; raises DeviceError where Python code is a part of it."""
        found = tuple(rows)
        _require_kernels(found)
        return Phase(found, tuple(arrays))

    def functions(self) -> dict[str, Build]:
        """None: the driver does what is not a kernel."""
        return {}

    def bind(
        self, steps: Phase, bufs: np.ndarray, n_threads: int | None, calls: Sequence[Callable[[], None]] = ()
    ) -> DeviceRun:
        """See `DeviceRun`; the number of the host's threads means nothing here."""
        return DeviceRun(self, steps, bufs)


def _require_kernels(rows: Sequence[Row]) -> None:
    for row in rows:
        if isinstance(row, LoopRows):
            _require_kernels(row.rows)
        elif isinstance(row, CallRow):
            raise DeviceError("Python code inside a program is not yet on this device (gpu); bind on mx.cpu()")


class DeviceRun:
    """A phase over a table of addresses: of the device's own memory, and of the caller's arrays on the host."""

    def __init__(self, runner: DeviceRunner, phase: Phase, bufs: np.ndarray) -> None:
        self._runner, self._driver, self._phase, self._bufs = runner, runner.driver, phase, bufs
        self._staged: dict[int, DeviceBlock] = {}  # by slot
        self._written: list[Shadow] = []  # by this run
        self._moved: list[tuple[int, int, int]] = []  # that this run changes: where from, where to, bytes
        self._on_device = np.zeros((len(phase.rounds), len(bufs)), bufs.dtype)  # what the tables hold there
        self._tables = DeviceBlock(runner.driver, self._on_device.nbytes)
        self._unrolled_for: np.ndarray | None = None  # the table that those of rounds were made from
        self._graph: Graph | None = None

    def run(self) -> None:
        """Brings, launches, fetches what does not lie on the device; the rest may still be computed."""
        with self._runner.lock:
            table = self._bring()
            if self._phase.unrolled is None:
                self._write(table)
                self._walk(self._phase.rows, lambda launch, place: self._driver.launch(launch))
            elif self._phase.unrolled:
                if self._unrolled_for is None or not np.array_equal(table, self._unrolled_for):
                    self._write(*(_in_round(table, rounds) for rounds in self._phase.rounds))
                    self._unrolled_for = table
                self._graph = self._graph or self._driver.graph(self._launches(self._phase.unrolled))
                self._graph.launch()
            self._fetch(table)

    def run_profiled(self) -> np.ndarray:
        """The same, kernel by kernel, each complete before the next one starts."""
        times_ns: dict[Place, list[int]] = {}

        def timed(launch: Launch, place: Place) -> None:
            self._driver.synchronise()
            start = time.monotonic_ns()
            self._driver.launch(launch)
            self._driver.synchronise()
            first = times_ns.setdefault(place, [start, start])
            first[1] += time.monotonic_ns() - start

        with self._runner.lock:
            table = self._bring()
            self._unrolled_for = None
            self._write(table)
            self._walk(self._phase.rows, timed)
            self._fetch(table)
        return np.array([times_ns[place] for place in sorted(times_ns)], np.int64).reshape(-1, 2)

    def over(self, expected: Expected) -> None:
        """None: arrays are brought before the graph is launched, so nothing is saved."""

    def _bring(self) -> np.ndarray:
        """Copies the caller's arrays to the device, one that is bound twice once; the table of all addresses there."""
        table = self._bufs.copy()
        self._written, self._moved = [], []
        brought: dict[tuple[int, int], int] = {}
        for array in self._phase.arrays:
            slot, size_bytes, use = array
            host = int(table[slot])
            if not host or not size_bytes:
                continue
            shadow = self._runner.memory.shadows.at(host)
            if shadow is not None:
                is_read = use != "filled" or size_bytes != shadow.size_bytes
                address = shadow.bring(is_read) + host - shadow.start
                if use in WRITTEN:
                    self._written.append(shadow)
                if address % ALIGNED_BYTES:
                    to = brought.setdefault((host, size_bytes), self._staged_in(slot, size_bytes).address)
                    address = self._moved_to(to, address, array)
                table[slot] = address
                continue
            if (host, size_bytes) not in brought:
                block, is_current = self._copy_of(array, host)
                if not is_current and use != "filled":
                    block.write(_bytes_at(host, size_bytes))
                brought[host, size_bytes] = block.address
            table[slot] = brought[host, size_bytes]
        return table

    def _moved_to(self, to: int, address: int, array: Touched) -> int:
        """A place at a boundary, with a copy of an array of the device; what the run changes will be copied back."""
        if array.use != "filled":
            self._driver.copy(to, address, array.size_bytes)
        if array.use in WRITTEN:
            self._moved.append((address, to, array.size_bytes))
        return to

    def _staged_in(self, slot: int, size_bytes: int) -> DeviceBlock:
        if slot not in self._staged:
            self._staged[slot] = DeviceBlock(self._driver, size_bytes)
        return self._staged[slot]

    def _copy_of(self, array: Touched, host: int) -> tuple[DeviceBlock, bool]:
        """Memory on the device for an array, and whether it has its contents already."""
        slot, size_bytes, use = array
        if use in ("kept", "prepared"):
            kept = self._runner.memory.at(int(self._bufs[PREPARED])).kept
            if slot in kept and kept[slot][0] == host:
                return kept[slot][1], use == "kept"
            if use == "prepared":
                kept[slot] = host, DeviceBlock(self._driver, size_bytes)
                return kept[slot][1], False
        return self._staged_in(slot, size_bytes), False

    def _fetch(self, table: np.ndarray) -> None:
        """Copies what may have changed back, but what lies on the device; that stays there until somebody reads it."""
        for address, to, size_bytes in self._moved:
            self._driver.copy(address, to, size_bytes)
        for shadow in self._written:
            shadow.written()
        for slot, size_bytes, use in self._phase.arrays:
            host = int(self._bufs[slot])
            if use in WRITTEN and host and size_bytes and self._runner.memory.shadows.at(host) is None:
                self._driver.copy_out(_bytes_at(host, size_bytes), int(table[slot]))

    def _write(self, *tables: np.ndarray) -> None:
        """Makes the first tables on the device these."""
        if not np.array_equal(tables, self._on_device[: len(tables)]):
            self._on_device[: len(tables)] = tables
            self._tables.write(self._on_device[: len(tables)])

    def _launches(self, rows: Sequence[tuple[StepRow, Rounds]]) -> list[Launch]:
        numbers = {rounds: number for number, rounds in enumerate(self._phase.rounds)}
        return [self._launch(row, numbers[rounds]) for row, rounds in rows]

    def _launch(self, row: StepRow, number: int = 0) -> Launch:
        """Of a row over a table by its number."""
        kernel, descriptor, launch = row
        grid, table = Grid(*launch), self._tables.address + number * self._bufs.nbytes
        return Launch(kernel, (grid.n_blocks, 1, 1), (grid.n_threads, 1, 1), grid.shared_bytes, (descriptor, table))

    def _walk(self, rows: Sequence[Row], start: Start, around: Place = ()) -> None:
        for number, row in enumerate(rows):
            if isinstance(row, LoopRows):
                self._loop(row, start, (*around, number))
            else:
                assert not isinstance(row, CallRow)
                start(self._launch(row), (*around, number))

    def _loop(self, row: LoopRows, start: Start, place: Place) -> None:
        """Rounds that the host counts: it moves the addresses in the table between them."""
        loop = row.loop
        for number in range(loop.count):
            table = self._on_device[0]
            if loop.flag is not None:
                flag = np.zeros(FLAG_BYTES, np.uint8)
                self._driver.copy_out(flag, int(table[loop.flag.slot]) + loop.flag.offset)
                if not flag.view(loop.flag.dtype)[0]:
                    return
            self._write(_in_round(table, ((loop, number),)))
            self._walk(row.rows, start, place)


def _in_round(table: np.ndarray, rounds: Rounds) -> np.ndarray:
    """A table as it is in some round of loops."""
    found = table.copy()
    for loop, number in rounds:
        found[loop.counter] = number
        for moving in loop.moving:
            found[moving.slot] = found[moving.base] + moving.moved(number)
    return found


def _bytes_at(address: int, size_bytes: int) -> np.ndarray:
    """Host memory as bytes."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))
