"""Runs programs: one native call each, GIL released, on a pool of native threads that lives as long as the process.

    program = NativeProgram(steps, bufs, n_threads=4)
    program.run()

The threads are plain pthreads that never touch Python: they hold no interpreter state, so interpreter exit needs no
farewell, and they block signals, so Ctrl-C always reaches Python's main thread. Their memory and code are never
freed for the same reason. After a fork the child, which has no threads, starts new ones when it first needs them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from symc.codegen.cpu import runner_abi as abi
from symc.codegen.objects import Build
from symc.core.config import setting
from symc.core.errors import AllocationError, ArgumentError
from symc.core.locks import in_child, new_lock
from symc.runtime.device import Call, CallRow, LoopRows, Row, Touched
from symc.runtime.operands import Expected, Point

from .functions import NativeFunctions
from .operands import CALL, Outcome, Start, calling, can_be_read

MAX_THREADS = abi.MAX_THREADS

# What workers leave to Python's threads: all but the signals by which a thread reports its own crash.
_FOREIGN_SIGNALS = signal.valid_signals() - {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


_chosen_threads: int | None = None


def set_num_threads(n_threads: int | None) -> None:
    """Threads of programs bound from now on; None: SYMC_NUM_THREADS again. Raises ArgumentError outside 1..256."""
    global _chosen_threads
    _chosen_threads = None if n_threads is None else thread_count(n_threads)


def thread_count(requested: int | None = None) -> int:
    """`requested`, else what `set_num_threads` chose, else SYMC_NUM_THREADS, else the CPUs this process may use.

    Raises ArgumentError for what is no number of 1..256.
    """
    wanted = next((n for n in (requested, _chosen_threads) if n is not None), setting("SYMC_NUM_THREADS"))
    if wanted is None:
        has_affinity = hasattr(os, "sched_getaffinity")
        available = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
        return min(available, abi.MAX_THREADS)
    if not isinstance(wanted, (int, np.integer)) or not 1 <= wanted <= abi.MAX_THREADS:
        raise ArgumentError(
            f"choosing the number of threads: got {wanted!r}, expected 1 to {abi.MAX_THREADS}; see SYMC_NUM_THREADS"
        )
    return int(wanted)


def step_table(rows: Iterable[Row]) -> np.ndarray:
    """The program made of rows (a kernel's is its address, its descriptor's, (n_chunks,)), as int64 (n_rows, 4).

    A loop becomes several rows (see runner_abi). Raises ArgumentError for a null kernel, a chunk count outside
    0..2**16-1 (0: the step has nothing to do) or a negative count of rounds.
    """
    table: list[tuple[int, ...]] = []
    for row in rows:
        if isinstance(row, CallRow):
            table.append((row.number, 0, 0, abi.IS_CALL))
        elif isinstance(row, LoopRows):
            table += _loop_rows(row)
        else:
            kernel, desc, (n_chunks,) = row
            if kernel == 0 or not 0 <= n_chunks <= abi.MAX_CHUNKS:
                raise ArgumentError(
                    f"building a program: step {len(table)} has kernel address {kernel:#x} and {n_chunks} "
                    f"chunks; expected an address and 0 to {abi.MAX_CHUNKS} chunks"
                )
            table.append((kernel, desc, n_chunks, abi.IS_KERNEL))
    return np.array(table, np.int64).reshape(-1, abi.STEP_WORDS)


def _loop_rows(row: LoopRows) -> Iterator[tuple[int, ...]]:
    loop, flag = row.loop, row.loop.flag
    if loop.count < 0:
        raise ArgumentError(f"building a program: a loop has {loop.count} rounds; expected 0 or more")
    body = step_table(row.rows).tolist()
    yield loop.count, loop.counter, len(loop.moving), abi.IS_LOOP
    yield (flag.slot, flag.offset, FLAG_MASKS[flag.dtype], len(body)) if flag else (0, 0, 0, len(body))
    yield from loop.moving
    yield from map(tuple, body)
    yield 2 + len(loop.moving) + len(body), loop.bands, 0, abi.IS_END


# The bits of a little-endian word that say whether the number at its beginning is 0; a float's sign does not.
FLAG_MASKS = {
    "bool": 0xFF, "uint8": 0xFF, "int8": 0xFF, "int32": 0xFFFFFFFF, "int64": -1,
    "float16": 0x7FFF, "float32": 0x7FFFFFFF, "float64": 0x7FFFFFFFFFFFFFFF,
}  # fmt: skip


class NativeRunner:
    """Runs steps on the process's native threads."""

    keeps_parameters = False
    can_pause = True

    def steps(self, rows: Iterable[Row], arrays: Sequence[Touched] = ()) -> np.ndarray:
        """See `step_table`."""
        return step_table(rows)

    def functions(self) -> dict[str, Build]:
        """Those of codegen/cpu/runner.py, and what looks at the operands of a call."""
        return _FUNCTIONS.builds() | _ROUNDS.builds() | CALL.builds()

    def bind(
        self, steps: np.ndarray, bufs: np.ndarray, n_threads: int | None, calls: Sequence[Call] = ()
    ) -> NativeProgram:
        """See `NativeProgram`."""
        return NativeProgram(steps, bufs, n_threads, calls)


class NativeProgram:
    """Steps bound to the buffers they work on, ready to run at the cost of a function call.

    steps      int64 (n_steps, 4), see `step_table`; the descriptors it points to must outlive the program
    bufs       int64 (n_buffers,), addresses; may be changed between runs
    n_threads  how many threads may work on it, see `thread_count`
    calls      functions for call-backs: they run in the caller's thread, with the GIL, when all steps before are done;
               what they raise ends the run and comes out of it

    Several Python threads may run different programs at once: one has the pool, the others work alone, with equal
    results because chunks never depend on the number of threads. The same program must not run twice at once: its
    two runs would write the same buffers.
    """

    __slots__ = (
        "_address",
        "_bufs",
        "_called",
        "_calls",
        "_copies",
        "_entry",
        "_record",
        "_state",
        "_steps",
        "n_threads",
    )

    def __init__(
        self,
        steps: np.ndarray,
        bufs: np.ndarray,
        n_threads: int | None = None,
        calls: Sequence[Call] = (),
    ) -> None:
        self._steps = _checked("steps", steps, (abi.STEP_WORDS,))
        self._bufs = _checked("bufs", bufs, ())
        # Steps of one chunk have nothing for a second thread: they need no pool, and leave it to others.
        n_chunks = max(self._steps[_rows(steps, abi.IS_KERNEL), abi.N_CHUNKS], default=0)
        self.n_threads = min(thread_count(n_threads), max(int(n_chunks), 1))
        self._entry = _runner().run
        self._record = np.zeros(abi.CALL_WORDS, np.int64)
        self._record[abi.CALL_STEPS] = steps.ctypes.data
        self._record[abi.CALL_END] = steps.ctypes.data + steps.nbytes
        self._record[abi.CALL_BUFS] = bufs.ctypes.data
        self._record[abi.CALL_THREADS] = self.n_threads
        self._record[abi.CALL_POOL] = _POOL.address
        n_bands = max(self._steps[_rows(steps, abi.IS_END), abi.BANDS], default=0)
        self._copies = np.zeros((min(int(n_bands), self.n_threads), len(bufs) + 2 * abi.LINE), np.int64)
        self._record[abi.CALL_COPIES] = self._copies.ctypes.data
        self._record[abi.CALL_N_BUFS] = len(bufs)
        self._address = ctypes.c_void_p(self._record.ctypes.data)
        self._state = ctypes.c_int64.from_address(self._record.ctypes.data + abi.CALL_STATE * abi.WORD)
        self._called = ctypes.c_int64.from_address(self._record.ctypes.data + abi.CALL_CALLED * abi.WORD)
        self._calls = tuple(calls)

    def run(self) -> None:
        """Executes all steps in order; returns when the last one is complete.

        Every 0.1 s, between two chunks, it comes by here, where Python sees signals: what their handlers raise
        (KeyboardInterrupt) ends the run, and when it is passed on no thread works on it any more.
        """
        if self.n_threads > _POOL.n_threads:  # the first time, and the first time after a fork
            _POOL.grow(self.n_threads)
        try:
            self._entry(self._address)
            self._go_on()
        except BaseException:
            self._give_up()
            raise

    def over(self, expected: Expected) -> Point | None:
        """See `Run`: the list is looked at and the run begun by one native call, where native code can read it."""
        if not can_be_read():
            return None
        function = ctypes.cast(self._entry, ctypes.c_void_p).value  # type: ignore[arg-type]  # a function of ctypes
        assert function is not None
        call = calling(self._bufs, expected, Start(function, self._record))
        misfit, unfinished, n_threads = Outcome.MISFIT, Outcome.UNFINISHED, self.n_threads

        def run(objects: list[object]) -> bool:
            if n_threads > _POOL.n_threads:
                _POOL.grow(n_threads)
            try:
                outcome = call(objects)
                if outcome is unfinished:
                    self._go_on()
            except BaseException:
                self._give_up()
                raise
            return outcome is not misfit

        return run

    def _go_on(self) -> None:
        """Finishes a run that came back early."""
        while self._state.value:
            called = self._called.value
            if called:
                self._called.value = 0
                self._calls[called - 1](self._bufs)
            self._entry(self._address)

    def _give_up(self) -> None:
        """Ends an unfinished run."""
        if self._state.value:
            self._called.value = 0
            self._record[abi.CALL_STOP] = 1
            self._entry(self._address)
            self._record[abi.CALL_STOP] = 0

    def run_profiled(self) -> np.ndarray:
        """Runs and returns int64 (n, 2): when each kernel and call began and ended, nanoseconds of a monotonic clock.

        The end of one in a loop is its first begin and the time of all its rounds.
        """
        times_ns = np.zeros((len(self._steps), 2), np.int64)
        self._record[abi.CALL_TIMES] = times_ns.ctypes.data
        calls = self._calls
        rows = {int(self._steps[k, abi.CALLED]): times_ns[k] for k in _rows(self._steps, abi.IS_CALL)}
        self._calls = tuple(_timed(call, rows[k]) if k in rows else call for k, call in enumerate(calls))
        try:
            self.run()
        finally:
            self._record[abi.CALL_TIMES] = 0
            self._calls = calls
        return times_ns[_rows(self._steps, abi.IS_KERNEL, abi.IS_CALL)]


def _rows(steps: np.ndarray, *kinds: int) -> list[int]:
    """The rows of a step table that are of these kinds."""
    found, k = [], 0
    while k < len(steps):
        if steps[k, abi.KIND] == abi.IS_LOOP:
            k += 2 + int(steps[k, abi.N_MOVING])
            continue
        if steps[k, abi.KIND] in kinds:
            found.append(k)
        k += 1
    return found


def _timed(call: Call, times_ns: np.ndarray) -> Call:
    """The call, which notes when it began and ended."""

    def timed(bufs: np.ndarray) -> None:
        begin_ns = time.monotonic_ns()
        times_ns[:] = times_ns if times_ns.any() else begin_ns
        call(bufs)
        times_ns[1] += time.monotonic_ns() - begin_ns

    return timed


class _Pool:
    """The process's worker threads and the memory they share; both are there until the process ends."""

    def __init__(self) -> None:
        # Not NumPy memory: that would be freed when the interpreter ends, under the feet of the workers.
        self._libc = ctypes.CDLL(None)
        address = ctypes.c_void_p()
        if self._libc.posix_memalign(ctypes.byref(address), abi.LINE * abi.WORD, abi.POOL_WORDS * abi.WORD):
            raise AllocationError("allocating the thread pool's memory")
        assert address.value is not None
        self.address: int = address.value
        self.reset()

    def reset(self) -> None:
        """A pool of no workers: the state of a fresh process, and of a forked child, which inherits memory only."""
        self.n_threads = 1  # the caller
        self._growing = new_lock()
        ctypes.memset(self.address, 0, abi.POOL_WORDS * abi.WORD)
        self._libc.pthread_mutex_init(self._at(abi.MUTEX), None)
        self._libc.pthread_cond_init(self._at(abi.CONDITION), None)
        self._words()[abi.LIMIT] = 1
        self._words()[abi.MEMBERS + abi.MEMBER_POOL] = self.address

    def grow(self, n_threads: int) -> None:
        """Starts workers until `n_threads` can work on a program, the caller included."""
        with self._growing:
            words = self._words()
            runner = _runner()
            words[abi.OPEN_NEXT], words[abi.SLEEP], words[abi.PARTICIPATE] = (
                runner.open_next,
                runner.sleep,
                runner.participate,
            )
            (words[abi.ROUNDS + abi.KERNEL],) = _ROUNDS.addresses()
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOREIGN_SIGNALS)  # inherited by the new threads
            try:
                for index in range(self.n_threads, n_threads):
                    member = abi.MEMBERS + index * abi.MEMBER_WORDS
                    words[member + abi.MEMBER_POOL] = self.address
                    words[member + abi.MEMBER_INDEX] = index
                    thread = ctypes.c_void_p()
                    if self._libc.pthread_create(
                        ctypes.byref(thread), None, ctypes.c_void_p(runner.participate), self._at(member)
                    ):
                        warnings.warn(
                            f"symc: the system allows only {index} of {n_threads} threads", RuntimeWarning, stacklevel=3
                        )
                        break
                    self._libc.pthread_detach(thread)
                # Also when some are missing: fewer threads claim the same chunks.
                self.n_threads = max(self.n_threads, n_threads)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _at(self, word: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.address + word * abi.WORD)

    def _words(self) -> ctypes.Array[ctypes.c_int64]:
        return (ctypes.c_int64 * abi.POOL_WORDS).from_address(self.address)


_POOL = _Pool()
in_child(_POOL.reset)


class _Runner(NamedTuple):
    """The functions of codegen/cpu/runner.py: one to call, which releases the GIL, and addresses for the pool."""

    run: Callable[[ctypes.c_void_p], None]
    participate: int
    open_next: int
    sleep: int


_FUNCTIONS = NativeFunctions("runner", _Runner._fields, ("ptr",))
_ROUNDS = NativeFunctions("runner", ("rounds",), ("i64", "i64", "ptr", "ptr"))  # a kernel


@cache
def _runner() -> _Runner:
    run, *others = _FUNCTIONS.addresses()
    return _Runner(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(run), *others)


def _checked(name: str, array: np.ndarray, row_shape: tuple[int, ...]) -> np.ndarray:
    """`array`, if native code can read it as rows of `row_shape` words."""
    if array.dtype != np.int64 or not array.flags.c_contiguous or array.ndim == 0 or array.shape[1:] != row_shape:
        raise ArgumentError(
            f"binding a program: {name} must be a contiguous int64 array of shape (n, *{row_shape}), "
            f"got {array.dtype} {array.shape}"
        )
    return array
