"""Copies of hybridized blocks, and what a SymbolBlock writes that was read from files."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import symc as mx
from symc.gluon import SymbolBlock, nn

x = mx.nd.array([[1.0, -2.0, 3.0]])


def net() -> nn.HybridSequential:
    """Of two layers with a state, hybridized and called."""
    made = nn.HybridSequential(prefix="net_")
    with made.name_scope():
        made.add(nn.Dense(4, activation="tanh"), nn.BatchNorm())
    made.initialize(mx.init.Xavier())
    made.hybridize()
    made(x)
    return made


@pytest.mark.parametrize("copied", [lambda b: pickle.loads(pickle.dumps(b)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_copy_has_parameters_and_a_graph_of_its_own(copied, tmp_path):
    original = net()
    twin, before = copied(original), original(x).asnumpy()
    np.testing.assert_array_equal(twin(x).asnumpy(), before)
    twin[0].weight.set_data(mx.nd.zeros((4, 3)))
    assert not twin(x).asnumpy().any()
    np.testing.assert_array_equal(original(x).asnumpy(), before)
    copied(original).export(str(tmp_path / "twin"))
    original.export(str(tmp_path / "original"))
    for end in ("-symbol.json", "-0000.params"):
        assert (tmp_path / f"twin{end}").read_bytes() == (tmp_path / f"original{end}").read_bytes()


def test_a_shallow_copy_shares_the_parameters():
    original = net()
    twin = copy.copy(original)
    original[0].weight.set_data(mx.nd.zeros((4, 3)))
    assert not twin(x).asnumpy().any()


@pytest.mark.filterwarnings("ignore:Cannot decide type")  # of the input, as in MXNet
def test_a_symbol_block_writes_what_it_read_before_it_is_called(tmp_path):
    net().export(str(tmp_path / "first"))
    block = SymbolBlock.imports(str(tmp_path / "first-symbol.json"), ["data"], str(tmp_path / "first-0000.params"))
    block.export(str(tmp_path / "second"))
    assert (tmp_path / "second-0000.params").read_bytes() == (tmp_path / "first-0000.params").read_bytes()
