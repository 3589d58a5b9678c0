"""optimize_for and get_backend_symbol: names that MXNet knows change nothing, others are told."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentTypeError, SymcError
from symc.symbol.backend import BACKENDS


def net():
    return mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=3, name="fc")


@pytest.mark.parametrize("backend", BACKENDS)
def test_known_backends_give_a_copy_and_a_note(backend, caplog):
    caplog.set_level(logging.INFO)
    original = net()
    for made in (
        original.optimize_for(backend, {"data": mx.nd.ones((2, 5))}, ctx=mx.cpu(), option="x"),
        original.get_backend_symbol(backend),
    ):
        made._set_attr(num_hidden="4")
        assert original.attr("num_hidden") == "3"
    assert caplog.records[0].message == (
        f"optimize_for({backend!r}) changes nothing: symc always optimizes a graph when it compiles it"
    )


def test_unknown_backends(caplog):
    assert net().optimize_for("nope").tojson() == net().tojson()  # MXNet logs an error and goes on
    assert [r.levelname for r in caplog.records] == ["ERROR"]
    assert "Error optimizing for backend 'nope' cannot be found" in caplog.text
    with pytest.raises(SymcError, match="SubgraphProperty nope is not found in SubgraphBackendRegistry"):
        net().get_backend_symbol("nope")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(backend=3), "backend must be a string, got int"),
        (dict(args=[mx.nd.ones(2)]), "args must be a dict of str to NDArray"),
        (dict(aux={"m": np.ones(2)}), "aux must be a dict of str to NDArray"),
        (dict(ctx="cpu"), "ctx must be a Context, got str"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ArgumentTypeError, match=message):
        net().optimize_for(**{"backend": "MKLDNN", **arguments})
