"""Reverse mode, through a bound symbol and through autograd; what is expected is MXNet's own answer or mathematics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.core.errors import GradientError

nd, sym = mx.nd, mx.sym
X = np.array([[1.2, -0.5, 0.3], [0.7, 1.0, -2.0]])
SHAPE = (2, 3)
CLASSES, TARGETS = np.array([0, 2]), np.array([[1.0, 0, 0], [0, 1, 1]])


def by_symbol(make: Callable, values: np.ndarray) -> np.ndarray:
    """The gradient of all outputs' sum by an Executor."""
    symbol = make(sym, sym.Variable("x"))
    array, gradient = nd.array(values), nd.array(np.full(values.shape, -7.0))
    executor = symbol.bind(mx.cpu(), {"x": array}, args_grad={"x": gradient})
    outputs = executor.forward(is_train=True)
    executor.backward([nd.ones(o.shape, dtype=o.dtype) for o in outputs])
    return gradient.asnumpy()


def by_tape(make: Callable, values: np.ndarray) -> np.ndarray:
    """The same by autograd."""
    array = nd.array(values)
    array.attach_grad()
    with autograd.record():
        outputs = make(nd, array)
    autograd.backward(outputs if isinstance(outputs, list) else [outputs])
    return array.grad.asnumpy()


# -- one value in several places --------------------------------------------------------------------------------------

M, LOWER = np.array([[1.0, 2], [0.5, 3]]), np.array([[2.0, 0], [1, 3]])
IMAGE = np.arange(4.0).reshape(1, 1, 2, 2)
PAIR = np.array([0.5, 1.5])


def column(F, x):
    return F.expand_dims(x, axis=1)


TWICE = {
    "gemm2": (lambda F, x: F.linalg.gemm2(x, x), M, [4.5, 5, 8, 8.5]),
    "gemm": (lambda F, x: F.linalg.gemm(x, x, x), M, [5.5, 6, 9, 9.5]),
    "gemm_scaled": (
        lambda F, x: F.linalg.gemm(x, x, x, transpose_a=True, alpha=2.0, beta=0.5),
        M,
        [12.5, 12.5, 14.5, 14.5],
    ),
    "syrk of gemm2": (lambda F, x: F.linalg.syrk(F.linalg.gemm2(x, x)), M, [92, 166, 120, 292]),
    "trmm": (lambda F, x: F.linalg.trmm(x, x), LOWER, [5, 3, 5, 7]),
    "trsm": (lambda F, x: F.linalg.trsm(x, x), LOWER, [0, 1 / 3, 0, 0]),
    "amp_multicast": (lambda F, x: F.amp_multicast(x, x, num_outputs=2), M, [2] * 4),
    "UpSampling": (lambda F, x: F.UpSampling(x, x, scale=2, sample_type="nearest", num_args=2), IMAGE, [8] * 4),
    "UpSampling sum": (
        lambda F, x: F.UpSampling(x, x, scale=2, sample_type="nearest", num_args=2, multi_input_mode="sum"),
        IMAGE,
        [8] * 4,
    ),
    "Crop": (lambda F, x: F.Crop(x, x, num_args=2), IMAGE, [1] * 4),
    "BilinearResize2D": (lambda F, x: F.contrib.BilinearResize2D(x, x, mode="like"), IMAGE, [1] * 4),
    "pdf_normal": (lambda F, x: F.random_pdf_normal(column(F, x), x, x), PAIR, [-1.595769, -0.177308]),
    "pdf_exponential": (lambda F, x: F.random_pdf_exponential(column(F, x), x), PAIR, [0.3894, -0.368897]),
    "pdf_dirichlet": (lambda F, x: F.random_pdf_dirichlet(x, x), np.array([0.3, 0.7]), [-0.407421, -0.0948244]),
    "where": (lambda F, x: F.where(x, x, x), M, [1] * 4),
    "dot": (lambda F, x: F.dot(x, x), M, [4.5, 5, 8, 8.5]),
}


@pytest.mark.parametrize("gradient_of", [by_symbol, by_tape])
@pytest.mark.parametrize("name", TWICE)
def test_a_value_in_several_places_counts_in_each_once(name, gradient_of):
    make, values, expected = TWICE[name]
    np.testing.assert_allclose(gradient_of(make, values).ravel(), expected, rtol=2e-5, atol=1e-6)


# -- losses that nothing flows into -----------------------------------------------------------------------------------


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def hinge(x: np.ndarray) -> np.ndarray:
    sign = np.where(np.arange(3) == CLASSES[:, None], 1.0, -1.0)
    missing = 1 - sign * x
    return np.where(missing > 0, -2 * sign * missing, 0)


LOSSES = {
    "MakeLoss": (lambda F, x, y: F.MakeLoss(x), None, np.ones(SHAPE)),
    "make_loss": (lambda F, x, y: F.make_loss(x), None, np.ones(SHAPE)),
    "SoftmaxOutput": (lambda F, x, y: F.SoftmaxOutput(x, y), CLASSES, softmax(X) - np.eye(3)[CLASSES]),
    "SVMOutput": (lambda F, x, y: F.SVMOutput(x, y), CLASSES, hinge(X)),
    "LinearRegressionOutput": (lambda F, x, y: F.LinearRegressionOutput(x, y), TARGETS, (X - TARGETS) / 3),
    "LogisticRegressionOutput": (
        lambda F, x, y: F.LogisticRegressionOutput(x, y),
        TARGETS,
        (1 / (1 + np.exp(-X)) - TARGETS) / 3,
    ),
    "MAERegressionOutput": (lambda F, x, y: F.MAERegressionOutput(x, y), TARGETS, np.where(X > TARGETS, 1, -1) / 3),
}
BEHIND = {
    "BlockGrad": lambda F, x: F.BlockGrad(x),
    "sign": lambda F, x: F.sign(x),
    "rint": lambda F, x: F.rint(x),
    "floor": lambda F, x: F.floor(x),
    "ceil": lambda F, x: F.ceil(x),
    "round": lambda F, x: F.round(x),
    "fix": lambda F, x: F.fix(x),
    "trunc": lambda F, x: F.trunc(x),
    "argmax": lambda F, x: F.argmax(x, axis=1),
    "argsort": lambda F, x: F.argsort(x),
    "topk": lambda F, x: F.topk(x, k=1),
    "one_hot": lambda F, x: F.one_hot(F.argmax(x, axis=1), 3),
    "equal": lambda F, x: x == 1,
    "greater": lambda F, x: F.broadcast_greater(x, x),
    "logical_not": lambda F, x: F.logical_not(x),
    "zeros_like": lambda F, x: F.zeros_like(x),
    "ones_like": lambda F, x: F.ones_like(x),
    "shape_array": lambda F, x: F.shape_array(x),
    "size_array": lambda F, x: F.size_array(x),
    "like": lambda F, x: F.broadcast_like(F.ones((1, 3)), x),
    "random": lambda F, x: F.sample_normal(x, x),
    "label": lambda F, x: F.SoftmaxOutput(F.zeros((2, 3)), F.argmax(x, axis=1)),
    "indices": lambda F, x: F.take(F.ones((3,)), F.argmax(x, axis=1)),
    "nothing": lambda F, x: F.square(x),
    "factor 0": lambda F, x: x * 0,
    "refused": lambda F, x: F.Embedding(x, F.ones((3, 2)), input_dim=3, output_dim=2),
    "several": lambda F, x: F.floor(F.BlockGrad(F.relu(x))) + 1,
}


@pytest.mark.parametrize("gradient_of", [by_symbol, by_tape])
@pytest.mark.parametrize("loss, behind", [("MakeLoss", b) for b in BEHIND] + [(n, "argmax") for n in LOSSES])
def test_a_loss_trains_whatever_is_computed_from_it(loss, behind, gradient_of):
    make, values, expected = LOSSES[loss]

    def network(F, x):
        if values is None:
            return BEHIND[behind](F, make(F, x, None))
        y = nd.array(values) if F is nd else constant(values)
        return BEHIND[behind](F, make(F, x, y))

    np.testing.assert_allclose(gradient_of(network, X), expected, rtol=1e-5, atol=1e-6)


def constant(values: np.ndarray) -> mx.sym.Symbol:
    """A symbol without arguments that has these values."""
    flat = sum(float(v) * sym.one_hot(sym.full((1,), k), values.size) for k, v in enumerate(values.ravel()))
    return sym.reshape(flat, shape=values.shape)


def test_what_is_computed_from_a_loss_needs_no_head_gradient():
    executor = sym.square(sym.MakeLoss(sym.Variable("x"))).simple_bind(mx.cpu(), x=SHAPE)
    executor.forward(is_train=True, x=X)
    executor.backward()
    assert (executor.grad_dict["x"].asnumpy() == 1).all()


def test_a_loss_and_what_flows_past_it_add_up():
    def both(F, x):
        return F.BlockGrad(F.MakeLoss(x)) + x * 3

    for gradient_of in (by_symbol, by_tape):
        assert (gradient_of(both, X) == 4).all()


def test_a_loss_that_no_head_needs_does_not_count():
    x = nd.array(X)
    x.attach_grad()
    with autograd.record():
        nd.MakeLoss(x)
        y = x * 3
    y.backward()
    assert (x.grad.asnumpy() == 3).all()
    with autograd.record():
        y = nd.BlockGrad(nd.MakeLoss(x))
        (gradient,) = autograd.grad(y, x, create_graph=True)
    assert (gradient.asnumpy() == 1).all()


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["argmax_channel", "all_finite", "multi_all_finite", "multi_sum_sq", "khatri_rao", "shuffle", "batch_take"]
)
def test_operators_without_a_gradient_are_refused_when_it_is_needed(name):
    extra = {"multi_all_finite": {"num_arrays": 1}, "multi_sum_sq": {"num_arrays": 1}}.get(name, {})

    def network(F, x):
        second = {"khatri_rao": [x], "batch_take": [F.zeros((2,), dtype="int32")]}.get(name, [])
        return getattr(F, name)(x, *second, **extra)

    for gradient_of in (by_symbol, by_tape):
        with pytest.raises(GradientError, match=f"{name}.* gives no gradient for its argument"):
            gradient_of(network, X)
        assert not gradient_of(lambda F, x: F.BlockGrad(network(F, x)), X).any()


# -- states -----------------------------------------------------------------------------------------------------------


def batch_norm(F, x, name, *states):
    return F.BatchNorm(x, *states, fix_gamma=False, momentum=0.9, name=name)


def test_nodes_that_share_a_state_update_it_one_after_the_other():
    """The way back meets the last node first, as MXNet does."""
    mean = 0.9 * (0.1 * (X**2 + 1).mean(0)) + 0.1 * X.mean(0)
    variance = 0.9 * (0.9 + 0.1 * (X**2 + 1).var(0)) + 0.1 * X.var(0)
    x, ones = nd.array(X), nd.ones(3)
    x.attach_grad()
    states = [nd.zeros(3), nd.ones(3)]
    with autograd.record():
        first, second = (batch_norm(nd, d, None, ones, ones, *states) for d in (x, x * x + 1))
    autograd.backward([first, second])
    for found, expected in zip(states, (mean, variance)):
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-5)

    v = sym.Variable
    shared = [v(n, shape=(3,)) for n in ("gamma", "beta", "mean", "var")]
    both = sym.Group([batch_norm(sym, v("x"), "a", *shared), batch_norm(sym, v("x") * v("x") + 1, "b", *shared)])
    executor = both.simple_bind(mx.cpu(), x=SHAPE)
    executor.copy_params_from({"x": x, "gamma": ones, "beta": ones}, {"var": ones})
    executor.forward(is_train=True)
    executor.backward([nd.ones(SHAPE)] * 2)
    np.testing.assert_allclose(executor.aux_dict["mean"].asnumpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(executor.aux_dict["var"].asnumpy(), variance, rtol=1e-5)


@pytest.mark.parametrize("wanted, is_updated", [("x", True), ("bn_beta", True), ("w", False)])
def test_states_follow_where_the_way_back_leads(wanted, is_updated):
    """Below what trains, batch normalisation is frozen with its parameters."""
    net = sym.BatchNorm(sym.Variable("x"), fix_gamma=False, name="bn", momentum=0.5)
    net = sym.FullyConnected(net, weight=sym.Variable("w"), num_hidden=2, no_bias=True)
    requests = {n: "write" if n == wanted else "null" for n in net.list_arguments()}
    executor = net.simple_bind(mx.cpu(), x=SHAPE, grad_req=requests)
    executor.forward(is_train=True, x=X)
    executor.backward(nd.ones((2, 2)))
    assert executor.aux_dict["bn_moving_mean"].asnumpy().any() == is_updated
