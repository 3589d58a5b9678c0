"""Winograd's kernels against the interpreter, and against direct sums where rounding counts."""

from __future__ import annotations

import numpy as np
import pytest

from symc.codegen.contraction.winograd import (
    TRANSFORMS,
    Transforms,
    factors_of,
    is_winograd,
    n_operations,
)
from symc.codegen.cpu.contraction import plan_contraction, schedule_contraction
from symc.codegen.cpu.contraction.plan import WinogradPlan
from symc.codegen.cpu.routines import schedule_template
from symc.codegen.cpu.target import Target, host_target
from symc.codegen.kernel import KernelCall
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Contraction, Template
from tests.codegen.contractions import (
    MATRIX_KINDS,
    Memory,
    accumulate,
    bias_residual_relu,
    check,
    contraction,
    normalised,
    packed_weight,
    plain,
    run,
    scaled_twice,
    winograd_plan,
    with_plan,
)

SIZES = pytest.mark.parametrize("outputs", list(TRANSFORMS))


def check_winograd(c: Contraction, target: Target, outputs: int) -> KernelCall:
    assert is_winograd(c)
    return check(c, target, plan=winograd_plan(c, target, outputs))


@pytest.mark.parametrize("transforms", [*TRANSFORMS.values(), Transforms.at(0, 1, -1, 2, -2, 0.5, -0.5)])
def test_transforms_filter(transforms):
    """One line: outputs[i] = sum over k of inputs[i + k] * weight[k]; and factors that share work change nothing."""
    rng = np.random.default_rng(0)
    inputs, weight = rng.standard_normal(transforms.extent), rng.standard_normal(3)
    g, b, a = (np.array(m) for m in (transforms.weight, transforms.input, transforms.output))
    np.testing.assert_allclose(a @ ((g @ weight) * (b @ inputs)), np.correlate(inputs, weight), rtol=1e-9, atol=1e-12)
    for matrix in (transforms.weight, transforms.input, transforms.output):
        product = np.eye(len(matrix))
        for factor in factors_of(matrix):
            product = product @ np.array(factor)
        np.testing.assert_array_equal(product, matrix)


def test_values_at_opposite_points_share_their_sums():
    found = TRANSFORMS[4]
    assert [n_operations((m,)) for m in (found.input, found.output)] == [16, 16]
    assert [n_operations(factors_of(m)) for m in (found.input, found.output)] == [12, 12]


@pytest.mark.parametrize(
    "inputs, pad, extra",
    [
        ((6, 8), (1, 1), 0),
        ((7, 7), (1, 1), 0),
        ((5, 9), (0, 0), 0),
        ((1, 1), (1, 1), 0),
        ((3, 4), (4, 5), 0),
        ((8, 8), (1, 1), 1),
        ((3, 40), (0, 2), 0),
    ],
)
@pytest.mark.parametrize("kind", MATRIX_KINDS)
@SIZES
def test_winograd_geometry(inputs, pad, extra, kind, outputs, target):
    for batch in (1, 3):
        channels = (16, 33) if kind == "forward" else (33, 16)
        check_winograd(contraction(kind, batch, channels, inputs=inputs, pad=pad, extra=extra), target, outputs)


@pytest.mark.parametrize("batch", [1, 5])
@SIZES
def test_winograd_in_parts(batch, outputs, monkeypatch, target):
    """Large inputs are transformed part by part, whatever the number of images in a part."""
    monkeypatch.setattr("symc.codegen.cpu.contraction.planner.PART_BYTES", 20_000)
    monkeypatch.setattr("symc.codegen.cpu.contraction.planner.MAX_PARTS", 1000)
    c = contraction(batch=batch, channels=(16, 33), inputs=(13 * outputs // 2, 11 * outputs // 2), epilogue=plain)
    plan = winograd_plan(c, target, outputs)
    assert plan.scratch[0] == 1 or np.prod(plan.scratch) * 4 < 35_000
    assert " of " in check_winograd(c, target, outputs).schedule


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [(16, 1), (32, 64), (48, 70)])
@SIZES
def test_winograd_channels(dtype, channels, outputs, target):
    check_winograd(contraction(channels=channels, dtype=dtype, inputs=(9, 6)), target, outputs)


@pytest.mark.parametrize(
    "epilogue, outputs",
    [(bias_residual_relu, 2), (scaled_twice, 2), (accumulate, 2), (normalised, 2), (bias_residual_relu, 4)],
)
@pytest.mark.parametrize("slack, offset", [(0, 0), (4, 3)])
def test_winograd_epilogue(epilogue, outputs, slack, offset, target):
    """In place too: an output tile that reaches beyond the border must not add twice."""
    c = contraction(channels=(16, 40), inputs=(5, 7), epilogue=epilogue, slack=slack, offset=offset)
    check_winograd(c, target, outputs)


@pytest.mark.parametrize("extent, channels", [(56, 64), (28, 64), (14, 64), (7, 256)])
def test_winograd_of_a_layer_as_it_is_used(extent, channels):
    """Every register tile that layers choose; one kernel for each size of tiles holds them all."""
    c = contraction(batch=1, channels=(channels, 64), inputs=(extent, extent), epilogue=bias_residual_relu)
    target = host_target()
    plan = plan_contraction(c, target, is_reused=True)
    assert isinstance(plan, WinogradPlan)
    call = check(c, target, plan=plan, splits=(None, 7))
    others = {
        schedule_contraction(with_plan(o, winograd_plan(o, target, plan.packing.outputs)))[-1].code.name
        for o in (contraction(channels=(64, 64), inputs=(n, n), epilogue=bias_residual_relu) for n in (4, 8, 20))
    }
    assert others == {call.code.name}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels, kind", [((16, 33), "forward"), ((64, 64), "forward"), ((48, 16), "data_gradient")])
@SIZES
def test_winograd_weights(dtype, channels, kind, outputs, target):
    """The routine's kernel against its definition, and back to the logical weight."""
    packed = winograd_plan(contraction(kind, channels=channels, dtype=dtype), target, outputs).packing
    dense = Buffer.dense("packed", packed.shape, dtype)
    logical = np.random.default_rng(0).standard_normal((channels[1], channels[0], 3, 3)).astype(dtype)
    expected = packed_weight(packed, logical)
    np.testing.assert_allclose(packed.unpack(expected.astype("float64")), logical, rtol=1e-5, atol=1e-6)
    weight = logical if kind == "forward" else np.flip(logical, (2, 3)).swapaxes(0, 1)
    staged = np.full(packed.shape, np.nan, dtype)
    view = np.zeros((packed.n_panels * packed.panel_columns, *weight.shape[1:]), dtype)
    view[: len(weight)] = weight
    staged[:, :9] = view.reshape(packed.n_panels, packed.panel_columns, -1, 9).transpose(0, 3, 2, 1)
    template = Template(packed.routine, (), ("packed",), (), (dense,))
    for n_chunks in (template.n_parts, 1, 5):
        memory = {"packed": Memory.of(dense, staged)}
        run(schedule_template(template, target), memory, target, list(range(n_chunks)), n_chunks)
        np.testing.assert_allclose(memory["packed"].view(), expected, rtol=1e-6, atol=1e-6)
        assert memory["packed"].outside_is_untouched()


def test_what_winograd_rounds_off():
    """Of the largest result: tiles of 2 x 2 less than direct sums, tiles of 4 x 4 at most 4 times as much."""
    target = host_target()
    c = contraction(batch=1, channels=(256, 64), inputs=(14, 14))
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(b.shape).astype("float32") for b in c.buffers[:2])
    x = np.maximum(x, 0)
    sums = {"x": x.astype("float64"), "w": w.astype("float64"), "y": np.zeros(c.buffers[2].shape)}
    interpret(c, sums)
    errors = []
    direct = plan_contraction(c, target, has_winograd=False)
    for plan in (direct, *(winograd_plan(c, target, outputs) for outputs in TRANSFORMS)):
        form, packed = with_plan(c, plan), packed_weight(plan.packing, w)
        memory = {b.name: Memory.of(b, {"x": x, "w": packed}.get(b.name)) for b in form.buffers}
        for call in schedule_contraction(form):
            run(call, memory, target, list(range(call.launch.n_chunks)), call.launch.n_chunks)
        errors.append(np.abs(memory["y"].view() - sums["y"]).max() / np.abs(sums["y"]).max())
    by_sums, by_two, by_four = errors
    assert by_two < by_sums < 2e-6
    assert by_four < 4 * by_sums
