"""The runner against a driver whose kernels are Python functions: what is brought, launched and fetched."""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import pytest

from symc.codegen.cuda.launch import Grid
from symc.runtime.cuda.memory import DeviceMemory
from symc.runtime.cuda.runner import DeviceRunner
from symc.runtime.device import CallRow, LoopRows, Touched
from symc.runtime.program import Flag, Loop, Moving

FIRST_ADDRESS = 1 << 60  # the host has none up there


class PythonDriver:
    """Memory in blocks 2**32 apart; a kernel is a function of (driver, descriptor words, table of addresses)."""

    def __init__(self) -> None:
        self.blocks: dict[int, np.ndarray] = {}
        self.kernels: list[Callable] = []
        self.n_graphs = self.n_copies_in = 0

    def at(self, address: int, size_bytes: int) -> np.ndarray:
        start = (address - FIRST_ADDRESS) % (1 << 32)
        return self.blocks[address - start][start : start + size_bytes]

    def words(self, address: int, n: int) -> np.ndarray:
        return self.at(address, 8 * n).view(np.int64)

    def allocate(self, size_bytes: int) -> int:
        address = FIRST_ADDRESS + (max(self.blocks, default=FIRST_ADDRESS) - FIRST_ADDRESS) + (1 << 32)
        self.blocks[address] = np.full(-(-size_bytes // 8) * 8, 0xA5, np.uint8)
        return address

    def free(self, address: int) -> None:
        del self.blocks[address]

    def clear(self, address: int, size_bytes: int) -> None:
        self.at(address, size_bytes)[:] = 0

    def copy_in(self, address: int, data: np.ndarray) -> None:
        self.n_copies_in += 1
        self.at(address, data.nbytes)[:] = data.reshape(-1).view(np.uint8)

    def copy_out(self, data: np.ndarray, address: int) -> None:
        data.reshape(-1).view(np.uint8)[:] = self.at(address, data.nbytes)

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        self.at(target, size_bytes)[:] = self.at(source, size_bytes)

    def launch(self, launch) -> None:
        assert launch.grid == (2, 1, 1) and launch.block == (64, 1, 1) and launch.shared_bytes == 16
        self.kernels[launch.kernel](self, *launch.arguments)

    def graph(self, launches):
        self.n_graphs += 1
        driver = self

        class Graph:
            def launch(self) -> None:
                for launch in launches:
                    driver.launch(launch)

        return Graph()

    def synchronise(self) -> None:
        pass


@pytest.fixture
def driver() -> PythonDriver:
    return PythonDriver()


def add_one(driver: PythonDriver, descriptor: int, table: int) -> None:
    """float32 of one slot into another, plus 1: three of them."""
    source, target = driver.words(descriptor, 2)
    bufs = driver.words(table, 8)
    driver.at(int(bufs[target]), 12).view(np.float32)[:] = driver.at(int(bufs[source]), 12).view(np.float32) + 1


def bound(driver: PythonDriver, kernel: Callable, words: list[int], arrays: list, rows=None, calls=()):
    """A run of one kernel over host arrays, at slots from 4 on; the last one may be changed."""
    driver.kernels.append(kernel)
    memory = DeviceMemory(driver)
    descriptor = memory.zeros(8 * len(words))
    descriptor.write(np.array(words, np.int64))
    bufs = np.zeros(8, np.int64)
    bufs[4 : 4 + len(arrays)] = [a.ctypes.data for a in arrays]
    touched = [Touched(4 + k, a.nbytes, "read") for k, a in enumerate(arrays)]
    touched[-1] = touched[-1]._replace(use="changed")
    runner = DeviceRunner(driver, memory)
    step = (len(driver.kernels) - 1, descriptor.address, tuple(Grid(2, 64, 16)))
    phase = runner.steps([step] if rows is None else rows(step), touched)
    return runner.bind(phase, bufs, None, calls), bufs, (descriptor, arrays)


def test_arrays_are_brought_and_fetched_around_one_graph(driver):
    x, y = np.arange(3, dtype=np.float32), np.full(3, np.nan, np.float32)
    run, bufs, _kept = bound(driver, add_one, [4, 5], [x, y])
    run.run()
    np.testing.assert_array_equal(y, [1, 2, 3])
    x[:] = 10
    run.run()
    np.testing.assert_array_equal(y, [11, 11, 11])
    other = np.zeros(3, np.float32)
    bufs[5] = other.ctypes.data
    run.run()
    np.testing.assert_array_equal(other, [11, 11, 11])
    assert driver.n_graphs == 1


def test_what_is_bound_twice_is_one_array_there(driver):
    x = np.arange(3, dtype=np.float32)
    run, *_kept = bound(driver, add_one, [4, 5], [x, x])
    for _ in range(2):
        run.run()
    np.testing.assert_array_equal(x, [2, 3, 4])


def test_parameters_are_brought_when_they_are_prepared(driver):
    weight, y = np.arange(3, dtype=np.float32), np.zeros(3, np.float32)
    memory = DeviceMemory(driver)
    runner, prepared, descriptor = DeviceRunner(driver, memory), memory.zeros(64), memory.zeros(16)
    descriptor.write(np.array([4, 5], np.int64))
    driver.kernels.append(add_one)
    bufs = np.array([0, prepared.address, 0, 0, weight.ctypes.data, y.ctypes.data, 0, 0], np.int64)
    prepare = runner.bind(runner.steps([], [Touched(4, 12, "prepared")]), bufs, None)
    row = (0, descriptor.address, tuple(Grid(2, 64, 16)))
    forward = runner.bind(runner.steps([row], [Touched(4, 12, "kept"), Touched(5, 12, "filled")]), bufs, None)
    prepare.run()
    before = driver.n_copies_in
    for written, expected in ((0, [1, 2, 3]), (7, [1, 2, 3])):
        weight += written
        forward.run()
        np.testing.assert_array_equal(y, expected)
    assert driver.n_copies_in == before + 1  # the table of addresses
    prepare.run()
    forward.run()
    np.testing.assert_array_equal(y, [8, 9, 10])


def test_rounds_move_the_addresses_until_a_number_is_0(driver):
    rows, total = np.arange(12, dtype=np.float32).reshape(4, 3), np.zeros(6, np.float32)
    total[3] = 1

    def add_row(driver: PythonDriver, descriptor: int, table: int) -> None:
        row, target = (int(a) for a in driver.words(table, 8)[[7, 5]])
        sums = driver.at(target, 24).view(np.float32)
        sums[:3] += driver.at(row, 12).view(np.float32)
        sums[3] = sums[0] < 9  # 0 + 3 + 6: the third round is the last

    def around(step):
        loop = Loop((), 4, 6, (Moving(7, 4, 12),), Flag(5, 12, "float32"), "forward")
        return [LoopRows(loop, [step])]

    run, *_kept = bound(driver, add_row, [0], [rows, total], around)
    run.run()
    np.testing.assert_array_equal(total[:3], rows[:3].sum(axis=0))
    assert driver.n_graphs == 0


def test_rounds_whose_number_is_known_are_one_graph(driver):
    rows, sums = np.arange(12, dtype=np.float32).reshape(2, 2, 3), np.zeros((2, 3), np.float32)

    def add_row(driver: PythonDriver, descriptor: int, table: int) -> None:
        row, target = (int(a) for a in driver.words(table, 8)[[7, 3]])
        driver.at(target, 12).view(np.float32)[:] += driver.at(row, 12).view(np.float32)

    def twice(step):
        inner = Loop((), 2, 6, (Moving(7, 2, 12),), None, "forward")
        outer = Loop((), 2, 1, (Moving(2, 4, 24), Moving(3, 5, 12)), None, "forward")
        return [LoopRows(outer, [LoopRows(inner, [step])])]

    run, bufs, _kept = bound(driver, add_row, [0], [rows, sums], twice)
    for factor in (1, 2):
        run.run()
        np.testing.assert_array_equal(sums, factor * rows.sum(axis=1))
    assert run.run_profiled().shape == (1, 2)
    other = np.zeros_like(sums)
    bufs[5] = other.ctypes.data
    run.run()
    np.testing.assert_array_equal(other, rows.sum(axis=1))
    assert driver.n_graphs == 1


def test_very_many_rounds_are_walked_by_the_host(driver, monkeypatch):
    monkeypatch.setattr("symc.runtime.cuda.runner.MOST_LAUNCHES", 3)
    y = np.zeros(3, np.float32)
    for count, n_graphs in ((3, 1), (4, 1)):
        loop = Loop((), count, 6, (), None, "forward")
        run, *_kept = bound(driver, add_one, [4, 4], [y], lambda step, loop=loop: [LoopRows(loop, [step])])
        run.run()
        assert driver.n_graphs == n_graphs
    np.testing.assert_array_equal(y, [7, 7, 7])


def test_a_profiled_run_computes_and_times_every_kernel(driver):
    x, y = np.arange(3, dtype=np.float32), np.zeros(3, np.float32)
    run, *_kept = bound(driver, add_one, [4, 5], [x, y], lambda step: [step, step])
    times_ns = run.run_profiled()
    assert times_ns.shape == (2, 2) and (times_ns[:, 1] >= times_ns[:, 0]).all() and times_ns[1, 0] >= times_ns[0, 1]
    np.testing.assert_array_equal(y, [1, 2, 3])


def test_memory_is_given_back(driver):
    run, _, kept = bound(driver, add_one, [4, 5], [np.zeros(3, np.float32)] * 2)
    run.run()
    assert driver.blocks
    del run, kept
    gc.collect()
    assert not driver.blocks


def test_python_is_called_between_graphs_and_sees_what_was_computed_before(driver):
    x, y = np.arange(3, dtype=np.float32), np.zeros(3, np.float32)
    seen, fails = [], []

    def called(addresses: np.ndarray) -> None:
        found = driver.at(int(addresses[5]), y.nbytes).view(np.float32)
        seen.append(found.tolist())
        found *= 10
        if fails:
            raise RuntimeError("in the middle")

    run, *_kept = bound(driver, add_one, [4, 5], [x, y], lambda step: [step, CallRow(0), step, step], [called])
    run.run()
    run.run()
    assert seen == [[1, 2, 3]] * 2 and driver.n_graphs == 2
    np.testing.assert_array_equal(y, [1, 2, 3])
    assert run.run_profiled().shape == (4, 2)
    fails.append(True)
    with pytest.raises(RuntimeError, match="in the middle"):
        run.run()
    fails.clear()
    run.run()
    np.testing.assert_array_equal(y, [1, 2, 3])


def test_python_is_called_in_every_round_of_a_loop(driver):
    y, rounds = np.zeros(3, np.float32), []
    loop = Loop((), 3, 6, (), None, "forward")
    run, *_kept = bound(
        driver, add_one, [4, 4], [y], lambda step: [step, LoopRows(loop, [CallRow(0), step]), step],
        [lambda addresses: rounds.append(int(addresses[6]))],
    )  # fmt: skip
    run.run()
    assert rounds == [0, 1, 2] and driver.n_graphs == 2
    np.testing.assert_array_equal(y, [5, 5, 5])
