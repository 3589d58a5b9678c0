"""Tasks shared between this process and others that it starts: compiling holds the GIL nearly all the time.

A worker is a fresh interpreter (no fork: this process has threads) that imports what this one would import, performs
one task after another and sends back what they give. It writes nothing anywhere, so it may be killed at any time, and
whatever goes wrong with one, its tasks are performed here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from symc.core.config import setting

if TYPE_CHECKING:
    import subprocess

T = TypeVar("T")

# A worker takes as long to start as it takes to compile about six kernels: of twelve it saves three.
_TASKS_OF_A_WORKER = 12
# Times the longest task here: for so long the last tasks of workers are waited for. On a busy machine a worker may get
# no share of the CPUs, having begun a task or not even that.
_PATIENCE = 2

_SERVE = "import sys; sys.path[:] = {path!r}; from symc.codegen.workers import serve; serve()"


@dataclass(frozen=True)
class Task(Generic[T]):
    """Work that can be done here, and there: `there` can be pickled, and so can what it gives."""

    here: Callable[[], T]
    there: Callable[[], T]


class Team(Generic[T]):
    """This process and its workers, which share tasks; at the end of a with-block workers end, done or not."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Task[T]]] = []  # workers take the first, this process the last
        self._results: dict[str, T] = {}
        self._begun: set[str] = set()
        self._at_work: dict[threading.Thread, _Worker] = {}

    def __enter__(self) -> Team[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()
        for worker in self._at_work.values():
            worker.interrupt()

    def begin(self, tasks: Mapping[str, Task[T]], n_expected: int) -> None:
        """Has a worker begin with tasks while this process finds out what else there is to do, if that may become
        `n_expected` tasks, which are worth its start."""
        self._add(tasks)
        self._hire(min(_worthwhile(n_expected), 1 if tasks else 0))

    def perform(self, tasks: Mapping[str, Task[T]]) -> dict[str, T]:
        """What these tasks and those before give, by their names; raises what one raises when it is performed here."""
        self._add(tasks)
        self._hire(_worthwhile(len(self._waiting)))
        longest_s = 0.0
        while self._waiting or self._at_work:
            try:
                name, task = self._waiting.pop()
            except IndexError:  # the workers have the last ones; one comes back if its worker cannot do it
                thread, worker = next(iter(self._at_work.items()))
                thread.join(_PATIENCE * longest_s)
                if thread.is_alive():
                    worker.interrupt()
                else:
                    self._at_work.pop(thread)
                continue
            start = time.perf_counter()
            self._results[name] = task.here()
            longest_s = max(longest_s, time.perf_counter() - start)
        return self._results

    def _add(self, tasks: Mapping[str, Task[T]]) -> None:
        self._waiting += [(name, task) for name, task in tasks.items() if name not in self._begun]
        self._begun |= tasks.keys()

    def _hire(self, n_wanted: int) -> None:
        """Has at least so many workers at work."""
        for _ in range(n_wanted - sum(thread.is_alive() for thread in self._at_work)):
            worker = _Worker()
            thread = threading.Thread(target=_share, args=(worker, self._waiting, self._results), daemon=True)
            self._at_work[thread] = worker
            thread.start()


def _worthwhile(n_tasks: int) -> int:
    """How many workers are worth their start."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return 0  # another start of this program would not be an interpreter
    has_affinity = hasattr(os, "sched_getaffinity")
    n_cpus = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(0, min(setting("SYMC_COMPILERS"), n_cpus, 1 + n_tasks // _TASKS_OF_A_WORKER) - 1)


def _share(worker: _Worker, waiting: list[tuple[str, Task[T]]], results: dict[str, T]) -> None:
    """Has a worker perform tasks until none is waiting or the worker fails."""
    with worker, contextlib.suppress(IndexError):
        while True:
            name, task = waiting.pop(0)
            try:
                results[name] = worker.call(task.there)
            except Exception:
                # Of whatever class: what cannot be pickled raises anything. Performed here, the task will tell.
                waiting.append((name, task))
                return


class _Worker:
    """Another interpreter, from its first call to the end of the with-block."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def interrupt(self) -> None:
        """Ends what another thread is waiting for, or is about to."""
        self._is_over = True
        if self._process is not None:
            self._process.kill()

    def call(self, function: Callable[[], T]) -> T:
        """What a function gives there."""
        data = pickle.dumps(function)
        if self._process is None:
            self._process = _started()
        if self._is_over:  # since nobody could end a process that was not there
            raise InterruptedError
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None and answers is not None
        requests.write(data)
        requests.flush()
        result: T = pickle.load(answers)
        return result


def _started() -> subprocess.Popen[bytes]:
    """An interpreter that serves; in a session of its own, as Ctrl-C on the terminal is for this process."""
    import subprocess  # not at a start from a filled cache

    command = [sys.executable, "-c", _SERVE.format(path=sys.path)]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL  # what goes wrong there is told here
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True)


def serve() -> None:
    """What a worker does: it reads functions from its standard input and writes what they give to its output, until
    the input ends or a function raises."""
    requests, answers = sys.stdin.buffer, _private_output()
    with contextlib.suppress(EOFError):
        while True:
            pickle.dump(pickle.load(requests)(), answers)
            answers.flush()


def _private_output() -> BinaryIO:
    """Standard output for answers alone: what others print goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers
