"""Operators written in Python for tests: how one is registered, and a network that has one in its middle."""

from __future__ import annotations

import itertools
from functools import partialmethod

import numpy as np

import symc as mx

sym = mx.sym
numbers = itertools.count()


def registered(forward, backward=None, **prop):
    """Registers an operator made of functions (op, ...) and a CustomOpProp with these attributes; its name."""

    class Op(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            forward(self, is_train, req, in_data, out_data, aux)

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            backward(self, req, out_grad, in_data, out_data, in_grad, aux)

    members = {n: v if callable(v) else partialmethod(lambda self, v, *_: v, v) for n, v in prop.items()}
    name = f"op_{next(numbers)}"
    mx.operator.register(name)(
        type("Prop", (mx.operator.CustomOpProp,), {"create_operator": lambda *_: Op(), **members})
    )
    return name


def square(self, is_train, req, in_data, out_data, aux):
    self.assign(out_data[0], req[0], in_data[0] * in_data[0])


def square_back(self, req, out_grad, in_data, out_data, in_grad, aux):
    self.assign(in_grad[0], req[0], 2 * in_data[0] * out_grad[0])


def network(op_type):
    """fc2(custom(fc1(data))) for data (2, 5) and four hidden numbers, and bound to random numbers."""
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=4, name="fc1")
    net = sym.FullyConnected(sym.Custom(net, op_type=op_type, name="custom"), num_hidden=3, name="fc2")
    executor = net.simple_bind(mx.cpu(), data=(2, 5))
    rng = np.random.default_rng(3)
    for array in executor.arg_dict.values():
        array[:] = rng.normal(size=array.shape)
    return net, executor


def arrays_of(executor):
    return {name: array.asnumpy().astype(np.float64) for name, array in executor.arg_dict.items()}


def squared(a, data=None):
    """The network's value and the gradient of data for head gradients of ones."""
    hidden = (a["data"] if data is None else data) @ a["fc1_weight"].T + a["fc1_bias"]
    value = hidden**2 @ a["fc2_weight"].T + a["fc2_bias"]
    return value, (np.ones_like(value) @ a["fc2_weight"] * 2 * hidden) @ a["fc1_weight"]
