"""Printed graphs parse back to graphs that print the same; anything else is an error that names the line."""

from __future__ import annotations

import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import symc.ops  # noqa: F401  (registers the operators)
from symc.core.dtypes import ITEM_SIZE
from symc.core.errors import FormatError
from symc.ir.graph import Facts, Graph, Layout, Node, Output, Value
from symc.ir.parse import KINDS, ROLES, parse_graph
from symc.ir.text import graph_text
from symc.ops.math.elementwise import Clip, Copy
from symc.passes.base import PassContext
from symc.passes.pipeline import Trace, run_passes

from ..passes.random_graphs import Example, examples
from ..passes.simulate import PlainBackend

many = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
names = st.one_of(st.sampled_from(["x", "fc1_weight", "a.b", "net0/c~1"]), st.text(max_size=6))


@many
@given(examples(n_nodes=6))
def test_every_stage_of_a_compilation_parses_back(example: Example) -> None:
    trace = Trace()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYMC_DUMP", "unused")
        run_passes(example.graph, PassContext(PlainBackend(), example.grad_req), trace)
    for text in [graph_text(example.graph), *(step.text for step in trace.stages)]:
        assert text and graph_text(parse_graph(text)) == text


@st.composite
def odd_graphs(draw) -> Graph:
    """Graphs with odd names, partial facts, layouts, groups, any roles and outputs."""
    values: list[Value] = []
    nodes: list[Node] = []
    for _ in range(draw(st.integers(1, 5))):
        if not values or draw(st.booleans()):
            node = Node(None, draw(names), role=draw(st.sampled_from(ROLES)))
        else:
            number = draw(st.floats())
            op = draw(st.sampled_from([Copy(), Clip(a_min=number, a_max=1e300)]))
            node = Node(op, draw(names), (draw(st.sampled_from(values)),))
        nodes.append(node)
        values.append(node[0])
    extent = st.one_of(st.none(), st.integers(0, 10**6))
    shapes = {v: tuple(draw(st.lists(extent, max_size=11))) for v in values if draw(st.booleans())}
    dtypes = {v: draw(st.sampled_from(sorted(ITEM_SIZE))) for v in values if draw(st.booleans())}
    layouts = {v: Layout(tuple(draw(st.permutations(range(len(s)))))) for v, s in shapes.items() if draw(st.booleans())}
    groups = {n: draw(st.integers(0, 99)) for n in nodes if n.op and draw(st.booleans())}
    outputs = draw(st.lists(st.builds(Output, st.sampled_from(KINDS), names, st.sampled_from(values)), max_size=3))
    return Graph(tuple(nodes), tuple(outputs), draw(st.booleans()), Facts(shapes, dtypes, layouts, groups))


@many
@given(odd_graphs())
def test_odd_graphs_parse_back(graph: Graph) -> None:
    text = graph_text(graph)
    found = parse_graph(text)
    assert graph_text(found) == text
    assert found.training == graph.training and len(found.nodes) == len(graph.nodes)
    new = dict(zip(graph.nodes, found.nodes))
    for node, copy in new.items():
        assert (copy.name, copy.role if copy.is_input else str(copy.op)) == (
            node.name, node.role if node.is_input else str(node.op)
        )  # fmt: skip
        assert [(new[v.node], v.index) for v in node.inputs] == list(copy.inputs)
        assert found.facts.shape.get(copy[0]) == graph.facts.shape.get(node[0])
        assert found.facts.dtype.get(copy[0]) == graph.facts.dtype.get(node[0])
        assert found.facts.group.get(copy) == graph.facts.group.get(node)
    assert [(o.kind, o.name) for o in found.outputs] == [(o.kind, o.name) for o in graph.outputs]


def test_what_needs_care_is_spelled_out() -> None:
    x, other = Node(None, "a b"), Node(None, "a b")
    y = Node(Clip(a_min=float("-inf"), a_max=float("nan")), "x=(1, 2)", (other[0],))
    graph = Graph((x, other, y), (Output("head", "y\n", y[0]),), True, Facts(shape={y[0]: (None, 3)}))
    assert graph_text(graph) == (
        "training\n"
        "argument %'a b'\n"
        "argument %'a b'#1\n"
        "%'x=(1, 2)' = clip(%'a b'#1, a_min=-inf, a_max=nan): ?[?, 3]\n"
        "head 'y\\n' = %'x=(1, 2)'\n"
    )


@pytest.mark.parametrize("text, message", [
    ("nonsense", "line 1: expected ' '"),
    ("input %x", "line 1: 'input' is neither a role (argument, parameter, aux, head_gradient, accumulator) nor an "
                 "output (head, gradient, update, check), at '%x'"),
    ("argument x", "line 1: expected '%', at 'x'"),
    ("argument %x: floaty[2]", "line 1: there is no dtype floaty"),
    ("argument %x: float32[2,3]", "line 1: '2,3' is no extent"),
    ("argument %x: float32[2] layout 10", "line 1: layout 10 does not order 1 axes"),
    ("argument %x: float32[2] more", "line 1: expected the end of the line, at ' more'"),
    ("argument %x\nargument %x", "line 2: %x is defined twice"),
    ("argument %x\n%y = exp(%z)", "line 2: %z is not defined above, at ')'"),
    ("argument %x\n%y = exp(%x:1)", "line 2: %x has 1 outputs; there is no output 1, at ')'"),
    ("argument %x\n%y = nothing(%x)", "line 2: there is no operator nothing"),
    ("argument %x\n%y = exp(%x, %x)", "line 2: exp has 2 inputs; expected 1: data"),
    ("argument %x\n%y = exp(%x", "line 2: expected ', '"),
    ("argument %x\n%y = clip(%x, a_min=1.0)", "line 2: Required parameter a_max of float is not presented"),
    ("argument %x\n%y = clip(%x, a_min=open('f'), a_max=1)", "line 2: \"open('f')\" is no literal"),
    ("argument %x\n%y = clip(%x, a_min=(1, a_max=1", "line 2: the parameter does not end"),
    ("argument %x\n%y = clip(%x, a_min=1, a_min=1)", "line 2: parameter a_min is given twice"),
    ("argument %x\n%y = _copy(%x): float32[2]  group x", "line 2: expected a group, at 'x'"),
    ("argument %x\nhead = %x", "line 2: expected a name, at '= %x'"),
    ("argument %x\ntraining", "line 2: expected ' '"),
    ("argument %'x", "line 1: expected a name"),
])  # fmt: skip
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(FormatError) as e:
        parse_graph(text)
    assert str(e.value).startswith(f"graph text, {message}"), str(e.value)


@many
@given(st.data())
def test_damaged_text_is_an_error_or_a_graph(data) -> None:
    text = (
        "training\nargument %x: float32[2, 3]\n"
        "%y = clip(%x, a_min=0.0, a_max=(1.0)): float32[2, 3] layout 10  group 0\nhead y = %y\n"
    )
    at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 9))
    damaged = text[:at] + data.draw(st.text(max_size=5)) + text[at + length :]
    try:
        parse_graph(damaged)
    except FormatError as e:
        assert "line" in str(e)  # noqa: PT017


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(FormatError, match=r"line 2: '\(\(\(.*is no literal"):
        parse_graph("argument %x\n%y = clip(%x, a_min=" + "(" * 10**5 + ")" * 10**5 + ", a_max=1)")
