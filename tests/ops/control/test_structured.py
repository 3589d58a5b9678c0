"""Gradients of control flow over random bodies, by central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

import symc as mx
from symc.ir.infer import infer_dtype, infer_shape
from symc.symbol.graph import to_graph
from tests.conformance.draws.draw import Draw

from ..reference import run_node
from ..test_gradients import check_node

Symbol = mx.sym.Symbol
STEPS: tuple[Callable[[Symbol, Symbol, Symbol], Symbol], ...] = (
    lambda a, b, w: a * b,
    lambda a, b, w: a + mx.sym.sin(b),
    lambda a, b, w: mx.sym.tanh(a - b),
    lambda a, b, w: mx.sym.dot(a, w) * 0.5,
)


def mixed(d: Draw, values: Sequence[Symbol], w: Symbol) -> Symbol:
    """Some smooth function of some of the values (n, m) and of a matrix (m, m)."""
    for _ in range(d.integer(1, 4)):
        values = [*values, d.pick(STEPS)(d.pick(values), d.pick(values), w)]
    return values[-1]


def foreach(d: Draw) -> Symbol:
    x, s, free, w = (mx.sym.Variable(name) for name in ("rows", "state", "free", "w"))

    def step(row: Symbol, state: Symbol) -> tuple[Symbol, Symbol]:
        return row * mixed(d, [row, state, free], w), state - mixed(d, [row, state, free], w)

    out, last = mx.sym.contrib.foreach(step, x, s)
    return mx.sym.Group([out, last])


def while_loop(d: Draw) -> Symbol:
    i, s, free, w = (mx.sym.Variable(name) for name in ("count", "state", "free", "w"))
    n_rounds = d.integer(0, 3)
    out, last = mx.sym.contrib.while_loop(
        lambda i, s: i < n_rounds,
        lambda i, s: (s * mixed(d, [s, free], w), [i + 1, mixed(d, [s, free], w)]),
        [i, s],
        max_iterations=n_rounds + d.integer(1, 2),
    )
    return mx.sym.Group([out, *last])


def cond(d: Draw) -> Symbol:
    s, free, w = (mx.sym.Variable(name) for name in ("state", "free", "w"))
    branches = [lambda: mixed(d, [s, free], w) for _ in range(2)]
    return mx.sym.contrib.cond(mx.sym.sum(s) < mx.sym.sum(free), *branches)


@pytest.mark.slow
@pytest.mark.parametrize("made", [foreach, while_loop, cond])
def test_gradients_of_random_bodies(made: Callable[[Draw], Symbol]) -> None:
    for number in range(20):
        d = Draw(made.__name__, number, {})
        symbol, n, m = made(d), d.integer(1, 3), d.integer(1, 4)
        shapes = {"rows": (d.integer(1, 4), n, m), "state": (n, m), "free": (n, m), "w": (m, m), "count": (1,)}
        names = symbol.list_arguments()
        given, dtypes = {name: shapes[name] for name in names}, dict.fromkeys(names, "float64")
        graph = infer_dtype(infer_shape(to_graph(symbol, True, given, dtypes)))
        arrays = {node[0]: d.random.uniform(-0.9, 0.9, graph.shape(node[0])) for node in graph.inputs}
        inner = [node for node in graph.nodes if not node.is_input]
        for node in inner:
            run_node(graph, node, arrays)
        (node,) = (node for node in inner if node.operator.bodies)
        assert check_node(graph, node, arrays, n_directions=3)
