"""Modules with corrected gradients: parameters after training are those of MXNet 1.9.1, on several contexts too."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.contrib.svrg_optimization.svrg_module import SVRGModule
from symc.contrib.svrg_optimization.svrg_optimizer import _SVRGOptimizer


def network() -> mx.sym.Symbol:
    out = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=1, name="fc1")
    return mx.sym.LinearRegressionOutput(out, mx.sym.Variable("lin_reg_label"))


def module(**options) -> SVRGModule:
    return SVRGModule(network(), label_names=["lin_reg_label"], update_freq=2, **options)


@pytest.mark.parametrize("contexts, kvstore", [(1, None), (1, "local"), (2, "device")])
@pytest.mark.parametrize(
    "optimizer, params, expected",
    [
        ("sgd", {"learning_rate": 0.005, "momentum": 0.5}, [1.525575, 1.666700, 0.545445]),
        ("adam", {"learning_rate": 0.01}, [0.352817, 0.053077, 0.252893]),
    ],
)
def test_parameters_are_those_of_mxnet(contexts, kvstore, optimizer, params, expected):
    rng = np.random.RandomState(0)
    x = rng.randint(1, 5, [36, 2]).astype("float32")
    batches = mx.io.NDArrayIter(x, x @ np.array([1.0, 2.0], "float32"), 8, label_name="lin_reg_label")
    trained = module(context=[mx.cpu(k) for k in range(contexts)])
    first = {"fc1_weight": mx.nd.array([[0.1, -0.2]]), "fc1_bias": mx.nd.zeros(1)}
    trained.fit(
        batches, eval_metric="mse", optimizer=optimizer, optimizer_params=params, num_epoch=5, arg_params=first,
        kvstore=kvstore,
    )  # fmt: skip
    found = trained.get_params()[0]
    np.testing.assert_allclose([*found["fc1_weight"].asnumpy()[0], found["fc1_bias"].asnumpy()[0]], expected, atol=3e-6)


def test_full_gradients_are_assigned_and_others_applied():
    optimizer = _SVRGOptimizer("sgd", param_idx2name={0: "weight", 1: "weight_full"}, learning_rate=1.0)
    store = mx.kv.create("local")
    store.set_optimizer(optimizer)
    assert optimizer.default_opt.lr == 1.0
    for key, pushed, expected in ((0, [1, 1, 1], [-1, -1, -1]), (1, [2, 2, 2], [2, 2, 2])):
        array = mx.nd.zeros(3)
        store.init(key, array)
        store.push(key, mx.nd.array(pushed))
        store.pull(key, array)
        np.testing.assert_array_equal(array.asnumpy(), expected)


@pytest.mark.parametrize(
    "frequency, error, text",
    [(None, TypeError, "must be an integer, got None"), (0, ValueError, "positive integer, got 0")],
)
def test_how_often_must_be_told(frequency, error, text):
    with pytest.raises(error, match=text):
        SVRGModule(network(), label_names=["lin_reg_label"], update_freq=frequency)


def test_data_begin_anew_once_an_epoch_and_for_full_gradients():
    steps = ""

    class Followed(mx.io.NDArrayIter):
        def reset(self):
            nonlocal steps
            steps += "r"
            super().reset()

        def next(self):
            nonlocal steps
            steps += "n"
            return super().next()

    batches = Followed(np.ones((4, 2)), np.ones(4), 2, label_name="lin_reg_label")
    steps = ""
    module().fit(batches, eval_metric="mse", num_epoch=3)
    assert steps == "rnnnrnnn" + "rnnn" + "rnnnrnnn"  # as in MXNet, which leaves the data at their end
