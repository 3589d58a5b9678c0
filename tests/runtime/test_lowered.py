"""Kernels of a graph become calls."""

from __future__ import annotations

import numpy as np

import symc as mx
from symc.codegen.cpu.backend import CpuBackend

N_LAYERS = 6


def test_layers_alike_are_scheduled_once_and_keep_their_own_weights(monkeypatch):
    scheduled = []
    schedule = CpuBackend.schedule

    def noted(self, kernel):
        scheduled.append(kernel)
        return schedule(self, kernel)

    monkeypatch.setattr(CpuBackend, "schedule", noted)
    symbol = mx.sym.Variable("x")
    for k in range(N_LAYERS):
        symbol = mx.sym.softmax(mx.sym.FullyConnected(symbol, num_hidden=8, no_bias=True, name=f"fc{k}"))
    executor = symbol.simple_bind(mx.cpu(), x=(4, 8), grad_req="null")
    rng = np.random.default_rng(0)
    value = rng.normal(size=(4, 8))
    executor.arg_dict["x"][:] = value
    for k in range(N_LAYERS):
        weight = rng.normal(size=(8, 8)) * 3
        executor.arg_dict[f"fc{k}_weight"][:] = weight
        value = np.exp(value @ weight.T)
        value /= value.sum(axis=1, keepdims=True)
    (result,) = executor.forward()
    np.testing.assert_allclose(result.asnumpy(), value, rtol=1e-4, atol=1e-6)
    n_kernels = len(executor.compiled(False).lowered.kernels.kernels)
    assert n_kernels >= 2 * N_LAYERS > 2 * len(scheduled)
