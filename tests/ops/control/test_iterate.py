"""Loops over rows: inference, meaning on every way they run, and what a round costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from symc.codegen.kernel import Chunks
from symc.context import cpu
from symc.core.errors import DTypeError, ElementError, GraphError, ShapeError
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Role
from symc.ir.infer import infer_dtype, infer_shape
from symc.ir.parse import parse_graph
from symc.ir.text import graph_text
from symc.ops.control.iterate import iterate
from symc.passes.base import PassContext
from symc.passes.hoist import hoist
from symc.passes.pipeline import Trace, lower_graph
from symc.passes.verify import verify
from symc.runtime.compiler import compile_graph
from symc.runtime.function import GraphFunction
from symc.runtime.memory_report import MemoryReport
from symc.runtime.program import Loop, Program, walk
from symc.runtime.report import explain

from ...passes.golden import changes, graph_of
from ...passes.simulate import PackingBackend, PlainBackend, simulate
from ...runtime.toy_device import toy_device

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Case:
    """One round in the words of a builder and in NumPy's, and the shapes of a row, the states, the free values."""

    step: Callable
    meaning: Callable[[Arrays, Arrays, Arrays], tuple[Arrays, Arrays]]
    rows: tuple[tuple[int, ...], ...] = ((3, 5),)
    states: tuple[tuple[int, ...], ...] = ((3, 5),)
    free: tuple[tuple[int, ...], ...] = ()


def dense(b, x, w):
    return b("FullyConnected", x, w, num_hidden=b.shape(w)[0], no_bias=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cell(b, rows, states, free):
    """Two states: one read by a product, one element by element."""
    z = b("elemwise_add", dense(b, rows[0], free[0]), dense(b, states[0], free[1]))
    c = b("elemwise_add", b("tanh", z), b("_mul_scalar", states[1], scalar=0.5))
    h = b("elemwise_mul", b("sigmoid", z), c)
    return [h], [h, c]


def cell_meaning(rows, states, free):
    z = rows[0] @ free[0].T + states[0] @ free[1].T
    c = np.tanh(z) + 0.5 * states[1]
    return [sigmoid(z) * c], [sigmoid(z) * c, c]


def nested(b, rows, states, free):
    """In every round a loop over the rows of the row: its last state is scaled and goes on."""

    def inner(b, rows, states, free):
        s = b("elemwise_add", b("elemwise_mul", states[0], free[0]), rows[0])
        return [s], [s]

    (stack,), (last,) = iterate(b, inner, rows, states, free, is_reversed=True)
    return [stack, b("sum", stack, axis=(0,))], [b("_mul_scalar", last, scalar=0.5)]


def nested_meaning(rows, states, free):
    s, stack = states[0], []
    for row in rows[0][::-1]:
        s = s * free[0] + row
        stack.append(s)
    stack = np.array(stack[::-1]).reshape(rows[0].shape)
    return [stack, stack.sum(0)], [0.5 * s]


def moved(b, rows, states, free):
    """States change places, one stays, one is what a row is, one a free value; a result is a state as it was."""
    view = b("Reshape", states[0], shape=(5, 3))
    return [states[1], view], [states[1], states[0], states[2], rows[0], free[0]]


def two_of_one(b, rows, states, free):
    """One value is the next of two states, which are read by a product after it, and a result twice."""
    s = b("elemwise_add", states[0], rows[0])
    late = dense(b, states[0], free[0])
    return [s, s, b("elemwise_add", late, states[1])], [s, s]


CASES = {
    "cell": Case(cell, cell_meaning, ((3, 4),), ((3, 5), (3, 5)), ((5, 4), (5, 5))),
    "nested": Case(nested, nested_meaning, ((4, 3, 5),), ((3, 5),), ((3, 5),)),
    "moved": Case(
        moved,
        lambda r, s, f: ([s[1], s[0].reshape(5, 3)], [s[1], s[0], s[2], r[0], f[0]]),
        states=((3, 5),) * 5,
        free=((3, 5),),
    ),
    "two_of_one": Case(
        two_of_one,
        lambda r, s, f: ([s[0] + r[0], s[0] + r[0], s[0] @ f[0].T + s[1]], [s[0] + r[0]] * 2),
        states=((3, 5), (3, 5)),
        free=((5, 5),),
    ),
    "sorted": Case(  # a routine
        lambda b, r, s, f: ([], [b("sort", b("elemwise_add", s[0], r[0]))]),
        lambda r, s, f: ([], [np.sort(s[0] + r[0])]),
    ),
    "convolution": Case(
        lambda b, r, s, f: ([b("Convolution", r[0], f[0], kernel=(3, 3), num_filter=4, no_bias=True)], []),
        lambda r, s, f: ([np.einsum("nchwij,ocij->nohw", windows(r[0]), f[0])], []),
        ((2, 3, 6, 7),),
        (),
        ((4, 3, 3, 3),),
    ),
}


def windows(x):
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))


def graph_of_case(
    case: Case, n_rounds: int, is_reversed: bool = False, dtype: str = "float32", role: Role = "argument"
) -> Graph:
    g = GraphBuilder()
    groups = [
        [g.input(f"{kind}{k}", shape, dtype, role) for k, shape in enumerate(shapes)]
        for kind, shapes in (("x", [(n_rounds, *r) for r in case.rows]), ("s", case.states), ("w", case.free))
    ]
    results, last = iterate(g, case.step, *groups, is_reversed=is_reversed)
    heads = [Output("head", f"out{k}", v) for k, v in enumerate((*results, *last))]
    return finish(g, heads, inputs=[v.node for group in groups for v in group])


def expected(case: Case, n_rounds: int, is_reversed: bool, arrays: Arrays) -> list[np.ndarray]:
    n_rows, n_fed = len(case.rows), len(case.rows) + len(case.states)
    wide = [a.astype(np.float64) for a in arrays]
    states, results = wide[n_rows:n_fed], []
    order = range(n_rounds)[:: -1 if is_reversed else 1]
    for t in order:
        made, states = case.meaning([x[t] for x in wide[:n_rows]], states, wide[n_fed:])
        results.append(made)
    stacks = [np.array(rows)[:: -1 if is_reversed else 1] for rows in zip(*results)]
    return [*stacks, *states]


def inputs_of(graph: Graph) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.normal(size=graph.shape(n[0])).astype(graph.dtype(n[0])) for n in graph.inputs]


def run_on(device, graph: Graph, arrays: Arrays) -> list[np.ndarray]:
    outs = [np.full(graph.shape(o.value), 7, graph.dtype(o.value)) for o in graph.outputs]
    GraphFunction(graph, device)([a.ctypes.data for a in arrays], [o.ctypes.data for o in outs])
    return outs


def simulated(backend):
    def run(graph: Graph, arrays: Arrays) -> list[np.ndarray]:
        kernels = lower_graph(graph, PassContext(backend), Trace())
        roles = {s.key: s.place for s in kernels.storages.values()}
        held = {(roles.get(n.name, "argument"), n.name): a for n, a in zip(graph.inputs, arrays)}
        found = simulate(kernels, held)
        return [found["head", str(k)].reshape(graph.shape(o.value)) for k, o in enumerate(graph.outputs)]

    return run


def on_toy(graph: Graph, arrays: Arrays) -> list[np.ndarray]:
    with toy_device() as device:
        return run_on(device, graph, arrays)


WAYS = {
    "native": lambda graph, arrays: run_on(cpu().device, graph, arrays),
    "plain": simulated(PlainBackend()),
    "packing": simulated(PackingBackend()),
    "toy": on_toy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_reversed", [False, True], ids=["ahead", "back"])
@pytest.mark.parametrize("name", CASES)
def test_a_loop_is_its_rounds(name, is_reversed, way):
    case = CASES[name]
    for n_rounds in (4, 1, 0) if way in ("native", "plain") else (3,):
        graph = graph_of_case(case, n_rounds, is_reversed)
        arrays = inputs_of(graph)
        found = WAYS[way](graph, arrays)
        want = expected(case, n_rounds, is_reversed, arrays)
        n_results = len(found) - len(case.states)
        if not n_rounds:
            assert all(o.size == 0 for o in found[:n_results])
            want = [*found[:n_results], *want]
        for o, w in zip(found, want, strict=True):
            np.testing.assert_allclose(o, w, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("way", ["plain", "packing"])
@pytest.mark.parametrize("name", CASES)
def test_a_loop_that_parameters_alone_decide(name, way):
    graph = graph_of_case(CASES[name], 3, role="parameter")
    arrays = inputs_of(graph)
    for found, want in zip(WAYS[way](graph, arrays), expected(CASES[name], 3, False, arrays), strict=True):
        np.testing.assert_allclose(found, want, rtol=2e-5, atol=1e-5)


def test_rounds_without_data():
    g = GraphBuilder()
    s = g.input("s", (2,), "float64")
    (y,), (last,) = iterate(g, lambda b, r, s, f: ([s[0]], [b("_mul_scalar", s[0], scalar=3.0)]), states=[s], length=4)
    graph = finish(g, [Output("head", "y", y), Output("head", "last", last)])
    y, last = run_on(cpu().device, graph, [np.array([1.0, 2.0])])
    np.testing.assert_array_equal(y, [[1, 2], [3, 6], [9, 18], [27, 54]])
    np.testing.assert_array_equal(last, [81, 162])


def test_text_parses_back_and_shapes_go_both_ways():
    text = """
argument %x: float32[4, 2, 3]
argument %s
argument %w
%y = _iterate(%x, %s, %w, n_data=1, n_states=1)
  body
    argument %row
    argument %before
    parameter %weight
    %h = FullyConnected(%row, %weight, num_hidden=5, no_bias=True)
    %after = elemwise_add(%h, %before)
    head out = %h
    head after = %after
head y = %y
head last = %y:1
"""
    graph = graph_of(text)
    assert graph_text(graph) == text.lstrip() and graph_text(parse_graph(graph_text(graph))) == text.lstrip()
    graph = infer_dtype(infer_shape(graph))
    assert [graph.shape(n[0]) for n in graph.inputs] == [(4, 2, 3), (2, 5), (5, 3)]
    assert [graph.shape(graph.nodes[-1][k]) for k in range(2)] == [(4, 2, 5), (2, 5)]
    with pytest.raises(ShapeError, match="Error in operator y"):
        infer_shape(graph_of(text.replace("argument %s\n", "argument %s: float32[2, 6]\n")))


def test_a_state_keeps_its_shape_and_dtype():
    g = GraphBuilder()
    s = g.input("s", (2, 3), "float32")
    with pytest.raises(ShapeError, match=r"state state0 has shape \[2,3\] before a round and \[3,2\] after it"):
        iterate(g, lambda b, r, s, f: ([], [b("transpose", s[0])]), states=[s], length=2)
    with pytest.raises(DTypeError, match="state state0 is float32 before a round and float64 after it"):
        iterate(g, lambda b, r, s, f: ([], [b("Cast", s[0], dtype="float64")]), states=[s], length=2)
    with pytest.raises(ShapeError, match="a scalar has no rows"):
        iterate(g, lambda b, r, s, f: ([], []), [g.input("x", (), "float32")])


def test_what_no_round_changes_is_computed_in_front():
    changes(
        hoist,
        """
        argument %x: float32[4, 2]
        argument %w: float32[2]
        argument %v: float32[2]
        %y = _iterate(%x, %w, %v, n_data=1): float32[4, 2]
          body
            argument %row: float32[2]
            parameter %a: float32[2]
            parameter %unused: float32[2]
            %b = exp(%a): float32[2]
            %c = elemwise_mul(%row, %b): float32[2]
            head out = %c
        head y = %y
        """,
        """
        argument %x: float32[4, 2]
        argument %w: float32[2]
        %y.exp = exp(%w): float32[2]
        %y = _iterate(%x, %y.exp, n_data=1): float32[4, 2]
          body
            argument %row: float32[2]
            parameter %b_0: float32[2]
            %c = elemwise_mul(%row, %b_0): float32[2]
            head out = %c
        head y = %y
        """,
    )


def test_a_round_is_few_steps_over_weights_that_are_packed_once():
    """The states lie in the place of the former ones; the product of all rows of data is in front."""
    compiled = compile_graph(graph_of_case(CASES["cell"], 6))
    (loop,) = [s for s in compiled.program.steps if isinstance(s, Loop)]
    assert loop.count == 6 and len(loop.steps) == 2 and len(loop.moving) == 2
    told = explain(compiled.lowered)
    assert told.count("in iterate x 6") == 2 and told.count("pack for the register tile") == 4
    assert {s.phase for s in compiled.program.steps if s is not loop} == {"prepare", "forward"}
    report = MemoryReport.of(compiled.lowered)
    assert report.planned_bytes == report.lower_bound_bytes
    once = compile_graph(graph_of_case(CASES["cell"], 1)).lowered
    steps = [k for k, (node, _) in enumerate(once.calls) if node.loops]
    assert [compiled.lowered.work(k).flops for k in steps] == [6 * once.work(k).flops for k in steps]


def test_programs_with_loops_are_stored():
    made = compile_graph(graph_of_case(CASES["nested"], 3)).program
    again = Program.from_bytes(made.to_bytes())
    assert again.steps == made.steps and again.n_registers == made.n_registers > 2
    assert [s.count for s in walk(again.steps) if isinstance(s, Loop)] == [3, 4]


def test_threads_share_the_kernels_of_a_round():
    """A step cut into chunks, whose results are equal to the bit for any number of threads."""
    wide = Case(cell, cell_meaning, ((40, 33),), ((40, 300), (40, 300)), ((300, 33), (300, 300)))
    graph = graph_of_case(wide, 5)
    arrays = inputs_of(graph)
    steps = [s for s in walk(compile_graph(graph).program.steps) if not isinstance(s, Loop)]
    assert any(Chunks(*s.launch).n_chunks > 1 for s in steps)
    found = [threaded(graph, arrays, n) for n in (1, 2, 3)]
    for outs in found[1:]:
        for o, first in zip(outs, found[0]):
            np.testing.assert_array_equal(o, first)
    for o, w in zip(found[0], expected(wide, 5, False, arrays)):
        np.testing.assert_allclose(o, w, rtol=1e-3, atol=1e-4)


def threaded(graph: Graph, arrays: Arrays, n_threads: int) -> list[np.ndarray]:
    from symc.runtime.instance import Instance

    loaded = compile_graph(graph, has_parameters=False).loaded
    instance = Instance(loaded, loaded.new_prepared(), n_threads)
    outs = [np.zeros(graph.shape(o.value), graph.dtype(o.value)) for o in graph.outputs]
    for node, array in zip(graph.inputs, arrays):
        instance.bufs[loaded.program.slot_number("argument", node.name)] = array.ctypes.data
    for k, out in enumerate(outs):
        instance.bufs[loaded.program.slot_number("head", str(k))] = out.ctypes.data
    instance.run("prepare")
    instance.run("forward")
    return outs


def test_other_dtypes():
    for dtype in ("float64", "float16"):
        graph = graph_of_case(CASES["two_of_one"], 3, dtype=dtype)
        arrays = inputs_of(graph)
        tolerance = 1e-12 if dtype == "float64" else 2e-2
        want = expected(CASES["two_of_one"], 3, False, arrays)
        for o, w in zip(run_on(cpu().device, graph, arrays), want):
            np.testing.assert_allclose(o, w, rtol=tolerance, atol=tolerance)


def test_every_round_draws_anew():
    """Also in loops inside loops; the same seed gives the same numbers."""

    def inner(b, rows, states, free):
        return [b("_random_uniform", shape=(50,), dtype="float32")], []

    def outer(b, rows, states, free):
        (stack,), _ = iterate(b, inner, length=3)
        return [stack, b("_random_uniform", shape=(50,), dtype="float32")], []

    g = GraphBuilder()
    (deep, flat), _ = iterate(g, outer, length=4)
    graph = finish(g, [Output("head", "deep", deep), Output("head", "flat", flat)])
    outs = [np.zeros((4, 3, 50), "float32"), np.zeros((4, 50), "float32")]
    function = GraphFunction(graph, cpu().device)
    assert function.is_random
    draws = []
    for seed in (1, 1, 2):
        function([], [o.ctypes.data for o in outs], seed)
        draws.append(np.concatenate([o.ravel() for o in outs]))
    np.testing.assert_array_equal(draws[0], draws[1])
    both = np.concatenate([draws[0], draws[2]])
    assert len(np.unique(both)) > 0.99 * both.size and 0 <= both.min() and both.max() < 1
    assert abs(both.mean() - 0.5) < 0.03


def test_positions_are_checked_in_every_round():
    g = GraphBuilder()
    x, w = g.input("x", (3, 2), "float32"), g.input("w", (5,), "float32")
    (y,), _ = iterate(g, lambda b, r, s, f: ([b("take", f[0], r[0], mode="raise")], []), [x], free=[w])
    graph = finish(g, [Output("head", "y", y)], inputs=[x.node, w.node])
    at, values = np.array([[0, 1], [4, 2], [3, 3]], "float32"), np.arange(5, dtype="float32")
    np.testing.assert_array_equal(run_on(cpu().device, graph, [at, values])[0], at)
    at[1, 1] = 5
    with pytest.raises(ElementError, match="Error in operator iterate: take"):
        run_on(cpu().device, graph, [at, values])


def test_the_verifier_derives_the_facts_of_a_round_again():
    graph = graph_of_case(CASES["cell"], 3)
    verify(graph, "mine")
    (node,) = [n for n in graph.nodes if n.bodies]
    (body,) = node.bodies
    wrong = body.with_facts(dtype={**body.facts.dtype, body.outputs[0].value: "float64"})
    made = node.operator.with_bodies((wrong,))
    broken = Node(made, node.name, node.inputs)
    facts = graph.facts
    shape, dtype = ({**t, **{broken[k]: t[node[k]] for k in range(3)}} for t in (facts.shape, facts.dtype))
    outputs = tuple(Output(o.kind, o.name, broken[o.value.index]) for o in graph.outputs)
    changed = Graph((*graph.inputs, broken), outputs).with_facts(shape=shape, dtype=dtype)
    with pytest.raises(GraphError, match="after mine, in a body of iterate: facts of elemwise_mul elemwise_mul do not"):
        verify(changed, "mine")
