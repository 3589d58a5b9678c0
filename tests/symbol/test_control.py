"""Control flow as users write it: symbols as MXNet makes them, numbers as MXNet computes them, arrays step by step."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import artifact
from symc.core.errors import ArgumentError, ConflictError, ParameterError, ShapeError
from symc.runtime.compiler import compile_graph
from symc.runtime.program import Loop
from symc.symbol.graph import to_graph

from .control_cases import CASES, LIMITED, RECORDED, made, run


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(RECORDED) as file:
        return dict(file)


@pytest.mark.parametrize("name", CASES)
def test_symbols_are_those_of_mxnet(name, recorded):
    symbol, shapes = made(mx, CASES[name])
    text = str(recorded[f"{name}.json"])
    assert symbol.tojson() == text == mx.sym.load_json(text).tojson()
    assert symbol.list_arguments() == recorded[f"{name}.args"].tolist()
    assert symbol.list_outputs() == recorded[f"{name}.outs"].tolist()
    assert set(symbol.list_arguments()) == set(shapes)


@pytest.mark.parametrize("is_read", [False, True], ids=["made", "read"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in LIMITED])
def test_numbers_are_those_of_mxnet(name, is_read, recorded):
    symbol, shapes = made(mx, CASES[name])
    if is_read:
        symbol = mx.sym.load_json(str(recorded[f"{name}.json"]))
    for key, value in run(mx, symbol, shapes).items():
        expected = recorded[f"{name}.{key}"]
        assert not value[len(expected) :].any()
        np.testing.assert_allclose(value[: len(expected)], expected, rtol=1e-4, atol=1e-5, err_msg=key)


def chosen(x, s):
    outs = []
    for row in x:
        outs.append(row * s if row.sum() > 0 else row - s)
        s = s + outs[-1]
    return [np.array(outs), s]


def bounded(k, i, s):
    outs, u = np.zeros((5, 3)), np.sin(k)
    for n in range(5):
        if s.sum() >= k.sum() + 1000:
            break
        outs[n], i, s = s * u, i + 1, s + u * u + 1
    return [outs, i, s]


@pytest.mark.parametrize("meaning", [chosen, bounded], ids=lambda f: f.__name__)
def test_what_mxnet_does_not_run(meaning):
    """Outputs and gradients against NumPy, in float64."""
    symbol, shapes = made(mx, CASES[meaning.__name__])
    names = symbol.list_arguments()
    rng = np.random.default_rng(5)
    at = {n: rng.normal(size=shapes[n]) for n in names}
    arrays = {n: mx.nd.array(a, dtype="float64") for n, a in at.items()}
    grads = {n: mx.nd.zeros(a.shape, dtype="float64") for n, a in at.items()}
    executor = symbol.bind(mx.cpu(), arrays, args_grad=grads)
    outs = [o.asnumpy() for o in executor.forward(is_train=True)]
    for o, expected in zip(outs, meaning(**at), strict=True):
        np.testing.assert_allclose(o, expected, rtol=1e-12)
    heads = [rng.normal(size=o.shape) for o in outs]
    executor.backward([mx.nd.array(h, dtype="float64") for h in heads])
    for n in names:
        d = rng.normal(size=shapes[n])
        up, down = (
            sum((o * h).sum() for o, h in zip(meaning(**{**at, n: at[n] + step * d}), heads)) for step in (1e-6, -1e-6)
        )
        assert (grads[n].asnumpy() * d).sum() == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-6), n


def test_a_loop_that_does_not_begin():
    out, last = mx.sym.contrib.while_loop(
        lambda s: mx.sym.sum(s) > 100, lambda s: (s * 2, [s + 1]), [mx.sym.var("s")], max_iterations=3
    )
    symbol = mx.sym.Group([out, last[0]])
    executor = symbol.simple_bind(mx.cpu(), s=(2,))
    executor.arg_dict["s"][:] = 4
    outs = executor.forward(is_train=True)
    executor.backward([mx.nd.ones((3, 2)), mx.nd.array([5, 7])])
    assert outs[0].asnumpy().tolist() == [[0, 0]] * 3 and outs[1].asnumpy().tolist() == [4, 4]
    assert executor.grad_dict["s"].asnumpy().tolist() == [5, 7]


def test_shapes_and_types_are_inferred_through():
    symbol, shapes = made(mx, CASES["layer"])
    args, outs, _ = symbol.infer_shape(x=(4, 2, 5), s=(2, 3))
    assert dict(zip(symbol.list_arguments(), args)) == shapes and outs == [(4, 2, 3), (2, 3)]
    types, _, _ = symbol.infer_type(x="float64")
    assert types == [np.float64] * 3
    with pytest.raises(ShapeError, match="Error in operator _foreach0"):
        symbol.infer_shape(x=(4, 2, 5), s=(3, 2))


def test_a_stored_model_has_loops(tmp_path):
    symbol, shapes = made(mx, CASES["layer"])
    weight = mx.nd.array(np.random.default_rng(2).normal(size=shapes["w"]))
    fed = {"x": shapes["x"], "s": shapes["s"]}
    artifact.save(tmp_path / "net.symc", symbol, {"w": weight}, {}, fed)
    given = {n: mx.nd.array(np.random.default_rng(3).normal(size=shape)) for n, shape in fed.items()}
    found = artifact.load(tmp_path / "net.symc").executor()(**given)
    for o, expected in zip(found, run_with(symbol, {**given, "w": weight}), strict=False):
        np.testing.assert_array_equal(o.asnumpy(), expected)


def test_a_recorded_graph_has_loops():
    """A CachedOp on autograd's tape."""
    symbol, shapes = made(mx, CASES["nested"])
    rng = np.random.default_rng(1)
    arrays = {n: mx.nd.array(rng.normal(size=shapes[n])) for n in symbol.list_arguments()}
    wanted = run_with(symbol, arrays)
    for a in arrays.values():
        a.attach_grad()
    with mx.autograd.record():
        outs = mx.nd.CachedOp(symbol)(*arrays.values())
        total = sum((o * o).sum() for o in outs)
    total.backward()
    for found, expected in zip([*outs, *(a.grad for a in arrays.values())], wanted):
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-5, atol=1e-6)


def run_with(symbol, arrays) -> list[np.ndarray]:
    """Outputs and the gradients of the sum of their squares, by an executor."""
    grads = {n: mx.nd.zeros(a.shape) for n, a in arrays.items()}
    executor = symbol.bind(mx.cpu(), dict(arrays), args_grad=grads)
    outs = executor.forward(is_train=True)
    executor.backward([o * 2 for o in outs])
    return [o.asnumpy() for o in outs] + [grads[n].asnumpy() for n in arrays]


def test_a_step_of_a_traced_cell_is_few_kernels():
    """Identities around the outputs cost nothing, nor do outputs that are states as well."""

    def step(row, states):
        z = mx.sym.FullyConnected(row, num_hidden=8, name="i") + mx.sym.FullyConnected(
            states[0], num_hidden=8, name="h"
        )
        c = mx.sym.sigmoid(z) * states[1] + mx.sym.tanh(z)
        h = mx.sym.tanh(c)
        return h, [h, c]

    out, last = mx.sym.contrib.foreach(step, mx.sym.var("x"), [mx.sym.var("h"), mx.sym.var("c")])
    graph = to_graph(mx.sym.Group([out, *last]), True, {"x": (5, 2, 3), "h": (2, 8), "c": (2, 8)})
    program = compile_graph(graph, dict.fromkeys(("x", "h_weight"), "write")).program
    assert [(s.phase, len(s.steps)) for s in program.steps if isinstance(s, Loop)] == [("forward", 1), ("backward", 2)]


def test_misuse_is_refused():
    x, s = mx.sym.var("x"), mx.sym.var("s")
    with pytest.raises(ConflictError, match="the data arrays have to be used in the loop body"):
        mx.sym.contrib.foreach(lambda row, state: (state, state), x, s)
    with pytest.raises(ConflictError, match="the state arrays have to be used in the loop body"):
        mx.sym.contrib.foreach(lambda row, state: (row, row), x, s)
    with pytest.raises(ConflictError, match="different format"):
        mx.sym.contrib.foreach(lambda row, state: (row, [state]), x, s)
    with pytest.raises(ConflictError, match=r"foreach input must be \(nested\) list of Symbol, but got 3"):
        mx.sym.contrib.foreach(lambda row, state: (row, state), 3, s)
    with pytest.raises(ArgumentError, match="max_iterations should be specified"):
        mx.sym.contrib.while_loop(lambda s: s, lambda s: (s, s), [s])
    with pytest.raises(ArgumentError, match="Return of cond must be a Symbol"):
        mx.sym.contrib.while_loop(lambda s: True, lambda s: (s, s), [s], max_iterations=2)
    with pytest.raises(ArgumentError, match="The number of loop_vars should be consistent"):
        mx.sym.contrib.while_loop(lambda s: s, lambda s: (s, [s, s]), [s], max_iterations=2)
    with pytest.raises(ArgumentError, match="The 2-th loop_var doesn't involve"):
        mx.sym.contrib.while_loop(lambda a, b: a, lambda a, b: (a, [a, a]), [x, s], max_iterations=2)
    with pytest.raises(ArgumentError, match="Number of outputs differs"):
        mx.sym.contrib.cond(s, lambda: [x, x], lambda: x)
    text = made(mx, CASES["layer"])[0].tojson()
    with pytest.raises(ParameterError, match="0 subgraphs, expected 1"):
        mx.sym.load_json(
            text[: text.index('"subgraphs"')].rstrip(", \n") + "}" + text[text.index('], \n  "arg_nodes": [0, 2, 3]') :]
        )


# -- arrays ------------------------------------------------------------------------------------------------------------


def test_arrays_loop_step_by_step():
    x, w = mx.nd.array(np.arange(6).reshape(3, 2)), mx.nd.array([2, 3])
    w.attach_grad()
    with mx.autograd.record():
        outs, (last, count) = mx.nd.contrib.foreach(
            lambda row, s: ([row * w + s[0], [row]], [s[0] + row * w, s[1] + 1]), x, [mx.nd.zeros(2), mx.nd.zeros(1)]
        )
        last.sum().backward()
    rows = x.asnumpy()
    np.testing.assert_array_equal(outs[0].asnumpy(), np.cumsum(rows * [2, 3], axis=0))
    np.testing.assert_array_equal(outs[1][0].asnumpy(), rows)
    assert count.asnumpy() == [3] and w.grad.asnumpy().tolist() == rows.sum(axis=0).tolist()
    with pytest.raises(ArgumentError, match="at least one row"):
        mx.nd.contrib.foreach(lambda row, s: (row, s), mx.nd.array(np.zeros((0, 2))), [])


def test_arrays_loop_while():
    i, s = mx.nd.array([0]), mx.nd.array([1])
    outs, (i, s) = mx.nd.contrib.while_loop(lambda i, s: i <= 2, lambda i, s: ([i + s], [i + 1, s + i]), [i, s], 5)
    assert outs[0].asnumpy().ravel().tolist() == [1, 2, 4, 0, 0]
    assert i.asscalar() == 3 and s.asscalar() == 4
    assert mx.nd.contrib.while_loop(lambda s: s < 0, lambda s: (s, s), s, 3) == ([], s)
    with pytest.raises(ArgumentError, match="Shapes of 1-th elements in step_outputs are inconsistent"):
        mx.nd.contrib.while_loop(lambda s: 1, lambda s: (s, mx.nd.concat(s, s, dim=0)), s, 3)
    with pytest.raises(ArgumentError, match="max_iterations should be specified"):
        mx.nd.contrib.while_loop(lambda s: 1, lambda s: (s, s), s)


def test_arrays_choose():
    a, b = mx.nd.array([1]), mx.nd.array([2])
    assert mx.nd.contrib.cond(a * b < 5, lambda: (a + 5) * (b + 5), lambda: (a - 5) * (b - 5)).asscalar() == 42
    assert mx.nd.contrib.cond(mx.nd.array([0]), lambda: a, lambda: b) is b
    with pytest.raises(ArgumentError, match="Cannot convert pred to python bool"):
        mx.nd.contrib.cond(mx.nd.array([0, 1]), lambda: a, lambda: b)
