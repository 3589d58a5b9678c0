"""A forked child finds every lock free, and symc makes its locks in one place."""

from __future__ import annotations

import ast
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

from symc.core.bounded import BoundedCache
from symc.core.locks import adopted, in_child, new_lock

SOURCES = Path(__file__).parents[2] / "symc"


def passes_in_child(work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a forked child, which is killed when it takes longer than ten seconds."""
    child = os.fork()
    if child == 0:
        import signal

        signal.alarm(10)
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_locks_are_free_in_a_child():
    locks = [new_lock(), adopted(threading.RLock())]
    for lock in locks:
        holder = threading.Thread(target=lock.acquire)
        holder.start()
        holder.join()
    assert passes_in_child(lambda: all(lock.acquire(timeout=1) for lock in locks))
    assert not any(lock.acquire(timeout=0) for lock in locks)


def test_a_bare_lock_would_stay_held():
    lock = threading.Lock()
    lock.acquire()
    assert not passes_in_child(lambda: lock.acquire(timeout=0.2))


def test_a_cache_that_another_thread_writes_is_usable_in_a_child():
    cache, stop = BoundedCache[int, int](4), threading.Event()

    def write() -> None:
        while not stop.is_set():
            for key in range(9):
                cache.put(key, key)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(passes_in_child(lambda: cache.put(10, 10) == cache.get(10) == 10) for _ in range(20))
    finally:
        stop.set()
        writer.join()


def test_a_child_renews_what_asked_for_it():
    seen = []
    in_child(lambda: seen.append(1))
    assert passes_in_child(lambda: seen == [1]) and not seen


def test_no_other_module_makes_locks():
    made = re.compile(r"(Lock|RLock|Condition|Semaphore|BoundedSemaphore|Barrier|Event|Queue|cached_property)")

    def named(node: ast.AST) -> list[str]:
        if isinstance(node, ast.Attribute):
            return [node.attr]
        of_symc = isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("symc"))
        return [a.name for a in node.names] if isinstance(node, ast.ImportFrom) and not of_symc else []

    found = [
        f"{path.relative_to(SOURCES)}:{node.lineno}"
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if any(map(made.fullmatch, named(node)))
    ]
    assert [line for line in found if not line.startswith(("core/locks.py", "core/undisturbed.py"))] == []
    assert any(line.startswith("core/locks.py") for line in found)
