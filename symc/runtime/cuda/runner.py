"""Runs programs on a GPU: one graph launch for a phase, between what is brought and what is fetched.

The caller's arrays have addresses in host memory. Those of this GPU's contexts lie on it (`shadow.py`) and are brought
where the host has written them since, but to the side where they begin at no multiple of 16 bytes: a view, or another
library's memory. A run copies others that the phase may read to the device, and back those that it may have changed;
parameters are copied when they are prepared, and kept. Kernels find all of them in a table of
addresses, which lies in device memory as the descriptors do: so launches are the same in every run, and one graph is
made of them. Loops are unrolled in it: each round has a table of its own. Those that a number in memory ends, that call
Python, and very long ones are walked by the host, which writes the table anew for each round. Between them, and between
calls of Python, are graphs of their own.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from symc.codegen.cuda.launch import Grid
from symc.codegen.objects import Build
from symc.core.lazy import lazy
from symc.core.locks import new_lock
from symc.runtime.device import Call, CallRow, LoopRows, Row, StepRow, Touched
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
Start = Callable[[Callable[[], None], Place], None]  # of a kernel or of what Python does


Unrolled = list[tuple[StepRow, Rounds]]  # all that is launched, in order


@dataclass(frozen=True)
class Phase:
    """The rows of a phase, and the caller's arrays that it may touch."""

    rows: tuple[Row, ...]
    arrays: tuple[Touched, ...]

    @lazy
    def parts(self) -> list[Unrolled | tuple[int, Row]]:
        """What becomes a graph, and between them what the host walks, with its place among the rows."""
        found: list[Unrolled | tuple[int, Row]] = []
        for number, row in enumerate(self.rows):
            inside = unrolled([row])
            if inside is None:
                found.append((number, row))
            elif found and isinstance(found[-1], list) and len(found[-1]) + len(inside) <= MOST_LAUNCHES:
                found[-1].extend(inside)
            else:
                found.append(inside)
        return found

    @lazy
    def rounds(self) -> tuple[Rounds, ...]:
        """Those that need a table of their own; outside of loops is the first."""
        inside = (rounds for part in self.parts if isinstance(part, list) for _, rounds in part)
        return tuple(dict.fromkeys([(), *inside]))


def unrolled(rows: Sequence[Row], around: Rounds = ()) -> Unrolled | None:
    """Every step as often as it runs, with the rounds of the loops around it; None where nobody can know that before,
    where Python is called, or where it is too much."""
    found: Unrolled = []
    for row in rows:
        if isinstance(row, CallRow):
            return None
        if not isinstance(row, LoopRows):
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
        """The phase."""
        return Phase(tuple(rows), tuple(arrays))

    def functions(self) -> dict[str, Build]:
        """None: the driver does what is not a kernel."""
        return {}

    def bind(self, steps: Phase, bufs: np.ndarray, n_threads: int | None, calls: Sequence[Call] = ()) -> DeviceRun:
        """See `DeviceRun`; the number of the host's threads means nothing here."""
        return DeviceRun(self, steps, bufs, calls)


class DeviceRun:
    """A phase over a table of addresses: of the device's own memory, and of the caller's arrays on the host."""

    def __init__(self, runner: DeviceRunner, phase: Phase, bufs: np.ndarray, calls: Sequence[Call]) -> None:
        self._runner, self._driver, self._phase, self._bufs, self._calls = runner, runner.driver, phase, bufs, calls
        self._staged: dict[int, DeviceBlock] = {}  # by slot
        self._moved: list[tuple[int, int, int]] = []  # that this run changes: where from, where to, bytes
        self._on_device = np.zeros((len(phase.rounds), len(bufs)), bufs.dtype)  # what the tables hold there
        self._tables = DeviceBlock(runner.driver, self._on_device.nbytes)
        self._unrolled_for: np.ndarray | None = None  # the table that those of rounds were made from
        self._graphs: dict[int, Graph] = {}  # by the number of the part

    def run(self) -> None:
        """Brings, launches, fetches what does not lie on the device; the rest may still be computed."""
        with self._runner.lock:
            table = self._bring()
        for number, part in enumerate(self._phase.parts):
            if isinstance(part, list):
                with self._runner.lock:
                    self._launch_together(number, part, table)
            else:
                self._walk_apart(*part, table, lambda step, place: step())
        with self._runner.lock:
            self._fetch(table)

    def _launch_together(self, number: int, part: Unrolled, table: np.ndarray) -> None:
        """One graph, which is made when it first runs."""
        if self._unrolled_for is None or not np.array_equal(table, self._unrolled_for):
            self._write(*(_in_round(table, rounds) for rounds in self._phase.rounds))
            self._unrolled_for = table
        if number not in self._graphs:
            self._graphs[number] = self._driver.graph(self._launches(part))
        self._graphs[number].launch()

    def _walk_apart(self, number: int, row: Row, table: np.ndarray, start: Start) -> None:
        """A row that is no part of a graph."""
        self._unrolled_for = None
        with self._runner.lock:
            self._write(table)
        self._walk(row, start, (number,))

    def run_profiled(self) -> np.ndarray:
        """The same, kernel by kernel, each complete before the next one starts."""
        times_ns: dict[Place, list[int]] = {}

        def timed(step: Callable[[], None], place: Place) -> None:
            self._driver.synchronise()
            start = time.monotonic_ns()
            step()
            self._driver.synchronise()
            first = times_ns.setdefault(place, [start, start])
            first[1] += time.monotonic_ns() - start

        with self._runner.lock:
            table = self._bring()
        for number, row in enumerate(self._phase.rows):
            self._walk_apart(number, row, table, timed)
        with self._runner.lock:
            self._fetch(table)
        return np.array([times_ns[place] for place in sorted(times_ns)], np.int64).reshape(-1, 2)

    def over(self, expected: Expected) -> None:
        """None: arrays are brought before the graph is launched, so nothing is saved."""

    def _bring(self) -> np.ndarray:
        """Copies the caller's arrays to the device, one that is bound twice once; the table of all addresses there."""
        table = self._bufs.copy()
        self._moved = []
        written: list[Shadow] = []
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
                    written.append(shadow)
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
        for shadow in written:  # not before, as what the phase writes may be what it reads
            shadow.written()
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

    def _walk(self, row: Row, start: Start, place: Place) -> None:
        if isinstance(row, LoopRows):
            self._loop(row, start, place)
        elif isinstance(row, CallRow):  # without the lock, as it may run programs
            start(partial(self._calls[row.number], self._on_device[0]), place)
        else:
            with self._runner.lock:
                start(partial(self._driver.launch, self._launch(row)), place)

    def _loop(self, row: LoopRows, start: Start, place: Place) -> None:
        """Rounds that the host counts: it moves the addresses in the table between them."""
        loop = row.loop
        for number in range(loop.count):
            with self._runner.lock:
                table = self._on_device[0]
                if loop.flag is not None:
                    flag = np.zeros(FLAG_BYTES, np.uint8)
                    self._driver.copy_out(flag, int(table[loop.flag.slot]) + loop.flag.offset)
                    if not flag.view(loop.flag.dtype)[0]:
                        return
                self._write(_in_round(table, ((loop, number),)))
            for k, inside in enumerate(row.rows):
                self._walk(inside, start, (*place, k))


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
