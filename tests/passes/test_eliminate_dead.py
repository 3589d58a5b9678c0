"""Dead nodes go; everything known about the rest stays."""

from __future__ import annotations

import pytest

from symc.core.errors import GraphError
from symc.ir.graph import Graph, Node, Output
from symc.passes.eliminate_dead import eliminate_dead
from symc.passes.verify import verify

from .golden import changes, graph_of, keeps


def test_nodes_no_output_needs_are_dropped():
    changes(
        eliminate_dead,
        """
        argument %x: float32[2]
        argument %unused: float32[7]
        %a = exp(%x): float32[2]  group 3
        %b = sin(%x): float32[2]  group 4
        %c = cos(%b): float32[2]
        head a = %a
        """,
        """
        argument %x: float32[2]
        %a = exp(%x): float32[2]  group 3
        head a = %a
        """,
    )


def test_a_node_with_one_live_output_stays():
    keeps(
        eliminate_dead,
        """
        argument %x: float32[2, 4]
        %a = SliceChannel(%x, num_outputs=2): float32[2, 2], float32[2, 2]
        head a = %a:1
        """,
    )


def test_a_graph_without_dead_nodes_is_returned_itself():
    graph = graph_of("argument %x\nhead x = %x")
    assert eliminate_dead.run(graph, None) is graph


def test_an_output_nothing_computes_is_an_error():
    graph = Graph((), (Output("head", "y", Node(None, "x")[0]),))
    with pytest.raises(GraphError, match=r"^after eliminate_dead: output y is not computed by the graph$"):
        verify(graph, "eliminate_dead", frozenset())
