"""Operators as NumPy calls on whole arrays, against the interpreter on every case of every operator."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import symc as mx
from symc.ir.builder import GraphBuilder
from symc.loopir.whole import WholeArrays, whole_arrays
from symc.ndarray.eager import numpy_plan
from tests.ops.cases import Case
from tests.ops.recorded import assert_close
from tests.ops.reference import make_op, run_graph, single_node
from tests.ops.test_ops import all_cases

CASES = {str(case): case for _, case in all_cases()}


def calls_of(case: Case) -> WholeArrays | None:
    """The calls of a case's operator, for all its results."""
    op = make_op(case.op, case.params)
    graph = single_node(op, case.shapes, case.input_dtypes())
    node = graph.outputs[0].value.node
    if op.expand(GraphBuilder(graph.facts), node.inputs, training=False) is not None:
        return None  # the operator is made of others
    outs = [node[k] for k in range(node.n_outputs)]
    return whole_arrays(
        op.lower, *([(graph.shape(v), graph.dtype(v)) for v in values] for values in (node.inputs, outs))
    )


@pytest.mark.parametrize("name", CASES)
def test_equals_the_interpreter(name):
    case = CASES[name]
    calls = calls_of(case)
    if calls is None:
        return
    op = make_op(case.op, case.params)
    inputs = case.inputs()
    kept = [x.copy() for x in inputs]
    with np.errstate(all="ignore"):
        got = calls(inputs)
    want = run_graph(single_node(op, case.shapes, case.input_dtypes()), dict(zip(op.input_names(), inputs)))
    for result, expected in zip(got, want):
        assert result.shape == expected.shape and result.dtype == expected.dtype and result.flags.c_contiguous
        assert_close(result, expected, name)
        assert not any(np.shares_memory(result, x) for x in inputs)
    for x, before in zip(inputs, kept):
        np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("axis, n_dims", [(-1, 2), (0, 2), (1, 3)])
def test_a_reduction_finds_what_the_result_computes(axis, n_dims):
    """Along an axis of the result that it does not depend on; nothing is a view of another shape."""
    shape = (3, 5, 7)[:n_dims]
    op = make_op("softmax", {"axis": axis})
    calls = whole_arrays(op.lower, [(shape, "float32")], [(shape, "float32")])
    assert calls is not None
    functions = [getattr(f, "func", f).__name__ for f, _ in calls.calls]
    assert sorted(functions) == ["_divide", "_reduced", "_reduced", "apply", "multiply", "subtract"]


def test_which_operators_numpy_runs():
    of = {case.op for case in CASES.values() if calls_of(case) is not None}
    assert {"relu", "broadcast_add", "sum", "transpose", "Concat", "take", "Pad", "_arange", "adam_update"} <= of
    assert not of & {"dot", "Convolution", "erf", "Dropout"}


@pytest.mark.parametrize(
    "name, params, shapes, dtypes",
    [
        ("argmax", {}, [(2**31,)], "int8"),
        ("argmin", {"axis": 1}, [(3, 2**25)], "float32"),
        ("SequenceMask", {"use_sequence_length": True}, [(2**28, 2), (2,)], "float32"),
        ("SequenceReverse", {"use_sequence_length": True}, [(2**28, 2), (2,)], "float32"),
        ("one_hot", {"depth": 2**28}, [(3,)], "float32"),
        ("_contrib_arange_like", {}, [(2**28,)], "float32"),
        ("_arange", {"start": 0, "stop": 2**28}, [], "float32"),
        ("_eye", {"N": 2**16}, [], "float32"),
        ("pick", {}, [(2**28, 2), (2**28,)], "float32"),
        ("take", {}, [(2**28, 2), (2**20,)], "float32"),
    ],
)
def test_deciding_against_numpy_takes_no_memory(name, params, shapes, dtypes):
    op = make_op(name, params)
    graph = single_node(op, shapes, [dtypes] * len(shapes))
    inputs = [node[0] for node in graph.inputs]

    def peak_bytes() -> int:
        tracemalloc.start()
        try:
            assert numpy_plan(graph, inputs) is None
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert min(peak_bytes() for _ in range(3)) < 1 << 20  # what other threads take meanwhile counts as well


def test_work_counts_what_is_computed():
    def work(name: str, shape: tuple[int, ...], **params: object) -> int:
        calls = calls_of(Case(name, (shape,), params))
        assert calls is not None
        return calls.work

    assert work("transpose", (3, 4)) == 0
    assert work("relu", (3, 4)) == 12
    assert work("softmax", (50, 40)) < 10 * 50 * 40  # the sums of a row are not repeated for each of its elements


@pytest.mark.parametrize(
    "name, low, high",
    [
        *((name, -10, 10) for name in "exp expm1 sin cos sinh cosh tanh arctan arcsinh cbrt sigmoid".split()),
        *((name, 1e-3, 10) for name in "log log2 log10 log1p".split()),
        *((name, -0.999, 0.999) for name in "arcsin arccos arctanh tan".split()),
    ],
)
def test_functions_of_few_float32_are_within_an_ulp(name, low, high):
    """Few elements are computed by NumPy, whose own functions of float32 are up to 4 ulp off: exp(1) = 2.718282."""
    x = np.append(np.linspace(low, high, 5000), [1.0] * (high >= 1)).astype("float32")
    wide = x.astype("float64")
    want = 1 / (1 + np.exp(-wide)) if name == "sigmoid" else getattr(np, name)(wide)
    got = getattr(mx.nd, name)(mx.nd.array(x)).asnumpy()
    assert (np.abs(got - want) <= np.spacing(np.abs(want).astype("float32"))).all()
