"""mx.contrib.autograd, as scripts of before 1.0 use it."""

from __future__ import annotations

import pytest

import symc as mx
from symc.contrib import autograd


def test_gradients_of_functions():
    a, b = mx.nd.array([1, 2]), mx.nd.array([3, 4])
    grads, loss = autograd.grad_and_loss(lambda x, y: (x * x * y).sum())(a, b)
    assert [g.asnumpy().tolist() for g in grads] == [[6, 16], [1, 4]]
    assert loss.asscalar() == 19
    (of_b,) = autograd.grad(lambda x, y: x * y, argnum=1)(a, b)
    assert of_b.asnumpy().tolist() == [1, 2]


def test_training_is_recording():
    x, dx = mx.nd.ones((3,)), mx.nd.zeros((3,))
    autograd.mark_variables([x], [dx])
    with autograd.train_section():
        y = 2 * x
        with autograd.test_section():
            assert not mx.autograd.is_training() and not mx.autograd.is_recording()
        assert mx.autograd.is_training() and mx.autograd.is_recording()
    autograd.backward([y], [mx.nd.array([1, 2, 3])])
    assert dx.asnumpy().tolist() == [2, 4, 6]
    assert autograd.set_is_training(True) is False
    assert autograd.set_is_training(False) is True


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="must be a list or tuple of NDArrays, got <class"):
        autograd.compute_gradient(mx.nd.ones(1))
    with pytest.raises(TypeError, match="to differentiate for must be NDArrays, got <class 'int'>"):
        autograd.grad(lambda x: x)(3)
