"""Templates on their way through the passes: never fused, on dense memory, with scratch for as long as they run."""

from __future__ import annotations

import numpy as np

import symc as mx
from symc.context import cpu
from symc.ir.kernels import KernelGraph
from symc.passes.base import PassContext
from symc.passes.pipeline import Trace, lower_graph
from symc.symbol.graph import to_graph

rng = np.random.default_rng(5)


def compiled(symbol: mx.sym.Symbol, **shapes: tuple[int, ...]) -> KernelGraph:
    """The kernels of a symbol in order."""
    graph = to_graph(symbol, arg_shapes=shapes, arg_dtypes=dict.fromkeys(shapes, "float32"))
    return lower_graph(graph, PassContext(cpu().device.backend), Trace())


def run(symbol: mx.sym.Symbol, **arrays: np.ndarray) -> np.ndarray:
    return symbol.bind(mx.cpu(), {n: mx.nd.array(a) for n, a in arrays.items()}).forward()[0].asnumpy()


def test_neighbours_are_not_fused_into_a_template() -> None:
    x = mx.sym.Variable("x")
    kernels = compiled(mx.sym.exp(mx.sym.sort(mx.sym.exp(x), axis=1)), x=(4, 33)).kernels
    kinds = [type(k.kernel).__name__ for k in kernels]
    assert kinds == ["Nest", "Template", "Nest"]
    assert kernels[1].operators == ("_order",)
    assert kernels[2].operators == ("_along_axis", "exp")  # what follows gathers and goes on


def test_scratch_lives_while_the_template_runs() -> None:
    x = mx.sym.Variable("x")
    graph = compiled(mx.sym.sort(mx.sym.sort(x, axis=0), axis=1), x=(64, 64))
    scratch = [s for s in graph.storages.values() if "scratch" in s.name]
    assert len(scratch) == 4  # keys and positions, twice
    saved = graph.arena.naive_bytes - graph.arena.size_bytes
    assert saved >= sum(s.size_bytes for s in scratch) / 2  # the memory of one sort serves the other


def test_a_template_reads_row_major_memory_behind_a_convolution() -> None:
    x, w = mx.sym.Variable("x"), mx.sym.Variable("w")
    net = mx.sym.Convolution(x, w, kernel=(1, 1), num_filter=5, no_bias=True)
    image, weight = rng.normal(size=(2, 3, 4, 7)), rng.normal(size=(5, 3, 1, 1))
    want = np.sort(np.einsum("nchw,oc->nohw", image, weight[:, :, 0, 0]), 1)
    assert np.allclose(run(mx.sym.sort(net, axis=1), x=image, w=weight), want, atol=1e-5)


def test_a_template_result_is_copied_into_a_concatenation() -> None:
    x, y = mx.sym.Variable("x"), mx.sym.Variable("y")
    net = mx.sym.Concat(mx.sym.cumsum(x, axis=1), mx.sym.exp(y), dim=1)
    a, b = rng.normal(size=(3, 4)), rng.normal(size=(3, 5))
    assert np.allclose(run(net, x=a, y=b), np.concatenate([np.cumsum(a, 1), np.exp(b)], 1), atol=1e-5)


def test_lines_of_many_chunks_are_all_sorted() -> None:
    x = mx.sym.Variable("x")
    a = rng.normal(size=(300, 200)).astype("float32")
    assert np.array_equal(run(mx.sym.sort(x, axis=0), x=a), np.sort(a, 0))
