"""Texts of `mx.viz` against those of the real MXNet: summaries of networks to the character, DOT sources, errors."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import symc as mx
from symc import models
from symc.core.errors import MXNetError, ShapeError

from .record import RECORDED, SNIPPETS, result

ZOO = Path(__file__).parents[1] / "data" / "zoo"
TEXTS = json.loads(RECORDED.read_text())


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_as_recorded(snippet):
    assert result(mx, np, snippet) == TEXTS[snippet]


@pytest.mark.parametrize("path", sorted(ZOO.glob("*-summary.txt")), ids=lambda p: p.name)
def test_summary_of_a_network(path, capsys):
    model = models.get(path.name.removesuffix("-summary.txt"))
    mx.viz.print_summary(model.symbol, shape=dict(model.shapes))
    assert capsys.readouterr().out == path.read_text()


def test_summary_of_a_network_from_a_file(capsys):
    symbol = mx.sym.load(str(ZOO / "resnet-18-symbol.json"))
    assert mx.visualization.print_summary(symbol, {"data": (1, 3, 224, 224)}) is None
    out = capsys.readouterr().out
    assert out == (ZOO / "resnet-18-summary.txt").read_text() and "Total params: 11691950" in out


def test_a_vector_between_layers_has_no_channels(capsys):
    # MXNet ends with an IndexError here.
    x = mx.sym.sum(mx.sym.Variable("data"), axis=1, name="sum")
    mx.viz.print_summary(mx.sym.sqrt(x, name="sqrt"), shape={"data": (2, 3)})
    assert "sqrt(sqrt)" in capsys.readouterr().out


@pytest.mark.parametrize("function", [mx.viz.print_summary, mx.viz.plot_network])
def test_errors(function):
    data = mx.sym.Variable("data")
    conv = mx.sym.Convolution(data, kernel=(3, 3), num_filter=4, name="conv")
    with pytest.raises(TypeError, match="symbol must be"):
        function(3)
    with pytest.raises(ShapeError, match="conv"):
        function(conv, shape={"data": (1, 3)})
    with pytest.raises(MXNetError, match="nope"):
        function(conv, shape={"nope": (1, 3)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="Input shape is incomplete"):
            function(conv, shape={})


def test_equal_names_are_warned_of():
    net = mx.sym.FullyConnected(mx.sym.Variable("data"), name="fc", num_hidden=3)
    net = mx.sym.FullyConnected(mx.sym.relu(net), name="fc", num_hidden=2)
    with pytest.warns(RuntimeWarning, match="multiple variables with the same name.*fc"):
        plot = mx.viz.plot_network(net, shape={"data": (1, 2)})
    assert len(plot.picture.boxes) == 4  # the drawing keeps them apart
