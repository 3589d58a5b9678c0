"""A CachedOp that is told which inputs stay prepares what these alone decide, until they are written or others come."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import symc as mx
from symc.executor.holding import Holding
from symc.ndarray import eager
from symc.runtime.instance import Instance

nd, sym = mx.nd, mx.sym
RNG = np.random.default_rng(0)
BODY = sym.BatchNorm(
    sym.FullyConnected(sym.Variable("x"), num_hidden=5, name="fc"), name="bn", fix_gamma=False, eps=0.25
)
SHAPES = [(3, 4), (5, 4), (5,), (5,), (5,), (5,), (5,)]


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    monkeypatch.setattr(eager, "NUMPY_WORK", -1)


@pytest.fixture
def runs(monkeypatch) -> list[str]:
    """The phases that run, in order."""
    seen: list[str] = []

    def watched(run):
        return lambda self, phase, *steps: (seen.append(phase), run(self, phase, *steps))[1]

    for name in ("run", "run_some"):
        monkeypatch.setattr(Instance, name, watched(getattr(Instance, name)))
    return seen


def arrays() -> list[mx.nd.NDArray]:
    return [nd.array(RNG.uniform(0.5, 1.5, size=shape)) for shape in SHAPES]


def expected(x, w, b, gamma, beta, mean, var) -> np.ndarray:
    return (x @ w.T + b - mean) / np.sqrt(var + 0.25) * gamma + beta


def check(op, args) -> None:
    np.testing.assert_allclose(op(*args).asnumpy(), expected(*(a.asnumpy() for a in args)), rtol=1e-5)


def test_parameters_are_prepared_once_and_again_when_written(runs):
    op, args = nd.CachedOp(BODY, [("param_indices", [1, 2, 3, 4, 5, 6])]), arrays()
    for _ in range(3):
        check(op, args)
    assert runs.count("prepare") == 1
    for k in (1, 4, 6):  # the weight, beta, the variance
        args[k][:] = args[k].asnumpy() * 1.5
        check(op, args)
    assert runs.count("prepare") == 4
    args[0][:] = 2  # data is read at every call
    check(op, args)
    assert runs.count("prepare") == 4


def test_other_arrays_are_other_parameters():
    op, args = nd.CachedOp(BODY, [("param_indices", [1, 2, 3, 4, 5, 6])]), arrays()
    check(op, args)
    check(op, [args[0], *arrays()[1:]])
    check(op, args)


@pytest.mark.parametrize("held", [[], [1], [2, 3, 4, 5, 6]])
def test_inputs_that_may_change_are_read_at_every_call(held, runs):
    op = nd.CachedOp(BODY, [("param_indices", held)])
    for _ in range(2):
        check(op, arrays())
    graph = next(iter(op._blocks._entries.values())).value._body
    assert Holding.of(graph, mx.cpu(), frozenset(held)) is None


def train(op, args) -> None:
    """Output and gradient of the data, checked."""
    args[0].attach_grad()
    with mx.autograd.record(train_mode=False):
        y = op(*args)
    y.backward()
    x, w, b, gamma, beta, mean, var = (a.asnumpy() for a in args)
    np.testing.assert_allclose(y.asnumpy(), expected(x, w, b, gamma, beta, mean, var), rtol=1e-5)
    slope = gamma / np.sqrt(var + 0.25)
    np.testing.assert_allclose(args[0].grad.asnumpy(), np.tile(slope @ w, (len(x), 1)), rtol=1e-5)


def test_a_recording_prepares_parameters_once_and_again_when_written(runs):
    op, args = nd.CachedOp(BODY, [("param_indices", [1, 2, 3, 4, 5, 6])]), arrays()
    for _ in range(3):
        train(op, args)
    assert runs.count("prepare") == 1
    args[1][:] = args[1].asnumpy() * 1.5
    train(op, args)
    assert runs.count("prepare") == 2
    train(op, [args[0], *arrays()[1:]])  # others are other parameters
    train(op, args)


def test_what_is_written_before_the_way_back_counts_there():
    """As in MXNet, backward reads what the arrays hold then."""
    op, args = nd.CachedOp(BODY, [("param_indices", [1, 2, 3, 4, 5, 6])]), arrays()
    args[0].attach_grad()
    with mx.autograd.record(train_mode=False):
        y = op(*args)
    args[1][:] = 2 * args[1]
    y.backward()
    _, w, _, gamma, _, _, var = (a.asnumpy() for a in args)
    want = np.tile(gamma / np.sqrt(var + 0.25) @ w, (3, 1))
    np.testing.assert_allclose(args[0].grad.asnumpy(), want, rtol=1e-5)


def test_shapes_share_what_is_prepared_of_the_parameters(runs):
    op, args = nd.CachedOp(BODY, [("param_indices", [1, 2, 3, 4, 5, 6])]), arrays()
    for n in range(1, 12):
        check(op, [nd.ones((n, 4)), *args[1:]])
    args[1][:] = args[1] * 2
    for n in range(1, 12):
        check(op, [nd.ones((n, 4)), *args[1:]])
    holding = [entry.value._holding[mx.cpu()] for entry in op._blocks._entries.values()]
    sessions = [each._last.bound.session for each in holding]
    assert len(sessions) == 11
    pieces = {made for session in sessions for made in session.prepared.pieces}
    assert len(pieces) < len(sessions)


def test_threads_call_it_at_once():
    op, args = nd.CachedOp(BODY, [("param_indices", [1, 2, 3, 4, 5, 6])]), arrays()
    failed: list[Exception] = []

    def call() -> None:
        try:
            for _ in range(20):
                check(op, [nd.array(np.random.default_rng(1).normal(size=(3, 4))), *args[1:]])
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
