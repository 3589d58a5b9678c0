"""Rows of a batch: which inputs an operator reads row by row, and when it does more than that."""

from __future__ import annotations

import pytest

from symc.passes.by_row import by_row

from .golden import graph_of

IMAGES = "argument %x: float32[4, 4, 6, 6]\n"
ROWS = "argument %x: float32[4, 4]\n"
WEIGHT = "argument %w: float32[4, 4, 3, 3]\n"
TWO = ROWS + "argument %t: float32[4, 4]\n"


def said(text: str):
    graph = graph_of(text + "head y = %y\n")
    return by_row(graph, graph.nodes[-1])


@pytest.mark.parametrize(
    "text, data",
    [
        (ROWS + "%y = exp(%x): float32[4, 4]\n", "x"),
        (ROWS + "%y = Reshape(%x, shape=(4, 2, 2)): float32[4, 2, 2]\n", "x"),
        (ROWS + "%y = slice_axis(%x, axis=1, begin=1, end=3): float32[4, 2]\n", "x"),
        (TWO + "%y = elemwise_add(%x, %t): float32[4, 4]\n", "t x"),
        (TWO + "%y = Concat(%x, %t, num_args=2): float32[4, 8]\n", "t x"),
        (TWO + "%y = dot(%x, %t): float32[4, 4]\n", "x"),
        (TWO + "%y = dot(%x, %t, transpose_b=True): float32[4, 4]\n", "x"),
        (ROWS + "argument %b: float32[1, 4]\n%y = broadcast_add(%x, %b): float32[4, 4]\n", "x"),
        (TWO + "argument %b: float32[4]\n%y = FullyConnected(%x, %t, %b, num_hidden=4): float32[4, 4]\n", "x"),
        (IMAGES + "%y = Pooling(%x, kernel=(3, 3), pool_type='max'): float32[4, 4, 4, 4]\n", "x"),
        (
            IMAGES
            + WEIGHT
            + "%y = Convolution(%x, %w, kernel=(3, 3), num_filter=4, no_bias=True): float32[4, 4, 4, 4]\n",
            "x",
        ),
        (IMAGES + WEIGHT + "%y = Deconvolution(%x, %w, kernel=(3, 3), num_filter=4): float32[4, 4, 8, 8]\n", "x"),
        (ROWS + "%y = sum(%x, axis=(1,)): float32[4]\n", "x"),
    ],
)
def test_inputs_read_row_by_row(text, data):
    row = said(text)
    assert row is not None
    assert sorted(v.node.name for v in row.data) == data.split()


@pytest.mark.parametrize(
    "text",
    [
        ROWS + "%y = sum(%x, axis=(0,)): float32[4]\n",
        ROWS + "%y = transpose(%x): float32[4, 4]\n",
        ROWS + "%y = reverse(%x, axis=(0,)): float32[4, 4]\n",
        ROWS + "%y = dot(%x, %x): float32[4, 4]\n",
        ROWS + "%y = Reshape(%x, shape=(2, 8)): float32[2, 8]\n",
        ROWS + "%y = Concat(%x, %x, num_args=2, dim=0): float32[8, 4]\n",
        ROWS + "%y = random_normal(shape=(4, 4)): float32[4, 4]\n",
        TWO + "%y = dot(%x, %t, transpose_a=True): float32[4, 4]\n",
        TWO + "%y = take(%x, %t): float32[4, 4, 4]\n",
        "argument %x: float32[4, 1]\n%y = broadcast_to(%x, shape=(4, 3)): float32[4, 3]\n",
        "argument %x: float32[1, 4]\n%y = exp(%x): float32[1, 4]\n",
    ],
)
def test_what_needs_more_than_a_row(text):
    assert said(text) is None
