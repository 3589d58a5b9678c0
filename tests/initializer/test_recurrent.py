"""FusedRNN: every gate's piece of the parameter vector is initialized under the name MXNet gives it."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError

N_HIDDEN, N_LAYERS, N_INPUTS = 3, 2, 5


class ByName(mx.init.Initializer):
    """A number that depends on the name, so that a wrong name or order shows."""

    def _init_weight(self, name, arr):
        arr[:] = sum(map(ord, name)) % 251

    def _init_bias(self, name, arr):
        arr[:] = sum(map(ord, name)) % 251 + 0.5


def vector(init, bidirectional, n_gates):
    n_sides = 1 + bidirectional
    rows = [N_INPUTS if layer == 0 else n_sides * N_HIDDEN for layer in range(N_LAYERS)]
    array = mx.nd.zeros(sum(n_gates * N_HIDDEN * n_sides * (n + N_HIDDEN + 2) for n in rows))
    init(mx.init.InitDesc("rnn_parameters_weight"), array)
    return array.asnumpy()


# The sum of value times position, recorded from MXNet 1.9.1: a wrong name or order changes it.
RECORDED = [
    ("lstm", 4, False, 4314117.0),
    ("lstm", 4, True, 24060876.0),
    ("gru", 3, False, 2850561.0),
    ("gru", 3, True, 15669054.0),
    ("rnn_tanh", 1, False, 234540.0),
    ("rnn_tanh", 1, True, 560478.0),
]


@pytest.mark.parametrize("mode, n_gates, bidirectional, total", RECORDED)
def test_pieces(mode, n_gates, bidirectional, total):
    init = mx.init.FusedRNN(ByName(), N_HIDDEN, N_LAYERS, mode, bidirectional, forget_bias=2.0)
    drawn = vector(init, bidirectional, n_gates)
    assert (drawn.astype("f8") * np.arange(1, drawn.size + 1)).sum() == total


def test_biases_of_an_lstm():
    drawn = vector(mx.init.FusedRNN(mx.init.One(), N_HIDDEN, N_LAYERS, "lstm", forget_bias=2.0), False, 4)
    biases = drawn[-2 * 2 * 4 * N_HIDDEN :].reshape(4, 4, N_HIDDEN)
    assert (biases == np.array([0, 2, 0, 0])[None, :, None]).all()
    assert (drawn[: -biases.size] == 1).all()


def test_dumps_and_the_global_initializer():
    init = mx.init.FusedRNN(mx.init.Normal(0.5), 4, 2, "lstm")
    assert init.dumps() == (
        '["fusedrnn", {"init": "[\\"normal\\", {\\"sigma\\": 0.5}]", "num_hidden": 4, "num_layers": 2, '
        '"mode": "lstm", "bidirectional": false, "forget_bias": 1.0}]'
    )
    assert mx.init.create(init.dumps()) == init
    array = mx.nd.zeros(2 * (3 + 2 + 2))
    attrs = {"__init__": mx.init.FusedRNN(None, 2, 1, "rnn_relu").dumps()}
    mx.init.Constant(7)(mx.init.InitDesc("parameters", attrs), array)
    np.testing.assert_array_equal(array.asnumpy(), [7] * 10 + [0] * 4)


def test_refuses():
    with pytest.raises(ArgumentError, match="mode is 'rnn'; expected one of rnn_relu, rnn_tanh, lstm, gru"):
        mx.init.FusedRNN(None, 2, 1, "rnn")
    with pytest.raises(ArgumentError, match="p: 15 numbers are no parameters of"):
        mx.init.FusedRNN(mx.init.Zero(), 2, 1, "rnn_relu")._init_weight("p", mx.nd.zeros(15))
    with pytest.raises(ArgumentError, match="p: FusedRNN has neither an initializer of its own nor a global one"):
        mx.init.FusedRNN(None, 2, 1, "rnn_relu")._init_weight("p", mx.nd.zeros(14))
