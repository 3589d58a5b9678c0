"""Strides of pointwise layers move up to the layer that computes their input, and only where all readers agree."""

from __future__ import annotations

import numpy as np
import pytest

from symc.passes.move_strides import move_strides

from .golden import changes, context, graph_of, keeps
from .reference import forward

BLOCK = """
argument %x: float32[1, 3, 5, 4]
parameter %v: float32[2, 3, 1, 1]
argument %r: float32[1, 2, 5, 4]
parameter %w: float32[3, 2, 1, 1]
%a = Convolution(%x, %v, kernel=(1, 1), num_filter=2, no_bias=True): float32[1, 2, 5, 4]
%b = elemwise_add(%a, %r): float32[1, 2, 5, 4]
%y = Convolution(%b, %w, kernel=(1, 1), stride=(2, 2), num_filter=3, no_bias=True): float32[1, 3, 3, 2]
head y = %y
"""

MOVED = """
argument %x: float32[1, 3, 5, 4]
parameter %v: float32[2, 3, 1, 1]
%a = Convolution(%x, %v, kernel=(1, 1), stride=(2, 2), num_filter=2, no_bias=True): float32[1, 2, 3, 2]
argument %r: float32[1, 2, 5, 4]
%b.slice = slice(%r, begin=(0, 0, 0, 0), end=(None, None, None, None), step=(1, 1, 2, 2)): float32[1, 2, 3, 2]
%b = elemwise_add(%a, %b.slice): float32[1, 2, 3, 2]
parameter %w: float32[3, 2, 1, 1]
%y = Convolution(%b, %w, kernel=(1, 1), stride=(1, 1), num_filter=3, no_bias=True): float32[1, 3, 3, 2]
head y = %y
"""


def test_the_stride_moves_through_elementwise_operators():
    changes(move_strides, BLOCK, MOVED)


CHAIN = """
argument %x: float32[1, 2, 6, 5]
parameter %u: float32[2, 2, 3, 3]
%a = Convolution(%x, %u, kernel=(3, 3), pad=(1, 1), num_filter=2, no_bias=True): float32[1, 2, 6, 5]
%r = relu(%a): float32[1, 2, 6, 5]
parameter %v: float32[2, 2, 1, 1]
%b = Convolution(%r, %v, kernel=(1, 1), num_filter=2, no_bias=True): float32[1, 2, 6, 5]
parameter %w: float32[3, 2, 1, 1]
%y = Convolution(%b, %w, kernel=(1, 1), stride=(2, 2), num_filter=3, no_bias=True): float32[1, 3, 3, 3]
head y = %y
"""


def test_a_wide_layer_before_a_pointwise_one_takes_the_stride():
    changes(
        move_strides,
        CHAIN,
        """
        argument %x: float32[1, 2, 6, 5]
        parameter %u: float32[2, 2, 3, 3]
        %a = Convolution(%x, %u, kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=2, no_bias=True): {thin}
        %r = relu(%a): float32[1, 2, 3, 3]
        parameter %v: float32[2, 2, 1, 1]
        %b = Convolution(%r, %v, kernel=(1, 1), stride=(1, 1), num_filter=2, no_bias=True): float32[1, 2, 3, 3]
        parameter %w: float32[3, 2, 1, 1]
        %y = Convolution(%b, %w, kernel=(1, 1), stride=(1, 1), num_filter=3, no_bias=True): float32[1, 3, 3, 3]
        head y = %y
        """.format(thin="float32[1, 2, 3, 3]"),
    )


@pytest.mark.parametrize("text", [BLOCK, CHAIN])
def test_the_result_is_the_same(text):
    rng = np.random.default_rng(0)
    graph = graph_of(text)
    feeds = {n.name: rng.normal(size=graph.shape(n[0])).astype("float32") for n in graph.inputs}
    results = [forward(g, feeds) for g in (graph, move_strides(graph, context()))]
    (a,), (b,) = ([arrays[v] for v in arrays if v.node.name == "y"] for arrays in results)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_value_somebody_reads_as_a_whole_is_computed_as_a_whole():
    keeps(move_strides, BLOCK + "head b = %b\n")


def test_a_wider_kernel_reads_between_the_steps():
    keeps(move_strides, BLOCK.replace("%w: float32[3, 2, 1, 1]", "%w: float32[3, 2, 3, 3]").replace(
        "%y = Convolution(%b, %w, kernel=(1, 1), stride=(2, 2),",
        "%y = Convolution(%b, %w, kernel=(3, 3), stride=(2, 2), pad=(1, 1),",
    ))  # fmt: skip


def test_without_a_layer_above_nothing_is_gained():
    keeps(
        move_strides,
        """
        argument %x: float32[1, 2, 4, 4]
        %b = exp(%x): float32[1, 2, 4, 4]
        parameter %w: float32[3, 2, 1, 1]
        %y = Convolution(%b, %w, kernel=(1, 1), stride=(2, 2), num_filter=3, no_bias=True): float32[1, 3, 2, 2]
        head y = %y
        """,
    )
