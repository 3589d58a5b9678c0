"""A node that holds a body: text, inference, verification, dead nodes, gradients and programs go through it."""

from __future__ import annotations

import numpy as np
import pytest

from symc.context import cpu
from symc.core.errors import FormatError, GraphError, ShapeError
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Facts, Graph, Node, Output
from symc.ir.infer import infer_dtype, infer_shape
from symc.ir.parse import parse_graph
from symc.ir.text import graph_text
from symc.ops.control.call import Call
from symc.passes.eliminate_dead import eliminate_dead
from symc.passes.expand import expand
from symc.passes.gradient import gradient
from symc.passes.verify import verify
from symc.runtime.function import GraphFunction

from ...passes.golden import changes, context, graph_of

NESTED = """
argument %x: float32[2, 3]
argument %w
%y = _call(%x, %w, wanted=(0, 1))
  body
    argument %data
    argument %weight
    %h = FullyConnected(%data, %weight, num_hidden=4, no_bias=True)
    %z = _call(%h)
      body
        argument %a
        %b = exp(%a)
        head out = %b
    head first = %z
    head second = %h
head y = %y:1
"""


def test_text_parses_back():
    graph = graph_of(NESTED)
    assert graph_text(graph) == NESTED.lstrip()
    (inner,) = graph.nodes[-1].bodies
    assert [n.name for n in inner.inputs] == ["data", "weight"] and inner.nodes[-1].bodies[0].nodes[1].name == "b"
    assert graph.nodes[-1].operator.result_names() == ("first", "second") and graph.nodes[0].bodies == ()


@pytest.mark.parametrize(
    "text, message",
    [
        ("argument %x\n%y = _call(%x)\nhead y = %y", "line 2: _call has 0 bodies; expected 1"),
        ("argument %x\n%y = exp(%x)\n  body\n    argument %a\nhead y = %y", "line 2: exp has 1 bodies; expected 0"),
        ("argument %x\n%y = _call(%x)\n    argument %a\nhead y = %y", "line 2: what is indented below a node"),
        ("argument %x\n%y = _call(%x)\n  body\n   argument %a\nhead y = %y", "line 2: what is indented below a node"),
        ("argument %x\n%y = _call(%x)\n  body\n    argument %a\n    %b = nope(%a)\nhead y = %y", "line 5: there is no"),
        ("argument %x\n  body\nhead y = %x", "line 2: expected a role"),
        ("".join("    " * k + "%y = _call()\n" + "    " * k + "  body\n" for k in range(40)), "more than 16 deep"),
    ],
)
def test_damaged_bodies_are_errors_that_name_the_line(text, message):
    with pytest.raises(FormatError, match=message):
        parse_graph(text)


def test_inference_goes_through_in_both_directions():
    graph = infer_dtype(infer_shape(graph_of(NESTED)))
    assert graph.shape(graph.nodes[1][0]) == (4, 3)  # the weight, from what the body does with it
    assert [graph.shape(graph.nodes[-1][k]) for k in range(2)] == [(2, 4), (2, 4)]
    assert graph.dtype(graph.nodes[1][0]) == "float32"
    with pytest.raises(ShapeError, match="Error in operator y"):
        infer_shape(graph_of(NESTED.replace("argument %w\n", "argument %w: float32[4, 2]\n", 1)))


def test_dead_nodes_of_bodies_go_and_their_inputs_stay():
    changes(
        eliminate_dead,
        """
        argument %x: float32[2]
        %y = _call(%x, %x): float32[2]
          body
            argument %a
            argument %unused
            %b = exp(%a)
            %c = sin(%a)
            head out = %b
        head y = %y
        """,
        """
        argument %x: float32[2]
        %y = _call(%x, %x): float32[2]
          body
            argument %a
            argument %unused
            %b = exp(%a)
            head out = %b
        head y = %y
        """,
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda body: Graph(tuple(reversed(body.nodes)), body.outputs), "comes before its input"),
        (lambda body: Graph(body.nodes, (Output("update", "a", body.nodes[-1][0]),)), "bodies have heads alone"),
        (lambda body: Graph(body.nodes, body.outputs, training=True), "training is True, around it False"),
        (lambda body: Graph(body.nodes[:1], body.outputs), "is not computed by the graph"),
    ],
)
def test_the_verifier_looks_into_bodies(change, message):
    body = "  body\n    argument %a\n    %b = exp(%a)\n    head o = %b\n"
    graph = graph_of("argument %x: float32[2]\n%y = _call(%x): float32[2]\n" + body + "head y = %y")
    verify(graph, "mine")
    x, y = graph.nodes
    broken = Node(y.operator.with_bodies((change(y.bodies[0]),)), "y", (x[0],))
    with pytest.raises(GraphError, match=f"after mine, in a body of y: .*{message}"):
        verify(Graph((x, broken), (Output("head", "y", broken[0]),), facts=graph.facts), "mine", frozenset())
    with pytest.raises(GraphError, match="has 0 bodies"):
        verify(Graph((x, Node(Call(), "y", ())), ()), "mine", frozenset())


def test_expansion_puts_the_body_in_place_of_its_node():
    changes(
        expand,
        """
        argument %x: float32[2]
        %y = _call(%x): float32[2], float32[2]
          body
            argument %a
            %b = exp(%a)
            %c = sin(%b)
            head first = %a
            head second = %c
        %z = elemwise_add(%y, %y:1): float32[2]
        head z = %z
        """,
        """
        argument %x: float32[2]
        %y.b = exp(%x): float32[2]
        %y.c = sin(%y.b): float32[2]
        %z = elemwise_add(%x, %y.c): float32[2]
        head z = %z
        """,
    )


def body_of(make) -> Graph:
    """A body with inputs a and b of shape (2, 3)."""
    g = GraphBuilder()
    inputs = [g.input(n, (2, 3), "float64") for n in "ab"]
    heads = [Output("head", str(k), v) for k, v in enumerate(make(g, *inputs))]
    return Graph.of(heads, inputs=[v.node for v in inputs])


def test_gradients_and_programs_go_through():
    """d = exp(a) * b and s = a + b, of which d is used twice: both arguments get sums over both heads."""
    body = body_of(lambda g, a, b: [g("elemwise_mul", g("exp", a), b), g("elemwise_add", a, b)])
    g = GraphBuilder()
    x = g.input("x", (2, 3), "float64")
    node = g.apply(Call(bodies=(body,), wanted=(0, 1)), [x, g("sin", x)])
    y = g("elemwise_mul", g("elemwise_mul", node[0], node[0]), node[1])
    function = GraphFunction(Graph.of([Output("head", "y", y)], facts=Facts(g.shapes, g.dtypes)), cpu().device, ["x"])
    at, out, head = (np.random.default_rng(0).normal(size=(2, 3)) for _ in range(3))
    found = np.zeros((2, 3))
    instance = function.forward([at.ctypes.data], [out.ctypes.data])
    function.backward(instance, [head.ctypes.data], [found.ctypes.data])

    def value(v: np.ndarray) -> np.ndarray:
        return (np.exp(v) * np.sin(v)) ** 2 * (v + np.sin(v))

    np.testing.assert_allclose(out, value(at), rtol=1e-12)
    slope = (value(at + 1e-6) - value(at - 1e-6)) / 2e-6
    np.testing.assert_allclose(found, slope * head, rtol=1e-6, atol=1e-9)


def test_an_unwanted_input_gets_no_gradient():
    text = """
        argument %x: float32[2]
        argument %w: float32[2]
        %y = _call(%x, %w, wanted=(1,)): float32[2]
          body
            argument %a: float32[2]
            argument %b: float32[2]
            %c = elemwise_mul(%a, %b): float32[2]
            head out = %c
        head y = %y
        """
    found = gradient(graph_of(text), context({"x": "write", "w": "write"}))
    by_name = {o.name: o.value.node.operator.name for o in found.outputs if o.kind == "gradient"}
    assert by_name == {"x": "_full", "w": "elemwise_mul"}
