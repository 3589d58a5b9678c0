"""Programs made by hand: loops run natively, call-backs in Python at their place; what is stored comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

import symc as mx
from symc.codegen.cpu.atomics import address_of, words
from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import host_target
from symc.codegen.kernel import Chunks
from symc.core.errors import ArgumentError, GraphError
from symc.ir.kernels import HeadInfo
from symc.runtime.cpu.native import FLAG_MASKS
from symc.runtime.instance import Instance, LoadedProgram
from symc.runtime.program import ARENA, CallBack, Flag, KernelStep, Lent, Loop, Moving, Program, Slot, Step, walk

X, W, Y = 4, 5, 6  # slots of the caller's arrays; registers follow
ROW, OUT, COUNTER, INNER = 7, 8, 9, 10
THREADS = [1, 2, 3]


def count_down(chunk, n_chunks, desc, bufs):
    """Subtracts desc[1] from the number in slot desc[0] and adds 1 to the one behind it."""
    number = words(bufs[desc[0]])
    number[0] -= desc[1]
    number[1] += 1


def multiply_add(chunk, n_chunks, desc, bufs):
    """out[i] = state[i] = state[i] * w[i] + x[i] in int64: the step of a scan.  desc: n, slots of x, w, state, out."""
    n = desc[0]
    x, w = words(bufs[desc[1]]), words(bufs[desc[2]])
    state, out = words(bufs[desc[3]]), words(bufs[desc[4]])
    for i in range(chunk * n // n_chunks, (chunk + 1) * n // n_chunks):
        state[i] = state[i] * w[i] + x[i]
        out[i] = state[i]


def note_order(chunk, n_chunks, desc, bufs):
    """out[chunk] = how many chunks ran before.  desc: slots of a counter and of out."""
    counter, out = words(bufs[desc[0]]), words(bufs[desc[1]])
    out[chunk] = counter[0]
    counter[0] += 1


def note_table(chunk, n_chunks, desc, bufs):
    """out[chunk] = the address of `bufs`.  desc: slot of out."""
    words(bufs[desc[0]])[chunk] = address_of(bufs)


@pytest.fixture(scope="module")
def addresses() -> dict[str, int]:
    functions = {f.__name__: f for f in (multiply_add, count_down, note_order, note_table)}
    return load_objects({name: compile_function(f, name, host_target()) for name, f in functions.items()})


N = 37  # elements of a row
DESCRIPTORS = np.array([N, ROW, W, ARENA, OUT, ARENA, 1, Y, 1], np.int64)


def kernel(name: str, offset: int, n_chunks: int = 1) -> KernelStep:
    return KernelStep(name, offset, Chunks(n_chunks), "forward")


def program(*steps: Step) -> Program:
    """A program over the arrays x, w and y, with four registers."""
    slots = (*(Slot("argument", key, 0, "int64") for key in "xw"), Slot("head", "0", 0, "int64"))
    heads = (HeadInfo("y", (), "int64"),)
    return Program(tuple(steps), DESCRIPTORS, np.zeros(64, np.uint8), slots, heads, 8 * N, False, n_registers=4)


def instance(
    made: Program,
    addresses: Mapping[str, int],
    arrays: tuple[np.ndarray, ...],
    n_threads: int = 1,
    calls: Mapping[str, Callable] | None = None,
) -> Instance:
    """The program as it comes back from where it is stored, over arrays."""
    loaded = LoadedProgram(Program.from_bytes(made.to_bytes()), addresses, mx.cpu().device)
    bound = Instance(loaded, loaded.new_prepared(), n_threads, calls)
    bound.bufs[4:7] = [a.ctypes.data for a in arrays]
    return bound


def scan(n_rounds: int, n_chunks: int = 1, *others: Step) -> Loop:
    """for t in range(n_rounds): y[t] = state = state * w + x[t]"""
    moving = (Moving(ROW, X, 8 * N), Moving(OUT, Y, 8 * N))
    return Loop((kernel("multiply_add", 0, n_chunks), *others), n_rounds, COUNTER, moving, None, "forward")


def scanned(x: np.ndarray, w: np.ndarray, state: np.ndarray) -> np.ndarray:
    rows = []
    for row in x:
        state = state * w + row
        rows.append(state)
    return np.array(rows).reshape(x.shape)


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("n_chunks", [1, 5])
@pytest.mark.parametrize("n_rounds", [0, 1, 2, 300])
def test_a_loop_moves_through_its_arrays(addresses, n_rounds, n_chunks, n_threads):
    rng = np.random.default_rng(n_rounds)
    x, w = rng.integers(-9, 9, (n_rounds, N)), rng.integers(-1, 2, N)
    y = np.zeros_like(x)
    bound = instance(program(scan(n_rounds, n_chunks)), addresses, (x, w, y), n_threads)
    state = np.zeros(N, np.int64)
    for _ in range(3):  # each run begins where the state was left
        bound.run("forward")
        expected = scanned(x, w, state)
        np.testing.assert_array_equal(y, expected)
        state = expected[-1] if n_rounds else state
        assert bound.bufs[COUNTER] == n_rounds


def test_rounds_go_through_their_chunks_to_and_fro(addresses):
    y = np.zeros((3, N), np.int64)
    moving = (Moving(OUT, Y, 8 * N),)
    loop = Loop((kernel("note_order", 3, n_chunks=3),), 3, COUNTER, moving, None, "forward")
    instance(program(loop), addresses, (y, y, y)).run("forward")
    assert y[:, :3].tolist() == [[2, 1, 0], [3, 4, 5], [8, 7, 6]]


@pytest.mark.parametrize("n_threads", [*THREADS, 8])
@pytest.mark.parametrize("n_rounds", [0, 1, 16, 35])
def test_loops_in_bands(addresses, n_rounds, n_threads):
    """Whoever works on a band, in fewer or more rounds than a member does at once, also when it is done again."""
    rng = np.random.default_rng(n_rounds)
    x, w = rng.integers(-9, 9, (n_rounds, N)), rng.integers(-1, 2, N)
    y = np.zeros_like(x)
    bound = instance(program(replace(scan(n_rounds, 6), bands=3)), addresses, (x, w, y), n_threads)
    state = np.zeros(N, np.int64)
    for _ in range(3):
        bound.run("forward")
        expected = scanned(x, w, state)
        np.testing.assert_array_equal(y, expected)
        state = expected[-1] if n_rounds else state
        assert bound.bufs[COUNTER] == n_rounds


@pytest.mark.parametrize("n_threads, n_tables", [(1, 1), (2, 2), (3, 3), (4, 1)])
def test_each_part_of_the_bands_has_addresses_of_its_own(addresses, n_threads, n_tables):
    """As its rounds are others; not where there are more threads than bands, which share each round."""
    y = np.zeros((2, N), np.int64)
    loop = Loop((kernel("note_table", 4, n_chunks=6),), 2, COUNTER, (Moving(OUT, Y, 8 * N),), None, "forward", bands=3)
    bound = instance(program(loop), addresses, (y, y, y), n_threads)
    bound.run("forward")
    assert (y[0] == y[1]).all() and (y[0, :3] == y[0, 3:6]).all()
    assert len({*y[0, :3].tolist()}) == n_tables
    assert (bound.bufs.ctypes.data in y[0, :3]) == (n_tables == 1)


@pytest.mark.parametrize("n_threads", THREADS)
def test_loops_in_loops(addresses, n_threads):
    """Rows of blocks of x: the inner loop begins where the outer one is."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (4, 3, N)), rng.integers(-1, 2, N)
    y = np.zeros_like(x)
    registers = Moving(11, X, 24 * N), Moving(12, Y, 24 * N)
    moving = (Moving(ROW, 11, 8 * N), Moving(OUT, 12, 8 * N))
    inner = Loop((kernel("multiply_add", 0, 3),), 3, INNER, moving, None, "forward")
    outer = Loop((inner,), 4, COUNTER, registers, None, "forward")
    made = program(outer)
    instance(replace(made, n_registers=6), addresses, (x, w, y), n_threads).run("forward")
    np.testing.assert_array_equal(y.reshape(12, N), scanned(x.reshape(12, N), w, np.zeros(N, np.int64)))


def test_a_loop_backwards_from_the_last_row(addresses):
    rng = np.random.default_rng(1)
    x, w = rng.integers(-9, 9, (6, N)), rng.integers(-1, 2, N)
    y = np.zeros_like(x)
    moving = (Moving(ROW, X, -8 * N), Moving(OUT, Y, -8 * N))
    loop = Loop((kernel("multiply_add", 0),), 6, COUNTER, moving, None, "forward")
    instance(program(loop), addresses, (x[-1], w, y[-1])).run("forward")
    np.testing.assert_array_equal(y[::-1], scanned(x[::-1], w, np.zeros(N, np.int64)))


@pytest.mark.parametrize("n_threads", THREADS)
def test_what_moves_with_a_period_comes_back(addresses, n_threads):
    rng = np.random.default_rng(2)
    x, w = rng.integers(-9, 9, (2, N)), rng.integers(-1, 2, N)
    y = np.zeros((5, N), np.int64)
    moving = (Moving(ROW, X, 8 * N, 2), Moving(OUT, Y, 8 * N))
    loop = Loop((kernel("multiply_add", 0, 3),), 5, COUNTER, moving, None, "forward")
    instance(program(loop), addresses, (x, w, y), n_threads).run("forward")
    np.testing.assert_array_equal(y, scanned(x[[0, 1, 0, 1, 0]], w, np.zeros(N, np.int64)))


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("start, count, rounds", [(5, 100, 5), (0, 100, 0), (7, 3, 3), (3, 0, 0)])
def test_a_loop_ends_when_its_flag_is_zero(addresses, start, count, rounds, n_threads):
    y = np.array([start, 0])
    loop = Loop((kernel("count_down", 7),), count, COUNTER, (), Flag(Y, 0, "int64"), "forward")
    bound = instance(program(loop), addresses, (y, y, y), n_threads)
    bound.run("forward")
    assert y.tolist() == [start - rounds, rounds] and bound.bufs[COUNTER] == rounds


@pytest.mark.parametrize("dtype", FLAG_MASKS)
def test_flags_of_every_dtype(addresses, dtype):
    """Only the number itself counts, not what lies behind it nor the sign of a zero."""
    for value in (0, 1, -0.0, 0.5):
        memory = np.full(16, 0xFF, np.uint8)
        memory[: np.dtype(dtype).itemsize].view(dtype)[0] = value
        counted = np.zeros(2, np.int64)
        loop = Loop((kernel("count_down", 7),), 3, COUNTER, (), Flag(X, 0, dtype), "forward")
        instance(program(loop), addresses, (memory, memory, counted)).run("forward")
        assert counted[1] == (3 if np.array(value).astype(dtype) else 0)


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("n_chunks", [1, 4])
def test_call_backs_come_between_steps(addresses, n_chunks, n_threads):
    """In the loop, after each step: Python sees what the step wrote, and the next step what Python wrote."""
    rng = np.random.default_rng(2)
    x, w = rng.integers(-9, 9, (5, N)), rng.integers(-1, 2, N)
    y = np.zeros_like(x)
    seen: list[np.ndarray] = []

    def called(bufs: np.ndarray) -> None:
        row = int(bufs[COUNTER])
        seen.append(y[row].copy())
        bound.arena.array.view(np.int64)[:N] += 1

    steps = (CallBack("begin", "forward"), scan(5, n_chunks, CallBack("row", "forward")), CallBack("begin", "forward"))
    order: list[str] = []
    calls = {"begin": lambda bufs: order.append("begin"), "row": lambda bufs: (order.append("row"), called(bufs))}
    bound = instance(program(*steps), addresses, (x, w, y), n_threads, calls)
    bound.run("forward")
    assert order == ["begin", *["row"] * 5, "begin"]
    state = np.zeros(N, np.int64)
    for k in range(5):
        state = state * w + x[k]
        np.testing.assert_array_equal(y[k], state)
        np.testing.assert_array_equal(seen[k], state)
        state = state + 1


@pytest.mark.parametrize("n_threads", THREADS)
def test_what_a_call_back_raises_comes_out_of_the_run(addresses, n_threads):
    x, w = np.ones((4, N), np.int64), np.ones(N, np.int64)
    y = np.zeros_like(x)
    failing = {2}

    def called(bufs: np.ndarray) -> None:
        if int(bufs[COUNTER]) in failing:
            raise KeyError("row 2")

    bound = instance(program(scan(4, 3, CallBack("row", "forward"))), addresses, (x, w, y), n_threads, {"row": called})
    with pytest.raises(KeyError, match="row 2"):
        bound.run("forward")
    assert y[:, 0].tolist() == [1, 2, 3, 0]
    failing.clear()
    bound.run("forward")  # the next run begins at the beginning
    assert y[:, 0].tolist() == [4, 5, 6, 7]


def test_a_call_back_may_run_programs_itself(addresses):
    x, w = np.ones((3, N), np.int64), np.ones(N, np.int64)
    y, inner_y = np.zeros_like(x), np.zeros_like(x)
    inner = instance(program(scan(3, 4)), addresses, (x, w, inner_y), 2)
    calls = {"row": lambda bufs: inner.run("forward")}
    instance(program(scan(3, 4, CallBack("row", "forward"))), addresses, (x, w, y), 2, calls).run("forward")
    assert y[:, 0].tolist() == [1, 2, 3] and inner_y[:, 0].tolist() == [7, 8, 9]


def test_a_long_loop_comes_by_python(addresses, monkeypatch):
    """An interrupt ends a loop that would take hours."""
    y = np.zeros(2, np.int64)
    loop = Loop((kernel("count_down", 7),), 1 << 60, COUNTER, (), None, "forward")
    for n_threads in (1, 2):
        bound = instance(program(loop), addresses, (y, y, y), n_threads)
        native = bound.phases["forward"]
        entry, n_entries = native._entry, []

        def interrupted(record, entry=entry, n_entries=n_entries):
            n_entries.append(1)
            entry(record)
            if len(n_entries) == 2:
                raise KeyboardInterrupt

        native._entry = interrupted
        with pytest.raises(KeyboardInterrupt):
            bound.run("forward")
        assert y[1] > 1000
        native._entry = entry


@pytest.mark.parametrize("n_threads", [1, 2])
def test_profiled_steps_of_loops_add_up_their_rounds(addresses, n_threads):
    x, w = np.ones((50, N), np.int64), np.ones(N, np.int64)
    y = np.zeros_like(x)
    bound = instance(program(kernel("count_down", 5), scan(50, 3)), addresses, (x, w, y), n_threads)
    times = bound.run_profiled("forward")
    spent = np.diff(times, axis=1).ravel()
    assert len(times) == 2 and (times > 0).all() and (spent >= 0).all() and spent[1] > 0


def test_what_is_stored_comes_back():
    loop = Loop((scan(3, 2, CallBack("f", "forward")),), 2, INNER, (), Flag(Y, 8, "float32"), "forward")
    lent = Lent(X, 64, (2, 3), "float32", False)
    made = program(kernel("count_down", 7), loop, CallBack("g", "forward", (lent, lent), (lent,)))
    again = Program.from_bytes(made.to_bytes())
    assert again.steps == made.steps and again.n_registers == 4 and isinstance(again.steps[1].flag, Flag)
    assert again.kernel_names == ["count_down", "multiply_add"] and again.call_names == ["f", "g"]
    assert [type(s).__name__ for s in walk(again.steps)] == [
        "KernelStep", "Loop", "Loop", "KernelStep", "CallBack", "CallBack",
    ]  # fmt: skip


def test_what_cannot_run_is_refused(addresses):
    arrays = (np.zeros(1),) * 3
    with pytest.raises(GraphError, match="calls f back; nobody gave"):
        instance(program(CallBack("f", "forward")), addresses, arrays)
    with pytest.raises(ArgumentError, match="a loop has -1 rounds"):
        instance(program(scan(-1)), addresses, arrays)
