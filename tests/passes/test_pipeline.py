"""The runner holds every pass to its contract, verifies what it leaves, and takes passes of users."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentTypeError, GraphError
from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import FACTS, Graph
from symc.ir.text import graph_text
from symc.passes import pipeline
from symc.passes.base import Pass, graph_pass
from symc.passes.pipeline import PASSES, Trace, lower_graph, register_pass, run_passes, unregister_pass

from .golden import context, graph_of

TEXT = """
argument %x: float32[2, 3]
argument %w
%y = FullyConnected(%x, %w, num_hidden=4, no_bias=True)
%z = relu(%y)
head z = %z
"""


@pytest.fixture(autouse=True)
def _no_user_passes(monkeypatch):
    monkeypatch.setattr(pipeline, "_USER_PASSES", [])


def run(*passes: Pass, monkeypatch, text: str = TEXT) -> Graph:
    """Runs a list of passes instead of the compiler's."""
    monkeypatch.setattr(pipeline, "PASSES", passes)
    return run_passes(graph_of(text), context(), Trace())


def named(name: str) -> Pass:
    return next(p for p in PASSES if p.name == name)


def test_the_list_keeps_every_contract():
    known: frozenset[str] = frozenset()
    for p in PASSES:
        assert p.requires <= known, p.name
        known = (known & p.keeps) | p.provides
    assert known == set(FACTS)


def test_every_pass_says_what_it_changes():
    for p in PASSES:
        assert p.run.__doc__ and p.run.__name__ == p.name
        shows = "before:" in p.run.__doc__ and "after:" in p.run.__doc__
        assert shows or p.name.startswith("infer"), p.name


def test_steps_are_traced():
    trace = Trace()
    lower_graph(graph_of(TEXT), context(), trace)
    assert [s.name for s in trace.stages] == [*(p.name for p in PASSES), "lower", "plan_memory"]
    assert all(s.time_s > 0 and s.n_nodes > 0 and s.text == "" for s in trace.stages)


def test_steps_are_kept_as_text_when_dumping(monkeypatch, tmp_path):
    monkeypatch.setenv("SYMC_DUMP", str(tmp_path))
    trace = Trace()
    result = run_passes(graph_of(TEXT), context(), trace)
    assert trace.stages[-1].text == graph_text(result)


# -- contracts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [p for p in PASSES if p.requires], ids=lambda p: p.name)
def test_a_required_fact_must_be_provided(p, monkeypatch):
    missing = ", ".join(sorted(p.requires))
    with pytest.raises(GraphError, match=rf"^pass {p.name} needs {missing}; run the pass that provides it first$"):
        run(p, monkeypatch=monkeypatch)


def test_a_fact_that_is_not_kept_is_gone(monkeypatch):
    @graph_pass(requires=(), keeps=("dtype",))
    def forget(graph, context):
        return graph

    infer = [named("infer_shape"), named("infer_dtype")]
    assert run(*infer, forget, monkeypatch=monkeypatch).facts.shape == {}
    with pytest.raises(GraphError, match=r"^pass simplify needs shape; run the pass that provides it first$"):
        run(*infer, forget, named("simplify"), monkeypatch=monkeypatch)


@pytest.mark.parametrize("fact, text", [
    ("shape", "shape or dtype of %x is not known"),
    ("layout", r"layout of %x is None, its shape \(2, 3\)"),
    ("group", "FullyConnected y belongs to no group"),
])  # fmt: skip
def test_a_fact_that_is_promised_must_be_there(fact, text, monkeypatch):
    def promise(graph, context):
        return graph.with_facts(**{fact: {}})

    broken = Pass("promise", promise, frozenset(), frozenset([fact]), frozenset(FACTS))
    with pytest.raises(GraphError, match=rf"^after promise: {text}"):
        run(named("infer_shape"), named("infer_dtype"), broken, monkeypatch=monkeypatch)


def test_every_pass_is_verified(monkeypatch):
    @graph_pass()
    def break_it(graph, context):
        return graph.with_facts(shape={**graph.facts.shape, graph.outputs[0].value: (7, 7)})

    passes = [named("infer_shape"), named("infer_dtype"), break_it]
    with pytest.raises(GraphError, match=r"^after break_it: facts of relu z do not hold: "):
        run(*passes, monkeypatch=monkeypatch)
    monkeypatch.setenv("SYMC_VERIFY", "0")
    run(*passes, monkeypatch=monkeypatch)


# -- passes of users ------------------------------------------------------------------------------------------------


@graph_pass()
def relu_to_tanh(graph, context):
    """Replaces relu by tanh.

    before:  %y = relu(%x)
    after:   %y = tanh(%x)
    """

    def rule(g: GraphBuilder, node, inputs):
        return [g("tanh", *inputs)] if node.op.name == "relu" else None

    return rewrite(graph, rule)


def test_a_users_pass_runs_in_front_of_a_named_one():
    register_pass(relu_to_tanh, before="assign_layout")
    trace = Trace()
    graph = run_passes(graph_of(TEXT), context(), trace)
    names = [s.name for s in trace.stages]
    assert names.index("relu_to_tanh") == names.index("assign_layout") - 1
    assert "tanh(" in graph_text(graph) and "relu(" not in graph_text(graph)


def test_a_users_pass_runs_once_in_front_of_a_pass_that_runs_twice():
    register_pass(relu_to_tanh, before="simplify")
    trace = Trace()
    run_passes(graph_of(TEXT), context(), trace)
    assert [s.name for s in trace.stages].count("relu_to_tanh") == 1
    assert [s.name for s in trace.stages].count("simplify") == 2


def test_users_passes_keep_their_order():
    register_pass(relu_to_tanh, before="fuse")
    register_pass(named("eliminate_dead"), before="fuse")
    trace = Trace()
    with pytest.raises(GraphError, match=r"^pass fuse needs"):
        # eliminate_dead keeps all; relu_to_tanh drops the layout that fuse needs
        run_passes(graph_of(TEXT), context(), trace)
    assert [s.name for s in trace.stages][-2:] == ["relu_to_tanh", "eliminate_dead"]


def test_an_unknown_place_is_an_error():
    with pytest.raises(GraphError, match=r"^no pass 'nowhere'; there are eliminate_dead, mark_parameters, "):
        register_pass(relu_to_tanh, before="nowhere")


def test_unregistering():
    register_pass(relu_to_tanh)
    with pytest.raises(GraphError, match="relu_to_tanh is registered already"):
        register_pass(relu_to_tanh, before="fuse")
    unregister_pass(relu_to_tanh)
    trace = Trace()
    run_passes(graph_of(TEXT), context(), trace)
    assert "relu_to_tanh" not in [s.name for s in trace.stages]
    with pytest.raises(GraphError, match="'relu_to_tanh' is not registered"):
        unregister_pass(relu_to_tanh)


def test_a_plain_function_is_no_pass():
    with pytest.raises(ArgumentTypeError, match="expected a pass, made by @graph_pass"):
        register_pass(lambda graph, context: graph)


def test_a_users_pass_changes_what_executors_compute():
    x = mx.sym.var("x")
    before = mx.sym.relu(x).bind(mx.cpu(), {"x": mx.nd.array([-1, 2])})
    assert before.forward()[0].asnumpy().tolist() == [0, 2]
    assert mx.register_pass(relu_to_tanh, before="simplify") is relu_to_tanh
    after = mx.sym.relu(x).bind(mx.cpu(), {"x": mx.nd.array([-1, 2])})
    np.testing.assert_allclose(after.forward()[0].asnumpy(), np.tanh([-1, 2]), rtol=1e-6)
    assert before.forward()[0].asnumpy().tolist() == [0, 2]  # what is compiled stays


@pytest.mark.parametrize("result", [None, 3, ()])
def test_a_pass_that_returns_no_graph_is_named(result):
    faulty = graph_pass()(lambda graph, context: result)
    with pytest.raises(GraphError, match=r"pass <lambda> returned \w+, expected a Graph"):
        faulty(graph_of("argument %x: float32[2]\nhead y = %x"), context())


@pytest.mark.parametrize("contract", [{"requires": ("foo",)}, {"provides": ("foo",)}, {"keeps": ("shape", "foo")}])
def test_a_contract_about_unknown_facts_is_refused(contract):
    with pytest.raises(GraphError, match="no facts foo; there are shape"):
        graph_pass(**contract)
