"""mx.autograd: recording, gradients against central differences and a bound symbol, states, errors.

Recordings as symbols are tested in `ndarray/test_recording.py`, functions of users in `ndarray/test_custom.py`.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.core.bounded import BoundedCache
from symc.core.errors import ArgumentError, GradientError
from symc.ndarray import backward, eager
from symc.runtime import function

from .ndarray.arrays import variable

nd = mx.nd


def check(function, *arrays) -> None:
    """Compares the gradients of sum(function(*arrays) * weights) with central differences."""
    variables = [variable(a) for a in arrays]
    with autograd.record():
        y = function(*variables)
    weights = np.random.default_rng(0).normal(size=y.shape)
    y.backward(nd.array(weights, dtype="float64"))
    for k, x in enumerate(variables):
        want = np.zeros(x.shape)
        for at in np.ndindex(x.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [v.copy() for v in variables]
                moved[k][at] = float(moved[k].asnumpy()[at]) + step
                ends.append((function(*moved).asnumpy() * weights).sum())
            want[at] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(x.grad.asnumpy(), want, rtol=1e-5, atol=1e-7)


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(0.5, 2, shape)


@pytest.mark.parametrize(
    "function, shapes",
    [
        (lambda x: x * x + 2 / x - 3**x, [(3, 4)]),
        (lambda x, y: (x - y) * y.exp() / x, [(3, 4), (1, 4)]),
        (lambda x: x[1], [(3, 4)]),
        (lambda x: x[:, 3:0:-2], [(3, 4)]),
        (lambda x: x[None, 1, :, None], [(3, 4)]),
        (lambda x: x[nd.array([0, 2, 2])] * 2, [(3, 4)]),
        (lambda x: x[[0, 1], [3, 3]], [(3, 4)]),
        (lambda x: x[1, 2] * x[0, 0], [(3, 4)]),
        (lambda x: x.reshape((-1,)).expand_dims(0).squeeze().flatten(), [(3, 4)]),
        (lambda x: nd.dot(x.T, x.copy().astype("float64")), [(3, 4)]),
        (lambda x, w, b: nd.FullyConnected(x, w, b, num_hidden=2).softmax(), [(3, 4), (2, 4), (2,)]),
        (lambda x, w: nd.Convolution(x, w, kernel=(2, 2), num_filter=2, no_bias=True), [(1, 2, 3, 3), (2, 2, 2, 2)]),
        (lambda x: nd.concat(x, x * 2, dim=0).mean(axis=1), [(3, 4)]),
        (lambda x: nd.split(x, num_outputs=2)[1] * 3, [(3, 4)]),
        (lambda x: nd._internal._slice_assign(x, x[:1, :2] * 2, begin=(1, 1), end=(2, 3)), [(3, 4)]),
    ],
)
def test_gradients_are_central_differences(function, shapes):
    check(function, *(draw(*shape) for shape in shapes))


def test_scopes():
    assert not autograd.is_recording() and not autograd.is_training()
    with autograd.record():
        assert autograd.is_recording() and autograd.is_training()
        with autograd.pause():
            assert not autograd.is_recording() and not autograd.is_training()
        with autograd.predict_mode():
            assert autograd.is_recording() and not autograd.is_training()
        seen = []
        thread = threading.Thread(target=lambda: seen.append(autograd.is_recording()))
        thread.start()
        thread.join()
        assert seen == [False]
    with autograd.record(train_mode=False):
        assert not autograd.is_training()
    with autograd.train_mode():
        assert autograd.is_training() and not autograd.is_recording()
    assert autograd.set_recording(True) is False and autograd.set_recording(False) is True
    assert autograd.set_training(True) is False and autograd.set_training(False) is True


@pytest.mark.parametrize(
    "move",
    [
        lambda x, to: x.as_in_context(to),
        lambda x, to: x.as_in_ctx(to),
        lambda x, to: x.copyto(to),
        lambda x, to: x.copyto(nd.zeros(2, ctx=to)),
    ],
)
def test_gradients_flow_back_between_contexts(move):
    x = variable([1, 2])
    with autograd.record():
        y = move(x, mx.cpu(1))
        z = move(y * y, mx.cpu(2)) * 3
    z.backward()
    assert y.context == mx.cpu(1) and z.context == mx.cpu(2) and x.grad.context == mx.cpu()
    assert x.grad.asnumpy().tolist() == [6, 12]


def test_what_is_not_recorded():
    x, c = variable([1, 2]), nd.array([1, 2], dtype="float64")
    y = x * 2  # outside record()
    with autograd.record():
        z = c * 2
        with autograd.pause():
            w = x * 2
        detached = (x * 2).detach()
    for array in (y, z, w, detached, c):
        with pytest.raises(GradientError, match="not in a computational graph"):
            array.backward()


def test_grad_req_retain_graph_and_reuse():
    x, total = variable([1, 2]), variable([3, 4], "add")
    with autograd.record():
        y = (x * x * total).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.asnumpy().tolist() == [6, 16] and total.grad.asnumpy().tolist() == [2, 8]
    with pytest.raises(GradientError, match="retain_graph"):
        y.backward()
    with autograd.record():
        z = y + x  # what was used up is a constant
    z.backward()
    assert x.grad.asnumpy().tolist() == [1, 1]
    a = variable([1.0], "null")
    assert a.grad is None
    with pytest.raises(ArgumentError, match="grad_req"):
        a.attach_grad("maybe")


def test_two_heads_and_a_shared_part_that_is_used_up():
    x = variable([1, 2])
    with autograd.record():
        shared = x * x
        first, second = shared * 2, shared * 3
    autograd.backward([first, second], [None, nd.array([1, 0], dtype="float64")], retain_graph=True)
    assert x.grad.asnumpy().tolist() == [2 * 2 + 3 * 2, 2 * 2 * 2]
    first.backward()
    with pytest.raises(GradientError, match="used up"):
        second.backward()
    with autograd.record():
        y = x * 2
    with pytest.raises(ArgumentError, match=r"head gradient has shape \(3,\), expected \(2,\)"):
        y.backward(nd.ones((3,), dtype="float64"))
    with pytest.raises(AssertionError, match="2 heads, 1 head"):
        autograd.backward([x, x], [x])
    with pytest.raises(GradientError, match="no heads"):
        autograd.backward([])


def test_a_variable_is_its_own_head():
    x = variable([1, 2])
    x.backward(nd.array([5, 6], dtype="float64"))
    assert x.grad.asnumpy().tolist() == [5, 6]


def test_grad_gives_new_arrays():
    x, w = variable([1, 2]), variable([3, 4])
    with autograd.record():
        y = x * w
    dx, dw = autograd.grad(y, [x, w], retain_graph=True)
    assert dx.asnumpy().tolist() == [3, 4] and dw.asnumpy().tolist() == [1, 2] and not x.grad.asnumpy().any()
    assert autograd.grad(y, x)[0].asnumpy().tolist() == [3, 4]
    with autograd.record():
        y = x * w
    with pytest.raises(GradientError, match="no gradient attached"):
        autograd.grad(y, nd.ones(2))
    with pytest.raises(AssertionError, match="cannot be an empty list"):
        autograd.grad(y, [])
    with pytest.raises(TypeError, match="variable 1: expected an NDArray, got int"):
        autograd.grad(y, [x, 5])


def test_grad_refuses_a_variable_that_the_heads_were_not_computed_from():
    """One that was used, yet has no influence, has a gradient of zeros."""
    x, w, other = variable([1, 2]), variable([3, 4]), variable([5, 6])
    with autograd.record():
        y, elsewhere = x * nd.BlockGrad(w), other * x
    for unreachable in (other, elsewhere):
        with pytest.raises(GradientError, match="variable 1 because it is unreachable"):
            autograd.grad(y, [x, unreachable], retain_graph=True)
    assert [g.asnumpy().tolist() for g in autograd.grad(y, [x, w])] == [[3, 4], [0, 0]]


@pytest.mark.parametrize(
    "limit, repeated", [(-1, 9), (1 << 40, 9), (1 << 40, 0)], ids=["compiled", "numpy", "one by one"]
)
def test_equal_gradients_are_arrays_of_their_own(monkeypatch, limit, repeated):
    monkeypatch.setattr(eager, "NUMPY_WORK", limit)
    monkeypatch.setattr(backward, "REPEATED", repeated)
    monkeypatch.setattr(backward, "_prepared", BoundedCache(256))
    x, y = variable([[1, 2]]), variable([1, 2])
    with autograd.record():
        z = (x * 2).reshape((2,)) + y * 2 + y + 0 * y.sum()
    head = nd.ones((2,), dtype="float64")
    first, second, third = autograd.grad([z], [x, y, y], [head], retain_graph=True)
    first[:] = 7
    second[:] = 8
    assert third.asnumpy().tolist() == [3, 3] and first.shape == (1, 2)
    with autograd.record():
        s = x + y.reshape((1, 2))
    a, b = autograd.grad(s, [x, y], head.reshape((1, 2)))
    a[:] = 5
    assert b.asnumpy().tolist() == [1, 1] and head.asnumpy().tolist() == [1, 1]


def test_recordings_of_other_lengths_compile_nothing(monkeypatch):
    """Games and sentences: few operators, many times each; one that comes again is compiled as a whole."""
    compiled = []
    make = function.GraphFunction
    monkeypatch.setattr(function, "GraphFunction", lambda *args: compiled.append(args) or make(*args))
    w = variable(draw(5, 5) / 4)

    def gradient(n):
        with autograd.record():
            state = nd.ones((3, 5), dtype="float64")
            for k in range(n):
                state = nd.tanh(nd.dot(state, w)) * (1 + k / 8)
        state.backward()
        return w.grad.asnumpy()

    def expected(n):
        states, total = [np.ones((3, 5))], 0
        for k in range(n):
            states.append(np.tanh(states[-1] @ w.asnumpy()) * (1 + k / 8))
        flow = np.ones((3, 5))
        for k in reversed(range(n)):
            inner = flow * (1 + k / 8) * (1 - (states[k + 1] / (1 + k / 8)) ** 2)
            total, flow = total + states[k].T @ inner, inner @ w.asnumpy().T
        return total

    np.testing.assert_allclose(gradient(9), expected(9), rtol=1e-9)
    n_compiled = len(compiled)
    for n in (10, 11, 14):
        np.testing.assert_allclose(gradient(n), expected(n), rtol=1e-9)
    assert len(compiled) == n_compiled
    np.testing.assert_allclose(gradient(14), expected(14), rtol=1e-9)
    assert len(compiled) == n_compiled + 1


def test_gradients_of_gradients():
    x = variable([0.5, 1, 2])
    with autograd.record():
        y = x**3 + x.sin()
        (dx,) = autograd.grad(y, [x], create_graph=True)
        z = dx * dx
    z.backward()
    first, second = 3 * x.asnumpy() ** 2 + np.cos(x.asnumpy()), 6 * x.asnumpy() - np.sin(x.asnumpy())
    np.testing.assert_allclose(dx.asnumpy(), first, rtol=1e-12)
    np.testing.assert_allclose(x.grad.asnumpy(), 2 * first * second, rtol=1e-12)


def test_second_gradients_through_a_slice_and_a_product():
    x, w = variable(draw(3, 4)), variable(draw(2, 4))
    with autograd.record():
        y = (nd.dot(x[1:] * x[:2], w, transpose_b=True) ** 2).sum()
        (dx,) = autograd.grad(y, x, create_graph=True)
        total = (dx * dx).sum()
    total.backward()

    def objective(at: np.ndarray) -> float:
        moved = variable(at)
        with autograd.record():
            y = (nd.dot(moved[1:] * moved[:2], w, transpose_b=True) ** 2).sum()
        return float((autograd.grad(y, moved)[0] ** 2).sum().asscalar())

    want = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[at] = 1e-6
        want[at] = (objective(x.asnumpy() + step) - objective(x.asnumpy() - step)) / 2e-6
    np.testing.assert_allclose(x.grad.asnumpy(), want, rtol=1e-5)


def test_mark_variables():
    x, g = nd.array([1, 2]), nd.zeros((2,))
    autograd.mark_variables(x, g)
    with autograd.record():
        y = x * 3
    y.backward()
    assert x.grad is g and g.asnumpy().tolist() == [3, 3]
    with pytest.raises(ArgumentError, match="2 variables"):
        autograd.mark_variables([x, x], [g])


def test_attach_grad_cuts_the_recording():
    x = variable([1, 2])
    with autograd.record():
        y = x * 2
        y.attach_grad()
        z = y * 3
    z.backward()
    assert y.grad.asnumpy().tolist() == [3, 3] and x.grad.asnumpy().tolist() == [0, 0]


@pytest.mark.parametrize(
    "write",
    [
        lambda x, y: x.__iadd__(y),
        lambda x, y: x.__setitem__(0, y[0]),
        lambda x, y: x.__setitem__(0, 1),
        lambda x, y: x.__setitem__(slice(None), [1, 2]),
        lambda x, y: x.__setitem__(0, np.ones(())),
        lambda x, y: x[0:1].__setitem__(slice(None), 1),
        lambda x, y: nd.relu(x, out=x),
        lambda x, y: x.__setitem__(slice(None), 0),
        lambda x, y: x.__setitem__(0, 5.0),
        lambda x, y: x.__setitem__(0, np.zeros(1)),
        lambda x, y: x[:1].__setitem__(slice(None), 0),
        lambda x, y: x.__setitem__(slice(None), nd.zeros(2, dtype="float64")),
        lambda x, y: nd.zeros(2, dtype="float64").copyto(x),
        lambda x, y: nd.zeros(2, out=x),
        lambda x, y: nd.random.uniform(shape=2, dtype="float64", out=x),
    ],
)
def test_writing_in_place_is_refused(write):
    x = variable([1, 2])
    with autograd.record():
        y = x * 2
        with pytest.raises(GradientError, match="Inplace operations"):
            write(y, x)


def test_new_data_may_be_written_while_recording():
    x, constant = variable([1, 2]), nd.zeros(2, dtype="float64")
    with autograd.record():
        x[:] = np.array([3.0, 4.0])
        constant[0] = 5
        y = x * constant
    y.backward()
    assert y.asnumpy().tolist() == [15, 0] and x.grad.asnumpy().tolist() == [5, 0]


def test_whole_assignment_is_recorded():
    x, y = variable([1, 2]), nd.zeros((2,), dtype="float64")
    with autograd.record():
        y[:] = x * 2
    y.backward()
    assert x.grad.asnumpy().tolist() == [2, 2]


def test_training_steps_equal_a_bound_symbol():
    """A network with BatchNorm and a loss: gradients and moving statistics as those of an Executor."""
    rng = np.random.default_rng(0)
    shapes = {"w": (4, 6), "b": (4,), "gamma": (4,), "beta": (4,)}
    params = {n: rng.normal(size=s).astype("float32") for n, s in shapes.items()}
    data, label = rng.normal(size=(5, 6)).astype("float32"), np.array([0, 1, 2, 3, 0], "float32")

    def net(m, x, y, p, mean, var):
        h = m.FullyConnected(x, p["w"], p["b"], num_hidden=4)
        h = m.BatchNorm(h, p["gamma"], p["beta"], mean, var, fix_gamma=False, name="bn")
        return m.SoftmaxOutput(h, y, name="out")

    v = mx.sym.var
    symbol = net(mx.sym, v("x"), v("y"), {n: v(n) for n in params}, v("mean"), v("var"))
    ex = symbol.simple_bind(mx.cpu(), x=(5, 6), y=(5,))
    ex.aux_dict["var"][:] = 1
    arrays = {n: nd.array(a) for n, a in params.items()}
    mean, var = nd.zeros((4,)), nd.ones((4,))
    for n, a in params.items():
        ex.arg_dict[n][:] = a
        arrays[n].attach_grad()
    for _ in range(2):
        ex.forward(is_train=True, x=data, y=label)
        ex.backward()
        with autograd.record():
            out = net(nd, nd.array(data), nd.array(label), arrays, mean, var)
        out.backward()
        np.testing.assert_allclose(out.asnumpy(), ex.outputs[0].asnumpy(), rtol=1e-5, atol=1e-6)
        for n, a in arrays.items():
            np.testing.assert_allclose(a.grad.asnumpy(), ex.grad_dict[n].asnumpy(), rtol=1e-4, atol=1e-5)
            a -= 0.1 * a.grad
            ex.arg_dict[n][:] = ex.arg_dict[n] - 0.1 * ex.grad_dict[n]
        for state, name in ((mean, "mean"), (var, "var")):
            np.testing.assert_allclose(state.asnumpy(), ex.aux_dict[name].asnumpy(), rtol=1e-5, atol=1e-6)


def test_dropout_uses_the_mask_of_the_recorded_run():
    x = nd.ones((1000,))
    x.attach_grad()
    with autograd.record():
        y = nd.Dropout(x, p=0.5)
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), y.asnumpy())
    assert 300 < (y.asnumpy() == 0).sum() < 700


def test_backward_graphs_are_prepared_once(monkeypatch):
    monkeypatch.setattr(backward, "_prepared", BoundedCache(256))
    x = variable(draw(3, 4))
    for _ in range(3):
        with autograd.record():
            y = (x * x).sum()
        y.backward()
    assert len(backward._prepared) == 1


def test_refused_gradients():
    weight, index = nd.ones((4, 3)), nd.array([0, 2])
    index.attach_grad()
    with autograd.record():
        y = nd.Embedding(index, weight, input_dim=4, output_dim=3)
    with pytest.raises(GradientError, match="Embedding embedding0 gives no gradient"):
        y.backward()


def test_drawn_probabilities_have_a_gradient():
    p = variable([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    with mx.autograd.record():
        drawn, log = mx.nd.random.multinomial(p, shape=4, get_prob=True)
    log.backward()
    want = np.zeros((2, 3))
    for row, picks in enumerate(drawn.asnumpy()):
        np.add.at(want[row], picks, 1 / p.asnumpy()[row, picks])
    np.testing.assert_allclose(p.grad.asnumpy(), want, rtol=1e-5)


def test_a_written_gradient_is_fresh():
    x = variable([1, 2])
    assert not x._fresh_grad
    with mx.autograd.record():
        y = x * 2
    y.backward()
    assert x._fresh_grad
    x._fresh_grad = False
    assert not x._fresh_grad
