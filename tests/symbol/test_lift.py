"""Executor.get_optimized_symbol: equal nodes merged, algebra done; a symbol like any other, with the same results."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.ir.builder import rewrite
from symc.symbol import lift

a, b = mx.sym.var("a"), mx.sym.var("b")


def optimized(symbol, **shapes):
    return symbol.simple_bind(mx.cpu(), **shapes).get_optimized_symbol()


@pytest.mark.parametrize(
    "symbol, operators",
    [
        ((a + b) + (a + b), ["elemwise_add", "elemwise_add"]),
        ((a + 1) + (a + 2), ["_plus_scalar", "_plus_scalar", "elemwise_add"]),
        (mx.sym.exp(a * 1), ["exp"]),
        (mx.sym.Dropout(a) + mx.sym.Dropout(a), ["Dropout", "Dropout", "elemwise_add"]),
        (mx.sym.Group([mx.sym.tanh(a, name="x"), mx.sym.tanh(a, name="y")]), ["tanh"]),
    ],
)
def test_what_is_left(symbol, operators):
    found = optimized(symbol, **dict.fromkeys(symbol.list_arguments(), (2, 3)))
    assert [n.op_name for n in found.nodes() if n.op is not None] == operators
    assert len(found) == len(symbol)


def test_nodes_keep_names_and_attributes():
    with mx.AttrScope(__mood__="calm"):
        net = mx.sym.FullyConnected(a, num_hidden=3, name="fc", attr={"__lr_mult__": "2"})
    net = mx.sym.BatchNorm(net, name="bn")
    found = optimized(net, a=(2, 5))
    assert found.tojson() == net.tojson()
    assert found.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]


def test_it_can_be_saved_loaded_and_run():
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected((a * b) * (a * b) + 0, num_hidden=3, name="fc"), name="softmax")
    ex = net.simple_bind(mx.cpu(), a=(2, 5), b=(2, 5), grad_req="null")
    random = np.random.default_rng(0)
    for array in ex.arg_dict.values():
        array[:] = random.normal(size=array.shape)
    again = mx.sym.load_json(ex.get_optimized_symbol().tojson())
    assert len(again.nodes()) < len(net.nodes())
    (out,) = again.bind(mx.cpu(), ex.arg_dict, grad_req="null").forward()
    np.testing.assert_allclose(out.asnumpy(), ex.forward()[0].asnumpy(), rtol=1e-6)


def test_algebra_that_needs_an_operator_of_symc_is_left_out(monkeypatch):
    kept = lift.simplify
    monkeypatch.setattr(lift, "simplify", lambda graph, context: _with_internal(kept(graph, context)))
    found = optimized(mx.sym.exp(a * 1), a=(2, 3))
    assert [n.op_name for n in found.nodes()] == ["null", "_mul_scalar", "exp"]


def _with_internal(graph):
    def rule(g, node, inputs):
        return [g("_activation_gradient", inputs[0], inputs[0], act_type="tanh")] if node.op.name == "exp" else None

    return rewrite(graph, rule)
