"""Every case of every operator: against the real MXNet, against NumPy in float64, and gradients by differences.

Runs without the compiler; the compiled path runs the same tables.
"""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output
from symc.ir.op import Op, operators
from symc.loopir.expr import const
from symc.loopir.tensor import Lowering

from .cases import Case
from .recorded import assert_close, recorded
from .reference import make_op, prepared_graph, run_graph, single_node, with_gradients

FAMILIES = sorted(p.stem[len("cases_") :] for p in pathlib.Path(__file__).parent.glob("cases_*.py"))
TABLES = {family: importlib.import_module(f"{__package__}.cases_{family}") for family in FAMILIES}


def all_cases() -> Iterator[tuple[str, Case]]:
    """Every case with its family."""
    for family, table in TABLES.items():
        yield from ((family, case) for case in table.CASES)


def chosen(condition) -> list:
    """The cases that satisfy a condition, as pytest parameters."""
    return [pytest.param(f, c, id=str(c)) for f, c in all_cases() if condition(f, c)]


def graph_of(case: Case, training: bool = False) -> Graph:
    """The one-node graph of a case."""
    return single_node(make_op(case.op, case.params), case.shapes, case.input_dtypes(), training)


def feeds_of(case: Case, graph: Graph) -> dict[str, np.ndarray]:
    """Inputs and head gradients by name."""
    feeds = dict(zip(make_op(case.op, case.params).input_names(), case.inputs()))
    heads = [o for o in graph.outputs if o.kind == "head"]
    feeds.update((f"head{k}", case.head(graph.shape(o.value), graph.dtype(o.value), k)) for k, o in enumerate(heads))
    return feeds


@dataclasses.dataclass(frozen=True)
class Results:
    """What a case gives: outputs; by position of the input, the gradients it checks and the new auxiliary states."""

    outs: list[np.ndarray]
    grads: dict[int, np.ndarray]
    states: dict[int, np.ndarray]


def run_case(case: Case, training: bool = False) -> Results:
    """Runs a case by the definitions of its operator."""
    names = make_op(case.op, case.params).input_names()
    graph = with_gradients(graph_of(case, training), [names[k] for k in case.gradient_positions()])
    found = list(zip(graph.outputs, run_graph(graph, feeds_of(case, graph))))

    def by_position(kind: str) -> dict[int, np.ndarray]:
        return {names.index(o.name): a for o, a in found if o.kind == kind}

    return Results([a for o, a in found if o.kind == "head"], by_position("gradient"), by_position("update"))


def has_recording(family: str, case: Case) -> bool:
    if case.params.get("mode") == "rnn_relu":
        return False  # MXNet rounds what relu gives to float32
    name = str(case)
    return name in recorded(family) and not recorded(family)[name].error


@pytest.mark.parametrize("family, case", chosen(has_recording))
def test_equals_mxnet(family: str, case: Case) -> None:
    check_outputs(case, run_case(case).outs, recorded(family)[str(case)].outs)


@pytest.mark.parametrize("family, case", chosen(lambda f, c: has_recording(f, c) and recorded(f)[str(c)].grads))
def test_training_equals_mxnet(family: str, case: Case) -> None:
    want, got = recorded(family)[str(case)], run_case(case, training=True)
    check_outputs(case, got.outs, want.train_outs)
    for k, expected in want.grads.items():
        assert_close(got.grads[k], expected, f"gradient {k}")
    for k, expected in want.states.items():
        assert_close(got.states.get(k, case.inputs()[k]), expected, f"state {k}")


def check_outputs(case: Case, outs: list[np.ndarray], want: list[np.ndarray]) -> None:
    assert len(outs) == len(want)
    for k, (got, expected) in enumerate(zip(outs, want)):
        if not deviates(case, k):
            assert_close(got, expected, f"output {k}")


def deviates(case: Case, k: int) -> bool:
    """Whether symc, on purpose, gives another output than MXNet built without MKL-DNN: the mathematical one."""
    return (
        (case.op == "norm" and "int" in case.input_dtypes()[0])  # MXNet divides integers while it scales them
        or (case.op == "LeakyReLU" and case.dtypes == "float64")  # MXNet multiplies in float32
        or (case.op == "LeakyReLU" and k == 1)  # MXNet leaves rrelu's slopes unwritten when it predicts
        or (case.op == "Deconvolution" and "dilate" in case.params)  # with MKL-DNN, MXNet gives what symc gives
    )


@pytest.mark.parametrize(
    "family, case",
    chosen(
        lambda f, c: (
            c.points is None and c.op in TABLES[f].ORACLE and all(d.startswith("float") for d in c.input_dtypes())
        )
    ),
)
def test_equals_numpy_in_float64(family: str, case: Case) -> None:
    wide = [x.astype("float64") for x in case.inputs()]
    with np.errstate(all="ignore"):
        want = TABLES[family].ORACLE[case.op](*wide, **case.params)
    outs = run_case(case).outs
    for got, expected in zip(outs, want if isinstance(want, tuple) else (want,)):
        if "mod" in case.op:  # MXNet: x mod 0 is 0
            expected = np.where(np.isnan(expected), 0, expected)
        with np.errstate(all="ignore"):
            assert_close(got, np.asarray(expected).astype(got.dtype), case.op)


# The gradients of these take seconds by differences of a whole graph: test_recurrent.py, test_gradients.py have them.
@pytest.mark.parametrize(
    "family, case",
    chosen(
        lambda f, c: (
            c.smooth
            and f != "recurrent"
            and "Deformable" not in c.op
            and c.gradient_positions()
            and all(c.input_dtypes()[k].startswith("float") for k in c.gradient_positions())  # integers have none
            and sum(int(np.prod(s)) for s in c.shapes) <= 130
        )
    ),
)
def test_gradient_equals_differences(family: str, case: Case) -> None:
    dtypes = tuple("float64" if d.startswith("float") else d for d in case.input_dtypes())
    case = dataclasses.replace(case, dtypes=dtypes)
    graph, inputs, step = graph_of(case), case.inputs(), 1e-6
    names = make_op(case.op, case.params).input_names()
    heads = [case.head(graph.shape(o.value), "float64", k) for k, o in enumerate(graph.outputs)]
    gradients, run = run_case(case).grads, prepared_graph(graph)

    def objective(arrays: list[np.ndarray]) -> float:
        outs = run(dict(zip(names, arrays)))
        return sum(float((h * o).sum()) for h, o in zip(heads, outs))

    for k, gradient in gradients.items():
        want = np.zeros_like(inputs[k])
        for at in np.ndindex(want.shape):
            above, below = [x.copy() for x in inputs], [x.copy() for x in inputs]
            above[k][at] += step
            below[k][at] -= step
            want[at] = (objective(above) - objective(below)) / (2 * step)
        np.testing.assert_allclose(gradient, want, rtol=2e-5, atol=2e-7 * max(1.0, float(np.abs(want).max())))


@pytest.mark.parametrize("family, case", chosen(lambda f, c: True))
def test_simplified_is_equal(family: str, case: Case) -> None:
    graph = graph_of(case)
    node = graph.outputs[0].value.node
    g = GraphBuilder(graph.facts)
    found = node.op.simplify(g, node.inputs)
    if found is None:
        return
    simple = finish(g, [Output("head", str(k), v) for k, v in enumerate(found)])
    feeds = feeds_of(case, graph)
    for got, want in zip(run_graph(simple, feeds), run_graph(graph, feeds)):
        assert_close(got, want, case.op)


def test_every_operator_has_cases() -> None:
    tested = {make_op(case.op, case.params).name for _, case in all_cases()}
    apart = ("distributions", "draws")  # families whose results no table can state: test_distributions.py
    apart += ("updates", "lamb", "lars", "multi")  # what they overwrite counts: ndarray/test_updates.py
    tested.add("_contrib_box_encode")  # reads at given places, which must exist: test_detection.py
    tested |= {cls.name for cls in operators() if cls.name.startswith("_sg_mkldnn_")}  # of files: test_quantized.py
    tested |= {"_foreach", "_while_loop", "_cond"}  # written by symbols: symbol/test_control.py
    tested |= {"Custom", "WarpCTC"}  # test_operator.py, test_ctc.py
    tested |= {cls.name for cls in operators() if cls.name.startswith("_image_random_")}  # test_images.py
    ours = [cls for cls in operators() if cls.__module__.startswith("symc.")]
    untested = [cls for cls in ours if cls.name not in tested and not cls.undecidable]
    assert [cls.name for cls in untested if cls.family not in apart] == []


def test_case_names_are_unique() -> None:
    names = [str(case) for _, case in all_cases()]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]


@pytest.mark.parametrize("other", [np.float32(1.1), np.float64(1.0), np.ones((1,), "float32")])
def test_assert_close_can_fail(other: np.ndarray) -> None:
    with pytest.raises(AssertionError):
        assert_close(np.asarray(other), np.float32(1.0).reshape(()), "one")


def test_reference_shows_forgotten_elements() -> None:
    class Half(Op):
        """Writes only the first element."""

        def lower(self, t: Lowering) -> None:
            t.region((1,), lambda i: (i,), lambda i: const(1, "float32"))

    (out,) = run_graph(single_node(Half(), [(2,)], ["float32"]), {"data": np.zeros(2, "float32")})
    assert out[0] == 1 and np.isnan(out[1])
