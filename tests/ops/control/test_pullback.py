"""Gradients of loops over rows: their values, and what their way back computes and keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from symc.context import cpu
from symc.core.errors import GradientError
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output
from symc.ir.reverse import pulled_back
from symc.ops.control.iterate import iterate
from symc.passes.trim_loops import trim_loops
from symc.runtime.compiler import compile_graph
from symc.runtime.function import GraphFunction
from symc.runtime.program import Loop

from ...passes.golden import changes
from .test_iterate import CASES, Arrays, Case, expected, graph_of_case, inputs_of


def backward(graph: Graph, arrays: Arrays, heads: Arrays, wanted: Sequence[str]) -> list[np.ndarray]:
    """The gradients of the wanted inputs."""
    function = GraphFunction(graph, cpu().device, wanted)
    outs = [np.zeros(graph.shape(o.value), graph.dtype(o.value)) for o in graph.outputs]
    found = {n.name: np.full_like(a, np.nan) for n, a in zip(graph.inputs, arrays) if n.name in wanted}
    instance = function.forward([a.ctypes.data for a in arrays], [o.ctypes.data for o in outs])
    function.backward(instance, [h.ctypes.data for h in heads], [found[name].ctypes.data for name in wanted])
    return [found[name] for name in wanted]


def slopes(value: Callable[[Arrays], float], arrays: Arrays, k: int, direction: np.ndarray) -> float:
    """How a value changes with one of the arrays, along a direction."""
    step = 1e-6

    def moved(by: float) -> float:
        return value([a + by * direction if j == k else a for j, a in enumerate(arrays)])

    return (moved(step) - moved(-step)) / (2 * step)


def check_gradients(case: Case, n_rounds: int, is_reversed: bool, wanted: Sequence[int] | None = None) -> None:
    graph = graph_of_case(case, n_rounds, is_reversed, "float64")
    arrays = inputs_of(graph)
    names = [n.name for n in graph.inputs]
    positions = list(wanted or range(len(names)))
    rng = np.random.default_rng(n_rounds)
    heads = [rng.normal(size=graph.shape(o.value)) for o in graph.outputs]
    found = backward(graph, arrays, heads, [names[k] for k in positions])

    def value(at: Arrays) -> float:
        made = expected(case, n_rounds, is_reversed, at)
        made = made if n_rounds else [*([0.0] * (len(heads) - len(case.states))), *made]
        return sum(float((o * h).sum()) for o, h in zip(made, heads, strict=True))

    for k, d in zip(positions, found):
        direction = rng.normal(size=arrays[k].shape)
        assert (d * direction).sum() == pytest.approx(slopes(value, arrays, k, direction), rel=1e-6, abs=1e-6), names[k]


@pytest.mark.parametrize("is_reversed", [False, True], ids=["ahead", "back"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "sorted"])
def test_gradients_are_slopes(name, is_reversed):
    for n_rounds in (3, 1, 0):
        check_gradients(CASES[name], n_rounds, is_reversed)


def test_gradients_of_some_inputs():
    for wanted in ([0], [1], [2], [3], [4, 2]):
        check_gradients(CASES["cell"], 3, False, wanted)


def test_weights_get_their_gradients_from_one_product_over_all_rounds():
    """And nothing that the way forward has computed is computed again."""
    graph = graph_of_case(CASES["cell"], 6)
    lowered = compile_graph(graph, dict.fromkeys((n.name for n in graph.inputs), "write")).lowered
    inside = [node.operators for node, _ in lowered.calls if node.loops and node.phase == "backward"]
    outside = [node.operators for node, _ in lowered.calls if not node.loops and node.phase == "backward"]
    assert sum("dot" in ops for ops in inside) == 1 and sum("dot" in ops for ops in outside) >= 3
    every = [name for ops in inside for name in ops]
    assert "tanh" not in every and "sigmoid" not in every and "FullyConnected" not in every
    loops = [s for s in lowered.program.steps if isinstance(s, Loop)]
    assert [(s.phase, s.count, len(s.steps)) for s in loops] == [("forward", 6, 2), ("backward", 6, 2)]


def test_random_numbers_of_the_way_back_are_those_of_the_way_forward():
    """y[t] = dropout(x[t] * w): each gradient is 0 or 2 w, as the result is 0 or 2 x w."""

    def step(b, rows, states, free):
        return [b("Dropout", b("elemwise_mul", rows[0], free[0]), p=0.5)], []

    g = GraphBuilder(training=True)
    x, w = g.input("x", (5, 40), "float64"), g.input("w", (40,), "float64")
    (y,), _ = iterate(g, step, [x], free=[w])
    graph = finish(g, [Output("head", "y", y)], inputs=[x.node, w.node])
    at, weight, out, ones = np.full((5, 40), 3.0), np.full(40, 7.0), np.zeros((5, 40)), np.ones((5, 40))
    function = GraphFunction(graph, cpu().device, ["x", "w"])
    found = [np.zeros((5, 40)), np.zeros(40)]
    instance = function.forward([at.ctypes.data, weight.ctypes.data], [out.ctypes.data], 4)
    function.backward(instance, [ones.ctypes.data], [f.ctypes.data for f in found])
    assert 0 < np.count_nonzero(out) < out.size and len(np.unique(out, axis=0)) == 5
    np.testing.assert_allclose(found[0], out / 3)
    np.testing.assert_allclose(found[1], out.sum(axis=0) / 7)
    again = finish(g, [Output("head", "y", y)])
    with pytest.raises(GradientError, match="needs what its rounds drew"):
        pulled_back(GraphBuilder.over(again), [x, w], [y], [y])


def test_what_nobody_reads_is_dropped_from_a_loop():
    changes(
        trim_loops,
        """
        argument %x: float32[4, 2]
        argument %s: float32[2]
        argument %w: float32[2]
        %y = _iterate(%x, %s, %s, %w, n_data=1, n_states=2): float32[4, 2], float32[4, 2], float32[2], float32[2]
          body
            argument %row: float32[2]
            argument %a: float32[2]
            argument %b: float32[2]
            parameter %c: float32[2]
            %d = elemwise_mul(%row, %a): float32[2]
            %e = elemwise_mul(%b, %c): float32[2]
            head first = %e
            head second = %d
            head a = %d
            head b = %e
        head y = %y:1
        """,
        """
        argument %x: float32[4, 2]
        argument %s: float32[2]
        %y = _iterate(%x, %s, n_data=1, n_states=1): float32[4, 2], float32[2]
          body
            argument %row: float32[2]
            argument %a: float32[2]
            %d = elemwise_mul(%row, %a): float32[2]
            head second = %d
            head a = %d
        head y = %y
        """,
    )
