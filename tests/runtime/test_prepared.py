"""Prepared parameters are cut into pieces, which sessions over the same arrays share."""

from __future__ import annotations

import gc
import sys
import threading

import numpy as np
import pytest

import symc as mx
from symc.runtime import prepared
from symc.runtime.instance import Instance

sym = mx.sym
RNG = np.random.default_rng(3)


def network() -> mx.sym.Symbol:
    net = sym.Variable("x")
    for k in range(3):
        net = sym.Activation(sym.FullyConnected(net, num_hidden=64, name=f"fc{k}"), act_type="relu")
    return net


def expected(x: np.ndarray, arrays: dict[str, mx.nd.NDArray]) -> np.ndarray:
    for k in range(3):
        weight, bias = (arrays[f"fc{k}_{part}"].asnumpy().astype("float64") for part in ("weight", "bias"))
        x = np.maximum(x @ weight.T + bias, 0)
    return x


def parameters() -> dict[str, mx.nd.NDArray]:
    shapes, *_ = network().infer_shape(x=(1, 64))
    named = dict(zip(network().list_arguments(), shapes))
    return {n: mx.nd.array(RNG.normal(size=s, scale=0.3)) for n, s in named.items() if n != "x"}


def bound(n_rows: int, arrays: dict[str, mx.nd.NDArray]) -> mx.executor.Executor:
    return network().bind(mx.cpu(), {"x": mx.nd.zeros((n_rows, 64)), **arrays}, grad_req="null")


def check(executor: mx.executor.Executor, arrays: dict[str, mx.nd.NDArray]) -> None:
    x = RNG.normal(size=executor.arg_dict["x"].shape).astype("float32")
    np.testing.assert_allclose(executor.forward(x=mx.nd.array(x))[0].asnumpy(), expected(x, arrays), 1e-4, 1e-4)


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """How many pieces each preparation made."""
    seen: list[int] = []
    run, run_some = Instance.run, Instance.run_some

    def whole(self, phase):
        if phase == "prepare":
            seen.append(len(self.loaded.program.pieces))
        run(self, phase)

    def some(self, phase, positions):
        seen.append(sum(set(piece.steps) <= set(positions) for piece in self.loaded.program.pieces))
        run_some(self, phase, positions)

    monkeypatch.setattr(Instance, "run", whole)
    monkeypatch.setattr(Instance, "run_some", some)
    return seen


def test_executors_over_the_same_parameters_prepare_them_once(made):
    arrays = parameters()
    first, second = bound(40, arrays), bound(41, arrays)
    check(first, arrays)
    check(second, arrays)
    assert made == [3]
    check(bound(40, like := {n: a.copy() for n, a in arrays.items()}), like)
    assert made == [3, 3]


def test_a_write_has_one_piece_made_anew_by_whoever_runs_next(made):
    arrays = parameters()
    executors = [bound(n, arrays) for n in (40, 41)]
    for executor in executors:
        check(executor, arrays)
    arrays["fc1_weight"][:] = arrays["fc1_weight"] * 2
    for executor in executors[::-1]:
        check(executor, arrays)
    assert made == [3, 1]


def test_nothing_stays_when_nobody_needs_it():
    gc.collect()
    before = len(prepared._shared)
    arrays = parameters()
    executor = bound(2, arrays)
    check(executor, arrays)
    assert len(prepared._shared) == before + 3
    del executor
    gc.collect()
    assert len(prepared._shared) == before


def test_other_work_on_the_same_parameters_is_another_piece(made):
    arrays = parameters()
    scaled = sym.FullyConnected(sym.Variable("x"), sym.Variable("fc0_weight") * 2, no_bias=True, num_hidden=64)
    plain = sym.FullyConnected(sym.Variable("x"), sym.Variable("fc0_weight"), no_bias=True, num_hidden=64)
    x = RNG.normal(size=(2, 64)).astype("float32")
    weight = arrays["fc0_weight"]
    for net, factor in ((scaled, 2), (plain, 1)):
        (y,) = net.bind(mx.cpu(), {"x": mx.nd.array(x), "fc0_weight": weight}, grad_req="null").forward()
        np.testing.assert_allclose(y.asnumpy(), factor * (x @ weight.asnumpy().T), 1e-4, 1e-4)


def test_threads_that_share_pieces_wait_for_each_other():
    arrays = parameters()
    executors = [bound(n, arrays) for n in (1, 2, 3, 4)]
    failed: list[Exception] = []
    for _ in range(5):
        for name in ("fc0_weight", "fc2_weight"):
            arrays[name][:] = arrays[name] * 1.1

        def call(executor: mx.executor.Executor) -> None:
            try:
                x = np.ones(executor.arg_dict["x"].shape, np.float32)
                np.testing.assert_allclose(executor(x=x)[0].asnumpy(), expected(x, arrays), 1e-4, 1e-4)
            except Exception as e:
                failed.append(e)

        threads = [threading.Thread(target=call, args=(executor,)) for executor in executors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed


def test_a_program_may_need_what_many_others_have_made():
    """However many these are: hundreds of blocks that were called by themselves before their network is."""
    net, alone, arrays = sym.Variable("x"), [], {f"w{k}": mx.nd.array(np.eye(64) * 1.01) for k in range(150)}
    for name, array in arrays.items():
        layer = sym.FullyConnected(sym.Variable("x"), sym.Variable(name), num_hidden=64, no_bias=True)
        alone.append(layer.bind(mx.cpu(), {"x": mx.nd.ones((1, 64)), name: array}, grad_req="null"))
        alone[-1].forward()[0].wait_to_read()
        net = layer(x=net)
    whole = net.bind(mx.cpu(), {"x": mx.nd.ones((1, 64)), **arrays}, grad_req="null")
    whole.forward()[0].wait_to_read()
    arrays["w0"][:] = np.eye(64)
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 100)
    try:
        found = whole.forward()[0].asnumpy()
    finally:
        sys.setrecursionlimit(limit)
    np.testing.assert_allclose(found, 1.01**149, rtol=1e-4)
