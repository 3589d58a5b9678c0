"""Work that nothing cuts short: neither what a signal raises (Ctrl-C) nor a fork.

numba, LLVM and networkx keep state for the whole process, which half an import or half a compilation leaves broken for
good.  So the main thread, the only one that signals reach, waits for such work in another thread; and a fork waits
until nobody is at it.
"""

from __future__ import annotations

import _imp
import contextlib
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from importlib import _bootstrap
from typing import Any, TypeVar

T = TypeVar("T")

_PACKAGES = ("symc", "numpy", "numba", "llvmlite", "networkx")  # whose imports a fork waits for
_LONGEST_WAIT_S = 60.0  # of a fork: more than any kernel takes to compile

_at_work = threading.RLock()  # held by the thread that compiles: there is one at a time
_givers: list[Callable[[], Iterable[Any]]] = []  # of locks that others made
_taken: list[Any] = []  # by the fork under way


def alone(work: Callable[[], T]) -> T:
    """What `work` gives; no other thread does such work at the same time, no signal interrupts it, no fork copies it.

    When a signal's handler raises, the wait ends, and the work goes on to its end in the background.
    """

    def guarded() -> T:
        with _at_work:
            return work()

    return _out_of_reach(guarded)


def imported(name: str) -> Any:
    """A module, imported where no signal reaches: networkx and numba cannot be imported again after half an import, and
    Python's own locks may stay held.

    Where this thread is importing the package already, another one would wait for it: then it goes on here.
    """
    _let_others_import()
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        return module
    if threading.get_ident() in _importers((name.partition(".")[0],)):
        return importlib.import_module(name)
    return _out_of_reach(lambda: importlib.import_module(name))


def _out_of_reach(work: Callable[[], T]) -> T:
    """Does the work in a thread that signals do not reach: another one if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    _let_others_import()
    results: list[T] = []
    errors: list[BaseException] = []
    is_done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised where it is waited for
            errors.append(error)
        finally:
            is_done.set()

    try:
        threading.Thread(target=run, name="symc at work").start()
    except RuntimeError:  # the interpreter ends, or the system has no more threads
        run()
    is_done.wait()  # not join(): interrupted, it would take the thread for finished
    if errors:
        raise errors[0]
    return results[0]


def _let_others_import() -> None:
    """Gives Python's lock of imports back that an interrupt of one left with this thread: whoever imports takes it
    for a few instructions, and the first of them is outside of the `try` that releases it."""
    while _imp.lock_held():
        try:
            _imp.release_lock()
        except RuntimeError:  # it is another thread's, which is at those instructions
            return


def held_by_forks(locks: Callable[[], Iterable[Any]]) -> Callable[[], Iterable[Any]]:
    """Decorates what gives locks that others made: a fork waits for these, too."""
    _givers.append(locks)
    return locks


def _before_fork() -> None:
    """Takes the locks of compilers and of imports when nobody is in the middle of either."""
    deadline = time.monotonic() + _LONGEST_WAIT_S
    if _at_work.acquire(timeout=_LONGEST_WAIT_S):
        _taken.append(_at_work)
    while True:
        _imp.acquire_lock()  # nobody begins an import
        if (not _is_anybody_importing() and _take_locks_of_others()) or time.monotonic() > deadline:
            return
        _imp.release_lock()
        time.sleep(0.001)


def _take_locks_of_others() -> bool:
    """Takes all or none: who holds one may wait for an import, which waits for us."""
    n_before = len(_taken)
    for lock in _locks_of_others():
        if not lock.acquire(blocking=False):
            _give_back(n_before)
            return False
        _taken.append(lock)
    return True


def _give_back(n_kept: int = 0) -> None:
    while len(_taken) > n_kept:
        _taken.pop().release()


def _locks_of_others() -> list[Any]:
    return [lock for locks in _givers for lock in locks()]


def _is_anybody_importing() -> bool:
    """Whether another thread is importing one of the packages; a child would wait for that thread for ever."""
    return bool(_importers(_PACKAGES) - {threading.get_ident()})


def _importers(packages: Iterable[str]) -> set[int | None]:
    """The threads that are importing from packages; None for one that is about to."""
    # A lock is there as long as somebody holds it or is about to.
    locks = [(name, lock()) for name, lock in list(_bootstrap._module_locks.items())]  # type: ignore[attr-defined]
    return {lock.owner for name, lock in locks if lock is not None and name.partition(".")[0] in packages}


def _in_parent() -> None:
    _give_back()
    _imp.release_lock()


def _in_child() -> None:
    _taken.clear()
    for lock in (_at_work, *_locks_of_others()):
        lock._at_fork_reinit()
    with contextlib.suppress(RuntimeError):  # free already where Python sees to that
        _imp.release_lock()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
