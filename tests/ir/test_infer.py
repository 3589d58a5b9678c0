"""The inference passes on the compiler's graph: both directions, partial facts, errors, linear time."""

from __future__ import annotations

import pytest

import symc as mx
from symc.core.errors import DTypeError, ShapeError
from symc.ir.graph import Graph, Node, Output
from symc.ir.infer import infer_dtype, infer_shape, partial_dtypes, partial_shapes
from symc.ir.op import Op, op
from symc.symbol.graph import to_graph

var = mx.sym.var
calls = []


@op("_test_counted")
class Counted(Op):
    """One input, one output, equal shapes; counts how often it is asked."""

    is_internal = True

    def infer_shape(self, ins, outs):
        calls.append(self)
        return super().infer_shape(ins, outs)


def chain(n_nodes, known_at):
    """x -> n_nodes of Counted; the shape is known at one node's output."""
    values = [Node(None, "x")[0]]
    for i in range(n_nodes):
        values.append(Node(Counted(), f"n{i}", (values[-1],))[0])
    return Graph.of([Output("head", "y", values[-1])]).with_facts(shape={values[known_at]: (2, 3)}), values


def facts_by_name(graph, table):
    return {v.node.name: fact for v, fact in getattr(graph.facts, table).items()}


def test_facts_are_added_and_the_input_is_unchanged():
    graph = to_graph(mx.sym.FullyConnected(var("x"), num_hidden=3, name="y"), arg_shapes={"x": (2, 5)})
    found = infer_dtype(infer_shape(graph))
    assert facts_by_name(found, "shape") == {"x": (2, 5), "y_weight": (3, 5), "y_bias": (3,), "y": (2, 3)}
    assert set(facts_by_name(found, "dtype").values()) == {"float32"}
    assert found.nodes is graph.nodes and facts_by_name(graph, "shape") == {"x": (2, 5)}
    assert infer_shape(found).facts.shape == found.facts.shape


@pytest.mark.parametrize("known_at", [0, 1000, 2000])
def test_work_is_linear_wherever_the_fact_is(known_at):
    calls.clear()
    graph, values = chain(2000, known_at)
    shapes = partial_shapes(graph)
    assert all(shapes[v] == (2, 3) for v in values) and len(calls) <= 2 * 2000


def test_facts_meet_in_the_middle():
    x, y = var("x"), var("y")
    graph = to_graph(mx.sym.exp(x + y, name="e"), arg_shapes={"x": (2, None, None), "y": (None, 3, None)})
    head = graph.outputs[0].value
    assert partial_shapes(graph)[head] == (2, 3, None)
    complete = partial_shapes(graph.with_facts(shape={**graph.facts.shape, head: (2, 3, 4)}))
    assert set(complete.values()) == {(2, 3, 4)}


def test_undecided_shapes_name_the_arguments():
    graph = to_graph(mx.sym.FullyConnected(var("x"), num_hidden=3, name="y"), arg_shapes={"x": (None, 5)})
    with pytest.raises(ShapeError, match=r"InferShape pass cannot decide shapes .*\nx: \[-1,5\]$"):
        infer_shape(graph)


def test_contradictions_name_node_operator_inputs_and_line():
    s = mx.sym.FullyConnected(var("x"), num_hidden=3, name="y")
    with pytest.raises(ShapeError) as e:
        infer_shape(to_graph(s, arg_shapes={"x": (2, 5), "y_weight": (3, 6)}))
    lines = str(e.value).split("\n")
    assert lines[0].startswith("Error in operator y: Shape inconsistent, Provided = [3,6], inferred shape=")
    assert lines[1:3] == [
        "  operator: FullyConnected(num_hidden=3)",
        "  inputs: data (x) [2,5], weight (y_weight) [3,6], bias (y_bias) unknown",
    ]
    assert lines[3].startswith(f"  made at: {__file__}:")
    with pytest.raises(DTypeError, match=r"Error in operator y: .*\n.*\n  inputs: data \(x\) float16, weight"):
        infer_dtype(to_graph(s, arg_dtypes={"x": "float16", "y_weight": "float32"}))


def test_a_wrong_number_of_inputs_is_an_error():
    y = Node(Counted(), "y")
    with pytest.raises(ShapeError, match=r"Error in operator y: expected 1 inputs \(data\), got 0"):
        infer_shape(Graph.of([Output("head", "y", y[0])]))


def test_only_undecided_inputs_get_the_default_dtype():
    a, b, c = var("a"), var("b"), var("c")
    graph = to_graph(mx.sym.Group([mx.sym.exp(a), mx.sym.exp(b) + c]), arg_dtypes={"c": "float16"})
    assert {v.node.name for v in partial_dtypes(graph)} == {"b", "c", *(n.name for n in graph.nodes if n.name[0] in "_e"
                                                            and n.inputs[0].node.name != "a")}  # fmt: skip
    dtypes = facts_by_name(infer_dtype(graph), "dtype")
    assert (dtypes["a"], dtypes["b"], dtypes["c"]) == ("float32", "float16", "float16")
