"""Gradients of gradients, of integers, and none that is silently missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

import symc as mx
from symc.core.errors import GradientError, ShapeError
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value
from symc.ir.op import Op, lookup, operators
from tests.conformance.draws import quantized
from tests.conformance.draws.draw import Declared, Draw
from tests.conformance.draws.families import GENERATORS

from .cases import Case
from .reference import Arrays, Run, make_op, prepared, run_node, with_gradients
from .test_ops import FAMILIES, TABLES, feeds_of, graph_of

# -- every operator, those that gradients are made of included ------------------------------------------------------

# Where MXNet's gradient is not the derivative: (operator, argument).
DEVIATIONS = {
    **{(f"_random_pdf_{name}", "sample"): "discrete" for name in ("poisson", "negative_binomial")},
    ("_random_pdf_generalized_negative_binomial", "sample"): "discrete",
    **{("_contrib_box_iou", side): "MXNet gives zeros" for side in ("lhs", "rhs")},
    **{("_contrib_box_decode", side): "MXNet gives zeros" for side in ("data", "anchors")},
    **{(f"_contrib_{name}", "data"): "MXNet gives zeros" for name in ("quantize_v2", "quantize_asym", "dequantize")},
    ("_contrib_DeformablePSROIPooling", "rois"): "MXNet gives zeros",
    ("_contrib_hawkesll", "state"): "MXNet gives zeros",
    ("_contrib_ROIAlign", "rois"): "MXNet gives zeros",
    **{(f"_contrib_{name}_ste", "data"): "straight through" for name in ("round", "sign")},
    ("_digamma", "data"): "its logarithm is rounded to float32: see test_polygamma",
}
QUANTIZED = "_contrib_quantized_"  # operators whose gradients MXNet gives as zeros
MAX_ELEMENTS = 130
SLOW = frozenset(
    {"_contrib_DeformablePSROIPooling", "_contrib_DeformableConvolution", "_contrib_ModulatedDeformableConvolution"}
)
SYMMETRIC = frozenset({"_linalg_potrf", "_linalg_syevd"})  # functions of symmetric matrices
STEP = 1e-6
KINK = 0.01  # where slopes on both sides are further apart, in parts of the slope, there is no derivative


def differences(run: Run, node: Node, arrays: Arrays, position: int, heads: list[np.ndarray]) -> np.ndarray:
    """The gradient of one input of a node by central differences."""
    found = np.zeros_like(arrays[node.inputs[position]])
    for at in np.ndindex(found.shape):
        unit = np.zeros_like(found)
        unit[at] = 1
        found[at] = slope(run, node, arrays, position, heads, unit)
    return found


def slope(run: Run, node: Node, arrays: Arrays, position: int, heads: list[np.ndarray], direction: np.ndarray) -> float:
    """How fast the results, weighted by the heads, change when one input moves in a direction; NaN at a kink."""

    def total(step: float) -> float:
        v = node.inputs[position]
        local = {**arrays, v: arrays[v] + step * direction}
        if step:
            run(local)
        return sum(float((h * local[node[k]]).sum()) for k, h in enumerate(heads))

    here = total(0)
    ahead, behind = (total(STEP) - here) / STEP, (here - total(-STEP)) / STEP
    found = (ahead + behind) / 2
    return found if abs(ahead - behind) <= KINK * max(1, abs(found)) else np.nan


def stated(graph: Graph, node: Node, arrays: Arrays, heads: list[np.ndarray]) -> dict[int, np.ndarray | None]:
    """The gradients of a node's inputs as its operator states them; None where it states none."""
    g = GraphBuilder(graph.facts, graph.training)
    g.serving = node
    y = [node[k] for k in range(node.n_outputs)]
    dy = [g.input(f"head{k}", g.shape(v), g.dtype(v)) for k, v in enumerate(y)]
    found = dict(enumerate(node.operator.gradient(g, node.inputs, y, dy)))
    values = [v for v in found.values() if v is not None]
    inner = finish(g, [Output("head", str(k), v) for k, v in enumerate(values)])
    known: dict[Value, np.ndarray] = {**arrays, **dict(zip(dy, heads))}
    for part in inner.nodes:
        if part[0] not in known:
            run_node(inner, part, known)
    return {k: None if v is None else known[v] for k, v in found.items()}


def check_node(graph: Graph, node: Node, arrays: Arrays, n_directions: int = 0) -> bool:
    """Every gradient of a node that its operator does not refuse is what differences give: of every element, or along
    so many random directions. Whether there was any.
    """
    op = node.operator
    names = op.input_names()
    checked = [
        k
        for k, v in enumerate(node.inputs)
        if graph.dtype(v) == "float64"
        and 0 < arrays[v].size
        and (n_directions or arrays[v].size <= MAX_ELEMENTS)
        and names[k] not in op.aux
        and not op.refuses_gradient(names[k], "write")
        and (op.name, names[k]) not in DEVIATIONS
    ]
    if op.is_loss or not checked:
        return False
    rng = np.random.RandomState(0)
    # As in MXNet nothing flows back from hidden outputs, nor from the moments of norms, nor from what excites events.
    n_flowing = 1 if "Norm" in op.name or op.name == "_contrib_hawkesll" else op.n_visible()
    heads = [
        np.asarray(rng.uniform(1, 2, arrays[node[k]].shape) * (k < n_flowing)).astype(graph.dtype(node[k]))
        for k in range(node.n_outputs)
    ]
    found = stated(graph, node, arrays, heads)
    run, n_slopes = prepared(graph, node), 0
    for k in checked:
        terms = [found[j] for j, v in enumerate(node.inputs) if v == node.inputs[k] and found.get(j) is not None]
        gradient = sum(terms, np.zeros_like(arrays[node.inputs[k]]))
        if n_directions:
            directions = rng.uniform(-1, 1, (n_directions, *gradient.shape))
            if op.name in SYMMETRIC:
                directions += np.swapaxes(directions, -1, -2)
            got = np.array([np.sum(gradient * direction) for direction in directions])
            want = np.array([slope(run, node, arrays, k, heads, direction) for direction in directions])
            tolerance = 1e-6 * (1 + max(np.sum(np.abs(gradient * direction)) for direction in directions))
        else:
            got, want = gradient, differences(run, node, arrays, k, heads)
            tolerance = 1e-6 * max(1.0, float(np.abs(want[~np.isnan(want)]).max(initial=0)))
        has_slope = ~np.isnan(want)
        n_slopes += int(has_slope.sum())
        message = f"{op}: gradient of {names[k]}" + ("" if terms else " (none)")
        np.testing.assert_allclose(got[has_slope], want[has_slope], 1e-4, tolerance, err_msg=message)
    return n_slopes > 0


def in_float64(family: str) -> Iterator[Case]:
    """The smooth cases of a family in float64, one for each operator and parameters, of slow operators two."""
    seen = set()
    n_left = dict.fromkeys(SLOW, 2)
    for case in TABLES[family].CASES:
        if case.op.startswith(QUANTIZED):
            continue
        key = (case.op, str(case.params))
        if case.smooth and case.points is None and "float32" in case.input_dtypes() and key not in seen:
            seen.add(key)
            if case.op in SLOW:
                n_left[case.op] -= 1
                if n_left[case.op] < 0:
                    continue
            wide = tuple("float64" if d.startswith("float") else d for d in case.input_dtypes())
            yield dataclasses.replace(case, dtypes=wide)


def declared(op: str) -> Declared:
    """The flags and choices of an operator."""
    found = {p.name: p.choices or ((False, True) if p.kind is bool else ()) for p in lookup(op).params().values()}
    return {name: options for name, options in found.items() if options}


# Operators that give a gradient which is no derivative, or none that differences of theirs could show.
COPIED = "flip_left_right flip_top_bottom to_tensor random_brightness random_color_jitter random_contrast random_hue "
COPIED += "random_flip_left_right random_flip_top_bottom random_lighting random_saturation"
NO_DERIVATIVE = {
    "Custom": "users write it",
    "IdentityAttachKLSparseReg": "adds that of a penalty",
    "_contrib_gradientmultiplier": "multiplies the gradient",
    **dict.fromkeys(("_contrib_round_ste", "_contrib_sign_ste"), "straight through"),
    **{f"_image_{name}": "MXNet gives that of a copy" for name in COPIED.split()},
    **dict.fromkeys(quantized.GENERATORS, "MXNet gives zeros"),
}  # fmt: skip
STRUCTURED = ("_cond", "_foreach", "_while_loop")  # see control/test_structured.py


def has_gradient(cls: type[Op]) -> bool:
    """Whether an operator states any."""
    is_stated = cls.gradient is not Op.gradient or bool(cls.undecidable)  # these become a take
    return is_stated and cls.is_differentiable and cls.is_loss is not True


def test_every_derivative_is_tried_at_random_parameters() -> None:
    stated = {cls.name for cls in operators() if cls.__module__.startswith("symc.") and has_gradient(cls)}
    tried = {lookup(name).name for name in {*GENERATORS} - {*NO_DERIVATIVE}} | {*STRUCTURED}
    assert stated - tried == stated & NO_DERIVATIVE.keys()
    assert not tried & NO_DERIVATIVE.keys()


@pytest.mark.slow
@pytest.mark.parametrize("op", sorted(name for name in {*GENERATORS} - {*NO_DERIVATIVE} if has_gradient(lookup(name))))
def test_gradients_at_random_parameters(op: str) -> None:
    """`python -m pytest -m slow tests/ops/test_gradients.py`: twenty shapes and parameters of every operator."""
    n_checked = 0
    for number in range(1000):
        case = GENERATORS[op](Draw(op, number, declared(op)))
        n_checked += is_right_at(case)
        if n_checked == 20:
            return
    raise AssertionError(f"{op}: {n_checked} draws have a gradient to check")


def deviates(case: Case) -> bool:
    """Whether MXNet's gradient, which is symc's, is not the derivative for these parameters."""
    params = case.params
    return (
        params.get("act_type") == "selu"  # s (a + y) where the derivative is s a + y
        or (case.op == "SoftmaxActivation" and params.get("mode") != "channel" and len(case.shapes[0]) > 2)
        or (case.op == "_mod_scalar" and params["scalar"] == 0)  # 1 where the function is 0
        or params.get("in_format", "corner") != params.get("out_format", "corner")  # as if boxes were not converted
    )


def is_right_at(case: Case) -> bool:
    """Checks the gradients of a case in float64; whether it has any."""
    if case.points is not None or not any(d.startswith("float") for d in case.input_dtypes()) or deviates(case):
        return False
    wide = tuple("float64" if d.startswith("float") else d for d in case.input_dtypes())
    params = {k: "float64" if k == "dtype" and str(v).startswith("float") else v for k, v in case.params.items()}
    case = dataclasses.replace(case, dtypes=wide, params=params)
    op = make_op(case.op, case.params)
    if op.undecidable:
        kept = tuple(float(k) for k in op.kept(case.inputs()))
        case = Case("take", (case.shapes[0], (len(kept),)), {"axis": 0}, wide, given={1: kept}, grads=(0,))
    try:
        graph = graph_of(case, training=True)
    except ShapeError:  # flags that do not fit the shape, which MXNet refuses as well
        return False
    feeds = feeds_of(case, graph)
    (node,) = (n for n in graph.nodes if not n.is_input)
    if not graph.dtype(node[0]).startswith("float"):  # a step at every whole number
        return False
    arrays: Arrays = {n[0]: np.asarray(feeds[n.name]) for n in graph.nodes if n.is_input}
    with np.errstate(all="ignore"):
        run_node(graph, node, arrays)
        return check_node(graph, node, arrays, n_directions=3)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_operator_leaves_a_gradient_out(family: str) -> None:
    """Operators, and the operators their gradients are made of: what is stated is right, the rest is refused."""
    done: set[str] = set()
    for case in in_float64(family):
        for training in (False, True):
            graph = graph_of(case, training)
            names = make_op(case.op, case.params).input_names()
            graph = with_gradients(graph, [names[k] for k in case.gradient_positions()])
            feeds, arrays = feeds_of(case, graph), {}
            for node in graph.nodes:
                if node.is_input:
                    arrays[node[0]] = np.asarray(feeds[node.name])
                    continue
                run_node(graph, node, arrays)
                if str(node.op) not in done:
                    done.add(str(node.op))
                    check_node(graph, node, arrays)


def test_a_missing_gradient_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(Case("sin", dtypes="float64"))
    node = graph.outputs[0].value.node
    arrays = {node.inputs[0]: np.ones((3, 4))}
    run_node(graph, node, arrays)
    check_node(graph, node, arrays)
    monkeypatch.setattr(type(node.op), "gradient", lambda self, g, x, y, dy: [None])
    with pytest.raises(AssertionError, match=r"sin\(\): gradient of data \(none\)"):
        check_node(graph, node, arrays)


def test_an_internal_operator_without_a_gradient_refuses() -> None:
    x = variable([[[[1.0, 5.0], [3.0, 2.0]]]])
    with mx.autograd.record():
        y = mx.nd.Pooling(x, kernel=(2, 2), pool_type="max")
        (first,) = mx.autograd.grad(y * y, x, create_graph=True)
    with pytest.raises(GradientError, match=r"_pooling_gradient .* gives no gradient for its argument dy"):
        first.backward()


def test_gradients_that_mxnet_refuses_are_refused() -> None:
    names = "lda alpha beta state lags marks valid_length max_time".split()
    shapes = [(1, 3), (3,), (3,), (1, 3), (1, 4), (1, 4), (1,), (1,)]
    arrays = {n: mx.nd.ones(s, dtype="int32" if n == "marks" else "float32") for n, s in zip(names, shapes)}
    net = mx.sym.contrib.hawkesll(*map(mx.sym.Variable, names))
    for name in ("lags", "valid_length", "max_time"):
        executor = net.bind(mx.cpu(), arrays, {name: mx.nd.ones_like(arrays[name])})
        executor.forward(is_train=True)
        with pytest.raises(GradientError, match=f"_contrib_hawkesll .* gives no gradient for its argument {name}"):
            executor.backward([mx.nd.ones((1,)), mx.nd.ones((1, 3))])


# -- second derivatives ---------------------------------------------------------------------------------------------


def variable(values, dtype="float32") -> mx.nd.NDArray:
    array = mx.nd.array(values, dtype=dtype)
    array.attach_grad()
    return array


@pytest.mark.parametrize(
    "order, x, want",
    [
        (1, 1.0, np.pi**2 / 6),
        (1, 0.5, np.pi**2 / 2),
        (1, -0.5, np.pi**2 / 2 + 4),
        (1, -1.5, np.pi**2 / 2 + 4 + 4 / 9),
        (2, 1.0, -2 * 1.2020569031595942),
        (2, 0.5, -14 * 1.2020569031595942),
        (2, -0.5, -14 * 1.2020569031595942 + 16),
        (3, 1.0, np.pi**4 / 15),
        (3, -0.5, np.pi**4 + 96),
        (1, 100.0, 0.010050166663333571),
        (1, -2.0, np.inf),
    ],
)
def test_polygamma(order: int, x: float, want: float) -> None:
    graph = graph_of(Case("_polygamma", ((1,),), {"order": order}, "float64"))
    node = graph.outputs[0].value.node
    arrays = {node.inputs[0]: np.array([x])}
    run_node(graph, node, arrays)
    np.testing.assert_allclose(arrays[node[0]], [want], rtol=1e-13)


@pytest.mark.parametrize(
    "name, points, want",
    [
        ("gammaln", [0.5, 3.0], [4.934802200544679, 0.3949340668482264]),
        ("gamma", [0.5, 3.0], [15.580181463, 2.4929299919]),  # gamma * (digamma^2 + trigamma)
        ("arcsinh", [0.5, -0.7], [-0.35777087639996635, 0.3848740239]),  # MXNet's has the wrong sign
        *((name, [0.5, -1.7], [0, 0]) for name in "radians degrees negative identity relu abs sign".split()),
        *((name, [0.5, -1.7], [0, 0]) for name in "floor ceil round rint trunc fix BlockGrad zeros_like".split()),
    ],
)
def test_second_derivatives(name: str, points: list[float], want: list[float]) -> None:
    x = variable(points, "float64")
    with mx.autograd.record():
        (first,) = mx.autograd.grad(getattr(mx.nd, name)(x), x, create_graph=True)
    first.backward()
    np.testing.assert_allclose(x.grad.asnumpy(), want, rtol=1e-6)


# -- integers -------------------------------------------------------------------------------------------------------

A, B = [7, -7, 6, 0, 1, 3, -2], [2, 2, 3, 5, -1, 1, 1]
LEAST = "the least number of the dtype"
# From MXNet 1.9.1 for a head gradient of 3: slopes are cut to integers, then multiplied; one that is a NaN is LEAST.
INTEGER_GRADIENTS = {
    "broadcast_mod": ([0] * 7, [0] * 7),
    "broadcast_div": ([0, 0, 0, 0, -3, 3, 3], [-3, 3, 0, 0, -3, -9, 6]),
    "elemwise_div": ([0, 0, 0, 0, -3, 3, 3], [-3, 3, 0, 0, -3, -9, 6]),
    "broadcast_hypot": ([0] * 7, [0, 0, 0, 3, 0, 0, 0]),
    "broadcast_power": ([42, -42, 324, 0, -3, 3, 3], [285, LEAST, 1161, LEAST, 0, 9, LEAST]),
    "broadcast_mul": ([6, 6, 9, 15, -3, 3, 3], [21, -21, 18, 0, 3, 9, -6]),
    "broadcast_maximum": ([3, 0, 3, 0, 3, 3, 0], [0, 3, 0, 3, 0, 0, 3]),
}
INTEGER_SCALAR_GRADIENTS = {
    ("_mod_scalar", 2): [0] * 7,
    ("_rmod_scalar", 2): [0] * 7,
    ("_hypot_scalar", 2): [0] * 7,
    ("_rpower_scalar", 2): [264, 0, 132, 0, 3, 15, 0],
    ("_div_scalar", 2): [1] * 7,
    ("_power_scalar", 2): [42, -42, 36, 0, 6, 18, -12],
}
INTEGER_UNARY_GRADIENTS = {
    "arcsinh": [0, 0, 0, 3, 0, 0, 0],
    "gamma": {0: 4044, 2: 612, 4: 0, 5: 3},
    "gammaln": {0: 3, 2: 3, 4: 0, 5: 0},
    "square": [42, -42, 36, 0, 6, 18, -12],
    "sqrt": {0: 0, 2: 0, 4: 0, 5: 0},
    "tan": [3, 3, 3, 3, 6, 3, 15],
}


@pytest.mark.parametrize("name", INTEGER_GRADIENTS)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integer_gradients(name: str, dtype: str) -> None:
    a, b = variable(A, dtype), variable(B, dtype)
    with mx.autograd.record():
        y = getattr(mx.nd, name)(a, b)
    y.backward(mx.nd.full((7,), 3, dtype=dtype))
    want = [[np.iinfo(dtype).min if n is LEAST else n for n in each] for each in INTEGER_GRADIENTS[name]]
    assert [a.grad.asnumpy().tolist(), b.grad.asnumpy().tolist()] == want


@pytest.mark.parametrize("name, scalar", INTEGER_SCALAR_GRADIENTS)
def test_integer_gradients_with_a_scalar(name: str, scalar: int) -> None:
    a = variable(A, "int32")
    with mx.autograd.record():
        y = getattr(mx.nd._internal, name)(a, scalar=scalar)
    y.backward(mx.nd.full((7,), 3, dtype="int32"))
    assert a.grad.asnumpy().tolist() == INTEGER_SCALAR_GRADIENTS[name, scalar]


@pytest.mark.parametrize("name", INTEGER_UNARY_GRADIENTS)
def test_integer_gradients_of_one_operand(name: str) -> None:
    a, want = variable(A, "int32"), INTEGER_UNARY_GRADIENTS[name]
    with mx.autograd.record():
        y = getattr(mx.nd, name)(a)
    y.backward(mx.nd.full((7,), 3, dtype="int32"))
    got = dict(enumerate(a.grad.asnumpy().tolist()))
    assert {k: got[k] for k in (want if isinstance(want, dict) else range(7))} == (
        want if isinstance(want, dict) else dict(enumerate(want))
    )


@pytest.mark.parametrize(
    "dtype, of_sums, want",
    [
        ("int8", "float16", [51, 52, -38, 118, 120, 120]),
        ("int32", "float32", [307, 308, 218, 118, 120, 120]),
        ("float32", "int8", [307, 308, 218, 118, 120, 120]),
    ],
)
def test_the_gradient_of_running_sums_is_added_up_in_the_datas_dtype(dtype: str, of_sums: str, want: list) -> None:
    a = variable(np.zeros(6), dtype)
    with mx.autograd.record():
        y = mx.nd.cumsum(a, dtype=of_sums)
    y.backward(mx.nd.array(np.array([-1.5, 90.5, 100.7, -2.9, 0.6, 120]).astype(of_sums), dtype=of_sums))
    assert a.grad.asnumpy().tolist() == want


def test_integer_gradients_of_a_symbol() -> None:
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    arrays = {"a": mx.nd.array([7, 6], dtype="int32"), "b": mx.nd.array([2, -1], dtype="int32")}
    grads = {n: mx.nd.zeros((2,), dtype="int32") for n in arrays}
    executor = mx.sym.broadcast_div(a, b).bind(mx.cpu(), arrays, grads)
    executor.forward(is_train=True)
    executor.backward(mx.nd.array([3, 3], dtype="int32"))
    assert [grads[n].asnumpy().tolist() for n in "ab"] == [[0, -3], [-3, -18]]
