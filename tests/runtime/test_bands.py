"""Loops whose rows know nothing of each other fall into bands, which threads keep to in all rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import symc as mx
from symc.codegen.cpu import runner_abi as abi
from symc.codegen.cpu.target import host_target
from symc.ir.kernels import KernelGraph, KernelNode, Move, View
from symc.loopir.expr import Affine
from symc.loopir.kernel import Contraction
from symc.runtime.bands import bands_of
from symc.runtime.lowered import Lowered
from symc.runtime.program import Loop, walk

N_ROWS, N_UNITS = 12, 32
Change = Callable[[KernelGraph, KernelNode], "tuple[KernelGraph, KernelNode]"]


@pytest.fixture(scope="module")
def lowered() -> Lowered:
    """h = relu(h w + x), 5 rounds: one kernel, whose state changes places with the next one."""
    x, h, w = (mx.sym.Variable(name) for name in "xhw")

    def step(row, states):
        product = mx.sym.FullyConnected(states[0], w, num_hidden=N_UNITS, no_bias=True)
        new = mx.sym.Activation(product + row, act_type="relu")
        return new, [new]

    out, _ = mx.sym.contrib.foreach(step, x, [h])
    shapes = {"x": (5, N_ROWS, N_UNITS), "h": (N_ROWS, N_UNITS)}
    return out.simple_bind(mx.cpu(), grad_req="null", **shapes).compiled(False).lowered


def found(lowered: Lowered, *changes: Change, n_calls: int = 1) -> int:
    """The bands of the loop, whose kernel's chunks fall into 3, after changes."""
    ((node, call),) = [c for c in lowered.calls if c[0].loops]
    kernels = lowered.kernels
    for change in changes:
        kernels, node = change(kernels, node)
    return bands_of(kernels, [(node, replace(call, bands=3))] * n_calls)


def seen_as(buffer: Callable[[Contraction], str], change: Callable[[View], View]) -> Change:
    """Another view behind a buffer of the kernel."""

    def changed(kernels: KernelGraph, node: KernelNode) -> tuple[KernelGraph, KernelNode]:
        name = buffer(node.kernel)
        return replace(kernels, views=kernels.views | {name: change(kernels.views[name])}), node

    return changed


def stored_in_one_row(kernels: KernelGraph, node: KernelNode) -> tuple[KernelGraph, KernelNode]:
    store, *others = node.kernel.stores
    kernel = replace(node.kernel, stores=(replace(store, index=(Affine(), *store.index[1:])), *others))
    return kernels, replace(node, kernel=kernel)


def weight_of_what_is_stored(kernels: KernelGraph, node: KernelNode) -> tuple[KernelGraph, KernelNode]:
    stored = kernels.views[node.kernel.stores[0].buffer]
    return replace(kernels, views=kernels.views | {node.kernel.rhs: stored}), node


def lhs(kernel: Contraction) -> str:
    return kernel.lhs


def test_rows_that_know_nothing_of_each_other(lowered):
    assert found(lowered) == 3


@pytest.mark.parametrize(
    "change",
    [
        seen_as(lhs, lambda view: replace(view, offset=view.offset + N_UNITS)),
        seen_as(lhs, lambda view: replace(view, moves=tuple(Move(m.loop, N_UNITS) for m in view.moves))),
        stored_in_one_row,
        weight_of_what_is_stored,
    ],
    ids=["reads the next row", "moves by a row", "all rows store in one", "multiplies with what is stored"],
)
def test_rows_that_depend_on_each_other(lowered, change):
    assert found(lowered, change) == 1


def test_kernels_behind_each_other(lowered):
    """One may overwrite what the other has yet to read for another band."""
    assert found(lowered, n_calls=2) == 1


def test_lstm_of_any_number_of_threads():
    """Equal to the bit, in more rounds than one step has; the last band has less rows."""
    net = mx.sym.RNN(mx.sym.Variable("data"), mode="lstm", state_size=256, num_layers=1, bidirectional=True, name="rnn")
    executor = net.simple_bind(mx.cpu(), grad_req="write", data=(20, 10, 16))
    rng = np.random.default_rng(0)
    for array in executor.arg_dict.values():
        array[:] = rng.normal(size=array.shape) * 0.1
    loops = [step for step in walk(executor.compiled(False).program.steps) if isinstance(step, Loop)]
    bands = 3 if host_target().has_32_registers else 1  # tiles of four gates take 32; else the gates are a step behind
    assert [loop.bands for loop in loops] == [bands] * 2 and loops[0].count > abi.MAX_ROUNDS

    def results(n_threads: int) -> list[np.ndarray]:
        executor.set_num_threads(n_threads)
        predicted = executor.forward()
        outs = executor.forward(is_train=True)
        executor.backward([mx.nd.ones(out.shape) for out in outs])
        return [a.asnumpy() for a in (*predicted, *outs, *executor.grad_dict.values())]

    one = results(1)
    for n_threads in (2, 3, 8):
        for other, expected in zip(results(n_threads), one):
            np.testing.assert_array_equal(other, expected)
