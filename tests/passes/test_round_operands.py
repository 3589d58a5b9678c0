"""Data and weights of layers become bfloat16 where that is asked for and the machine multiplies it."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent

import pytest

from symc.ir.text import graph_text
from symc.passes.round_operands import round_operands

from .golden import context, graph_of

LAYERS = """
    argument %x: float32[2, 6]
    parameter %w: float32[4, 6]
    parameter %v: float32[4, 6]
    parameter %b: float32[4]
    %y = FullyConnected(%x, %w, %b, num_hidden=4): float32[2, 4]
    %z = FullyConnected(%x, %v, num_hidden=4, no_bias=True): float32[2, 4]
    head y = %y
    head z = %z
    """


def rounded(text: str, **asked: bool) -> str:
    return graph_text(round_operands(graph_of(text), replace(context(), **{"rounds_operands": True, **asked})))


def test_layers_read_bfloat16():
    after = """
        argument %x: float32[2, 6]
        %y.bfloat16 = _bfloat16(%x): bfloat16[2, 6]
        parameter %w: float32[4, 6]
        %y.bfloat161 = _bfloat16(%w): bfloat16[4, 6]
        parameter %b: float32[4]
        %y = FullyConnected(%y.bfloat16, %y.bfloat161, %b, num_hidden=4): float32[2, 4]
        parameter %v: float32[4, 6]
        %z.bfloat16 = _bfloat16(%v): bfloat16[4, 6]
        %z = FullyConnected(%y.bfloat16, %z.bfloat16, num_hidden=4, no_bias=True): float32[2, 4]
        head y = %y
        head z = %z
        """
    assert rounded(LAYERS) == dedent(after).strip() + "\n"
    assert rounded(after) == rounded(LAYERS)


@pytest.mark.parametrize(
    "changed",
    [
        {"6": "5"},  # no pairs of channels
        {"parameter": "argument"},  # weights that any run may change
        {"float32": "float64"},
        {"float32": "float16"},
    ],
)
def test_others_stay(changed):
    text = LAYERS
    for old, new in changed.items():
        text = text.replace(old, new)
    assert "_bfloat16" not in rounded(text)


def test_it_must_be_asked_for():
    assert "_bfloat16" not in rounded(LAYERS, rounds_operands=False)


def test_a_machine_may_not_multiply_it(monkeypatch):
    monkeypatch.setattr(type(context().backend), "channels_together", staticmethod(lambda product, dtype: None))
    assert "_bfloat16" not in rounded(LAYERS)
