"""Tasks shared with other processes: same results, and nothing lost whatever becomes of a worker."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from functools import partial

import pytest

import symc as mx
from symc.codegen import objects, workers
from symc.codegen.workers import Task, Team
from symc.runtime.lowered import lower_program
from symc.symbol.graph import to_graph

N_TASKS = 12


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    monkeypatch.setattr(workers, "_worthwhile", lambda n_tasks: 1)


def perform(some):
    with Team() as team:
        return team.perform(some)


def slowly(value):
    time.sleep(0.02)
    return value


def tasks(there) -> dict[str, Task]:
    """Tasks that each give their number and the process that performed them."""
    return {str(k): Task(lambda k=k: (slowly(k), os.getpid()), there) for k in range(N_TASKS)}


def test_a_worker_performs_its_share(monkeypatch):
    has_answered = threading.Event()
    call = workers._Worker.call

    def noted(self, function):
        result = call(self, function)
        has_answered.set()
        return result

    def here() -> int:
        assert has_answered.wait(60)
        return os.getpid()

    monkeypatch.setattr(workers._Worker, "call", noted)
    found = perform({str(k): Task(here, os.getpid) for k in range(N_TASKS)})
    assert set(found) == {str(k) for k in range(N_TASKS)}
    pids = set(found.values())
    assert os.getpid() in pids and len(pids) == 2
    (worker,) = pids - {os.getpid()}
    with pytest.raises(ProcessLookupError):  # nor a zombie
        os.kill(worker, 0)


def test_a_worker_begins_before_all_tasks_are_known():
    with Team() as team:
        team.begin({"first": Task(os.getpid, os.getpid)}, 50)
        (thread,) = team._at_work
        thread.join(60)
        results = team.perform({"first": Task(os.getpid, os.getpid), "second": Task(partial(int, 2), partial(int, 2))})
    assert results["first"] != os.getpid() and results["second"] == 2


def test_what_a_worker_has_begun_with_ends_with_the_team():
    with Team() as team:
        team.begin({"first": Task(os.getpid, partial(time.sleep, 3600))}, 50)
    for thread in team._at_work:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    "there",
    [
        lambda: None,  # cannot be pickled
        partial(int, "no number"),  # raises there
        partial(os._exit, 3),  # ends the worker
        partial(os.kill, 0, signal.SIGKILL),  # kills it
        partial(print, "not an answer"),  # gives None but prints: not taken for the answer
    ],
)
def test_what_a_worker_cannot_do_is_done_here(there):
    results = perform(tasks(there))
    assert set(results) == {str(k) for k in range(N_TASKS)}
    assert {v for v in results.values() if v is not None} <= {(k, os.getpid()) for k in range(N_TASKS)}


def test_a_worker_that_does_not_come_to_it_is_not_waited_for():
    results = perform(tasks(partial(time.sleep, 3600)))
    assert results == {str(k): (k, os.getpid()) for k in range(N_TASKS)}


def test_without_an_interpreter_all_is_done_here(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert perform(tasks(os.getpid)) == {str(k): (k, os.getpid()) for k in range(N_TASKS)}


def test_an_error_here_ends_the_workers():
    def fail():
        time.sleep(0.3)
        raise OSError("here")

    before = threading.active_count()
    with pytest.raises(OSError, match="here"):
        perform({str(k): Task(fail, partial(time.sleep, 60)) for k in range(4)})
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("cpus", "allowed", "n_tasks", "expected"),
    [(2, 4, 50, 1), (8, 4, 50, 3), (8, 4, 23, 1), (2, 1, 50, 0), (2, 4, 11, 0)],
)
def test_workers_are_started_where_they_are_worth_it(monkeypatch, cpus, allowed, n_tasks, expected):
    monkeypatch.undo()
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cpus)), raising=False)
    monkeypatch.setenv("SYMC_COMPILERS", str(allowed))
    assert workers._worthwhile(n_tasks) == expected


def test_a_worker_builds_the_kernels_that_would_be_built_here():
    net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=8, kernel=(3, 3), pad=(1, 1))
    net = mx.sym.Pooling(mx.sym.BatchNorm(net), kernel=(2, 2), stride=(2, 2), pool_type="max")
    loss = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=3), name="softmax")
    graph = to_graph(loss, True, {"data": (2, 3, 16, 16)})
    backend = mx.cpu().device.backend
    sources = lower_program(graph, dict.fromkeys(loss.list_arguments(), "write"), backend).sources
    assert {type(kernel).__name__ for kernel in sources.values()} >= {"Nest", "Contraction"}
    for name, kernel in pickle.loads(pickle.dumps([(code.name, kernel) for code, kernel in sources.items()])):
        assert name in {call.code.name for call in backend.schedule(kernel)}
    worker = workers._Worker()
    with worker:
        for code, kernel in [*sources.items()][:4]:
            data, _ = worker.call(partial(objects._built_from, backend, kernel, code.name))
            assert data == backend.build(code)
