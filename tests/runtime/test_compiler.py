"""A program comes from the cache when the same graph was compiled before, and only then."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.codegen import cache as cache_module
from symc.codegen import objects
from symc.ir.op import op
from symc.ops.rules.elementwise import Unary
from symc.passes import pipeline
from symc.passes.base import graph_pass
from symc.runtime import compiler, lowered
from symc.runtime.compiler import compile_graph
from symc.runtime.program import Program
from symc.symbol.compose import apply
from symc.symbol.graph import to_graph


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    found = cache_module.KernelCache(tmp_path / "cache")
    monkeypatch.setattr(compiler, "kernel_cache", lambda: found)
    return found


@pytest.fixture
def lowerings(monkeypatch):
    """One entry for each time that a graph is lowered."""
    seen = []
    original = lowered.lower_program

    def counted(*args):
        seen.append(1)
        return original(*args)

    monkeypatch.setattr(lowered, "lower_program", counted)
    return seen


def network():
    data = mx.sym.Variable("data")
    net = mx.sym.Convolution(data, num_filter=5, kernel=(3, 3), name="conv")
    net = mx.sym.BatchNorm(net, fix_gamma=False, name="bn")
    return mx.sym.softmax(mx.sym.FullyConnected(net, num_hidden=3, name="fc"), name="prob")


def results(symbol, training=False):
    """Outputs and gradients of a fresh executor over fixed arrays."""
    ex = symbol.simple_bind(mx.cpu(), data=(2, 4, 9, 7), grad_req="write" if training else "null")
    rng = np.random.default_rng(0)
    for array in (*ex.arg_arrays, *ex.aux_arrays):
        array[:] = rng.uniform(0.5, 1.5, array.shape)
    found = [o.asnumpy() for o in ex.forward(is_train=training)]
    if training:
        ex.backward([mx.nd.ones(o.shape) for o in ex.outputs])
        found += [g.asnumpy() for g in ex.grad_arrays] + [a.asnumpy() for a in ex.aux_arrays]
    return found


@pytest.mark.parametrize("training", [False, True])
def test_the_second_executor_is_not_lowered_and_gives_the_same_bits(lowerings, training):
    first = results(network(), training)
    n_first = len(lowerings)
    second = results(network(), training)
    assert n_first > 0 and len(lowerings) == n_first
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_reports_of_a_cached_program_lower_it_again(lowerings):
    texts = []
    for _ in range(2):
        ex = network().simple_bind(mx.cpu(), grad_req="null", data=(2, 4, 9, 7))
        texts.append((ex.explain(), ex.source(), str(ex.memory_plan())))
    assert texts[0] == texts[1]
    assert len(lowerings) == 2


def graph_of(symbol, dtype="float32", **shapes):
    return to_graph(symbol, arg_shapes=shapes, arg_dtypes=dict.fromkeys(shapes, dtype))


def test_what_differs_is_compiled_apart(lowerings):
    x = mx.sym.Variable("x")
    y = x * 2
    graphs = [
        graph_of(y, x=(2, 3)),
        graph_of(y, x=(3, 2)),
        graph_of(y, x=(2, 3), dtype="float64"),
        graph_of(x * 3, x=(2, 3)),
        graph_of(mx.sym.Group([y, y]), x=(2, 3)),
        to_graph(y, training=True, arg_shapes={"x": (2, 3)}, arg_dtypes={"x": "float32"}),
    ]
    for graph in graphs:
        compile_graph(graph)
    compile_graph(graphs[0], {"x": "write"})
    compile_graph(graphs[0], {"x": "add"})
    assert len(lowerings) == len(graphs) + 2


def test_stored_and_read_programs_are_equal():
    program = compile_graph(graph_of(network(), data=(2, 4, 9, 7))).program
    again = Program.from_bytes(program.to_bytes())
    assert again.to_bytes() == program.to_bytes()
    assert (again.steps, again.slots, again.heads) == (program.steps, program.slots, program.heads)
    assert np.array_equal(again.descriptors, program.descriptors) and np.array_equal(again.tables, program.tables)


def test_a_damaged_program_is_made_again(cache, lowerings):
    graph = graph_of(mx.sym.Variable("x") * 2, x=(2, 3))
    compile_graph(graph)
    (path,) = cache.info().directory.glob("*.program")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    compile_graph(graph)
    assert len(lowerings) == 2
    compile_graph(graph)
    assert len(lowerings) == 2


def test_a_program_without_its_kernels_is_made_again(cache, lowerings, monkeypatch):
    graph = graph_of(mx.sym.Variable("x") * 2, x=(2, 3))
    compile_graph(graph)
    monkeypatch.setattr("symc.codegen.objects.ObjectStore.find", lambda self, names: None)
    compile_graph(graph)
    assert len(lowerings) == 2


def test_the_runners_functions_are_compiled_once_without_a_cache(monkeypatch):
    monkeypatch.setattr(objects, "kernel_cache", lambda: cache_module.KernelCache(None))
    monkeypatch.setattr(objects, "_preloaded", {})
    made = []

    def build():
        made.append(1)
        return b"code"

    store = objects.ObjectStore(mx.cpu().device.backend)
    for _ in range(2):
        assert store.compile({}, {"symc_f": build}).functions == {"symc_f": b"code"}
    assert len(made) == 1


def test_watching_shows_every_step(lowerings, monkeypatch, capsys):
    graph = graph_of(mx.sym.Variable("x") * 2, x=(2, 3))
    compile_graph(graph)
    monkeypatch.setenv("SYMC_DEBUG", "2")
    compile_graph(graph)
    assert len(lowerings) == 2
    assert "fuse" in capsys.readouterr().err


def test_a_pass_of_the_users_is_always_run(lowerings, monkeypatch):
    monkeypatch.setattr(pipeline, "_USER_PASSES", [])
    graph = graph_of(mx.sym.Variable("x") * 2, x=(2, 3))
    compile_graph(graph)
    ran = []

    @graph_pass(requires=(), keeps=("shape", "dtype", "layout", "group"))
    def look(graph, context):
        ran.append(1)
        return graph

    pipeline.register_pass(look, before="fuse")
    compile_graph(graph)
    compile_graph(graph)
    assert len(ran) == 2 and len(lowerings) == 3


def test_an_operator_of_the_users_is_always_lowered(lowerings):
    @op("test_compiler_own_operator")
    class Own(Unary):
        """x + 1"""

        def formula(self, x):
            return x + 1.0

    graph = graph_of(apply(Own, "own", (mx.sym.Variable("x"),), {}, {}), x=(2, 3))
    compile_graph(graph)
    compile_graph(graph)
    assert len(lowerings) == 2


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(
    "name, lead",
    [("dot", ()), ("batch_dot", (2,)), ("batch_dot", (2, 3)), ("linalg_gemm2", (2,)), ("linalg_gemm2", ())],
)
def test_every_matrix_product_is_a_matrix_kernel(name, lead, transpose_a, transpose_b):
    """Not a loop nest, whatever is transposed."""
    shapes = {"a": (*lead, 33, 5) if transpose_a else (*lead, 5, 33), "b": (*lead, 33, 7)}
    if transpose_b:
        shapes["b"] = (*lead, 7, 33)
    y = getattr(mx.sym, name)(
        mx.sym.Variable("a"), mx.sym.Variable("b"), transpose_a=transpose_a, transpose_b=transpose_b
    )
    graph = to_graph(y, arg_shapes=shapes, arg_dtypes=dict.fromkeys(shapes, "float32"))
    families = {code.family for code in compile_graph(graph).lowered.codes.values()}
    assert families & {"matrix", "weight_gradient"}


def test_attention_is_made_of_matrix_kernels():
    x = mx.sym.Variable("x")
    scores = mx.sym.contrib.interleaved_matmul_selfatt_qk(x, heads=2)
    mixed = mx.sym.contrib.interleaved_matmul_selfatt_valatt(x, mx.sym.softmax(scores), heads=2)
    graph = to_graph(mixed, arg_shapes={"x": (5, 3, 2 * 3 * 4)}, arg_dtypes={"x": "float32"})
    calls = compile_graph(graph).lowered.calls
    assert [c.code.family for _, c in calls].count("matrix") == 2


def kernels_of(symbol, **shapes) -> set[str]:
    """The names of the kernels that compute a symbol and its gradients."""
    names = symbol.list_arguments()
    graph = to_graph(symbol, True, shapes, dict.fromkeys(names, "float32"))
    return {c.code.name for _, c in compile_graph(graph, dict.fromkeys(names, "write")).lowered.calls}


x, i = mx.sym.Variable("x"), mx.sym.Variable("i")
SHAPES_ALONE = {
    "take": (mx.sym.take(x, i), dict(x=(29, 31), i=(4,)), dict(x=(37, 45), i=(18,))),
    "pick": (mx.sym.pick(x, i), dict(x=(20, 14), i=(20,)), dict(x=(33, 9), i=(33,))),
    "argmax": (mx.sym.argmax(x, axis=1), dict(x=(5, 9)), dict(x=(7, 30))),
    "max pooling": (
        mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max"),
        dict(x=(2, 3, 21, 33)),
        dict(x=(3, 5, 41, 25)),
    ),
    "average pooling": (
        mx.sym.Pooling(x, kernel=(3, 3), pad=(1, 1), pool_type="avg"),
        dict(x=(2, 3, 21, 33)),
        dict(x=(3, 5, 41, 25)),
    ),
    "LRN": (mx.sym.LRN(x, nsize=5), dict(x=(2, 20, 6, 13)), dict(x=(3, 17, 9, 8))),
    "BilinearSampler": (
        mx.sym.BilinearSampler(x, i),
        dict(x=(2, 3, 17, 24), i=(2, 2, 9, 12)),
        dict(x=(3, 4, 31, 12), i=(3, 2, 8, 7)),
    ),
}


@pytest.mark.parametrize("case", SHAPES_ALONE)
def test_shapes_alone_need_no_other_kernels(case):
    """Extents, strides and bounds are words of the descriptor, not part of the code."""
    symbol, shapes, others = SHAPES_ALONE[case]
    assert kernels_of(symbol, **shapes) == kernels_of(symbol, **others)
