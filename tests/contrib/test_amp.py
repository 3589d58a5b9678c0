"""Mixed precision: converted symbols are MXNet's, models and blocks keep their numbers, a Trainer scales its loss."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc import autograd, gluon
from symc.contrib import amp
from symc.core.errors import ArgumentTypeError, ConflictError, SymcError
from symc.gluon import nn
from symc.ndarray import invoke
from symc.symbol import compose

# What MXNet 1.9.1 makes of `network()`, written by `listing`; a cast behind an operator whose output MXNet gives no
# name is called `.._0_..` there.
RECORDED = (Path(__file__).parents[1] / "data/amp_symbols.txt").read_text()
CONVERSIONS = (
    {},
    {"cast_optional_params": True, "data_names": ["data", "softmax_label"]},
    {"excluded_sym_names": ["conv2"]},
    {"target_dtype_ops": ["Convolution"], "fp32_ops": ["exp", "SoftmaxOutput"]},
)


def network():
    x = mx.sym.var("data")
    y = mx.sym.Convolution(x, kernel=(3, 3), num_filter=4, name="conv")
    y = mx.sym.BatchNorm(y, name="bn")
    y = mx.sym.Activation(y, act_type="relu", name="relu")
    both = mx.sym.Convolution(y, kernel=(3, 3), pad=(1, 1), num_filter=4, name="conv2")
    both = mx.sym.elemwise_add(y, both, name="plus")
    product = mx.sym.exp(both, name="exp")
    product = mx.sym.broadcast_mul(product, mx.sym.Activation(both, act_type="softrelu", name="srelu"), name="mul")
    scores = mx.sym.FullyConnected(product, num_hidden=3, name="fc")
    return mx.sym.Group([mx.sym.SoftmaxOutput(scores, name="softmax"), scores, mx.sym.flatten(y, name="flat")])


def listing(symbol):
    """Every node of a symbol in a line, then its heads."""
    graph = json.loads(symbol.tojson(remove_amp_cast=False))
    nodes = graph["nodes"]
    for node in nodes:
        attrs = node.get("attrs", {})
        inputs = [f"{nodes[k]['name']}:{index}" for k, index, *_ in node["inputs"]]
        yield f"{node['op']} {node['name']} {attrs.get('__dtype__')} {attrs.get('dtype')} {inputs}"
    yield str([nodes[head[0]]["name"] for head in graph["heads"]])


def test_converted_symbols_are_those_of_mxnet():
    lines = []
    for options in CONVERSIONS:
        lines += [str(options), *listing(amp.convert_symbol(network(), **options))]
    assert lines == RECORDED.splitlines()


def parameters(symbol, **shapes):
    rng = np.random.default_rng(0)
    of_arguments, _, of_states = symbol.infer_shape(**shapes)
    args = {
        name: mx.nd.array(rng.normal(0, 0.2, shape))
        for name, shape in zip(symbol.list_arguments(), of_arguments)
        if name not in ("data", "softmax_label")
    }
    states = {n: mx.nd.ones(s) for n, s in zip(symbol.list_auxiliary_states(), of_states)}
    return args, states


@pytest.mark.parametrize("casts_params", [False, True])
def test_a_converted_model_keeps_its_numbers(casts_params):
    symbol = network()
    args, states = parameters(symbol, data=(2, 3, 6, 6))
    x = mx.nd.array(np.random.default_rng(1).normal(size=(2, 3, 6, 6)))
    expected = symbol.bind(mx.cpu(), {**args, "data": x, "softmax_label": mx.nd.zeros(2)}, aux_states=states).forward()
    converted, new_args, new_states = amp.convert_model(symbol, args, states, cast_optional_params=casts_params)
    dtype = np.float16 if casts_params else np.float32
    assert new_args["conv_weight"].dtype == new_args["fc_bias"].dtype == dtype
    assert new_args["bn_gamma"].dtype == new_states["bn_moving_var"].dtype == np.float32
    assert args["conv_weight"].dtype == np.float32
    bound = converted.bind(mx.cpu(), {**new_args, "data": x, "softmax_label": mx.nd.zeros(2)}, aux_states=new_states)
    for seen, wanted in zip(bound.forward(), expected):
        assert seen.dtype == np.float32
        difference = abs(seen.asnumpy() - wanted.asnumpy()).max()
        assert 0 < difference < 0.01 * abs(wanted.asnumpy()).max()


def small_block():
    net = nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(nn.Dense(8, in_units=6, activation="tanh"), nn.BatchNorm(in_channels=8), nn.Dense(3, in_units=8))
    net.initialize()
    rng = np.random.default_rng(0)
    for parameter in net.collect_params(".*weight").values():
        parameter.set_data(mx.nd.array(rng.normal(0, 0.5, parameter.shape)))
    return net


def test_a_converted_block_keeps_its_numbers():
    net, x = small_block(), mx.nd.array(np.random.default_rng(2).normal(size=(4, 6)))
    with pytest.raises(SymcError, match="Please first call"):
        amp.convert_hybrid_block(net)
    net.hybridize()
    expected = net(x).asnumpy()
    converted = amp.convert_hybrid_block(net, cast_optional_params=True)
    assert converted.collect_params()["net_dense0_weight"].dtype == np.float16
    seen = converted(x)
    assert seen.dtype == np.float32 and 0 < abs(seen.asnumpy() - expected).max() < 0.01
    with pytest.raises(ConflictError, match="should be a HybridBlock, got Lambda"):
        amp.convert_hybrid_block(nn.Lambda("relu"))


@pytest.fixture
def switched_on(monkeypatch):
    """Mixed precision for one test."""
    for place, name in ((amp, "_casts"), (compose, "casts"), (invoke, "casts")):
        monkeypatch.setattr(place, name, None)
    amp.init()
    amp.init()  # once more is no harm


def scaler_of(scale):
    scaler = amp.LossScaler()
    scaler.loss_scale = scaler._next = scale
    return scaler


def trained(net, n_steps, scaler=None):
    rng = np.random.default_rng(3)
    x, y = mx.nd.array(rng.normal(size=(32, 6))), mx.nd.array(rng.integers(0, 3, 32))
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    if scaler is not None:
        amp.init_trainer(trainer)
        trainer._amp_loss_scaler = scaler
    loss, losses = gluon.loss.SoftmaxCrossEntropyLoss(), []
    for _ in range(n_steps):
        with autograd.record():
            value = loss(net(x), y)
            if scaler is None:
                value.backward()
            else:
                with amp.scale_loss(value, trainer) as scaled:
                    autograd.backward(scaled)
        trainer.step(32)
        losses.append(value.mean().asscalar())
    return trainer, losses


def test_training_in_mixed_precision(switched_on, monkeypatch):
    assert amp._amp_initialized  # what GluonNLP asks
    monkeypatch.setattr(compose, "casts", None), monkeypatch.setattr(invoke, "casts", None)
    _, expected = trained(small_block(), 5)
    monkeypatch.undo()
    for is_hybrid in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            casts = amp.scope.Casts(amp.make_rules(), "float16", scaler_of(2.0**8))
            patch.setattr(amp, "_casts", casts)
            patch.setattr(compose, "casts", casts.of_node)
            patch.setattr(invoke, "casts", casts.of_arrays)
            net = small_block()
            if is_hybrid:
                net.hybridize()
            _, losses = trained(net, 5, casts.scaler)
            assert net(mx.nd.ones((1, 6))).dtype == np.float16
            assert net.collect_params()["net_dense0_weight"].data().dtype == np.float32
            np.testing.assert_allclose(losses, expected, rtol=5e-3)
            assert losses != expected


def test_a_step_that_overflows_is_left_out(switched_on):
    scaler = scaler_of(2.0**40)  # float16 ends at 65504
    net = small_block()
    before = {name: p.data().asnumpy() for name, p in net.collect_params(".*weight").items()}
    trained(net, 1, scaler)
    assert all((p.data().asnumpy() == before[name]).all() for name, p in net.collect_params(".*weight").items())
    assert scaler._next == 2.0**39


def test_the_scale_doubles_after_long(caplog):
    class Fine:
        _grad = True

        def list_grad(self):
            return [mx.nd.ones(2)]

    scaler = amp.LossScaler()
    scaler._n_fine = 1999
    with caplog.at_level(logging.INFO):
        assert not scaler.has_overflow([Fine()]) and not scaler.has_overflow([Fine()])
    assert scaler.loss_scale == 2.0**17 and "AMP: increasing loss scale" in caplog.text


def test_gradients_are_unscaled_for_whoever_looks(switched_on):
    net = small_block()
    trainer = gluon.Trainer(net.collect_params(), "sgd")
    amp.init_trainer(trainer)
    trainer._amp_loss_scaler = scaler_of(2.0**8)
    x = mx.nd.ones((2, 6))
    with autograd.record():
        value = net(x).sum()
        with amp.scale_loss([value, value], trainer) as scaled:
            autograd.backward(scaled[0])
    bias = net.collect_params()["net_dense1_bias"]
    assert bias.grad().asnumpy().tolist() == [2.0**9] * 3 and trainer._scale == 2.0**-8
    amp.unscale(trainer)
    assert bias.grad().asnumpy().tolist() == [2.0] * 3 and trainer._scale == 1.0


def test_own_losses_are_scaled_on_arrays_and_warned_of_in_symbols(switched_on, caplog):
    x = mx.nd.array([[1.0, 2.0]])
    x.attach_grad()
    with autograd.record():
        mx.nd.SoftmaxOutput(x, mx.nd.zeros(1)).backward()
    assert 1e4 < abs(x.grad.asnumpy()).max() < 2.0**16
    mx.sym.SoftmaxOutput(mx.sym.Variable("x"))
    assert "SoftmaxOutput does not support dynamic loss scaling in symbolic" in caplog.text


def test_casts_vanish_on_save(switched_on):
    symbol = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc") + mx.sym.Variable("y")
    assert "amp_multicast" in symbol.tojson(remove_amp_cast=False) and "amp_" not in symbol.tojson()


def test_casts_belong_where_their_operator_does(switched_on):
    """To the body of a loop, and to a scope's attributes, as in MXNet."""
    x = mx.sym.Variable("x")
    sums, last = mx.sym.contrib.foreach(lambda row, state: (row + state, state + row), x, mx.sym.zeros(1))
    _, (counted, power) = mx.sym.contrib.while_loop(
        lambda k, y: k < 3, lambda k, y: ([], [k + 1, mx.sym.exp(y)]), [mx.sym.zeros(1), x.slice_axis(0, 0, 1)], 5
    )
    chosen = mx.sym.contrib.cond(mx.sym.sum(x) > 0, lambda: mx.sym.exp(x), lambda: mx.sym.broadcast_sub(x, last))
    results = mx.sym.Group([sums, last, counted, power, chosen])
    values = results.eval(x=mx.nd.array([[0], [0.5], [1]]))
    seen = [v.asnumpy().ravel() for v in values]
    expected = [[0, 0.5, 1.5], [1.5], [3], [np.exp(np.exp(1))], np.exp([0, 0.5, 1])]
    for value, right in zip(seen, expected):
        np.testing.assert_allclose(value, right, rtol=1e-3)
    with mx.AttrScope(ctx_group="dev1"):
        y = mx.sym.exp(mx.sym.FullyConnected(x, num_hidden=2, no_bias=True))
    of_casts = [attrs for name, attrs in y.attr_dict().items() if "amp_cast" in name]
    assert [attrs["ctx_group"] for attrs in of_casts] == ["dev1"] * 3


def test_the_lists_share_nothing():
    names = [*amp.list_lp16_ops("float16"), *amp.list_fp32_ops("float16"), *amp.list_widest_type_cast("float16")]
    names += [*amp.list_lp16_fp32_ops("float16"), *(name for name, *_ in amp.list_conditional_fp32_ops("float16"))]
    assert len(names) == len(set(names)) and {"Convolution", "exp", "dot", "relu", "LeakyReLU"} <= set(names)
    assert amp.list_lp16_use_fp32_params("float16") is None
    assert amp.list_loss_output_functions("float16")[0] == "SoftmaxOutput"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"target_dtype": "bfloat16"}, "symc keeps no array in bfloat16; use target_dtype='float16'"),
        ({"target_dtype": "int8"}, "target_dtype must be float16, got 'int8'"),
        ({"target_dtype_ops": ["exp"], "fp32_ops": ["exp"]}, "two or more lists. Common ops exp"),
        ({"fp32_ops": ["elemwise_add"]}, "elemwise_add not in any of the lists"),
        ({"fp32_ops": "exp"}, "fp32_ops should be a list, got str"),
        ({"conditional_fp32_ops": [("Activation", "act_type")]}, r"list of \(str, str, list of str\)"),
        ({"excluded_sym_names": "fc"}, "excluded_sym_names should be a list"),
    ],
)
def test_what_cannot_be_converted_is_said(options, message):
    with pytest.raises(ConflictError, match=message):
        amp.convert_symbol(network(), **options)


def test_what_is_no_symbol_and_no_trainer_is_refused():
    with pytest.raises(ConflictError, match="should be Symbol, got int"):
        amp.convert_symbol(3)
    with pytest.raises(ConflictError, match="should be dicts"):
        amp.convert_model(network(), [], {})
    with pytest.raises(ArgumentTypeError, match="only compatible with Gluon Trainer, got SGD"):
        amp.unscale(mx.optimizer.SGD())
    with pytest.raises(ConflictError, match=r"forget to call amp.init\(\)"):
        amp.init_trainer(gluon.Trainer({}, "sgd"))


def test_a_bucketing_module_is_converted_bucket_by_bucket():
    def sym_gen(length):
        fc = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=4, flatten=False, name="fc")
        return mx.sym.SoftmaxOutput(mx.sym.mean(fc, axis=1), name="softmax"), ("data",), ("softmax_label",)

    def outputs(module):
        found = []
        for length in (3, 2):
            x = np.linspace(-1, 1, 2 * length * 5).reshape(2, length, 5)
            module.forward(
                mx.io.DataBatch(
                    [mx.nd.array(x)], [mx.nd.zeros(2)], bucket_key=length,
                    provide_data=[("data", x.shape)], provide_label=[("softmax_label", (2,))],
                ),
                is_train=False,
            )  # fmt: skip
            found.append(module.get_outputs()[0].asnumpy())
        return found

    module = mx.mod.BucketingModule(sym_gen, default_bucket_key=3)
    with pytest.raises(ConflictError, match="should be initialized"):
        amp.convert_bucketing_module(module)
    module.bind([("data", (2, 3, 5))], [("softmax_label", (2,))], for_training=False)
    module.init_params(mx.init.Xavier())
    converted = amp.convert_bucketing_module(module, cast_optional_params=True)
    converted.bind([("data", (2, 3, 5))], [("softmax_label", (2,))], for_training=False)
    for ours, theirs in zip(outputs(converted), outputs(module)):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert all("amp_cast" in bucket.symbol.tojson(remove_amp_cast=False) for bucket in converted._buckets.values())
    assert len(converted._buckets) == 2
    with pytest.raises(ConflictError, match="instance of bucketing module, got int"):
        amp.convert_bucketing_module(3)
