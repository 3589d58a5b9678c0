"""What has a shape that values decide: cut there, compiled behind it for every shape that was met."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.core.errors import ArgumentError, ArgumentTypeError, GradientError, ShapeError

nd, sym = mx.nd, mx.sym
X = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0], [7.0, 8.0, 9.0], [0.5, 0.0, 2.0]])
MASKS = ([0, 1, 0, 1], [1, 1, 1, 0], [1, 0, 0, 1])


def array(values):
    return nd.array(np.asarray(values), dtype="float64")


def squares():
    """The squares of what a mask leaves of 2 x, their sums, what is not cut at all, and an input."""
    x, mask = sym.Variable("x"), sym.Variable("mask")
    kept = sym.contrib.boolean_mask(2 * x, mask)
    return mx.nd.CachedOp(mx.sym.Group([kept * kept, sym.sum(kept), x - 1, x]))


def test_every_mask_gives_its_own_shape():
    op = squares()
    for mask in MASKS:
        kept = 2 * X[np.array(mask) > 0]
        for found, wanted in zip(op(array(X), array(mask)), (kept**2, [kept.sum()], X - 1, X)):
            np.testing.assert_allclose(found.asnumpy(), wanted)
    assert len(op._cut._last._blocks) == 2  # of two rows and of three


def test_gradients_go_through_the_cut():
    op, x = squares(), array(X)
    x.attach_grad()
    for mask in MASKS[::2]:
        with autograd.record():
            y = op(x, array(mask))
        autograd.backward(y[:3])
        on = np.array(mask)[:, None]
        np.testing.assert_allclose(x.grad.asnumpy(), on * (8 * X + 2) + 1)


def test_what_lies_before_runs_once():
    class Net(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x, mask):
            x = F.Dropout(x, p=0.5)
            return F.contrib.boolean_mask(x, mask), x * 1

    net = Net()
    net.hybridize()
    with autograd.train_mode():
        kept, x = net(nd.ones((4, 30)), nd.array(MASKS[0]))
    assert (kept.asnumpy() == x.asnumpy()[[1, 3]]).all() and 0 < x.asnumpy().mean() < 2


def test_a_part_is_cut_again():
    x, mask, other = sym.Variable("x"), sym.Variable("mask"), sym.Variable("other")
    kept = sym.contrib.boolean_mask(x, mask)
    op = mx.nd.CachedOp(sym.contrib.boolean_mask(kept + 1, sym.contrib.boolean_mask(other, mask)) * 2)
    found = op(array(X), array([1, 1, 0, 1]), array([0, 1, 1, 1]))
    np.testing.assert_allclose(found.asnumpy(), 2 * (X[[1, 3]] + 1))
    into = array(np.zeros((2, 3)))
    op(array(X), array([1, 1, 0, 1]), array([0, 1, 1, 1]), out=into)
    np.testing.assert_allclose(into.asnumpy(), found.asnumpy())


def test_hooks_see_both_parts():
    op, seen = squares(), []
    op._register_op_hook(lambda name, operator, x: seen.append(operator))
    op(array(X), array(MASKS[0]))
    assert seen == [b"_mul_scalar", b"_minus_scalar", b"elemwise_mul", b"sum"]


def bound(grad_req="write"):
    x, mask, shift = sym.Variable("x"), sym.Variable("mask"), sym.Variable("shift")
    kept = sym.contrib.boolean_mask(2 * x, mask)
    net = sym.Group([kept * kept + shift, sym.MakeLoss(x - 1)])
    args = {"x": array(X), "mask": array(MASKS[0]), "shift": array(np.ones((2, 3)))}
    return net.bind(mx.cpu(), args, {"x": array(np.ones_like(X))}, grad_req)


@pytest.mark.parametrize("grad_req", ["write", "add"])
def test_a_bound_symbol_is_cut(grad_req):
    executor, before = bound(grad_req), grad_req == "add"
    for mask in (MASKS[0], MASKS[2]):
        on = np.array(mask) > 0
        for found, wanted in zip(executor.forward(is_train=True, mask=mask), ((2 * X[on]) ** 2 + 1, X - 1)):
            np.testing.assert_allclose(found.asnumpy(), wanted)
        executor.backward([array(np.full((2, 3), 3.0))])
        found = before + on[:, None] * 24 * X + 1
        np.testing.assert_allclose(executor.grad_dict["x"].asnumpy(), found)
        before = found * (grad_req == "add")
    with pytest.raises(GradientError, match=r"is not a loss.*pass out_grads of shape \(2, 3\)"):
        executor.backward()
    with pytest.raises(ArgumentError, match=r"head gradient 0 has shape \(3, 3\), expected \(2, 3\)"):
        executor.backward([nd.ones((3, 3))])


def test_a_bound_symbol_is_called_and_evaluated():
    executor = bound()
    kept, _ = executor(mask=MASKS[2])
    np.testing.assert_allclose(kept.asnumpy(), (2 * X[[0, 3]]) ** 2 + 1)
    (kept,) = sym.contrib.boolean_mask(sym.Variable("x"), sym.Variable("mask")).eval(x=array(X), mask=array(MASKS[1]))
    np.testing.assert_allclose(kept.asnumpy(), X[:3])
    with pytest.raises(ArgumentTypeError, match="Unknown argument z; expected one of x, mask, shift"):
        executor(z=X)


def test_a_bound_symbols_monitor_hears_of_both_parts():
    executor, heard = bound(), []
    executor.set_monitor_callback(lambda name, array: heard.append(array.shape))
    executor.forward()
    assert heard == [(4, 3), (4, 3), (4, 3), (2, 3), (2, 3)]


def test_what_needs_one_program_is_refused():
    net = sym.contrib.boolean_mask(sym.Variable("x"), sym.Variable("mask"))
    executor = net.bind(mx.cpu(), [array(X), array(MASKS[0])])
    for attempt in (lambda: executor.outputs, executor.explain, lambda: net.simple_bind(mx.cpu(), x=(4, 3))):
        with pytest.raises(ShapeError, match=r"cannot be decided when the graph is compiled.* bind it to arrays"):
            attempt()
    with pytest.raises(ArgumentError, match="the process's threads"):
        executor.set_num_threads(1)
