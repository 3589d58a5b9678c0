"""Blocks with a shape that values decide: cut there, compiled behind it for every shape that was met."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.core.errors import ShapeError

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


def test_a_bound_symbol_is_refused():
    kept = sym.contrib.boolean_mask(sym.Variable("x"), sym.Variable("mask"))
    with pytest.raises(ShapeError, match="cannot be decided when the graph is compiled"):
        kept.bind(mx.cpu(), {"x": array(X), "mask": array(MASKS[0])})
