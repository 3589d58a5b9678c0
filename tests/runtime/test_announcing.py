"""Who listens is told of each gradient when its memory has the final values, while the backward pass still runs."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

import symc as mx
from symc import autograd, gluon
from symc.core.arrivals import Arrivals, arrivals


class Listener:
    """Copies what is in memory when it is told."""

    def __init__(self, arrays: dict[str, mx.nd.NDArray]) -> None:
        self.arrays = {x._address: (name, x) for name, x in arrays.items()}
        self.told: list[tuple[str, np.ndarray]] = []
        self.at_first: dict[str, np.ndarray] = {}  # what all arrays held when the first was told of
        self.n_passes = 0

    def written(self, address: int) -> None:
        if address not in self.arrays:
            return  # memory of a term, which is added up later
        if not self.told:
            self.at_first = {name: self.read(each) for each, (name, _) in self.arrays.items()}
        self.told.append((self.arrays[address][0], self.read(address)))

    def read(self, address: int) -> np.ndarray:
        array = self.arrays[address][1]
        return np.frombuffer(ctypes.string_at(address, 4 * array.size), np.float32).reshape(array.shape)

    def complete(self) -> None:
        self.n_passes += 1


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    fresh = Arrivals()
    for place in ("symc.runtime.instance", "symc.executor.executor", "symc.autograd"):
        monkeypatch.setattr(f"{place}.arrivals", fresh)
    monkeypatch.setattr("tests.runtime.test_announcing.arrivals", fresh)


def mlp() -> mx.sym.Symbol:
    hidden = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=16, name="first")
    hidden = mx.sym.FullyConnected(mx.sym.Activation(hidden, act_type="tanh"), num_hidden=5, name="second")
    return mx.sym.LinearRegressionOutput(hidden, mx.sym.Variable("label"))


def lstm() -> mx.sym.Symbol:
    outs, _ = mx.rnn.LSTMCell(6, prefix="lstm_").unroll(3, mx.sym.Variable("data"), merge_outputs=True)
    return mx.sym.LinearRegressionOutput(mx.sym.FullyConnected(outs, num_hidden=2, name="fc"), mx.sym.Variable("label"))


@pytest.mark.parametrize("net, data, label", [(mlp(), (4, 9), (4, 5)), (lstm(), (4, 3, 5), (4, 2))])
@pytest.mark.parametrize("grad_req", ["write", "add"])
def test_an_executor_tells_of_every_gradient_once(net, data, label, grad_req):
    rng = np.random.default_rng(0)
    wanted = {n: "null" if n in ("data", "label") else grad_req for n in net.list_arguments()}
    executor = net.simple_bind(mx.cpu(), data=data, label=label, grad_req=wanted)
    for array in executor.arg_dict.values():
        array[:] = rng.normal(size=array.shape)
    grads = {n: g for n, g in executor.grad_dict.items() if g is not None}
    for gradient in grads.values():
        gradient[:] = 1
    executor.forward(is_train=True)
    executor.backward()  # nobody listens
    expected = {n: g.asnumpy() for n, g in grads.items()}
    for gradient in grads.values():
        gradient[:] = 1
    listener = Listener(grads)
    arrivals.listen(listener)
    executor.forward(is_train=True)
    executor.backward()
    assert sorted(name for name, _ in listener.told) == sorted(grads)
    for name, data in listener.told:
        np.testing.assert_array_equal(data, expected[name])
    assert listener.n_passes == 1
    assert (listener.at_first[listener.told[-1][0]] == 1).all()  # the pass was still running


def test_a_block_tells_of_its_parameters_and_of_what_is_added_up_later():
    net = gluon.nn.Dense(70, in_units=40)
    net.initialize(mx.init.Normal(0.3))
    net.hybridize()
    x = mx.nd.random.normal(shape=(64, 40))
    grads = {p.name: p.grad() for p in net.collect_params().values()}
    listener = Listener(grads)
    arrivals.listen(listener)
    with autograd.record():
        once = net(x)
    once.backward()
    assert sorted(name for name, _ in listener.told) == sorted(grads)
    for name, data in listener.told:
        np.testing.assert_array_equal(data, grads[name].asnumpy())
    listener.told.clear()
    with autograd.record():
        twice = net(x) + net(2 * x)
    twice.backward()
    last = dict(listener.told)  # a gradient that was told of before its second term came is told of again
    for name, gradient in grads.items():
        np.testing.assert_array_equal(last[name], gradient.asnumpy())


def test_a_listener_is_forgotten_with_its_owner():
    listener, other = Listener({}), Listener({})
    arrivals.listen(listener)
    arrivals.listen(other)
    arrivals.ignore(other)
    assert arrivals.are_awaited
    del listener
    arrivals.complete()
    assert not arrivals.are_awaited
