"""The native runner: every chunk exactly once, steps in order, for any number of threads, callers and processes."""

import os
import subprocess
import sys
import textwrap
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from symc.codegen.cpu.atomics import address_of, fetch_add, load, pause
from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import host_target
from symc.core.errors import ArgumentError
from symc.runtime.cpu.native import NativeProgram, step_table, thread_count
from symc.runtime.cpu.operands import Outcome
from symc.runtime.operands import Exactly, Operand

THREADS = [1, 2, 3, 4]
ROOT = Path(__file__).parents[2]


def count(chunk, n_chunks, desc, bufs):
    """bufs[chunk] += desc[0]: counts how often each chunk ran."""
    bufs[chunk] += desc[0]


def double_and_shift(chunk, n_chunks, desc, bufs):
    """x[i] = 2 x[i-1 of the other buffer] for the chunk's part: order and visibility of steps show in the result.

    desc: n, source slot, destination slot (slots are offsets in words from bufs).
    """
    n = desc[0]
    source, destination = desc[1], desc[2]
    for i in range(chunk * n // n_chunks, (chunk + 1) * n // n_chunks):
        bufs[destination + i] = (2 * bufs[source + (i + n - 1) % n] + i) & 0xFFFFFFFF


def wait_for_others(chunk, n_chunks, desc, bufs):
    """bufs[0] counts chunks; chunk desc[0] waits for all others, at most desc[1] looks: bufs[1] = how many it saw."""
    address = address_of(bufs)
    if chunk == desc[0]:
        n_looks = 0
        while load(address, 0) < n_chunks - 1 and n_looks < desc[1]:
            n_looks += 1
            pause()
        bufs[1] = load(address, 0)
    fetch_add(address, 0, 1)


def congruential(chunk, n_chunks, desc, bufs):
    """bufs[chunk] becomes the random number that comes desc[0] later."""
    x = bufs[chunk]
    for _ in range(desc[0]):
        x = x * 6364136223846793005 + 1442695040888963407
    bufs[chunk] = x


@pytest.fixture(scope="module")
def kernels():
    functions = {"count": count, "double_and_shift": double_and_shift, "wait_for_others": wait_for_others}
    return load_objects({name: compile_function(f, name, host_target()) for name, f in functions.items()})


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("n_chunks", [0, 1, 2, 3, 7, 64, 1000])
def test_every_chunk_runs_once(kernels, n_chunks, n_threads):
    desc, bufs = np.array([1]), np.zeros(1002, np.int64)
    program = NativeProgram(step_table([(kernels["count"], desc.ctypes.data, (n_chunks,))]), bufs, n_threads)
    for _ in range(50):
        program.run()
    assert bufs.tolist() == [50] * n_chunks + [0] * (1002 - n_chunks)


@pytest.mark.parametrize("n_threads", THREADS)
def test_no_steps(n_threads):
    NativeProgram(step_table([]), np.zeros(1, np.int64), n_threads).run()


def chain(kernels, n_steps=200, n=257):
    """A program whose every step reads what all chunks of the step before have written, and its result."""
    rng = np.random.default_rng(7)
    descs = np.array([[n, n * (step % 2), n * (1 - step % 2)] for step in range(n_steps)])
    chunks = rng.choice([1, 1, 2, 3, 8, 16], n_steps)
    steps = step_table([(kernels["double_and_shift"], descs[i].ctypes.data, (int(chunks[i]),)) for i in range(n_steps)])
    x = np.arange(n)
    for _ in range(n_steps):
        x = (2 * np.roll(x, 1) + np.arange(n)) & 0xFFFFFFFF
    return steps, descs, x


@pytest.mark.parametrize("n_threads", THREADS)
def test_steps_are_ordered(kernels, n_threads):
    steps, _descs, expected = chain(kernels)
    n = len(expected)
    bufs = np.zeros(2 * n, np.int64)
    program = NativeProgram(steps, bufs, n_threads)
    for _ in range(100):
        bufs[:n] = np.arange(n)
        program.run()
        np.testing.assert_array_equal(bufs[:n], expected)


@pytest.mark.parametrize("n_threads", [2, 3])
@pytest.mark.parametrize("held_up", [0, 5, 15])
def test_the_chunks_of_a_thread_that_is_held_up_are_taken_by_others(kernels, held_up, n_threads):
    desc, bufs = np.array([held_up, 10**9]), np.zeros(2, np.int64)
    program = NativeProgram(step_table([(kernels["wait_for_others"], desc.ctypes.data, (16,))]), bufs, n_threads)
    for _ in range(50):
        bufs[:] = 0
        program.run()
        assert bufs.tolist() == [16, 15]


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_many_tiny_runs(kernels, n_threads):
    desc, bufs = np.array([1]), np.zeros(8, np.int64)
    program = NativeProgram(step_table([(kernels["count"], desc.ctypes.data, (4,))] * 2), bufs, n_threads)
    n_runs = 100_000 if n_threads <= 2 else 10_000  # more threads than cores: each run costs time slices
    for _ in range(n_runs):
        program.run()
    assert bufs.tolist() == [2 * n_runs] * 4 + [0] * 4


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_run_over_a_list_is_one_if_its_objects_fit(kernels, n_threads):
    desc, bufs = np.array([1]), np.zeros(8, np.int64)
    program = NativeProgram(step_table([(kernels["count"], desc.ctypes.data, (4,))]), bufs, n_threads)
    array, name = np.zeros((2, 3), np.float32), object()
    run = program.over([Operand(6, (2, 3), array.dtype), Exactly(name)])
    fitting, others = [array, name], [[array.T, name], [array, array], [array[:1], name], [None, name]]
    n_held = sys.getrefcount(Outcome.DONE), sys.getrefcount(Outcome.MISFIT)
    for n_runs in range(1, 100):
        assert run(fitting)
        assert not any(run(objects) for objects in others)
        assert bufs.tolist() == [n_runs] * 4 + [0, 0, array.ctypes.data, 0]
    assert n_held == (sys.getrefcount(Outcome.DONE), sys.getrefcount(Outcome.MISFIT))


def test_thread_counts_may_alternate(kernels):
    steps, _descs, expected = chain(kernels, n_steps=20)
    n = len(expected)
    bufs = np.zeros(2 * n, np.int64)
    programs = [NativeProgram(steps, bufs, n_threads) for n_threads in (4, 1, 2, 3)]
    for turn in range(400):
        bufs[:n] = np.arange(n)
        programs[turn % 4].run()
        np.testing.assert_array_equal(bufs[:n], expected)


def test_concurrent_callers(kernels):
    steps, _descs, expected = chain(kernels, n_steps=50)
    n = len(expected)
    failures = []

    def work(n_threads):
        bufs = np.zeros(2 * n, np.int64)
        program = NativeProgram(steps, bufs, n_threads)
        for _ in range(300):
            bufs[:n] = np.arange(n)
            program.run()
            if not np.array_equal(bufs[:n], expected):
                failures.append(n_threads)

    callers = [threading.Thread(target=work, args=(n_threads,)) for n_threads in (2, 2, 3, 1)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(120)
    assert not failures


def test_growing_from_several_threads():
    out = run_script("""
        from symc.runtime.cpu.native import _POOL
        n_tasks = len(os.listdir("/proc/self/task"))  # one of them the pool's first worker
        programs = [program(10, n_threads=n_threads)[0] for n_threads in (6, 2, 5, 3)]
        callers = [threading.Thread(target=p.run) for p in programs]
        [caller.start() for caller in callers]
        [caller.join() for caller in callers]
        time.sleep(0.05)  # the callers' tasks outlive join() a little
        print(_POOL.n_threads, len(os.listdir("/proc/self/task")) - n_tasks)
        """)
    assert out.split() == ["6", "4"]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_profile(kernels, n_threads):
    desc, bufs = np.array([1]), np.zeros(64, np.int64)
    rows = [(kernels["count"], desc.ctypes.data, (n_chunks,)) for n_chunks in (1, 5, 0, 1, 2, 64, 1)]
    program = NativeProgram(step_table(rows), bufs, n_threads)
    times_ns = program.run_profiled()
    assert times_ns.shape == (7, 2)
    assert (np.diff(times_ns.ravel()) >= 0).all()
    assert times_ns[0, 0] > 0
    assert bufs[0] == 6
    program.run()  # does not write into the returned array any more
    assert bufs[0] == 12


def test_thread_count(monkeypatch):
    monkeypatch.delenv("SYMC_NUM_THREADS", raising=False)
    assert thread_count() == len(os.sched_getaffinity(0))
    assert thread_count(3) == 3
    monkeypatch.setenv("SYMC_NUM_THREADS", "5")
    assert thread_count() == 5
    assert thread_count(2) == 2
    for wrong in (0, -1, 257):
        with pytest.raises(ArgumentError, match="1 to 256"):
            thread_count(wrong)


def test_step_table_checks():
    assert step_table([(64, 128, (2,))]).tolist() == [[64, 128, 2, 0]]
    with pytest.raises(ArgumentError, match="step 1 has kernel address 0x0"):
        step_table([(64, 0, (1,)), (0, 0, (1,))])
    for n_chunks in (-1, 1 << 24):
        with pytest.raises(ArgumentError, match="chunks"):
            step_table([(64, 0, (n_chunks,))])


@pytest.mark.parametrize(
    "steps, bufs, message",
    [
        (np.zeros((2, 3), np.int64), np.zeros(1, np.int64), "steps"),
        (np.zeros((2, 4), np.int32), np.zeros(1, np.int64), "steps"),
        (np.zeros((4, 4), np.int64)[::2], np.zeros(1, np.int64), "steps"),
        (np.zeros((2, 4), np.int64), np.zeros((1, 1), np.int64), "bufs"),
    ],
)
def test_binding_checks(steps, bufs, message):
    with pytest.raises(ArgumentError, match=message):
        NativeProgram(steps, bufs, 1)


PRELUDE = """
import numpy as np, os, signal, sys, threading, time
from symc.codegen.cpu.load import load_objects
from symc.runtime.cpu.native import NativeProgram, step_table

address = load_objects({"congruential": bytes.fromhex(sys.argv[1])})["congruential"]
def program(n_iterations, n_chunks=8, n_steps=4, n_threads=2):
    desc, bufs = np.array([n_iterations]), np.zeros(n_chunks, np.int64)
    made = NativeProgram(step_table([(address, desc.ctypes.data, (n_chunks,))] * n_steps), bufs, n_threads)
    return made, bufs, desc

small, bufs, desc = program(1000)
small.run()
expected = bufs.copy()
"""


@cache
def object_code():
    """What all scripts run, compiled once for them."""
    return compile_function(congruential, "congruential", host_target())


def run_script(body, returncode=0):
    """Runs `body` in a fresh interpreter, because it forks, exits or measures; returns its output."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(body), object_code().hex()],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == returncode, done.stderr
    return done.stdout


def test_fork():
    out = run_script("""
        from symc.runtime.cpu.native import _POOL
        big = program(20_000_000)[0]
        threading.Thread(target=big.run, daemon=True).start()  # the pool is busy while we fork
        time.sleep(0.02)
        child = os.fork()
        bufs[:] = 0
        if child == 0:
            assert _POOL.n_threads == 1
            small.run()
            assert _POOL.n_threads == 2
            grandchild = os.fork()
            if grandchild:
                os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
            bufs[:] = 0
            small.run()
            os._exit(0 if (bufs == expected).all() else 3)
        small.run()
        print((bufs == expected).all(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """)
    assert out.split() == ["True", "0"]


@pytest.mark.parametrize(
    "n_chunks, n_steps, run",
    [(400, 1, "long.run()"), (2, 200, "long.run()"), (1, 400, "long.run()"), (2, 200, "long.over([])([])")],
)
def test_an_interrupt_ends_a_long_run_between_two_chunks(n_chunks, n_steps, run):
    out = run_script(f"""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for n_threads in (1, 3):
            long, words, kept = program(5_000_000, {n_chunks}, {n_steps}, n_threads)  # a chunk takes about 5 ms
            threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            start = time.perf_counter()
            try:
                {run}
                raise SystemExit("the run was not interrupted")
            except KeyboardInterrupt:
                took = time.perf_counter() - start
            after = words.copy()
            time.sleep(0.05)
            is_over = (after == words).all() and after.any()
            bufs[:] = 0
            small.run()
            kept[0] = 10  # the same program, in no time
            words[:] = 0
            long.run()
            once, again = words.copy(), words
            words[:] = 0
            long.run()
            print(took < 1, is_over, (bufs == expected).all(), (once == again).all() and once.all())
        """)
    assert out.split() == ["True"] * 8


def test_a_run_that_comes_by_python_on_its_way_gives_the_same():
    out = run_script("""
        found = []
        for n_threads, is_over in ((1, False), (2, True), (3, False), (1, True)):
            long, words, kept = program(5_000_000, 7, 12, n_threads)
            beside = threading.Thread(target=program(5_000_000, 7, 12, 3)[0].run)  # one of the two has no pool
            beside.start()
            long.over([])([]) if is_over else long.run()
            beside.join()
            found.append(words.tolist())
        print(all(f == found[0] for f in found), len(set(found[0])))
        """)
    assert out.split() == ["True", "1"]


def test_exit_while_running():
    run_script("""
        big = program(1_000_000_000)[0]
        threading.Thread(target=big.run, daemon=True).start()
        time.sleep(0.05)
        """)


def test_exit_right_after_a_run():
    for _ in range(5):
        run_script("small.run()")


def test_interrupt_arrives_in_python():
    out = run_script("""
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a process started in the background ignores it
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        n_runs = 0
        try:
            while True:
                bufs[:] = 0
                small.run()
                n_runs += 1
        except KeyboardInterrupt:
            pass
        for _ in range(100):
            bufs[:] = 0
            small.run()
        print(n_runs > 10, (bufs == expected).all())
        """)
    assert out.split() == ["True", "True"]


def test_workers_sleep_when_idle_and_wake_up():
    out = run_script("""
        workers = program(1000, n_threads=4)[0]
        workers.run()
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(0.5)
        print(time.process_time() - before)
        bufs[:] = 0
        small.run()
        print((bufs == expected).all())
        """)
    idle_cpu_s, is_right = out.split()
    assert float(idle_cpu_s) < 0.01
    assert is_right == "True"


def test_warm_start_needs_no_numba(tmp_path):
    code = (
        "import sys, numpy; from symc.runtime.cpu.native import NativeProgram, step_table\n"
        "NativeProgram(step_table([]), numpy.zeros(1, numpy.int64), 2).run(); print('numba' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SYMC_CACHE_DIR": str(tmp_path / "kernels")}
    environment.pop("SYMC_CACHE", None)
    outputs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True).stdout
        for _ in range(2)
    ]
    assert outputs == ["True\n", "False\n"]
