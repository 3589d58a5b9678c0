"""Small arrays, variables, and what an array is compared with."""

from __future__ import annotations

import numpy as np

import symc.ndarray as nd

INTS = [7, -7, 0, 5]


def ints(values=INTS, dtype="int32"):
    return nd.array(values, dtype=dtype)


def grid():
    return nd.arange(6).reshape((2, 3))


def check(result, values, dtype="float32"):
    assert isinstance(result, nd.NDArray)
    assert result.asnumpy().dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result.asnumpy(), np.array(values, dtype))
    assert result.shape == np.shape(values)


def variable(values, grad_req="write"):
    """A float64 array whose gradient is asked for."""
    x = nd.array(values, dtype="float64")
    x.attach_grad(grad_req)
    return x
