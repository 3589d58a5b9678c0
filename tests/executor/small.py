"""A small network and arrays for the Executor's tests."""

from __future__ import annotations

import numpy as np

import symc as mx

sym = mx.sym


def nd(*values, dtype="float32"):
    return mx.nd.array(values, dtype=dtype)


def dense(batch=4, **options):
    """A dense layer with weights of ones and a bias of 0, 1, 2; outputs are sums of 5 inputs + bias."""
    symbol = sym.FullyConnected(sym.var("data"), num_hidden=3, name="fc")
    ex = symbol.simple_bind(mx.cpu(), data=(batch, 5), **options)
    ex.arg_dict["fc_weight"][:] = 1
    ex.arg_dict["fc_bias"][:] = np.arange(3)
    return ex
