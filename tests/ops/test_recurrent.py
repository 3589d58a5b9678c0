"""Recurrent networks compiled: against NumPy in float64, what a step costs, what is prepared once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symc as mx
from symc.runtime.compiler import compile_graph
from symc.runtime.program import KernelStep, Loop
from symc.symbol.graph import to_graph

from .cases_recurrent import rnn

MODES = ("rnn_relu", "rnn_tanh", "lstm", "gru")
TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 4e-3}


def network(mode: str, **params: Any) -> mx.sym.Symbol:
    names = ["data", "parameters", "state", *["state_cell"] * (mode == "lstm")]
    return mx.sym.RNN(*map(mx.sym.Variable, names), mode=mode, state_outputs=True, name="net", **params)


def bound(net: mx.sym.Symbol, data: tuple[int, ...], dtype: str = "float32", **how: Any) -> mx.executor.Executor:
    """An executor whose arrays hold random numbers that every float dtype has."""
    executor = net.simple_bind(mx.cpu(), data=data, type_dict=dict.fromkeys(net.list_arguments(), dtype), **how)
    rng = np.random.RandomState(sum(data))
    for array in executor.arg_arrays:
        array[:] = rng.randint(-24, 25, array.shape) / 32
    return executor


def wide(arrays: dict[str, mx.nd.NDArray]) -> dict[str, np.ndarray]:
    return {name: array.asnumpy().astype("float64") for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "mode, data, form",
    [(mode, (3, batch, 5), {"state_size": 18, "num_layers": 1}) for mode in MODES for batch in (1, 4)]
    + [(mode, (5, 2, 3), {"state_size": 4, "num_layers": 2, "bidirectional": True}) for mode in MODES]
    + [(mode, (1, 3, 2), {"state_size": 3, "num_layers": 2}) for mode in MODES]
    + [("lstm", (4, 2, 3), {"state_size": 8, "num_layers": 2, "bidirectional": True, "projection_size": 5})],
)
def test_equals_numpy(mode: str, data: tuple[int, ...], form: dict, dtype: str) -> None:
    executor = bound(network(mode, **form), data, dtype, grad_req="null")
    want = rnn(**wide(executor.arg_dict), mode=mode, state_outputs=True, **form)
    for got, expected in zip(executor.forward(), want):
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_allclose(got.asnumpy(), expected, TOLERANCE[dtype], TOLERANCE[dtype])


@pytest.mark.parametrize("mode, n_kernels", [("lstm", 2), ("gru", 2)])
def test_a_step_is_a_product_and_the_gates(mode: str, n_kernels: int) -> None:
    net = network(mode, state_size=32, num_layers=2, bidirectional=True)
    program = compile_graph(to_graph(net, arg_shapes={"data": (7, 4, 16)})).program
    loops = [step for step in program.phase_steps("forward") if isinstance(step, Loop)]
    assert [loop.count for loop in loops] == [7] * 4
    assert all(len(loop.steps) == n_kernels for loop in loops)
    assert all(isinstance(step, KernelStep) for loop in loops for step in loop.steps)


def test_steps_without_elements() -> None:
    with mx.util.np_shape():
        for data in ((0, 2, 3), (4, 0, 3)):
            executor = bound(network("lstm", state_size=5, num_layers=2), data, grad_req="null")
            out, h, c = executor.forward()
            assert out.shape == (*data[:2], 5) and h.shape == c.shape == (2, data[1], 5)
            np.testing.assert_array_equal(h.asnumpy(), executor.arg_dict["state"].asnumpy())
            np.testing.assert_array_equal(c.asnumpy(), executor.arg_dict["state_cell"].asnumpy())
