"""Direct kernels against the interpreter: odd sizes, every vector width, guard zones, any order of chunks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from symc.codegen.contraction.epilogue import epilogue_of
from symc.codegen.contraction.tables import Line
from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.contraction import candidates, plan_contraction, schedule_contraction
from symc.codegen.cpu.contraction.plan import MatrixPlan
from symc.codegen.cpu.nest.plan import STREAM_BYTES
from symc.codegen.cpu.target import Target, host_target
from symc.core.errors import CodegenError
from symc.loopir.expr import Axis, load, param
from symc.loopir.kernel import Buffer, accumulator
from tests.codegen.contractions import (
    GEOMETRIES,
    KINDS,
    MATRIX,
    MATRIX_KINDS,
    accumulate,
    bias_residual_relu,
    channels_last,
    check,
    contraction,
    gates,
    normalised,
    planned,
    scaled_rows,
    scaled_twice,
    sgd,
    strided_gradient,
    winograd_plan,
    with_plan,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_geometry(kind, geometry, target):
    check(contraction(kind, **GEOMETRIES[geometry]), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "channels, dtype",
    [
        *(((1, 1), "float32"), ((1, 3), "float32"), ((3, 64), "float32"), ((33, 7), "float32"), ((64, 33), "float32")),
        *(((3, 64), "float64"), ((33, 7), "float64")),  # panels that are filled, and not; the others are slow
        *(pytest.param(channels, "float64", marks=pytest.mark.slow) for channels in ((1, 1), (1, 3), (64, 33))),
    ],
)
def test_channels(kind, channels, dtype, target):
    check(contraction(kind, channels=channels, dtype=dtype, inputs=(5, 7)), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups, channels", [(2, (6, 66)), (3, (9, 9)), (4, (64, 128))])
def test_groups(kind, groups, channels, target):
    check(contraction(kind, channels=channels, groups=groups), target)


def residual_and_column(result: Buffer, axes: tuple[Axis, ...]):
    """A full tensor and a number for each column."""
    row = Buffer.dense("row", result.shape[-1:], result.dtype)
    total = accumulator(result.dtype) * load("row", axes[-1:], result.dtype) + load("other", axes, result.dtype)
    return [(result.name, total, "set")], [row, Buffer.dense("other", result.shape, result.dtype)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stack", [1, 2, 5])
@pytest.mark.parametrize("rows, channels", [(5, (7, 33)), (1, (64, 64)), (33, (1, 1)), (70, (33, 20))])
def test_stack(kind, stack, rows, channels, target):
    """Independent matrices side by side: each has its own operands, and reads no neighbour's."""
    check(contraction(kind, rows, channels, **MATRIX, stack=stack), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epilogue", [residual_and_column, accumulate])
def test_stack_epilogue(kind, epilogue, target):
    c = contraction(kind, 19, (9, 33), **MATRIX, stack=3, epilogue=epilogue)
    check(c, target)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
def test_stack_of_convolutions(kind, target):
    check(contraction(kind, stack=3), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stack, rows", [(0, 3), (3, 0)])
def test_empty_stack(kind, stack, rows, target):
    check(contraction(kind, rows, (4, 5), **MATRIX, stack=stack), target)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [5, 33, 70])
@pytest.mark.parametrize("geometry", ["3x3", "5x1", "stride 3x2", "dilate 2", "huge pad", "1-d", "3-d"])
def test_depthwise(kind, channels, geometry, target):
    check(contraction(kind, channels=(channels, channels), groups=channels, **GEOMETRIES[geometry]), target)


LINES = {
    "3x3": dict(inputs=(4, 14), kernel=(3, 3), pad=(1, 1)),
    "one tile": dict(inputs=(7, 7), kernel=(3, 3), pad=(1, 1)),
    "no pad": dict(inputs=(5, 9), kernel=(3, 3), pad=(0, 0)),
    "pads of 6": dict(inputs=(3, 4), kernel=(3, 3), pad=(1, 6)),
    "pads of 8": dict(inputs=(3, 7), kernel=(3, 3), pad=(1, 8)),
    "stride 2": dict(inputs=(5, 14), kernel=(3, 3), pad=(1, 1), stride=(2, 2)),
    "1x5": dict(inputs=(2, 14), kernel=(1, 5), pad=(0, 2)),
    "1-d": dict(inputs=(21,), kernel=(3,), pad=(1,), stride=(1,), dilate=(1,)),
    "3-d": dict(inputs=(2, 3, 7), kernel=(2, 3, 3), pad=(1, 1, 1), stride=(1, 1, 1), dilate=(1, 1, 1)),
}


def lines_plan(c, target):
    """The best plan with tiles of pixels, which may read lines of taps."""
    plans = [plan for plan in candidates(c, target) if plan.algorithm == "depthwise sums"]
    return min(plans, key=lambda plan: plan.cycles)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("geometry", LINES)
def test_depthwise_lines(kind, batch, geometry, target):
    """Rows of a tile that lie on one line of 7, 14 or 21 read each position once for all taps of a line."""
    c = contraction(kind, batch=batch, channels=(35, 35), groups=35, **LINES[geometry])
    check(c, target, plan=lines_plan(c, target))


def test_depthwise_lines_are_taken_where_rows_lie_on_one(target):
    layers = {name: contraction(channels=(35, 35), groups=35, **g) for name, g in LINES.items()}
    taken = {name for name, c in layers.items() if lines_plan(c, target).line != Line()}
    assert taken == ({*LINES} - {"pads of 8"} if target.vector_bits == 512 else set())


STRIPS = {
    "3x3": dict(inputs=(4, 14), kernel=(3, 3), pad=(1, 1)),
    "one row": dict(inputs=(1, 7), kernel=(3, 3), pad=(1, 1)),
    "no pad": dict(inputs=(5, 9), kernel=(3, 3), pad=(0, 0)),
    "pads of 8": dict(inputs=(3, 7), kernel=(3, 3), pad=(4, 8)),
    "stride 2": dict(inputs=(5, 14), kernel=(3, 3), pad=(1, 1), stride=(2, 2)),
    "stride 1x2": dict(inputs=(5, 13), kernel=(2, 3), pad=(0, 1), stride=(1, 2)),
    "stride 4x1": dict(inputs=(9, 6), kernel=(3, 3), pad=(1, 1), stride=(4, 1)),
    "columns of 5": dict(inputs=(3, 10), kernel=(3, 3), pad=(1, 1)),
    "columns of 8": dict(inputs=(3, 8), kernel=(3, 3), pad=(1, 1)),
    "panels of two vectors": dict(inputs=(3, 14), kernel=(3, 3), pad=(1, 1), channels=(80, 80), groups=80),
    "panels of four vectors": dict(inputs=(3, 14), kernel=(3, 3), pad=(1, 1), channels=(96, 96), groups=96),
    "a panel of three vectors": dict(inputs=(3, 14), kernel=(3, 3), pad=(1, 1), channels=(24, 24), groups=24),
    "several bands": dict(inputs=(61, 14), kernel=(3, 3), pad=(1, 1)),
    "several strips": dict(inputs=(3, 336), kernel=(3, 3), pad=(1, 1), batch=2),
    "beside the source alone": dict(inputs=(3, 5), kernel=(3, 3), pad=(4, 19)),
    "stride 3": dict(inputs=(9, 19), kernel=(2, 2), pad=(0, 1), stride=(3, 3)),
    "5x5": dict(inputs=(6, 8), kernel=(5, 5), pad=(2, 2)),
    "float64": dict(inputs=(4, 14), kernel=(3, 3), pad=(1, 1), dtype="float64"),
}


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize("geometry", STRIPS)
def test_depthwise_strips(kind, geometry, target):
    """Strips of columns walk down the image and read each position once: for all rows, or into a ring of lines."""
    layer = dict(channels=(35, 35), groups=35, epilogue=bias_residual_relu) | STRIPS[geometry]
    c = contraction(kind, **layer)
    plans = [plan for plan in candidates(c, target) if plan.algorithm in ("depthwise strips", "depthwise rings")]
    *_, width = c.window.out_extents if kind == "forward" else c.window.in_extents
    can_walk, most = kind == "forward" or c.window.stride == (1, 1), 7 if target.has_32_registers else 8
    if c.window.kernel == (5, 5) and target.has_32_registers:
        can_walk = False  # too many sums and weights
    assert {plan.tile.rows for plan in plans} == {n for n in range(4, most + 1) if can_walk and width % n == 0}
    for plan in plans[:1]:
        check(c, target, plan=plan)


def test_panels_of_a_ring_are_whole_pixels_or_lines_of_the_cache(target):
    if target.has_32_registers:
        pytest.skip("strips need no ring")
    lanes, vectors = target.lanes("float32"), {}
    for n in (1, 3, 8, 9, 10, 12):
        c = contraction(channels=(n * lanes,) * 2, groups=n * lanes, inputs=(3, 14), kernel=(3, 3), pad=(1, 1))
        vectors[n] = plan_contraction(c, target).tile.vectors
    assert vectors == {1: 1, 3: 3, 8: 8, 9: 1, 10: 2, 12: 4}
    large = contraction(channels=(8 * lanes,) * 2, groups=8 * lanes, inputs=(9, 8), kernel=(7, 7), pad=(3, 3))
    assert plan_contraction(large, target).tile.vectors == {128: 8, 256: 4}[target.vector_bits]  # seven lines fit


@pytest.mark.parametrize("channels", [35, 48, 96])
def test_rings_of_large_images_ask_ahead(channels, monkeypatch, target):
    if target.has_32_registers:
        pytest.skip("strips need no ring")
    c = contraction(channels=(channels, channels), groups=channels, inputs=(3, 14), kernel=(3, 3), pad=(1, 1))
    near = plan_contraction(c, target)
    monkeypatch.setattr("symc.codegen.cpu.contraction.planner.ASKED_BYTES", 0)
    far = plan_contraction(c, target)
    assert (near.asks_ahead, far.asks_ahead) == (False, True)
    check(c, target, plan=far)


@pytest.mark.parametrize("n_rows", [24, 35])
def test_rows_of_weights_are_asked_for_and_columns_that_fill_a_panel_stay_where_they_are(n_rows, monkeypatch, target):
    is_short_of_registers = not target.has_32_registers  # others neither ask nor were measured
    columns = 2 * target.lanes("float32")
    c = contraction("data_gradient", batch=n_rows, channels=(columns, 70), epilogue=scaled_rows, **MATRIX)
    near = plan_contraction(c, target)
    monkeypatch.setattr("symc.codegen.cpu.contraction.planner.FILLING_BYTES", 0)
    far = plan_contraction(c, target)
    assert (near.asks_rows, far.asks_rows) == (False, is_short_of_registers)
    assert near.is_in_place == far.is_in_place == is_short_of_registers
    check(c, target, plan=far)


@pytest.mark.parametrize("change", [dict(channels=(15, 70)), dict(channels=(32, 70)), dict(kind="forward")])
def test_other_columns_are_packed(change):
    form = dict(kind="data_gradient", batch=24, channels=(16, 70)) | change
    plan = plan_contraction(contraction(**form, **MATRIX), replace(host_target(), vector_bits=256))
    assert not plan.is_in_place


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize("epilogue", [bias_residual_relu, scaled_twice, accumulate, normalised])
@pytest.mark.parametrize("batch", [1, 4])
def test_epilogue(kind, epilogue, batch, target):
    c = contraction(kind, batch=batch, epilogue=epilogue, inputs=(5, 5))
    check(c, target)


@pytest.mark.parametrize(
    "rows, sections, width, dtype",
    [(16, 2, 33, "float32"), (16, 4, 48, "float32"), (1, 4, 18, "float64"), (5, 4, 1, "float32")],
)
def test_sections(rows, sections, width, dtype, target):
    """A store over one section of the channels sees the sums of all."""
    shape = (9, sections * width)
    check(
        contraction("forward", rows, shape, **MATRIX, dtype=dtype, sections=sections, epilogue=gates(sections)), target
    )


@pytest.mark.parametrize("epilogue", [accumulate, sgd])
@pytest.mark.parametrize("channels, groups", [((7, 33), 1), ((3, 10), 1), ((8, 12), 2), ((35, 35), 35)])
def test_gradient_epilogue(epilogue, channels, groups, target):
    c = contraction("weight_gradient", channels=channels, groups=groups, epilogue=epilogue)
    check(c, target)


@pytest.mark.parametrize("rows, channels", [(70, (208, 24)), (150, (100, 24))])
def test_the_last_columns_of_a_gradient_take_a_narrower_tile(rows, channels, target):
    call = check(contraction("weight_gradient", rows, channels, **MATRIX, epilogue=sgd), target)
    assert "last" in call.code.structure


@pytest.mark.parametrize("offset", [0, 4])  # with whole cache lines, and beside them
@pytest.mark.parametrize("channels", [(96, 13), (60, 7)])  # of whole panels; with a rest
@pytest.mark.parametrize("batch", [1, 3])  # one block of pixels, and two
def test_gradients_that_are_read_late_are_stored_past_the_caches(batch, channels, offset, target):
    c = contraction("weight_gradient", batch, channels)
    c = replace(c, buffers=tuple(replace(b, offset=offset) if b.name == "w" else b for b in c.buffers))
    near, late = check(c, target), check(replace(c, distance_bytes=STREAM_BYTES), target)
    assert ("past the caches" in near.code.structure, "past the caches" in late.code.structure) == (False, True)


@pytest.mark.parametrize("epilogue", [accumulate, sgd])
def test_gradients_that_read_what_they_write_go_through_the_caches(epilogue, target):
    c = contraction("weight_gradient", 1, (96, 16), epilogue=epilogue)
    check(replace(c, distance_bytes=STREAM_BYTES), target)


def test_in_place_rows_that_fill_no_tile(target):
    """The last tile repeats its last row; an in-place sum must not be added twice."""
    for rows in (1, 2, 3, 5, 13, 15):
        check(contraction(inputs=(rows, 1), kernel=(1, 1), pad=(0, 0), batch=1, epilogue=bias_residual_relu), target)


@pytest.mark.parametrize("kind", KINDS)
def test_channel_slices_and_offsets(kind, target):
    check(contraction(kind, slack=4, offset=3), target)


def test_chunks_of_a_large_layer(target):
    c = contraction(batch=1, channels=(64, 100), inputs=(28, 28), epilogue=bias_residual_relu)
    call = check(c, target, splits=(None, 1, 7, 1000))
    assert 32 <= call.launch.n_chunks <= 64


@pytest.mark.parametrize("weights_per_source", [0, 1000])
@pytest.mark.parametrize("has_winograd", [False, True])
def test_units_by_block_or_by_panel_group(weights_per_source, has_winograd, monkeypatch, target):
    monkeypatch.setattr("symc.codegen.cpu.contraction.blocking.WEIGHTS_PER_SOURCE", weights_per_source)
    c = contraction(batch=1, channels=(64, 200), inputs=(15, 17), epilogue=bias_residual_relu)
    check(c, target, plan=winograd_plan(c, target, 2) if has_winograd else None, splits=(None, 1, 7))


def test_one_kernel_serves_every_geometry():
    """Extents are run-time arguments: the same structure is the same machine code."""
    target = replace(host_target(), vector_bits=512)  # whose tiles have 14 or 7 rows, as the images do
    names = {
        schedule_contraction(planned(c, target))[0].code.name
        for c in (
            contraction(batch=4, channels=(16, 64), inputs=(14 * n, 28), kernel=(k, k), pad=(k // 2, k // 2))
            for n in (1, 2)
            for k in (1, 3, 5)
        )
    }
    assert len(names) == 2  # of windows, and of evenly spaced rows


EVEN = [("forward", 2, 1), ("forward", 3, 2), ("data_gradient", 2, 1)]  # of 14x28 and 7x14 pixels


@pytest.mark.parametrize("columns", [24, 20])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind, batch, stride", EVEN)
def test_even_rows(kind, batch, stride, groups, columns, target):
    """Rows that are evenly spaced are read without tables, unless a stride or the last tile breaks them off."""
    channels = (48, groups * columns)
    c = contraction(
        kind, batch, channels, inputs=(14, 28), kernel=(1, 1), pad=(0, 0), stride=(stride,) * 2, groups=groups,
        epilogue=bias_residual_relu,
    )  # fmt: skip
    plan = planned(c, target).plan
    n_rows = batch * 14 * 28 // stride**2
    is_filled = n_rows % plan.tile.rows == 0 or plan.n_shorter > 0
    assert (plan.row_distance is None) == (stride > 1 or not is_filled)
    check(c, target, splits=(None, 3))


def test_parameters_are_read_at_run_time():
    def scaled(factor):
        return lambda result, axes: ([("y", accumulator("float32") * param(factor, "float32"), "set")], [])

    (a,), (b,) = (schedule_contraction(planned(contraction(epilogue=scaled(f)), host_target())) for f in (0.5, 3.0))
    assert a.code.name == b.code.name and a.words[-1] == 0.5 and b.words[-1] == 3.0


@pytest.mark.parametrize("batch", [1, 3])
def test_channels_first_results(batch, target):
    """A head in MXNet's order is written element by element, with an operand in the same order."""

    def channels_first(result, axes):
        head, other = (Buffer.dense(name, result.shape, result.dtype) for name in ("head", "other"))
        return [("head", accumulator(result.dtype) - load("other", axes, result.dtype), "set")], [head, other]

    # The pixels of one image are evenly spaced; those of several images are not.
    c = contraction(epilogue=channels_first, batch=batch)
    if batch == 1:
        check(c, target)
        return
    with pytest.raises(CodegenError, match="'head' cannot be fused"):
        epilogue_of(c)


def test_depthwise_gradient_in_the_order_of_a_product(target):
    """The layout pass gives every product's result channels-last order, here (O, *tap, 1)."""
    c = contraction("weight_gradient", channels=(35, 35), groups=35)
    strides = dict(w=channels_last("w", (35, 1, 3, 3), "float32").strides)
    c = replace(c, buffers=tuple(replace(b, strides=strides.get(b.name, b.strides)) for b in c.buffers))
    check(c, target)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize("empty", [dict(batch=0), dict(channels=(0, 5)), dict(channels=(5, 0))])
def test_empty_operands(kind, empty, target):
    check(contraction(kind, **empty), target)


@pytest.mark.parametrize("kind", KINDS)
def test_the_check_finds_a_wrong_sum(kind, target):
    """The helper of these tests fails when a kernel computes something else."""
    c = contraction(kind)
    wrong = replace(c, stores=tuple(replace(s, value=s.value + 1e-2) for s in c.stores))
    with pytest.raises(AssertionError, match="Mismatched elements"):
        check(c, target, oracle=wrong)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups, channels", [(1, (3, 2)), (5, (5, 5))])
@pytest.mark.parametrize("kernel, stride, inputs", [((12, 9), 5, (3, 4)), ((40,), 20, (5,)), ((4, 6, 5), 3, (2, 3, 2))])
def test_large_kernels(kernel, stride, inputs, groups, channels, kind, target):
    check(strided_gradient(kernel, stride, inputs, kind, groups=groups, channels=channels), target)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
@pytest.mark.parametrize(
    "case, by_lines",
    [
        *((case, False) for case in (dict(), dict(stride=(2, 2)), dict(kernel=(1, 1), pad=(0, 0), inputs=(3, 4)))),
        (dict(kernel=(1, 1), pad=(0, 0), inputs=(8, 7)), True),
    ],
)
def test_tiles_that_ask_for_weights_compute_the_same(case, by_lines, kind, monkeypatch):
    """By tables, of even rows, few and many, some of which are missing in the last tiles; a panel is not whole."""
    monkeypatch.setattr("symc.codegen.cpu.contraction.planner.FILLING_BYTES", 0)
    c, target = contraction(kind, channels=(33, 70), **case), host_target(256)
    call = check(c, target)
    assert " asking for weights" in call.code.structure
    assert ("by lines" in call.code.structure) == by_lines


@pytest.mark.parametrize(
    ("case", "is_once"),
    [
        *((case, True) for case in (dict(), dict(kernel=(1, 1), pad=(0, 0)), MATRIX)),
        *((case, False) for case in (dict(groups=3), dict(MATRIX, stack=2))),
    ],
)
def test_a_table_of_one_group_is_walked_without_counting(case, is_once, target):
    """By tables and of even rows; AVX-512 counts in any case."""
    call = check(contraction(channels=(33, 42), **case), target)
    assert (" once" in call.code.structure) == (is_once and target.vector_bits < 512)


@pytest.mark.parametrize("depth", [1, 3, 4, 70])
def test_a_single_row_reads_its_weights_in_several_places_at_a_time(depth):
    """Without AVX-512: fewer than there are places, as many each, and some more."""
    c, target = contraction(batch=1, channels=(depth, 33), inputs=(), kernel=()), host_target(256)
    plan = plan_contraction(c, target, is_reused=True)
    assert isinstance(plan, MatrixPlan) and plan.tile.rows == 1
    check(c, target, plan=plan)


@pytest.mark.parametrize(("columns", "sections"), [(1024, 4), (768, 3)])
def test_panel_groups_that_take_turns_compute_the_same(columns, sections):
    c = replace(contraction(batch=16, channels=(200, columns), inputs=(), kernel=()), read_sections=sections)
    assert ", panel groups in turns" in check(c, host_target(256)).code.structure


@pytest.mark.parametrize("algorithm", ["matrix", "winograd"])
@pytest.mark.parametrize("bits", [256, 512])
def test_products_ask_for_weights_where_it_pays(algorithm, bits):
    """Without AVX-512 they do two steps at once instead, but Winograd's ask for those of the next frequency."""
    cpu = {256: "haswell", 512: "skylake-avx512"}[bits]
    target = Target("x86_64-unknown-linux-gnu", cpu, "+avx2,+fma", bits)
    c = contraction(channels=(64, 64), inputs=(14, 14))
    plan = winograd_plan(c, target, 4) if algorithm == "winograd" else plan_contraction(c, target, has_winograd=False)
    *_, products = schedule_contraction(with_plan(c, plan))
    prefetch, is_expected = b"\x0f\x18", bits == 512 or algorithm == "winograd"  # of x86
    assert (prefetch in compile_function(products.code.build(), products.code.name, target)) == is_expected
