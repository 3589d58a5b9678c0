"""Arrays of a simulated GPU: what lies there is told apart and written as what lies in the host's memory."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.context import DEVICES


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setenv("SYMC_SIMULATED_GPUS", "1")
    yield mx.gpu()
    DEVICES.pop(mx.Context.devstr2type["gpu"], None)


def test_constants_of_a_recording_are_told_apart(gpu):
    x, *constants = (mx.nd.array([k, 2 * k], ctx=gpu) for k in (1, 10, 100, 1000))
    x.attach_grad()
    with mx.autograd.record():
        y = x * constants[0] + x * constants[1] + x * constants[2]
    assert mx.autograd.get_symbol(y).list_arguments() == ["var0", "null0", "null1", "null2"]
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [1110, 2220])
