"""From Symbol to the compiler's graph."""

from __future__ import annotations

import symc as mx
from symc.symbol.graph import to_graph

var = mx.sym.var


def test_names_roles_outputs_and_origins():
    s = mx.sym.BatchNorm(mx.sym.FullyConnected(var("d"), num_hidden=3, no_bias=True, name="fc"), name="bn")
    graph = to_graph(mx.sym.Group([s, s.get_internals()["fc_output"]]), training=True)
    assert [(n.name, n.role) for n in graph.inputs] == [
        ("d", "argument"), ("fc_weight", "argument"), ("bn_gamma", "argument"), ("bn_beta", "argument"),
        ("bn_moving_mean", "aux"), ("bn_moving_var", "aux"),
    ]  # fmt: skip
    assert [(o.kind, o.name, str(o.value)) for o in graph.outputs] == [
        ("head", "bn_output", "%bn"), ("head", "fc_output", "%fc"),
    ]  # fmt: skip
    assert graph.training and all(n.origin.startswith(__file__) for n in graph.nodes)


def test_nodes_are_shared_as_in_the_symbol():
    x = var("x")
    e = mx.sym.exp(x, name="e")
    graph = to_graph(e * e)
    assert [n.name for n in graph.nodes[:2]] == ["x", "e"] and len(graph.nodes) == 3
    assert graph.nodes[2].inputs[0] == graph.nodes[2].inputs[1] == graph.nodes[1][0]


def test_given_and_own_facts():
    s = var("x", shape=(2, 0), dtype="float16") + var("y", shape=(0, 3))
    graph = to_graph(s, arg_shapes={"y": (None, 4), "x": (5, 6)}, arg_dtypes={"y": "float64"})
    x, y = (n[0] for n in graph.inputs)
    assert (graph.facts.shape[x], graph.facts.dtype[x]) == ((5, 6), "float16")
    assert (graph.facts.shape[y], graph.facts.dtype[y]) == ((None, 3), "float64")
