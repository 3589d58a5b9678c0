"""Elementwise operators come before the reshaping of a contraction's result, so that they run in its kernel."""

from __future__ import annotations

import math

import numpy as np

import symc as mx
from symc.passes.move_views import move_views

from .golden import changes, keeps

LAYER = """\
argument %x: float32[6, 4]
parameter %w: float32[5, 4]
%a = FullyConnected(%x, %w, num_hidden=5, no_bias=True): float32[6, 5]
%v = Reshape(%a, shape=(2, 3, 5)): float32[2, 3, 5]
"""


def test_views_move_behind_elementwise_operators():
    changes(
        move_views,
        LAYER + "%b = relu(%v): float32[2, 3, 5]\n%y = exp(%b): float32[2, 3, 5]\nhead y = %y\n",
        """
        argument %x: float32[6, 4]
        parameter %w: float32[5, 4]
        %a = FullyConnected(%x, %w, num_hidden=5, no_bias=True): float32[6, 5]
        %b = relu(%a): float32[6, 5]
        %y = exp(%b): float32[6, 5]
        %y.Reshape = Reshape(%y, shape=(2, 3, 5)): float32[2, 3, 5]
        head y = %y.Reshape
        """,
    )


def test_views_stay_where_something_else_is_read():
    """In another shape it would be a view itself, and its own kernel could not end in this one."""
    keeps(
        move_views,
        "argument %r: float32[2, 3, 5]\n" + LAYER + "%y = elemwise_add(%v, %r): float32[2, 3, 5]\nhead y = %y\n",
    )
    keeps(move_views, LAYER + "%y = sum(%v, axis=(2,)): float32[2, 3]\nhead y = %y\n")


def test_gelu_is_the_epilogue_of_a_layer_over_three_axes():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=5, flatten=False, name="fc")
    executor = mx.sym.LeakyReLU(net, act_type="gelu").simple_bind(mx.cpu(), grad_req="null", data=(2, 3, 4))
    rng = np.random.default_rng(0)
    values = {name: rng.normal(size=array.shape).astype("float32") for name, array in executor.arg_dict.items()}
    (found,) = executor(**values)
    x, w, b = (values[name].astype(float) for name in ("data", "fc_weight", "fc_bias"))
    z = x @ w.T + b
    np.testing.assert_allclose(found.asnumpy(), z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2, atol=1e-6)
    assert "FullyConnected + LeakyReLU" in str(executor.explain())
