"""Every invariant of a graph has a graph that breaks it, and a text that says so."""

from __future__ import annotations

import pytest

from symc.core.errors import GraphError
from symc.ir.graph import Graph, Node, Output, Value
from symc.ir.op import Op, op
from symc.ops.math.elementwise import Copy
from symc.passes.verify import Verifier, verify

from .golden import graph_of

NOTHING: frozenset[str] = frozenset()
asked: list[str] = []


@op("_test_asked")
class Asked(Op):
    """Notes each time its inference is asked for."""

    is_internal = True

    def infer_shape(self, ins, outs):
        asked.append("shape")
        return super().infer_shape(ins, outs)


def graph(*nodes: Node) -> Graph:
    return Graph(nodes, (Output("head", "y", nodes[-1][0]),))


def test_nodes_come_after_their_inputs():
    x = Node(None, "x")
    y = Node(Copy(), "y", (x[0],))
    verify(graph(x, y), "mine", NOTHING)
    with pytest.raises(GraphError, match=r"^after mine: node y comes before its input %x$"):
        verify(Graph((y, x), (Output("head", "y", y[0]),)), "mine", NOTHING)


def test_outputs_exist():
    x = Node(None, "x")
    with pytest.raises(GraphError, match=r"^after mine: node y reads output 1 of x$"):
        verify(graph(x, Node(Copy(), "y", (Value(x, 1),))), "mine", NOTHING)


def test_operators_have_their_inputs():
    x = Node(None, "x")
    with pytest.raises(GraphError, match=r"^after mine: _copy y has 2 inputs, expected \('data',\)$"):
        verify(graph(x, Node(Copy(), "y", (x[0], x[0]))), "mine", NOTHING)
    with pytest.raises(GraphError, match=r"^after mine: argument z has 1 inputs, expected \(\)$"):
        verify(graph(x, Node(None, "z", (x[0],))), "mine", NOTHING)


@pytest.mark.parametrize("types", ["", ": float32", ": ?[2]", ": float32[2, ?]"])
def test_shapes_and_dtypes_are_known(types):
    with pytest.raises(GraphError, match=r"^after mine: shape or dtype of %x is not known: "):
        verify(graph_of(f"argument %x{types}\nhead x = %x"), "mine")


def test_shapes_are_those_the_operator_gives():
    wrong = graph_of("argument %x: float32[2, 3]\n%y = transpose(%x): float32[2, 3]\nhead y = %y")
    with pytest.raises(GraphError, match=r"^after mine: facts of transpose y do not hold: Shape inconsistent"):
        verify(wrong, "mine")


def test_a_node_is_asked_once_until_something_around_it_changes():
    first = graph_of("argument %x: float32[2]\n%y = _test_asked(%x): float32[2]\n%z = exp(%y): float32[2]\nhead z = %z")
    verifier = Verifier()
    asked.clear()
    for after in ("one", "two"):
        verifier.verify(first, after)
    assert asked == ["shape"]
    y = first.nodes[1]
    verifier.verify(first.with_facts(dtype=dict.fromkeys(first.facts.dtype, "float64")), "three")
    assert asked == ["shape"] * 2
    with pytest.raises(GraphError, match=r"^after four: facts of _test_asked y do not hold: "):
        verifier.verify(first.with_facts(shape={**first.facts.shape, y[0]: (3,)}), "four")


def test_a_graph_that_a_pass_returned_as_it_was_is_looked_at_again_only_where_more_is_known():
    wrong = graph_of("argument %x: float32[2]\n%y = _copy(%x): float32[3]\nhead y = %y")
    verifier = Verifier()
    verifier.verify(wrong, "one", NOTHING)
    with pytest.raises(GraphError, match=r"^after two: facts of _copy y do not hold: "):
        verifier.verify(wrong, "two")
    right = graph_of("argument %x: float32[2]\n%y = _copy(%x): float32[2]\nhead y = %y")
    verifier.verify(right, "three")
    right.facts.shape[right.nodes[1][0]] = (3,)  # which no pass may do
    verifier.verify(right, "four")
    with pytest.raises(GraphError, match=r"^after five: "):
        verifier.verify(right.with_facts(), "five")
