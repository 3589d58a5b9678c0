"""SYMC_SIMULATED_GPUS makes mx.gpu(k) a simulated device."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.context import DEVICES
from symc.core.errors import ArgumentError, DeviceError, SymcError
from symc.runtime.cuda import nvidia
from symc.testing.gpus import driver
from tests.codegen.cuda.packages import needs_compiler


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch):
    monkeypatch.setenv("SYMC_SIMULATED_GPUS", "2")
    yield
    DEVICES.pop(mx.Context.devstr2type["gpu"], None)


def test_there_are_as_many_as_the_setting_says():
    assert mx.num_gpus() == 2
    first, second = (mx.gpu(k).device.memory.zeros(64) for k in range(2))
    assert first.address != second.address and driver(0) is not driver(1)
    assert mx.gpu(1).device is mx.gpu(1).device
    with pytest.raises(DeviceError, match=r"there is no gpu\(2\): SYMC_SIMULATED_GPUS has 2"):
        _ = mx.gpu(2).device


@pytest.mark.parametrize("text", ["-1", "two"])
def test_how_many_is_a_number(monkeypatch, text):
    monkeypatch.setenv("SYMC_SIMULATED_GPUS", text)
    with pytest.raises(ArgumentError, match=r"SYMC_SIMULATED_GPUS=.*expected a number from 0 on"):
        mx.num_gpus()


def sum_on_a_gpu() -> np.ndarray:
    """As MXNet's tutorial on symbols binds a sum on a GPU."""
    a, b = mx.sym.Variable("a"), mx.sym.Variable("b")
    device = mx.gpu()
    arrays = {"a": mx.nd.ones([3, 4], device) * 2, "b": mx.nd.ones([3, 4], device) * 3}
    executor = (a + b).bind(ctx=device, args=arrays)
    executor.forward()
    return executor.outputs[0].asnumpy()


@needs_compiler
def test_the_tutorial_s_sum_is_computed_on_a_simulated_gpu():
    before = driver(0).counts["graph"]
    np.testing.assert_array_equal(sum_on_a_gpu(), np.full((3, 4), 5))
    assert driver(0).counts["graph"] == before + 1


def test_without_a_gpu_it_ends_in_one_error(monkeypatch):
    monkeypatch.delenv("SYMC_SIMULATED_GPUS")
    monkeypatch.setattr(nvidia, "found", lambda: (0, "NVIDIA's driver (libcuda.so.1) is not installed"))
    with pytest.raises(SymcError) as found:
        sum_on_a_gpu()
    assert str(found.value) == (
        "there is no device gpu(0) to hold arrays or run on: NVIDIA's driver (libcuda.so.1) is not installed; "
        "use mx.cpu()"
    )


@needs_compiler
def test_a_network_runs_on_one_with_a_graph_for_each_way():
    x = mx.sym.var("x")
    net = mx.sym.FullyConnected(mx.sym.Activation(x, act_type="tanh"), num_hidden=5, name="fc")
    found = []
    for context in (mx.cpu(), mx.gpu(1)):
        executor = net.simple_bind(context, x=(3, 7))
        rng = np.random.default_rng(2)
        for array in executor.arg_dict.values():
            array[:] = rng.normal(size=array.shape)
        before = driver(1).counts["graph"]
        executor.forward(is_train=True)
        executor.backward(mx.nd.ones((3, 5)))
        found.append([executor.outputs[0].asnumpy(), *(g.asnumpy() for g in executor.grad_arrays)])
    assert driver(1).counts["graph"] == before + 2 and driver(1).counts["launch"] == 0
    for host, device in zip(*found):
        assert np.abs(host - device).max() < 1e-5
