"""Long sums round little, because they are added up part by part."""

from __future__ import annotations

import numpy as np
import pytest

from symc.codegen.cpu.contraction import schedule_contraction
from symc.codegen.cpu.target import host_target
from tests.codegen.contractions import MATRIX, Memory, check, contraction, planned, run


@pytest.mark.parametrize("channels, groups", [((3, 17), 1), ((33, 9), 1), ((6, 6), 6)])
def test_long_gradient_sums(channels, groups, target):
    """More pixels than a block, more images than a table; few channels also meet the gathered border pixels."""
    c = contraction("weight_gradient", batch=3, channels=channels, groups=groups, inputs=(33, 35))
    call = check(c, target)
    if channels == (3, 17):
        assert "borders=True" in call.code.structure


def test_long_gradient_sums_round_little():
    """Partial sums of blocks: 200,000 products summed one by one would be off by 2e-3."""
    target = host_target()
    c = contraction("weight_gradient", batch=20, channels=(16, 8), inputs=(100, 100), kernel=(1, 1), pad=(0, 0))
    (call,) = schedule_contraction(planned(c, target))
    memory = {b.name: Memory.of(b, np.full(b.shape, 0.1 if b.name == "x" else 1.0, b.dtype)) for b in c.buffers}
    run(call, memory, target, list(range(call.launch.n_chunks)), call.launch.n_chunks)
    np.testing.assert_allclose(memory["w"].view(), 20 * 100 * 100 * np.float32(0.1), rtol=2e-5)


WIDE = dict(batch=1, inputs=(400, 301), kernel=(400, 300), pad=(0, 0))
LONG_SUMS = {
    "one run": (contraction("forward", 3, (200_000, 2), **MATRIX), 200_000),
    "one run of a data gradient": (contraction("data_gradient", 3, (2, 200_000), **MATRIX), 200_000),
    "many runs": (contraction(channels=(4, 4), groups=2, **WIDE), 240_000),
    "depthwise": (contraction(channels=(3, 3), groups=3, **WIDE), 120_000),
    "pixels": (contraction("weight_gradient", 200_000, (2, 3), **MATRIX), 200_000),
    "depthwise pixels": (
        contraction("weight_gradient", 1, (3, 3), groups=3, inputs=(400, 501), kernel=(1, 2), pad=(0, 0)),
        200_000,
    ),
}


@pytest.mark.parametrize("case", LONG_SUMS)
def test_long_sums_round_little(case):
    """One accumulator for all of these products would be off by 1e-3."""
    (c, n), target = LONG_SUMS[case], host_target()
    made = planned(c, target)
    memory = {}
    for b in made.buffers:
        memory[b.name] = Memory.of(b, np.full(b.shape, 0.1 if b.name == c.lhs else 1.0, b.dtype))
    (call,) = schedule_contraction(made)
    run(call, memory, target, list(range(call.launch.n_chunks)), call.launch.n_chunks)
    np.testing.assert_allclose(memory[c.stores[0].buffer].view(), n * np.float32(0.1), rtol=1e-5)


def test_a_long_sum_that_is_infinite_stays_so():
    """Totals remember what they rounded away, and inf - inf would be NaN."""
    made = planned(contraction("forward", 1, (20_000, 2), **MATRIX), host_target())
    x = np.ones((1, 20_000), "float32")
    x[0, 5_000] = np.inf
    memory = {b.name: Memory.of(b, x if b.name == made.lhs else np.ones(b.shape, b.dtype)) for b in made.buffers}
    (call,) = schedule_contraction(made)
    run(call, memory, host_target(), list(range(call.launch.n_chunks)), call.launch.n_chunks)
    assert np.isposinf(memory["y"].view()).all()


def test_usual_sums_are_not_cut():
    target = host_target()
    (call,) = schedule_contraction(planned(contraction("forward", 3, (8192, 20), **MATRIX), target))
    assert "in parts" not in call.code.structure
    (call,) = schedule_contraction(planned(contraction("forward", 3, (8193, 20), **MATRIX), target))
    assert "in parts" in call.code.structure
