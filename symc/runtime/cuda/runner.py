"""Runs programs on a GPU: one graph launch for a phase, between what is brought and what is fetched.

The caller's arrays lie in host memory. A run copies those that the phase may read to the device, and back those that
it may have changed; parameters are copied when they are prepared, and kept. Kernels find all of them in a table of
addresses, which lies in device memory as the descriptors do: so launches are the same in every run, and one graph is
made of them.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from symc.codegen.cuda.launch import Grid
from symc.core.errors import DeviceError
from symc.core.locks import new_lock
from symc.runtime.device import CallRow, LoopRows, Row, Touched
from symc.runtime.program import PREPARED

from .driver import Driver, Graph, Launch
from .memory import DeviceBlock, DeviceMemory

FLAG_BYTES = 8
Place = tuple[int, ...]  # of a row: its number, before it those of the loops around it
Start = Callable[[Launch, Place], None]


@dataclass(frozen=True)
class Phase:
    """The rows of a phase, and the caller's arrays that it may touch."""

    rows: tuple[Row, ...]
    arrays: tuple[Touched, ...]

    @property
    def has_loops(self) -> bool:
        return any(isinstance(row, LoopRows) for row in self.rows)


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
        self._on_device = np.zeros_like(bufs)  # what the table holds there
        self._table = DeviceBlock(runner.driver, bufs.nbytes)
        self._graph: Graph | None = None

    def run(self) -> None:
        """Brings, launches, fetches; returns when all results can be read."""
        with self._runner.lock:
            self._bring()
            if self._phase.has_loops:
                self._walk(self._phase.rows, lambda launch, place: self._driver.launch(launch))
            elif self._phase.rows:
                self._graph = self._graph or self._driver.graph([self._launch(row) for row in self._phase.rows])
                self._graph.launch()
            self._fetch()

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
            self._bring()
            self._walk(self._phase.rows, timed)
            self._fetch()
        return np.array([times_ns[place] for place in sorted(times_ns)], np.int64).reshape(-1, 2)

    def _bring(self) -> None:
        """Copies the caller's arrays to the device, one that is bound twice once; then the table."""
        table = self._bufs.copy()
        brought: dict[tuple[int, int], int] = {}
        for array in self._phase.arrays:
            slot, size_bytes, use = array
            host = int(table[slot])
            if not host or not size_bytes:
                continue
            if (host, size_bytes) not in brought:
                block, is_current = self._copy_of(array, host)
                if not is_current and use != "filled":
                    block.write(_bytes_at(host, size_bytes))
                brought[host, size_bytes] = block.address
            table[slot] = brought[host, size_bytes]
        self._write(table)

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
        if slot not in self._staged:
            self._staged[slot] = DeviceBlock(self._driver, size_bytes)
        return self._staged[slot], False

    def _fetch(self) -> None:
        """Copies what may have changed back; waits for all launches."""
        self._driver.synchronise()
        for slot, size_bytes, use in self._phase.arrays:
            host = int(self._bufs[slot])
            if use in ("changed", "filled") and host and size_bytes:
                self._driver.copy_out(_bytes_at(host, size_bytes), int(self._on_device[slot]))

    def _write(self, table: np.ndarray) -> None:
        if not np.array_equal(table, self._on_device):
            self._table.write(table)
            self._on_device = table

    def _launch(self, row: Row) -> Launch:
        assert not isinstance(row, (LoopRows, CallRow))
        kernel, descriptor, launch = row
        grid = Grid(*launch)
        return Launch(
            kernel, (grid.n_blocks, 1, 1), (grid.n_threads, 1, 1), grid.shared_bytes, (descriptor, self._table.address)
        )

    def _walk(self, rows: Sequence[Row], start: Start, around: Place = ()) -> None:
        for number, row in enumerate(rows):
            if isinstance(row, LoopRows):
                self._loop(row, start, (*around, number))
            else:
                start(self._launch(row), (*around, number))

    def _loop(self, row: LoopRows, start: Start, place: Place) -> None:
        """Rounds that the host counts: it moves the addresses in the table between them."""
        loop = row.loop
        for number in range(loop.count):
            table = self._on_device.copy()
            if loop.flag is not None:
                flag = np.zeros(FLAG_BYTES, np.uint8)
                self._driver.copy_out(flag, int(table[loop.flag.slot]) + loop.flag.offset)
                if not flag.view(loop.flag.dtype)[0]:
                    return
            table[loop.counter] = number
            for slot, base, offset, stride in loop.moving:
                table[slot] = table[base] + offset + number * stride
            self._write(table)
            self._walk(row.rows, start, place)


def _bytes_at(address: int, size_bytes: int) -> np.ndarray:
    """Host memory as bytes."""
    return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))
