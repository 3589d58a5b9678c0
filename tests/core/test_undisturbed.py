"""Signals end the wait for work, not the work; a fork waits for work and for imports."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time

import pytest

from symc.core import undisturbed
from symc.core.undisturbed import alone, imported


class Alarm(Exception):
    pass


@pytest.fixture
def alarm():
    """Raises Alarm in the main thread after some seconds."""

    def ring(*_):
        raise Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def exit_code_of_child(work) -> int:
    """What a forked child exits with: 0 when `work` is true; -14 after 20 seconds."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_it_gives_what_the_work_gives_or_raises():
    assert alone(lambda: alone(lambda: 7)) == 7
    with pytest.raises(ZeroDivisionError):
        alone(lambda: 1 // 0)
    assert alone(lambda: 8) == 8


def test_one_thread_works_at_a_time():
    at_work, most = [], []

    def work() -> None:
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.002)
        at_work.pop()

    threads = [threading.Thread(target=lambda: alone(work)) for _ in range(8)]
    for thread in threads:
        thread.start()
    alone(work)
    for thread in threads:
        thread.join()
    assert most == [1] * 9


def test_a_signal_ends_the_wait_and_not_the_work(alarm):
    done = []

    def work() -> None:
        for _ in range(20):
            time.sleep(0.02)
        done.append(time.monotonic())

    alarm(0.1)
    start = time.monotonic()
    with pytest.raises(Alarm):
        alone(work)
    assert time.monotonic() - start < 0.3 and not done
    assert alone(lambda: len(done)) == 1


def test_without_the_thread_the_work_would_end(alarm):
    done = []
    alarm(0.05)
    with pytest.raises(Alarm):
        (lambda: (time.sleep(0.2), done.append(1)))()
    assert not done


def test_a_fork_waits_for_the_work():
    done, begun = [], threading.Event()

    def work() -> None:
        begun.set()
        time.sleep(0.2)
        done.append(1)

    thread = threading.Thread(target=lambda: alone(work))
    thread.start()
    begun.wait()
    assert exit_code_of_child(lambda: done == [1] and alone(lambda: 5) == 5) == 0
    thread.join()
    assert alone(lambda: 6) == 6


def test_a_fork_in_the_middle_of_the_work_is_possible():
    assert alone(lambda: exit_code_of_child(lambda: alone(lambda: 3) == 3)) == 0
    assert alone(lambda: 4) == 4


def test_a_fork_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(undisturbed, "_LONGEST_WAIT_S", 0.1)
    begun, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: alone(lambda: (begun.set(), end.wait())))
    thread.start()
    begun.wait()
    assert exit_code_of_child(lambda: alone(lambda: 5) == 5) == 0
    end.set()
    thread.join()


@pytest.fixture
def slow_module(tmp_path, monkeypatch):
    (tmp_path / "symc_slow_module.py").write_text("import time\nhalf = 1\ntime.sleep(0.3)\nwhole = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(undisturbed, "_PACKAGES", ("symc_slow_module",))
    yield "symc_slow_module"
    sys.modules.pop("symc_slow_module", None)


def test_a_fork_waits_for_an_import(slow_module):
    thread = threading.Thread(target=lambda: importlib.import_module(slow_module))
    thread.start()
    while not hasattr(sys.modules.get(slow_module), "half"):
        time.sleep(0.001)
    assert exit_code_of_child(lambda: importlib.import_module(slow_module).whole == 1) == 0
    thread.join()
    import xml.dom.minidom  # the parent can import, too

    assert xml.dom.minidom


def test_a_signal_does_not_end_an_import(slow_module, alarm):
    alarm(0.1)
    with pytest.raises(Alarm):
        imported(slow_module)
    assert imported(slow_module).whole == 1


def test_locks_of_compilers_are_held_by_a_fork():
    from numba.core.compiler_lock import global_compiler_lock

    import symc.codegen.cpu.compile

    assert symc.codegen.cpu.compile
    begun = threading.Event()

    def compile_something() -> None:
        with global_compiler_lock:
            begun.set()
            time.sleep(0.2)

    thread = threading.Thread(target=compile_something)
    thread.start()
    begun.wait()
    assert exit_code_of_child(lambda: global_compiler_lock._lock.acquire(timeout=5)) == 0
    thread.join()
    assert global_compiler_lock._lock.acquire(timeout=5)
    global_compiler_lock._lock.release()
