"""`autograd.Function`: what users differentiate themselves."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.core.errors import ArgumentError, GradientError

from .arrays import variable

nd = mx.nd


class Quotient(autograd.Function):
    """x / y and x * y, with twice the gradient of the first."""

    def forward(self, x, y):
        assert not autograd.is_recording()
        self.save_for_backward(x, y)
        return x / y, x * y

    def backward(self, d_quotient, d_product):
        x, y = self.saved_tensors
        return 2 * d_quotient / y + d_product * y, d_product * x - 2 * d_quotient * x / y / y


def test_functions_with_gradients_of_their_own():
    x, y = variable([2.0, 3.0]), variable([4.0, 5.0], "add")
    y.grad[:] = 100
    function = Quotient()
    with autograd.record():
        q, p = function(x * 1, y)
        z = 3 * q + p
    z.backward()
    np.testing.assert_allclose(z.asnumpy(), [3 * 2 / 4 + 8, 3 * 3 / 5 + 15])
    np.testing.assert_allclose(x.grad.asnumpy(), [6 / 4 + 4, 6 / 5 + 5])
    np.testing.assert_allclose(y.grad.asnumpy(), [102 - 12 / 16, 103 - 18 / 25])
    with pytest.raises(ArgumentError, match="can only be called once"):
        function(x, y)
    q, _ = Quotient()(x, y)
    assert q._made is None


def test_a_function_flows_where_a_head_needs_it():
    x, y = variable([2.0]), variable([4.0])
    with autograd.record():
        q, _ = Quotient()(x, y)
    q.backward()  # nothing flows into the second result
    np.testing.assert_allclose(x.grad.asnumpy(), [0.5])


def test_a_function_may_give_back_its_argument():
    class Same(autograd.Function):
        def forward(self, x):
            return x

        def backward(self, dx):
            return 7 * dx

    x = variable([1.0])
    with autograd.record():
        y = Same()(x) * 2
    y.backward()
    assert x.grad.asscalar() == 14


@pytest.mark.parametrize(
    ("backward", "message"),
    [
        (lambda self, *d: d[0], "Expecting 2 got 1"),
        (lambda self, *d: (d[0], 5), "result 1: expected an NDArray, got int"),
        (lambda self, *d: (d[0], nd.zeros((3,), dtype="float64")), r"result 1 has shape \(3,\), expected \(1,\)"),
        (lambda self, *d: (d[0], nd.zeros((1,))), "result 1 is float32, expected float64"),
    ],
)
def test_functions_that_give_the_wrong_gradients(backward, message):
    x, y = variable([2.0]), variable([4.0])
    with autograd.record():
        q, p = type("Wrong", (Quotient,), {"backward": backward})()(x, y)
    with pytest.raises(mx.MXNetError, match=f"Wrong.backward.*{message}"):
        autograd.backward([q, p])
    with autograd.record():
        q, p = Quotient()(x, y)
    with pytest.raises(GradientError, match="Quotient is Python code"):
        autograd.grad(q, [x], create_graph=True)
