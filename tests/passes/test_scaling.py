"""The work of compiling grows with the graph, not with its square; calls are counted, which no other process disturbs.

`benchmarks/scale.py` measures time and memory.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Value
from symc.passes.pipeline import Trace, lower_graph

from .golden import context

pytestmark = pytest.mark.slow


def graph(g: GraphBuilder, *values: Value) -> Graph:
    return finish(g, [Output("head", f"y{k}", v) for k, v in enumerate(values)])


def chain(n: int) -> Graph:
    g = GraphBuilder()
    v = g.input("x", (4, 6), "float32")
    for _ in range(n):
        v = g("sin", v)
    return graph(g, v)


def moves(n: int) -> Graph:
    g = GraphBuilder()
    v = g.input("x", (4, 6), "float32")
    for _ in range(n // 2):
        v = g("reverse", g("transpose", v), axis=(0,))
    return graph(g, v)


def diamonds(n: int) -> Graph:
    g = GraphBuilder()
    v = g.input("x", (4, 6), "float32")
    for _ in range(n // 3):
        v = g("elemwise_add", g("sin", v), g("exp", v))
    return graph(g, v)


def wide(n: int) -> Graph:
    g = GraphBuilder()
    x = g.input("x", (4, 6), "float32")
    parts = [g("_plus_scalar", x, scalar=float(k + 2)) for k in range(n)]
    return graph(g, g("Concat", *parts, num_args=n, dim=1))


def heads(n: int) -> Graph:
    g = GraphBuilder()
    x = g.input("x", (4, 6), "float32")
    return graph(g, *(g("softmax", g("_plus_scalar", x, scalar=float(k + 2))) for k in range(n // 2)))


def layers(n: int) -> Graph:
    g = GraphBuilder()
    v = g.input("x", (4, 6), "float32")
    for k in range(n // 2):
        w, b = g.input(f"w{k}", (6, 6), "float32"), g.input(f"b{k}", (6,), "float32")
        v = g("relu", g("FullyConnected", v, w, b, num_hidden=6))
    return graph(g, v)


def softmaxes(n: int) -> Graph:
    """What cannot be fused: as many groups as nodes."""
    g = GraphBuilder()
    v = g.input("x", (4, 6), "float32")
    for _ in range(n):
        v = g("softmax", v)
    return graph(g, v)


def sums(n: int) -> Graph:
    """A value read by many, whose gradient is a sum of as many terms."""
    g = GraphBuilder()
    x = g.input("x", (4, 6), "float32")
    parts = [g("sin", g("_plus_scalar", x, scalar=float(k))) for k in range(n // 3)]
    return graph(g, g("add_n", *parts, num_args=len(parts)))


def calls_to_compile(made: Graph) -> int:
    """Function calls, of Python and of C, from graph to planned kernels, gradients included."""
    n_calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal n_calls
        n_calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        lower_graph(made, context({n.name: "write" for n in made.inputs}), Trace())
    finally:
        sys.setprofile(before)
    return n_calls


@pytest.mark.parametrize(
    "build", [chain, moves, diamonds, wide, heads, layers, softmaxes, sums], ids=lambda f: f.__name__
)
def test_four_times_the_nodes_take_about_four_times_the_calls(build):
    small, large = calls_to_compile(build(300)), calls_to_compile(build(1200))
    assert large < 5 * small


def test_work_that_grows_with_the_square_shows():
    small, large = (calls_to_compile(chain(n * n // 1000)) for n in (300, 1200))
    assert large > 10 * small
