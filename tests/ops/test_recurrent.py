"""Recurrent networks compiled: against NumPy in float64, what a step costs, what is prepared once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import symc as mx
from symc.codegen.cpu.target import host_target
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


@pytest.mark.parametrize("mode, n_kernels", [("lstm", 1 if host_target().has_32_registers else 2), ("gru", 2)])
def test_a_step_is_a_product_and_the_gates(mode: str, n_kernels: int) -> None:
    net = network(mode, state_size=32, num_layers=2, bidirectional=True)
    program = compile_graph(to_graph(net, arg_shapes={"data": (7, 4, 16)})).program
    loops = [step for step in program.phase_steps("forward") if isinstance(step, Loop)]
    assert [loop.count for loop in loops] == [7] * 4
    assert all(len(loop.steps) == n_kernels for loop in loops)
    assert (
        program.prepared_bytes < 1.5 * 4 * net.infer_shape(data=(7, 4, 16))[0][1][0]
    )  # weights are packed as they lie
    assert all(isinstance(step, KernelStep) for loop in loops for step in loop.steps)


def test_steps_without_elements() -> None:
    with mx.util.np_shape():
        for data in ((0, 2, 3), (4, 0, 3)):
            executor = bound(network("lstm", state_size=5, num_layers=2), data, grad_req="null")
            out, h, c = executor.forward()
            assert out.shape == (*data[:2], 5) and h.shape == c.shape == (2, data[1], 5)
            np.testing.assert_array_equal(h.asnumpy(), executor.arg_dict["state"].asnumpy())
            np.testing.assert_array_equal(c.asnumpy(), executor.arg_dict["state_cell"].asnumpy())


def test_a_step_that_takes_nothing_from_the_data() -> None:
    form = {"mode": "gru", "state_size": 4, "num_layers": 2}
    with mx.util.np_shape():
        executor = bound(network(**form), (3, 2, 0))
        heads = [np.ones((3, 2, 4)), np.ones((2, 2, 4))]
        found = gradients(executor, heads)
    assert found["data"].shape == (3, 2, 0)
    for got, want in zip(executor.outputs, rnn(**wide(executor.arg_dict), state_outputs=True, **form)):
        np.testing.assert_allclose(got.asnumpy(), want, 1e-5, 1e-6)
    want = differences(executor, "parameters", (5,), heads, **form)
    assert abs(found["parameters"][5] - want) < 1e-4


def gradients(executor: mx.executor.Executor, heads: list[np.ndarray]) -> dict[str, np.ndarray]:
    executor.forward(is_train=True)
    executor.backward([mx.nd.array(h) for h in heads])
    return wide({name: array for name, array in executor.grad_dict.items() if array is not None})


def differences(executor: mx.executor.Executor, name: str, at: tuple[int, ...], heads: list[np.ndarray], **form: Any):
    """The derivative by one element, by central differences of NumPy's float64."""
    sums = []
    for step in (1e-6, -1e-6):
        args = wide(executor.arg_dict)
        args[name][at] += step
        sums.append(sum((h * y).sum() for h, y in zip(heads, rnn(**args, state_outputs=True, **form))))
    return (sums[0] - sums[1]) / 2e-6


@pytest.mark.parametrize(
    "mode, left_out",
    [
        ("rnn_relu", "data"),
        ("rnn_tanh", ""),
        ("gru", "parameters"),
        ("gru", "state"),
        ("lstm", ""),
        ("lstm", "state_cell"),
    ],
)
def test_gradients_are_added_where_they_are_asked_for(mode: str, left_out: str) -> None:
    form = {"mode": mode, "state_size": 6, "num_layers": 2, "bidirectional": True}
    net = network(**form)
    names = net.list_arguments()
    executor = bound(net, (3, 2, 5), grad_req={n: "null" if n == left_out else "add" for n in names})
    rng = np.random.RandomState(0)
    before = {n: rng.randint(-8, 9, g.shape) / 4 for n, g in executor.grad_dict.items() if g is not None}
    for name, value in before.items():
        executor.grad_dict[name][:] = value
    heads = [rng.randint(-8, 9, shape) / 8 for shape in net.infer_shape(data=(3, 2, 5))[1]]
    found = gradients(executor, heads)
    assert set(found) == set(names) - {left_out}
    for name, got in found.items():
        for at in [tuple(rng.randint(0, n) for n in got.shape) for _ in range(12)]:
            want = differences(executor, name, at, heads, **form) + before[name][at]
            assert abs(got[at] - want) < 2e-4, (name, at)


def test_an_executor_takes_other_lengths() -> None:
    form = {"mode": "gru", "state_size": 5, "num_layers": 2}
    executor = bound(network(**form), (4, 2, 3))
    for steps in (1, 9):
        longer = executor.reshape(data=(steps, 2, 3), allow_up_sizing=True)
        longer.arg_dict["data"][:] = np.random.RandomState(steps).randint(-8, 9, (steps, 2, 3)) / 8
        heads = [np.ones((steps, 2, 5)), np.ones((2, 2, 5))]
        found = gradients(longer, heads)
        for got, want in zip(longer.outputs, rnn(**wide(longer.arg_dict), state_outputs=True, **form)):
            np.testing.assert_allclose(got.asnumpy(), want, 1e-5, 1e-6)
        want = differences(longer, "parameters", (7,), heads, **form)
        assert abs(found["parameters"][7] - want) < 1e-4


def test_elements_are_dropped_between_layers_in_training_alone() -> None:
    """A second layer that hands its inputs on shows which: each is 0 or twice what the first gave."""
    units = 64
    net = network("rnn_relu", state_size=units, num_layers=2, p=0.5)
    executor = bound(net, (6, 3, units))
    identity, nothing = np.eye(units), np.zeros((units, units))
    weights = [identity, nothing, identity, nothing]
    executor.arg_dict["parameters"][:] = np.concatenate([*(w.ravel() for w in weights), np.zeros(4 * units)])
    executor.arg_dict["data"][:] = 1
    np.testing.assert_array_equal(executor.forward()[0].asnumpy(), np.ones((6, 3, units)))
    assert "_full" not in executor.explain()  # nothing is multiplied with a mask of ones
    heads = [np.ones((6, 3, units)), np.zeros((2, 3, units))]
    found = gradients(executor, heads)
    kept = executor.outputs[0].asnumpy()
    assert set(np.unique(kept)) == {0, 2} and 0.4 < kept.mean() / 2 < 0.6
    np.testing.assert_array_equal(found["data"], kept)  # the same elements are dropped on the way back


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_recorded_and_compiled_gradients_agree(p: float) -> None:
    """On autograd's tape the network is one operator, whose masks are remembered."""
    form = {"mode": "lstm", "state_size": 4, "num_layers": 2, "bidirectional": True, "p": p}
    executor = bound(network(**form), (3, 2, 5), "float64")
    heads = [np.ones(s) for s in network(**form).infer_shape(data=(3, 2, 5))[1]]
    mx.random.seed(3)
    want = gradients(executor, heads)
    arrays = {name: array.copy() for name, array in executor.arg_dict.items()}
    for array in arrays.values():
        array.attach_grad()
    mx.random.seed(3)
    with mx.autograd.record():
        outs = mx.nd.RNN(**arrays, state_outputs=True, **form)
    mx.autograd.backward(outs)
    for got, expected in zip(outs, executor.outputs):
        np.testing.assert_allclose(got.asnumpy(), expected.asnumpy(), 1e-12)
    for name, array in arrays.items():
        np.testing.assert_allclose(array.grad.asnumpy(), want[name], 1e-9, 1e-12, err_msg=name)


def test_joined_parameters_are_prepared_and_their_extents_inferred() -> None:
    """As Gluon's layers join them: each weight viewed flat, the extent of the data left open."""
    shapes = {"i2h": (12, 0), "h2h": (12, 3), "i2h_bias": (12,), "h2h_bias": (12,)}
    flat = [mx.sym.Reshape(mx.sym.Variable(n, shape=s), shape=(-1,)) for n, s in shapes.items()]
    joined = mx.sym._internal._rnn_param_concat(*flat, dim=0)
    states = [mx.sym.Variable(n) for n in ("state", "state_cell")]
    net = mx.sym.RNN(mx.sym.Variable("data"), joined, *states, mode="lstm", state_size=3, num_layers=1)
    executor = bound(net, (4, 2, 5))
    assert executor.arg_dict["i2h"].shape == (12, 5)
    args = wide(executor.arg_dict)
    parameters = np.concatenate([args.pop(n).ravel() for n in shapes])
    want = rnn(**args, parameters=parameters, mode="lstm", state_size=3, num_layers=1)
    np.testing.assert_allclose(executor.forward()[0].asnumpy(), want, 1e-5, 1e-6)
    steps = executor.explain().splitlines()
    assert any("i2h" in s and "prepare" in s for s in steps) and not any("i2h" in s and "forward" in s for s in steps)


@pytest.mark.skipif(not host_target().has_32_registers, reason="tiles of four gates take 32 registers")
@pytest.mark.parametrize("batch, reasons", [(2, ["fused"]), (1, ["fused", "fused"])])
def test_gates_of_several_rows_are_the_epilogue_of_the_product(batch: int, reasons: list[str]) -> None:
    net = mx.sym.RNN(*map(mx.sym.var, ("x", "w", "h", "c")), mode="lstm", state_size=32, num_layers=1)
    steps = net.simple_bind(mx.cpu(), grad_req="null", x=(3, batch, 8)).explain().splitlines()
    assert [line.split("; ")[1] for line in steps if " x 3; " in line] == reasons
