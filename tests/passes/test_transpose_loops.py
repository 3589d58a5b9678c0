"""Loops of a few rows compute with columns where the machine wants that, and give the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from textwrap import dedent

import numpy as np
import pytest

import symc as mx
from symc.codegen.contraction.panels import Panels
from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.cpu.backend import CpuBackend
from symc.codegen.cpu.target import Target
from symc.ir.kernels import KernelGraph
from symc.ir.text import graph_text
from symc.loopir.kernel import Contraction, buffer_of
from symc.passes.base import PassContext
from symc.passes.pipeline import Trace, lower_graph
from symc.passes.transpose_loops import transpose_loops
from symc.symbol.graph import to_graph

from .golden import graph_of
from .simulate import PackingBackend, PlainBackend, simulate

N_ROWS = 2
x, p, h, c = map(mx.sym.Variable, "xphc")


@dataclass(frozen=True)
class WithColumns(PackingBackend):
    """A machine that wants two rows as columns."""

    def wants_columns(self, n_rows: int, weight_bytes: int, dtype: str) -> bool:
        return n_rows == N_ROWS

    def plan(self, contraction: Contraction, is_reused: bool) -> ContractionPlan | None:
        plan = super().plan(contraction, is_reused)
        if plan is None or not isinstance(plan.packing, Panels):
            return plan
        return replace(plan, is_in_place=plan.packing.lies_in(buffer_of(contraction, contraction.rhs)))


def turned(text: str) -> str:
    graph = graph_of(text)
    was = graph_text(graph)
    result = transpose_loops(graph, PassContext(WithColumns()))
    assert graph_text(graph) == was
    assert graph_text(transpose_loops(result, PassContext(WithColumns()))) == graph_text(result)
    return graph_text(result)


LAYER = """
argument %x: float32[3, 2, 1]
%m = Reshape(%x, shape=(6, 1)): float32[6, 1]
parameter %v: float32[8, 1]
parameter %b: float32[8]
%a = FullyConnected(%m, %v, %b, num_hidden=8): float32[6, 8]
%r = Reshape(%a, shape=(3, 2, 8)): float32[3, 2, 8]
argument %h: float32[2, 4]
parameter %w: float32[8, 4]
%y = _iterate(%r, %h, %w, n_data=1, n_states=1): float32[3, 2, 4], float32[2, 4]
  body
    argument %data: float32[2, 8]
    argument %state: float32[2, 4]
    parameter %free: float32[8, 4]
    %p = FullyConnected(%state, %free, num_hidden=8, no_bias=True): float32[2, 8]
    %s = elemwise_add(%p, %data): float32[2, 8]
    %f = slice_axis(%s, axis=1, begin=0, end=4): float32[2, 4]
    %g = slice_axis(%s, axis=1, begin=4, end=8): float32[2, 4]
    %n = elemwise_mul(%f, %g): float32[2, 4]
    head output = %n
    head state = %n
head y = %y
"""


def test_the_layer_in_front_and_the_states_are_turned_around():
    assert turned(LAYER) == dedent("""\
        argument %x: float32[3, 2, 1]
        %y.transpose = transpose(%x, axes=(0, 2, 1)): float32[3, 1, 2]
        argument %h: float32[2, 4]
        %y.transpose1 = transpose(%h, axes=(1, 0)): float32[4, 2]
        parameter %w: float32[8, 4]
        parameter %v: float32[8, 1]
        parameter %b: float32[8]
        %y = _iterate(%y.transpose, %y.transpose1, %w, %v, %b, n_data=1, n_states=1): float32[3, 4, 2], float32[4, 2]
          body
            argument %data: float32[1, 2]
            argument %state: float32[4, 2]
            parameter %free: float32[8, 4]
            parameter %data_free0: float32[8, 1]
            parameter %data_free1: float32[8]
            %dot1 = dot(%free, %state): float32[8, 2]
            %dot = dot(%data_free0, %data): float32[8, 2]
            %Reshape = Reshape(%data_free1, shape=(8, 1)): float32[8, 1]
            %broadcast_add = broadcast_add(%dot, %Reshape): float32[8, 2]
            %s = elemwise_add(%dot1, %broadcast_add): float32[8, 2]
            %f = slice_axis(%s, axis=0, begin=0, end=4): float32[4, 2]
            %g = slice_axis(%s, axis=0, begin=4, end=8): float32[4, 2]
            %n = elemwise_mul(%f, %g): float32[4, 2]
            head output = %n
            head state = %n
        %y.transpose2 = transpose(%y, axes=(0, 2, 1)): float32[3, 2, 4]
        head y = %y.transpose2
    """)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("head y = %y", "head y = %y\nhead a = %a"),  # others read the layer in front
        ("head y = %y", "head y = %y\nhead r = %r"),
        ("= elemwise_mul(%f, %g)", "= softmax(%f)"),  # which reads a row
        ("= elemwise_mul(%f, %g)", "= reverse(%f, axis=(1,))"),
        ("%r = Reshape(%a, shape=(3, 2, 8))", "%q = Reshape(%a, shape=(3, 2, 8)): float32[3, 2, 8]\n%r = relu(%q)"),
        ("[6, 1]\n", "[6, 1]\nparameter %u: float32[1, 1]\n%i = FullyConnected(%m, %u, num_hidden=1, no_bias=True): "
         "float32[6, 1]\n"),  # where rows of all rounds are no array of rounds
    ],
)  # fmt: skip
def test_other_loops_stay_as_they_are(old, new):
    text = LAYER.replace(old, new)
    if "%i" in new:
        text = text.replace("FullyConnected(%m, %v", "FullyConnected(%i, %v")
    assert turned(text) == graph_text(graph_of(text))


def network(mode: str, **options) -> mx.sym.Symbol:
    state = {"state_cell": c} if mode == "lstm" else {}
    return mx.sym.RNN(x, p, h, state_size=3, mode=mode, state_outputs=True, **state, **options)


def lowered(symbol: mx.sym.Symbol, backend: PlainBackend, n_rows: int = N_ROWS, n_rounds: int = 5) -> KernelGraph:
    shapes = {"x": (n_rounds, n_rows, 2)}
    graph = to_graph(symbol, False, shapes, dict.fromkeys(symbol.list_arguments(), "float32"))
    return lower_graph(graph, PassContext(backend), Trace())


def outputs(kernels: KernelGraph) -> dict:
    """The heads, of random arguments."""
    random = np.random.RandomState(3)
    inputs = sorted((s.place, s.key, s.size) for s in kernels.storages.values() if s.place in ("argument", "parameter"))
    arrays = {(place, key): random.randn(size).astype("float32") for place, key, size in inputs}
    return {key: array for key, array in simulate(kernels, arrays).items() if key[0] == "head"}


def is_turned(kernels: KernelGraph) -> bool:
    return any("transpose" in k.operators for k in kernels.kernels)


@pytest.mark.parametrize("backend", [WithColumns(panel_columns=N_ROWS), WithColumns()], ids=["in place", "packed"])
@pytest.mark.parametrize("form", [{}, {"num_layers": 2}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("mode", ["lstm", "gru"])
def test_recurrent_layers_give_the_same(mode, form, backend):
    symbol = network(mode, **{"num_layers": 1, **form})
    rows, columns = lowered(symbol, PackingBackend()), lowered(symbol, backend)
    assert (is_turned(rows), is_turned(columns)) == (False, True)
    n_packed = sum(k.reason.startswith("pack") for k in columns.kernels)
    assert (n_packed == 0) == (backend.panel_columns == N_ROWS)  # else a panel is wider than the state
    found = outputs(columns)
    for key, array in outputs(rows).items():
        np.testing.assert_allclose(found[key], array, 1e-5, 1e-6)


def test_what_gradients_need_stays_as_it_is():
    graph = to_graph(network("lstm", num_layers=1), True, {"x": (5, N_ROWS, 2)}, dict.fromkeys("xphc", "float32"))
    kernels = lower_graph(graph, PassContext(WithColumns(), dict.fromkeys("xphc", "write")), Trace())
    assert not is_turned(kernels)


@pytest.mark.parametrize(("mode", "n_rounds", "is_less"), [("rnn_tanh", 5, True), ("gru", 1, True), ("gru", 2, False)])
def test_a_product_that_gives_less_than_is_turned_around_for_it_keeps_its_rows(mode, n_rounds, is_less):
    assert is_turned(lowered(network(mode, num_layers=1), WithColumns(), n_rounds=n_rounds)) != is_less


def test_a_machine_says_how_many_rows_it_wants():
    assert not is_turned(lowered(network("lstm", num_layers=1), WithColumns(), n_rows=N_ROWS + 1))


@pytest.mark.parametrize(
    ("vector_bits", "n_rows", "weight_bytes", "dtype", "wants"),
    [
        (256, 16, 1 << 20, "float32", True),
        (256, 8, 1 << 20, "float64", True),
        (256, 15, 1 << 20, "float32", False),
        (256, 16, 1 << 18, "float32", False),
        (512, 32, 1 << 20, "float32", False),
    ],
)
def test_the_cpu_wants_two_vectors_of_rows_below_512_bits(vector_bits, n_rows, weight_bytes, dtype, wants):
    backend = CpuBackend(Target("x86_64-linux-gnu", "any", "", vector_bits))
    assert backend.wants_columns(n_rows, weight_bytes, dtype) == wants
