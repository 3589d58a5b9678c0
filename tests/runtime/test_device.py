"""A device needs what the protocols say and nothing else: a toy one runs what the CPU runs."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, SymcError
from tests.conformance import golden, replay

from .toy_device import ToyRun, toy_device

RANDOM = [case for case in golden.net_cases() if case.family == "dag"]
NETWORKS = [*(case for case in golden.net_cases() if case.name == "lenet"), *RANDOM[::7]]


@pytest.fixture
def toy():
    with toy_device() as device, mx.Context("toy"):
        yield device


@pytest.mark.parametrize("case", NETWORKS, ids=lambda c: c.name)
def test_networks_run_both_directions_as_recorded(toy, case):
    replay.check_net(mx, case)
    assert toy.runner.n_steps > 0


def test_lenet_trains_as_recorded(toy):
    training = next(t for t in golden.trainings() if t.case.name == "lenet")
    replay.check_training(mx, training)
    assert toy.runner.n_steps > 15 * 10


def network(ctx):
    """relu(data @ w.T), data (2, 3), w (4, 3) of ones."""
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, no_bias=True, name="fc")
    executor = mx.sym.Activation(net, act_type="relu").simple_bind(ctx, data=(2, 3))
    executor.arg_dict["fc_weight"][:] = 1
    return executor


def test_a_program_is_of_its_context(toy):
    ours, theirs = network(mx.Context("toy")), network(mx.cpu())
    data = np.random.default_rng(1).normal(size=(5, 3))
    expected = np.maximum(data.sum(axis=1, keepdims=True) * np.ones(4), 0)
    for executor, is_toy in ((ours, True), (theirs, False)):
        n_steps = toy.runner.n_steps
        (y,) = executor(data=data)
        np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-5)
        assert (toy.runner.n_steps > n_steps) == ("symc_toy_" in executor.source()) == is_toy
        assert y.context == executor.arg_dict["data"].context == mx.Context("toy" if is_toy else "cpu")
    assert "(1, 2, 3)" in ours.explain() and "25 letters" in ours.explain()
    assert {row.kernel[:9] for row in ours.profile(n_runs=1).rows} == {"symc_toy_"}


def test_a_device_that_keeps_parameters_is_told_of_those_that_were_written(toy, monkeypatch):
    monkeypatch.setattr(type(toy.runner), "keeps_parameters", True)
    n_runs, run = [], ToyRun.run
    monkeypatch.setattr(ToyRun, "run", lambda self: (n_runs.append(1), run(self))[1])
    executor = network(mx.Context("toy"))
    for is_written, n in ((False, 2), (False, 1), (True, 2)):  # with `prepare`, which computes nothing
        if is_written:
            executor.arg_dict["fc_weight"][:] = 2
        n_runs.clear()
        executor.forward()
        assert len(n_runs) == n


def test_operators_recordings_and_cached_graphs_run_where_their_arrays_are(toy):
    x = mx.nd.array(np.linspace(0.1, 1, 300 * 300).reshape(300, 300))
    assert x.context == mx.Context("toy")
    x.attach_grad()
    with mx.autograd.record():
        y = mx.nd.dot(x, x)
    after_forward = toy.runner.n_steps
    y.backward()
    assert 0 < after_forward < toy.runner.n_steps and x.grad.context == y.context == x.context
    ones, v = np.ones((300, 300)), x.asnumpy().astype(np.float64)
    np.testing.assert_allclose(x.grad.asnumpy(), ones @ v.T + v.T @ ones, rtol=1e-4)

    with mx.autograd.record():
        y = mx.nd.CachedOp(mx.sym.square(mx.sym.exp(mx.sym.Variable("x"))))(x)
    for _ in range(2):
        before = toy.runner.n_steps
        y.backward(retain_graph=True)
        assert toy.runner.n_steps > before
        np.testing.assert_allclose(x.grad.asnumpy(), 2 * np.exp(2 * v), rtol=1e-5)


def test_a_graph_is_compiled_for_each_device_it_is_called_on(toy):
    x = mx.nd.array(np.linspace(0.1, 1, 300 * 300).reshape(300, 300))
    v = x.asnumpy().astype(np.float64)
    cached = mx.nd.CachedOp(mx.sym.exp(mx.sym.Variable("x")))
    before = toy.runner.n_steps
    np.testing.assert_allclose(cached(x).asnumpy(), np.exp(v), rtol=1e-5)
    assert toy.runner.n_steps == before + 1
    np.testing.assert_allclose(cached(x.as_in_context(mx.cpu())).asnumpy(), np.exp(v), rtol=1e-5)
    assert toy.runner.n_steps == before + 1


def test_an_artifact_says_what_it_was_made_for(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    args = {"fc_weight": mx.nd.ones((2, 3)), "fc_bias": mx.nd.zeros((2,))}
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
    made = mx.artifact.save(tmp_path / "net.symc", net, args, {}, {"data": (4, 3)})
    assert made.manifest["made_for"] == {"identity": toy.backend.name, "target": "toy"} and made.objects
    n_steps = toy.runner.n_steps
    assert mx.artifact.verify(tmp_path / "net.symc").is_right and toy.runner.n_steps > n_steps
    with mx.cpu():
        assert not mx.artifact.load(tmp_path / "net.symc").objects
        assert mx.artifact.verify(tmp_path / "net.symc").is_right


def test_device_memory_goes_with_its_users(toy):
    executor = network(mx.Context("toy"))
    executor(data=np.zeros((2, 3)))
    assert len(toy.memory.blocks) > 0
    del executor
    gc.collect()
    assert len(toy.memory.blocks) == 0


def test_a_device_that_went_is_refused_by_name():
    with toy_device():
        place = mx.Context("toy", 2)
        array = mx.nd.ones((2,), place)
        with pytest.raises(ArgumentError, match="'toy' has a backend already"), toy_device():
            pass
    with pytest.raises(SymcError, match=r"no device toy\(2\) .* backend for cpu, cpu_pinned, cpu_shared alone"):
        mx.sym.Variable("x").bind(place, {"x": array})
    with pytest.raises(ArgumentError, match="'toy' is not registered"):
        mx.context.unregister_device("toy")


def test_python_sees_the_memory_of_the_device(toy):
    class Twice(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            out_data[0][:] = 2 * in_data[0]

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            in_grad[0][:] = 2 * out_grad[0]

    @mx.operator.register("twice_of_test_device")
    class TwiceProp(mx.operator.CustomOpProp):
        def create_operator(self, ctx, shapes, dtypes):
            return Twice()

    net = mx.sym.exp(mx.sym.Custom(mx.sym.sin(mx.sym.Variable("x")), op_type="twice_of_test_device"))
    executor = net.simple_bind(mx.Context("toy"), x=(2, 3))
    x = np.random.default_rng(0).normal(size=(2, 3))
    (y,) = executor.forward(is_train=True, x=x)
    executor.backward(mx.nd.ones((2, 3)))
    np.testing.assert_allclose(y.asnumpy(), np.exp(2 * np.sin(x)), rtol=1e-5)
    np.testing.assert_allclose(executor.grad_dict["x"].asnumpy(), np.exp(2 * np.sin(x)) * 2 * np.cos(x), rtol=1e-4)
