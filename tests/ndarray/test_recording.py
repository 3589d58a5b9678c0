"""A recording of autograd as a Symbol: `autograd.get_symbol`."""

from __future__ import annotations

import json

import pytest

import symc as mx
from symc import autograd
from symc.core.errors import ArgumentTypeError, GradientError

from .arrays import variable

nd = mx.nd


def test_a_recording_as_a_symbol():
    x, c = variable([[1.0, -2.0], [3.0, 0.5]]), nd.array([2.0, 5.0], dtype="float64")
    with autograd.record():
        left, right = nd.split(x * x + c, 2, axis=1)
        y = 3 * right - left / x.sum()
    symbol = autograd.get_symbol(y)
    assert symbol.list_arguments() == ["var0", "null0"]
    assert symbol.list_outputs() == ["node_6_output"]
    assert [n["op"] for n in json.loads(symbol.tojson())["nodes"] if n["op"] != "null"] == [
        "broadcast_mul", "broadcast_add", "SliceChannel", "_mul_scalar", "sum", "broadcast_div", "broadcast_sub",
    ]  # fmt: skip
    for saved in (symbol, mx.sym.load_json(symbol.tojson())):
        (found,) = saved.eval(var0=nd.array([[2.0, 1.0], [0.0, -4.0]], dtype="float64"), null0=c)
        assert found.asnumpy().tolist() == [[24.0], [65.0]]  # 3 (1 + 5) + (4 + 2), 3 (16 + 5) + (0 + 2)
    assert autograd.get_symbol(x).list_arguments() == ["var0"]


@pytest.mark.parametrize(
    ("flags", "operators"),
    [
        ({"inline_limit": 3}, ["FullyConnected", "BatchNorm", "FullyConnected", "_plus_scalar"]),
        ({"inline_limit": 2}, ["_call", "_plus_scalar"]),
        ({"inline_limit": 3, "static_alloc": True}, ["_call", "_plus_scalar"]),
        ({}, ["_call", "_plus_scalar"]),
    ],
    ids=str,
)
def test_a_hybridized_block_in_a_recording_as_a_symbol(flags, operators):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(4, in_units=3), mx.gluon.nn.BatchNorm(), mx.gluon.nn.Dense(2))
    net.initialize()
    net.hybridize(**flags)
    x = nd.array([[1, -2, 3], [0.5, 0, 2]])
    with autograd.record():
        y = net(x) + 1
    symbol = autograd.get_symbol(y)
    assert [n.op_name for n in symbol.nodes() if not n.is_variable] == operators
    assert symbol.list_arguments() == ["null0", *(f"var{k}" for k in range(6))]
    assert symbol.list_auxiliary_states() == ["null1", "null2"]
    trained = [p.data() for p in net.collect_params().values() if p.grad_req != "null"]
    executor = symbol.bind(mx.cpu(), [x, *trained], aux_states=[nd.zeros(4), nd.ones(4)])
    assert executor.forward(is_train=True)[0].asnumpy() == pytest.approx(y.asnumpy(), rel=1e-5, abs=1e-6)


def test_what_no_symbol_holds():
    class Doubled(autograd.Function):
        def forward(self, x):
            return 2 * x

        def backward(self, dy):
            return 2 * dy

    x = variable([1.0])
    with autograd.record():
        y = Doubled()(x)
        z = 2 * x
    with pytest.raises(GradientError, match="Doubled is written in Python"):
        autograd.get_symbol(y)
    z.backward()
    for array in (z, nd.ones(2)):
        with pytest.raises(GradientError, match="not part of a computation graph"):
            autograd.get_symbol(array)
    with pytest.raises(ArgumentTypeError, match="expected an NDArray, got int"):
        autograd.get_symbol(3)
