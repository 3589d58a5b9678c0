"""Recurrent layers and cells where MXNet refuses or errs; what it gives was recorded for other ways to the same."""

from __future__ import annotations

import pytest

import symc as mx
from symc import gluon

from .cases_rnn import LENGTHS, C, H, N, T, data, fill, seen
from .recorded import differences, load, plain

rnn = gluon.rnn


@pytest.fixture
def names():
    with mx.name.NameManager():
        yield


def test_merged_as_it_comes_both_directions_have_their_lengths(names):
    """MXNet stacks what is stacked already."""
    cell = rnn.BidirectionalCell(rnn.LSTMCell(H), rnn.GRUCell(H))
    cell.initialize()
    cell.unroll(T, data(mx, T, N, C), layout="TNC")
    fill(mx, cell)
    given = cell.unroll(T, data(mx, T, N, C).swapaxes(0, 1), layout="NTC", valid_length=mx.nd.array(LENGTHS))
    wanted = load("rnn")["BidirectionalCell"]["unrolled"]["NTC True True"]
    assert not differences(plain(seen(given)), wanted)


def test_a_hybridized_layer_is_called_without_states_and_with_them(names):
    """MXNet goes on with what it traced first."""
    layer = rnn.RNN(H)
    layer.initialize()
    layer.hybridize()
    x = data(mx, T, N, C)
    layer(x)
    fill(mx, layer)
    wanted = load("rnn")["RNN"]
    assert not differences(plain(seen(layer(x))), wanted["out"])
    assert not differences(plain(seen(layer(x, layer.begin_state(N, func=mx.nd.ones)))), wanted["with states"])


def test_lengths_go_to_a_layer_of_one_state(names):
    """MXNet hands them on as the second state."""
    layer = rnn.RNN(H, use_sequence_length=True)
    layer.initialize()
    x = data(mx, T, N, C)
    layer(x, None, mx.nd.array(LENGTHS))
    fill(mx, layer)
    assert not differences(plain(seen(layer(x, None, mx.nd.array(LENGTHS)))), load("rnn")["RNN"]["out"])


def test_an_activation_is_refused_by_name():
    with pytest.raises(ValueError, match="activation is 'elu'; expected 'relu' or 'tanh'"):
        rnn.RNN(H, activation="elu")


def test_dropout_of_states_draws_once_for_a_sequence():
    cell = gluon.contrib.rnn.VariationalDropoutCell(rnn.RNNCell(8, input_size=2), drop_outputs=0.5, drop_states=0.5)
    cell.initialize(mx.init.One())
    with mx.autograd.record():
        outputs, _ = cell.unroll(3, mx.nd.ones((4, 3, 2)), merge_outputs=True)
    dropped = outputs.asnumpy() == 0
    assert dropped.any() and not dropped.all()
    assert (dropped == dropped[:, :1]).all()


def test_zoneout_keeps_elements_of_the_output_before():
    cell = rnn.ZoneoutCell(rnn.RNNCell(64, input_size=2), zoneout_outputs=0.5)
    cell.initialize(mx.init.One())
    with mx.autograd.record():
        first, second = (y.asnumpy() for y in cell.unroll(2, [mx.nd.ones((1, 2)), mx.nd.zeros((1, 2))])[0])
    for kept in (first == 0, second == first):
        assert kept.any() and not kept.all()


def test_symbol_cells_write_what_mxnet_writes_and_count_their_steps():
    (output,), _ = mx.rnn.LSTMCell(3, prefix="l_").unroll(1, mx.sym.Variable("x"))
    assert output.attr_dict()["l_t0_slice"] == {"num_outputs": "4"}  # and no axis
    for cell in (mx.rnn.LSTMCell(3), mx.rnn.FusedRNNCell(3)):
        with pytest.raises(AssertionError, match="2 steps are to be unrolled for 3"):
            cell.unroll(3, [mx.sym.Variable("a"), mx.sym.Variable("b")], layout="TNC")
