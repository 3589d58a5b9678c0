"""Arguments are parameters when every use is a slot that holds trained values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from symc.core.errors import GraphError
from symc.ir.graph import Graph, Node, Output
from symc.ops.math.elementwise import Copy
from symc.passes.mark_parameters import mark_parameters
from symc.passes.verify import verify

from .golden import changes, context, graph_of, keeps


def test_weights_are_parameters_and_data_is_not():
    changes(
        mark_parameters,
        """
        argument %x: float32[2, 3]
        argument %w: float32[4, 3]
        argument %b: float32[4]
        %y = FullyConnected(%x, %w, %b, num_hidden=4): float32[2, 4]
        head y = %y
        """,
        """
        argument %x: float32[2, 3]
        parameter %w: float32[4, 3]
        parameter %b: float32[4]
        %y = FullyConnected(%x, %w, %b, num_hidden=4): float32[2, 4]
        head y = %y
        """,
    )


def test_views_are_looked_through():
    parameters = """
        {} %w: float32[3, 4]
        {} %rest: float32[15]
        %flat = Reshape(%w, shape=(-1,)): float32[12]
        %y = _rnn_param_concat(%flat, %rest, num_args=2, dim=0): float32[27]
        head y = %y
        """
    changes(mark_parameters, parameters.format("argument", "argument"), parameters.format("parameter", "parameter"))


def test_a_weight_with_a_view_for_a_head_is_not_a_parameter():
    keeps(
        mark_parameters,
        """
        argument %x
        argument %w
        %v = Reshape(%w, shape=(4, -1))
        %y = FullyConnected(%x, %v, num_hidden=4, no_bias=True)
        head v = %v
        head y = %y
        """,
    )


def test_a_weight_that_is_also_data_is_not_a_parameter():
    keeps(
        mark_parameters,
        """
        argument %x
        argument %w
        %y = FullyConnected(%x, %w, num_hidden=4, no_bias=True)
        %z = FullyConnected(%y, %w, num_hidden=4, no_bias=True)
        %v = exp(%w)
        head z = %z
        head v = %v
        """,
    )


def test_an_argument_nobody_reads_is_not_a_parameter():
    keeps(mark_parameters, "argument %x\nhead x = %x")


def test_a_parameter_that_is_a_head_stays_one():
    graph = changes(
        mark_parameters,
        """
        argument %x
        argument %w
        %y = FullyConnected(%x, %w, num_hidden=4, no_bias=True)
        head w = %w
        head y = %y
        """,
        """
        argument %x
        parameter %w
        %y = FullyConnected(%x, %w, num_hidden=4, no_bias=True)
        head w = %w
        head y = %y
        """,
    )
    verify(graph, "mark_parameters", frozenset())


def test_a_missing_input_is_an_error():
    node = Node(Copy(), "y")
    with pytest.raises(GraphError, match=r"^after mark_parameters: _copy y has 0 inputs, expected \('data',\)$"):
        verify(Graph((node,), (Output("head", "y", node[0]),)), "mark_parameters", frozenset())


def test_where_nothing_rarely_changes_all_inputs_are_arguments():
    graph = graph_of(
        """
        argument %x: float32[2, 3]
        argument %g: float32[3]
        argument %b: float32[3]
        aux %m: float32[3]
        aux %v: float32[3]
        %y = BatchNorm(%x, %g, %b, %m, %v): float32[2, 3], float32[3], float32[3]
        head y = %y
        """
    )
    marked = mark_parameters(graph, replace(context(), has_parameters=False))
    assert {node.role for node in marked.inputs} == {"argument"}
    assert marked.facts.shape.keys() == {n[k] for n in marked.nodes for k in range(n.n_outputs)}
