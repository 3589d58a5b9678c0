"""CachedOp under autograd: one operator of the recording, whether NumPy runs its body or a program does."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.core.bounded import BoundedCache
from symc.core.errors import GradientError
from symc.executor import cached_op
from symc.ndarray import backward, eager
from symc.runtime.function import GraphFunction

nd, sym = mx.nd, mx.sym
X = np.array([[1.2, -0.5, 0.3], [0.7, 1.0, -2.0]])
x, w = sym.Variable("x"), sym.Variable("w")


@pytest.fixture(params=[-1, 1 << 40], ids=["compiled", "numpy"], autouse=True)
def limit(request, monkeypatch) -> int:
    """How much NumPy may compute, so that tests of small blocks run both ways."""
    monkeypatch.setattr(eager, "NUMPY_WORK", request.param)
    monkeypatch.setattr(backward, "_prepared", BoundedCache(256))
    return request.param


def array(values, dtype: str = "float64", grad_req: str = "write") -> mx.nd.NDArray:
    made = nd.array(np.asarray(values), dtype=dtype)
    made.attach_grad(grad_req)
    return made


def central_difference(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    found = np.zeros(at.shape)
    for k in np.ndindex(at.shape):
        step = np.zeros(at.shape)
        step[k] = 1e-6
        found[k] = (function(at + step) - function(at - step)) / 2e-6
    return found


def test_gradients_are_central_differences_and_states_follow():
    rng = np.random.default_rng(0)
    net = sym.Convolution(x, weight=w, kernel=(3, 3), pad=(1, 1), num_filter=4, no_bias=True)
    net = sym.Activation(sym.BatchNorm(net, fix_gamma=False, momentum=0.5, name="bn"), act_type="tanh")
    net = sym.FullyConnected(sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max"), num_hidden=3, name="fc")
    shapes, _, _ = net.infer_shape(x=(2, 2, 4, 4))
    given = {n: rng.normal(size=s) for n, s in zip(net.list_arguments(), shapes)}
    variables = {n: array(v) for n, v in given.items()}
    states = {"bn_moving_mean": nd.zeros(4, dtype="float64"), "bn_moving_var": nd.ones(4, dtype="float64")}
    op, weight = nd.CachedOp(net), rng.normal(size=(2, 3))

    def loss(name: str, value: np.ndarray) -> float:
        values = {**{n: nd.array(v, dtype="float64") for n, v in given.items()}, **states}
        values[name] = nd.array(value, dtype="float64")
        with autograd.train_mode():
            return float((op(*[values[n] for n in net.list_inputs()]).asnumpy() * weight).sum())

    with autograd.record():
        y = op(*[{**variables, **states}[n] for n in net.list_inputs()])
    y.backward(nd.array(weight, dtype="float64"))
    for name in ("x", "w", "bn_gamma", "bn_beta", "fc_weight", "fc_bias"):
        want = central_difference(lambda v: loss(name, v), given[name])  # noqa: B023
        np.testing.assert_allclose(variables[name].grad.asnumpy(), want, rtol=1e-4, atol=1e-6)
    convolved = nd.Convolution(
        nd.array(given["x"], dtype="float64"), nd.array(given["w"], dtype="float64"),
        kernel=(3, 3), pad=(1, 1), num_filter=4, no_bias=True,
    ).asnumpy()  # fmt: skip
    np.testing.assert_allclose(states["bn_moving_mean"].asnumpy(), 0.5 * convolved.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(states["bn_moving_var"].asnumpy(), 0.5 + 0.5 * convolved.var((0, 2, 3)), rtol=1e-5)


def training_network() -> mx.sym.Symbol:
    net = sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=16, name="conv")
    net = sym.relu(sym.BatchNorm(net, fix_gamma=False, name="bn"))
    net = sym.Dropout(sym.Convolution(net, kernel=(3, 3), num_filter=8, name="conv2"), p=0.3)
    return sym.SoftmaxOutput(sym.FullyConnected(net, num_hidden=10, name="fc"), sym.Variable("label"))


@pytest.mark.parametrize("is_held", [False, True])
def test_training_runs_the_kernels_of_an_executor(limit, is_held):
    """One program forward, one backward: equal to the bit, with the same random numbers."""
    net = training_network()
    requests = {n: "null" if n in ("x", "label") else "write" for n in net.list_arguments()}
    ex = net.simple_bind(mx.cpu(), x=(4, 8, 12, 12), grad_req=requests)
    rng = np.random.default_rng(0)
    for name, a in [*ex.arg_dict.items(), *ex.aux_dict.items()]:
        a[:] = rng.integers(0, 10, a.shape) if name == "label" else rng.uniform(0.1, 1, a.shape)
    arrays = {n: nd.array(a.asnumpy()) for n, a in [*ex.arg_dict.items(), *ex.aux_dict.items()]}
    for name, request in requests.items():
        if request == "write":
            arrays[name].attach_grad()
    held = [k for k, n in enumerate(net.list_inputs()) if is_held and n not in ("x", "label")]
    op = nd.CachedOp(net, [("param_indices", held)])
    for _ in range(2):
        mx.random.seed(3)
        (expected,) = ex.forward(is_train=True)
        ex.backward()
        mx.random.seed(3)
        with autograd.record():
            y = op(*[arrays[n] for n in net.list_inputs()])
        y.backward()
        np.testing.assert_array_equal(y.asnumpy(), expected.asnumpy())
        for name, gradient in ex.grad_dict.items():
            if gradient is not None:
                np.testing.assert_array_equal(arrays[name].grad.asnumpy(), gradient.asnumpy())
        for name, state in ex.aux_dict.items():
            np.testing.assert_array_equal(arrays[name].asnumpy(), state.asnumpy())
    (block,) = op._blocks.values()
    ((_, function),) = block._trained.values()
    programs = ex._last.session.program, function._session.program
    assert programs[1].phase_steps("backward")
    matrices = [Counter(s.kernel for s in p.steps if "nest" not in s.kernel) for p in programs]
    assert matrices[0] == matrices[1] and matrices[0]
    assert len(programs[1].steps) <= len(programs[0].steps)
    assert len(function._free) == 1  # the memory of one run served all


@pytest.mark.parametrize("times", [1, 3])
def test_requests_add_null_and_several_calls_in_one_recording(times):
    op = nd.CachedOp(x * w + sym.BlockGrad(sym.Variable("c")))
    a, total, frozen = array(X), array(X, grad_req="add"), nd.ones((2, 3), dtype="float64")
    for _ in range(2):
        with autograd.record():
            y = a
            for _ in range(times):
                y = op(y, total, frozen)
        y.backward()
    power = sum(X**k for k in range(times))  # y = a * X**n + 1 + X + ... + X**(n-1)
    np.testing.assert_allclose(y.asnumpy(), X ** (times + 1) + power)
    np.testing.assert_allclose(a.grad.asnumpy(), X**times)
    slope = times * X**times + sum(k * X ** (k - 1) for k in range(1, times))
    np.testing.assert_allclose(total.grad.asnumpy(), 2 * slope)
    assert frozen.grad is None


def test_gradients_from_blocks_and_operators_add_up():
    op = nd.CachedOp(x * w)
    a, b = array(X), array(2 * X)
    with autograd.record():
        y = nd.exp(op(a, b) * b) + op(b, b) + a
    y.backward()
    e = np.exp(4 * X**3)
    np.testing.assert_allclose(y.asnumpy(), e + 4 * X**2 + X)
    np.testing.assert_allclose(a.grad.asnumpy(), e * 4 * X**2 + 1)
    np.testing.assert_allclose(b.grad.asnumpy(), e * 4 * X**2 + 4 * X)


def test_gradients_of_numbers_add_up():
    with mx.np_shape(True):
        ops, at = [nd.CachedOp(x * x) for _ in range(3)], array(3.0)
        with autograd.record():
            y = ops[0](at)
            total = ops[1](y) + ops[2](y)
        total.backward()
        assert at.grad.shape == () and at.grad.asscalar() == 8 * 3**3
        with autograd.record():
            total = ops[0](at) + ops[1](at)
        (found,) = autograd.grad(total, [at])
        assert found.shape == () and found.asscalar() == 12


def test_a_hook_sees_a_call_without_inputs():
    op, seen = nd.CachedOp(sym.zeros((2, 3)) + 1), []
    op._register_op_hook(lambda name, operator, array: seen.append((operator, array.asnumpy().sum())))
    op()
    assert seen == [(b"_zeros", 0), (b"_plus_scalar", 6)]


def test_retain_graph_gives_the_same_again():
    op = nd.CachedOp(sym.FullyConnected(sym.Dropout(sym.tanh(x), p=0.5), weight=w, num_hidden=3, no_bias=True))
    a, b = array(X), array(np.ones((3, 3)), grad_req="add")
    with autograd.record():
        y = op(a, b)
    seen = []
    for k in range(3):
        y.backward(retain_graph=k < 2)
        seen.append((a.grad.asnumpy(), b.grad.asnumpy() / (k + 1)))
    for gradients in seen[1:]:
        for first, again in zip(seen[0], gradients):
            np.testing.assert_allclose(again, first, rtol=1e-12)
    with pytest.raises(GradientError, match="retain_graph"):
        y.backward()


def test_a_mask_is_the_same_forward_and_backward_and_another_in_the_next_call():
    op = nd.CachedOp(sym.Dropout(x, p=0.5))
    a = array(np.ones(1000), "float32")
    with autograd.record():
        first, second = op(a), op(a)
    autograd.backward([first, second])
    np.testing.assert_array_equal(a.grad.asnumpy(), (first + second).asnumpy())
    assert (first.asnumpy() != second.asnumpy()).mean() > 0.3


def test_the_mode_is_that_of_the_call():
    op = nd.CachedOp(sym.BatchNorm(x, fix_gamma=False, momentum=0.5, eps=0, name="bn"))
    a, ones = array(X), nd.ones(3, dtype="float64")
    states = [nd.zeros(3, dtype="float64"), 4 * ones]
    with autograd.record(train_mode=False):
        y = op(a, ones, ones, *states)
    y.backward()
    np.testing.assert_allclose(a.grad.asnumpy(), np.full((2, 3), 0.5), rtol=1e-6)
    assert not states[0].asnumpy().any()
    for k in range(2):  # two calls in one recording change the states twice
        with autograd.record():
            calls = [op(a, ones, ones, *states) for _ in range(2)]
        assert states[0].asnumpy().any() == (k > 0)
        autograd.backward(calls)
        np.testing.assert_allclose(states[0].asnumpy(), X.mean(0) * (1 - 0.25 ** (k + 1)), rtol=1e-6)


def test_states_below_what_trains_stay():
    net = sym.FullyConnected(sym.BatchNorm(x, name="bn"), weight=w, num_hidden=2, no_bias=True)
    weight, ones, mean = array(np.ones((2, 3)), "float32"), nd.ones(3), nd.zeros(3)
    with autograd.record():
        y = nd.CachedOp(net)(nd.array(X), ones, ones, mean, ones.copy(), weight)
    y.backward()
    assert weight.grad.asnumpy().any() and not mean.asnumpy().any()


def test_a_large_batch_norm_predicts_with_its_states():
    data = np.random.default_rng(0).normal(size=(64, 64, 32))
    op = nd.CachedOp(sym.BatchNorm(x, fix_gamma=False, name="bn"))
    for scale in (3.0, 8.0):
        y = op(nd.array(data), nd.ones(64), nd.zeros(64), nd.zeros(64), nd.ones(64) * scale)
        np.testing.assert_allclose(y.asnumpy(), data / np.sqrt(scale + 1e-3), rtol=1e-4, atol=1e-6)


LOSS = sym.MakeLoss(x)


@pytest.mark.parametrize(
    "body, after, expected",
    [
        (LOSS, nd.BlockGrad, 1),
        (LOSS, lambda y: nd.argmax(y, axis=1), 1),
        (sym.BlockGrad(LOSS), lambda y: y, 1),
        (sym.Group([x * 2, LOSS]), lambda y: nd.BlockGrad(y[1]) + y[0], 3),
        (sym.Group([x * 2, LOSS]), lambda y: y[0], 2),
        (sym.Group([x * 2, LOSS]), lambda y: y[1], 1),
        (sym.Group([x * 2, LOSS]), lambda y: nd.floor(y[1]), 1),
        (sym.Group([x * 2, x * 3]), lambda y: y[0], 2),
        (sym.Group([x, x]), lambda y: y[0] + 2 * y[1], 3),
        (sym.Group([x * 2] * 2), lambda y: y[0] + 3 * y[1], 8),
    ],
)
def test_losses_and_heads_that_are_read(body, after, expected):
    a = array(X)
    with autograd.record():
        y = after(nd.CachedOp(body)(a))
    y.backward()
    np.testing.assert_allclose(a.grad.asnumpy(), np.full((2, 3), expected, "float64"))


def test_out_arrays_lead_back():
    a, out = array(X), nd.zeros((2, 3), dtype="float64")
    op = nd.CachedOp(x * 3)
    with autograd.record():
        assert op(a, out=out) is out
        with pytest.raises(GradientError, match="Inplace"):
            op(a, out=a)
    out.backward()
    np.testing.assert_allclose(out.asnumpy(), 3 * X)
    assert (a.grad.asnumpy() == 3).all()


def test_gradients_of_gradients_go_through_the_body():
    op = nd.CachedOp(x**3 + sym.sin(x))
    a = array(X)
    with autograd.record():
        (d,) = autograd.grad(op(a) * 2, a, create_graph=True)
        z = (d * d).sum()
    z.backward()
    first, second = 2 * (3 * X**2 + np.cos(X)), 2 * (6 * X - np.sin(X))
    np.testing.assert_allclose(d.asnumpy(), first)
    np.testing.assert_allclose(a.grad.asnumpy(), 2 * first * second)
    with autograd.record():
        y = nd.CachedOp(sym.Dropout(x * x, p=0.5))(a)
        with pytest.raises(GradientError, match="draws random numbers"):
            autograd.grad(y, a, create_graph=True)


@pytest.mark.parametrize(
    "positions",
    [
        lambda v: nd.contrib.arange_like(v, axis=0),
        lambda v: nd.floor(nd.arange(3) + 0 * v[:, 0]),
        lambda v: nd.BlockGrad(v[:, 0]),
        lambda v: nd.argmax(v, axis=1),
        lambda v: nd.topk(v, axis=1)[:, 0],
        lambda v: v[:, 0] > 2,
    ],
)
def test_a_gradient_that_nobody_gets_is_not_refused(positions):
    """Sockeye's learned positions: the index of Embedding is recorded, but leads to no variable."""
    op = nd.CachedOp(x + sym.Embedding(sym.var("at"), w, input_dim=3, output_dim=2))
    a, weight = array(np.ones((3, 2)), "float32"), array(np.ones((3, 2)), "float32")
    with autograd.record():
        y = op(2 * a, positions(2 * a), weight)
    y.backward()
    assert a.grad.asnumpy().tolist() == [[2.0] * 2] * 3 and weight.grad.asnumpy().sum() == 6


def test_what_has_no_gradient_is_refused_by_backward():
    op = nd.CachedOp(sym.Embedding(x, w, input_dim=3, output_dim=2, name="emb"))
    index, weight = array([0, 2], "float32"), array(np.ones((3, 2)), "float32")
    with autograd.record():
        y = op(index, weight)
    assert y.shape == (2, 2)
    with pytest.raises(GradientError, match=r"Embedding .*emb gives no gradient for its argument data"):
        y.backward()
    with autograd.record():
        y = op(index.detach(), weight)
    y.backward()
    assert weight.grad.asnumpy().tolist() == [[1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    "body, shapes, outputs, gradients",
    [
        (sym.Group([sym.exp(x), sym.exp(w)]), {"x": (0, 3), "w": (2,)}, [0, np.e], {"w": np.e}),
        (sym.Group([sym.sum(x), sym.exp(x), w * 3]), {"x": (0, 3), "w": (2,)}, [0, 0, 3], {"w": 3}),
        (sym.concat(x, w, dim=0) * 3, {"x": (0, 3), "w": (2, 3)}, [3], {"w": 3}),
        (sym.split_v2(sym.concat(x, w, dim=0) * 3, (0,), axis=0), {"x": (0, 3), "w": (2, 3)}, [0, 3], {"w": 3}),
        (sym.FullyConnected(x, num_hidden=2, name="y"), {"x": (0, 3)}, [0], {"y_weight": 0, "y_bias": 0}),
        (sym.Convolution(x, kernel=(2, 2), num_filter=2, name="y"), {"x": (0, 3, 4, 4)}, [0],
         {"y_weight": 0, "y_bias": 0}),
        (sym.Deconvolution(x, kernel=(2, 2), num_filter=2, name="y"), {"x": (0, 3, 4, 4)}, [0], {"y_weight": 0}),
        (sym.BatchNorm(x, fix_gamma=False, name="y"), {"x": (0, 3, 4)}, [0], {"y_gamma": np.nan, "y_beta": 0}),
        (sym.SoftmaxOutput(sym.broadcast_mul(x, w), normalization="batch", name="y"), {"x": (0, 3), "w": (1, 3)}, [0],
         {"w": 0}),
        (sym.broadcast_mul(x, w), {"x": (0, 3), "w": (1, 3)}, [0], {"w": 0}),
    ],
    ids=lambda p: p.name if isinstance(p, sym.Symbol) else "",
)  # fmt: skip
def test_an_array_without_elements_leaves_no_other_unwritten(body, shapes, outputs, gradients, monkeypatch):
    """`outputs` and `gradients` are the value of every element there is, for weights and head gradients of 1.

    The statistics of no batch are 0/0, in MXNet as well.
    """

    def nowhere_written(shape, dtype):
        return np.full(shape, np.nan, dtype)

    for module in (eager, cached_op):
        monkeypatch.setattr(module, "allocation", lambda shape, dtype: nowhere_written)
    with mx.np_shape(True):
        arg_shapes, _, aux_shapes = body.infer_shape(**shapes)
    given = dict(zip(body.list_arguments(), map(np.ones, arg_shapes)))
    variables = {n: array(v) for n, v in given.items()}
    states = dict(zip(body.list_auxiliary_states(), [array(np.ones(s)) for s in aux_shapes]))
    inputs, op = [{**variables, **states}[n] for n in body.list_inputs()], nd.CachedOp(body)
    predicted = op(*inputs)
    with autograd.record():
        trained = op(*inputs)
    autograd.backward(trained)
    for found in (predicted, trained):
        for output, value in zip(found if isinstance(found, list) else [found], outputs, strict=True):
            np.testing.assert_allclose(output.asnumpy(), value)
    for name, value in gradients.items():
        np.testing.assert_allclose(variables[name].grad.asnumpy(), value, err_msg=name)


def test_a_gradient_array_that_the_recording_reads_is_written_last():
    op = nd.CachedOp(x * w)
    a, b = array(X), array(X)
    a.grad[:] = 5
    with autograd.record():
        y = nd.exp(op(a, b) * a.grad * 0) * op(a, b)
    y.backward(a.grad)
    np.testing.assert_allclose(a.grad.asnumpy(), 5 * X)
    np.testing.assert_allclose(b.grad.asnumpy(), 5 * X)


def test_grad_leaves_the_arrays_of_variables_alone():
    op = nd.CachedOp(x * w)
    a, b = array(X), array(2 * X)
    with autograd.record():
        y = op(a, b)
    da, again = autograd.grad(y, [a, a], retain_graph=True)
    da[:] = 7
    np.testing.assert_allclose(again.asnumpy(), 2 * X)
    assert not a.grad.asnumpy().any()
    y.backward()
    np.testing.assert_allclose(b.grad.asnumpy(), X)


def test_threads_record_the_same_block_at_once():
    op = nd.CachedOp(sym.Dropout(sym.FullyConnected(x, weight=w, num_hidden=40, no_bias=True), p=0.5))
    failures = []

    def train(seed: int) -> None:
        rng = np.random.default_rng(seed)
        a, b = array(rng.normal(size=(30, 20)), "float32"), array(rng.normal(size=(40, 20)), "float32")
        for _ in range(10):
            with autograd.record():
                y = op(a, b)
            y.backward()
            mask = (y.asnumpy() != 0) * 2.0
            if not np.allclose(a.grad.asnumpy(), mask @ b.asnumpy(), rtol=1e-4, atol=1e-4):
                failures.append(seed)

    threads = [threading.Thread(target=train, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_program_is_made_for_what_leads_to_variables(limit, monkeypatch):
    made = []

    def counted(graph, device, wanted=(), held=None):
        made.append(tuple(wanted))
        return GraphFunction(graph, device, wanted, held)

    monkeypatch.setattr("symc.runtime.function.GraphFunction", counted)
    op = nd.CachedOp(sym.exp(x * w))
    constant = nd.array(X, dtype="float64")
    for _ in range(2):
        for a, b in ((array(X), constant), (array(X), array(X)), (constant, constant)):
            with autograd.record():
                op(a, b)
    assert made == [("x",), ("x", "w"), *([()] if limit < 0 else [])]  # NumPy predicts what is small


def test_memory_of_many_calls_is_given_back(limit, monkeypatch):
    """Every call in a recording has an arena of its own; what waits for the next recording is bounded."""
    a = array(X)
    for free_bytes, kept in ((1 << 28, 5), (0, 1)):
        monkeypatch.setattr("symc.runtime.function.FREE_BYTES", free_bytes)
        op = nd.CachedOp(sym.exp(sym.Dropout(x, p=0.5)))
        with autograd.record():
            calls = [op(a) for _ in range(5)]
        autograd.backward(calls)
        (block,) = op._blocks.values()
        ((_, function),) = block._trained.values()
        assert len(function._free) == kept
