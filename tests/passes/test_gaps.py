"""Rows that a product computes for a loop have gaps between them, and everybody finds them there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import symc as mx
from symc.codegen.cpu.backend import CpuBackend
from symc.codegen.cpu.target import Target
from symc.ir.kernels import KernelGraph
from symc.loopir.kernel import Contraction
from symc.passes.base import PassContext
from symc.passes.pipeline import Trace, lower_graph
from symc.symbol.graph import to_graph

from .simulate import PackingBackend, simulate

GAP_BYTES = 64
x, p, h, c, w = map(mx.sym.Variable, "xphcw")


@dataclass(frozen=True)
class WithGaps(PackingBackend):
    """A machine that wants a gap behind every row."""

    def gap_behind(self, row_bytes: int) -> int:
        return GAP_BYTES


def recurrent(mode: str, **options) -> mx.sym.Symbol:
    state = {"state_cell": c} if mode == "lstm" else {}
    return mx.sym.RNN(x, p, h, state_size=3, num_layers=2, mode=mode, **state, **options)


def of_rows(step) -> mx.sym.Symbol:
    """What `step` makes of each row of a product, one after the other."""
    rows = mx.sym.FullyConnected(x, w, no_bias=True, num_hidden=4, flatten=False)
    return mx.sym.contrib.foreach(lambda row, state: (step(row), state), rows, [])[0]


def lowered(symbol: mx.sym.Symbol, backend, n_rows: int = 2) -> KernelGraph:
    names = symbol.list_arguments()
    graph = to_graph(symbol, False, {"x": (5, n_rows, 6)}, dict.fromkeys(names, "float32"))
    return lower_graph(graph, PassContext(backend), Trace())


def outputs(kernels: KernelGraph) -> dict:
    """The heads, of random arguments."""
    random = np.random.RandomState(3)
    feeds = {s.key: random.randn(s.size).astype(s.dtype) for s in kernels.storages.values() if s.place == "argument"}
    arrays = {("argument", name): array for name, array in feeds.items()}
    return {key: array for key, array in simulate(kernels, arrays).items() if key[0] == "head"}


def n_with_gaps(kernels: KernelGraph) -> int:
    """How many products store rows with gaps."""
    stored = [
        b for k in kernels.kernels if isinstance(k.kernel, Contraction) for b in k.kernel.buffers if b.name in k.writes
    ]
    return sum(b.strides == (b.shape[1] + GAP_BYTES // 4, 1) for b in stored if len(b.shape) == 2)


@pytest.mark.parametrize(
    "symbol", [recurrent(mode) for mode in ("lstm", "gru", "rnn_tanh")], ids=["lstm", "gru", "rnn"]
)
def test_a_recurrent_layer_reads_rows_with_gaps(symbol):
    dense, spaced = (lowered(symbol, backend) for backend in (PackingBackend(), WithGaps()))
    assert (n_with_gaps(dense), n_with_gaps(spaced)) == (0, 2)  # in front of each layer
    found = outputs(spaced)
    for key, array in outputs(dense).items():
        np.testing.assert_array_equal(found[key], array)


def test_a_round_of_one_row_needs_no_gap():
    assert n_with_gaps(lowered(recurrent("lstm"), WithGaps(), n_rows=1)) == 0


@pytest.mark.parametrize(
    ("step", "n"),
    [
        (lambda row: mx.sym.exp(row) + row, 1),
        (lambda row: row, 0),  # a result as it is
        (lambda row: mx.sym.FullyConnected(row, p, no_bias=True, num_hidden=3), 0),  # an operand
        (lambda row: mx.sym.exp(row.reshape((4, 2))), 0),  # a view, which is dense
        (lambda row: mx.sym.sort(row, axis=1), 0),  # by a routine
        (lambda row: mx.sym.contrib.foreach(lambda r, s: (mx.sym.exp(r), s), row, [])[0], 0),  # by a loop inside
    ],
)
def test_rounds_that_need_dense_rows_get_them(step, n):
    dense, spaced = (lowered(of_rows(step), backend) for backend in (PackingBackend(), WithGaps()))
    assert n_with_gaps(spaced) == n
    found = outputs(spaced)
    for key, array in outputs(dense).items():
        np.testing.assert_array_equal(found[key], array)


@pytest.mark.parametrize("read", [lambda y: y, lambda y: mx.sym.sort(y, axis=0)], ids=["an output", "by a routine"])
def test_others_than_loops_read_dense_rows(read):
    kernels = lowered(read(mx.sym.FullyConnected(x, w, no_bias=True, num_hidden=4)), WithGaps())
    assert n_with_gaps(kernels) == 0


@pytest.mark.parametrize(("vector_bits", "row_bytes", "gap"), [(256, 8192, 64), (256, 3072, 0), (512, 8192, 0)])
def test_the_cpu_wants_a_line_behind_rows_of_pages_below_512_bits(vector_bits, row_bytes, gap):
    assert CpuBackend(Target("x86_64-linux-gnu", "any", "", vector_bits)).gap_behind(row_bytes) == gap
