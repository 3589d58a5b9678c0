"""Plans: the cheapest candidate is chosen, every candidate is right, and what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symc.codegen.contraction.geometry import Geometry
from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.cpu.contraction import (
    RowsPlan,
    candidates,
    plan_contraction,
    schedule_contraction,
    schedule_rows,
)
from symc.codegen.cpu.contraction.plan import MatrixPlan, WinogradPlan
from symc.codegen.cpu.contraction.products import products_of
from symc.codegen.cpu.contraction.shapes import n_shorter, tile_counts
from symc.codegen.cpu.contraction.tile import Tile
from symc.codegen.cpu.target import Target, host_target
from symc.core.errors import CodegenError, GraphError
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, verify
from tests.codegen.contractions import (
    TOLERANCE,
    Memory,
    bias_residual_relu,
    check,
    contraction,
    gates,
    winograd_plan,
    with_plan,
)
from tests.codegen.kernels import run_call


@pytest.mark.parametrize(
    "change",
    [
        dict(kernel=(5, 5)),
        dict(kernel=(3, 1), pad=(1, 0)),
        dict(stride=(2, 2), inputs=(57, 57)),
        dict(dilate=(2, 2)),
        dict(groups=2),
        dict(kind="weight_gradient"),
        dict(kind="data_gradient", channels=(64, 24)),
        dict(channels=(3, 64)),
        dict(channels=(64, 4)),
        dict(batch=0),
    ],
)
def test_winograd_is_not_chosen(change):
    wanted = dict(batch=1, channels=(64, 64), inputs=(56, 56))
    target = replace(host_target(), vector_bits=512)  # with fewer it pays for a few columns, too
    assert isinstance(plan_contraction(contraction(**wanted), target, is_reused=True), WinogradPlan)
    assert not isinstance(plan_contraction(contraction(**{**wanted, **change}), target, is_reused=True), WinogradPlan)
    assert plan_contraction(contraction(**wanted), target, has_winograd=False).algorithm == "direct sums"


@pytest.mark.parametrize("kind", ["forward", "data_gradient"])
def test_a_weight_that_serves_one_run_must_be_worth_its_transform(kind):
    target = host_target()
    for extent, algorithm in ((28, "Winograd F(4x4, 3x3)"), (4, "direct sums")):
        c = contraction(kind, batch=8, channels=(256, 256), inputs=(extent, extent))
        assert plan_contraction(c, target, is_reused=False).algorithm == algorithm
        assert plan_contraction(c, target, is_reused=True).algorithm.startswith("Winograd")


@pytest.mark.parametrize(("channels", "extent", "outputs"), [(512, 7, 2), (256, 14, 4)])
def test_weights_that_are_asked_for_may_take_as_long_as_the_products(channels, extent, outputs):
    """With 16 registers: 38 MB for 38 million products take longer than 17 MB for 67 million; 9.4 MB take no longer."""
    c = contraction(batch=1, channels=(channels, channels), inputs=(extent, extent))
    plan = plan_contraction(c, Target("x86_64-linux-gnu", "any", "", 256), is_reused=True)
    assert plan.algorithm == f"Winograd F({outputs}x{outputs}, 3x3)"


def test_groups_that_share_what_they_ask_for_are_in_one_unit():
    target = Target("x86_64-linux-gnu", "any", "", 256)
    for channels, extent in ((64, 56), (128, 28), (256, 14), (512, 7)):
        c = contraction(batch=1, channels=(channels, channels), inputs=(extent, extent))
        plan = plan_contraction(c, target, is_reused=True)
        assert isinstance(plan, WinogradPlan) and plan.asks_weights
        assert plan.stacked_groups > 1 and plan.blocking.block_tiles % plan.stacked_groups == 0


def test_two_threads_have_equal_halves_of_the_weights_that_one_block_of_rows_reads():
    c = contraction(batch=16, channels=(256, 1024), inputs=(), kernel=())  # an LSTM's step
    plan = plan_contraction(c, Target("x86_64-linux-gnu", "any", "", 256), is_reused=True)
    assert isinstance(plan, MatrixPlan) and plan.blocking.block_tiles == 3
    assert plan.packing.n_panels % (2 * plan.blocking.group_panels) == 0


@pytest.mark.parametrize(("columns", "sections", "turns"), [(1024, 4, 4), (768, 3, 3), (1024, 1, 1), (80, 5, 1)])
def test_a_thread_has_the_same_columns_of_all_sections_that_are_read_together(columns, sections, turns):
    """A half of each; five sections of a panel each have no halves."""
    c = replace(contraction(batch=16, channels=(256, columns), inputs=(), kernel=()), read_sections=sections)
    plan = plan_contraction(c, Target("x86_64-linux-gnu", "any", "", 256), is_reused=True)
    assert isinstance(plan, MatrixPlan) and plan.blocking.turns == turns
    assert turns == 1 or plan.packing.n_panels % (2 * turns * plan.blocking.group_panels) == 0


@pytest.mark.parametrize(("channels", "extent", "asks"), [(512, 7, True), (512, 28, False), (64, 7, False)])
def test_few_tiles_ask_for_weights_that_fill_l2(channels, extent, asks):
    """With 16 registers; then they are in one unit."""
    c = contraction(batch=1, channels=(channels, channels), inputs=(extent, extent), kernel=(1, 1), pad=(0, 0))
    plan = plan_contraction(c, Target("x86_64-linux-gnu", "any", "", 256), is_reused=True)
    assert isinstance(plan, MatrixPlan) and plan.asks_weights == asks
    if asks:
        assert plan.blocking.block_tiles == -(-(extent**2) // plan.tile.rows)


def test_refuses_channels_first_operands():
    c = contraction()
    first = Buffer.dense("x", c.buffers[0].shape, "float32")
    with pytest.raises(CodegenError, match="'x' has channel stride 54; expected channels-last"):
        plan_contraction(replace(c, buffers=(first, *c.buffers[1:])), host_target())


def test_extents_beyond_any_memory_are_counted_without_tables(monkeypatch):
    """As many tiles as rows need, and every tap seen; below the limit the same numbers come from the tables."""
    g = Geometry(1, (100, 100), (102, 102), 102 * 102, (102, 1), (1, 1), (3, 3), (1, 1), (0, 0), channels=1)
    exact = tile_counts(g, 64, 14)
    monkeypatch.setattr("symc.codegen.cpu.contraction.shapes.MAX_COUNTED_ROWS", 0)
    monkeypatch.setattr("symc.codegen.cpu.contraction.shapes.row_order", lambda *_: pytest.fail("made tables"))
    assert tile_counts(g, 64, 14) == pytest.approx(exact, rel=1e-3)
    assert tile_counts(g.of_images(1), 1 << 40, 14)[0] == pytest.approx((1 << 40) * 1e4 / 14, rel=0.02)


PLANNED = {
    "strips": dict(batch=2, channels=(35, 35), groups=35, inputs=(14, 14)),
    "forward": dict(channels=(64, 64), inputs=(14, 14)),
    "data_gradient": dict(kind="data_gradient", channels=(64, 64), inputs=(14, 14)),
    "weight_gradient": dict(kind="weight_gradient", channels=(3, 17)),
    "depthwise": dict(channels=(35, 35), groups=35),
    "depthwise gradient": dict(kind="weight_gradient", channels=(35, 35), groups=35),
}


def test_threads_that_share_an_image_take_rows_of_it():
    """Where tiles of rows are nearly as fast as strips of columns: with 32 registers."""
    c, target = contraction(batch=1, channels=(35, 35), groups=35, inputs=(14, 14)), host_target()
    expected = "depthwise sums" if target.has_32_registers else "depthwise rings"
    assert plan_contraction(c, target).algorithm == expected


@pytest.mark.parametrize("case", PLANNED)
def test_the_plan_is_the_candidate_to_expect_most_of(case):
    c, target = contraction(**{"batch": 1, **PLANNED[case]}), host_target()
    found = candidates(c, target, is_reused=True)
    chosen = plan_contraction(c, target, is_reused=True)
    assert chosen in found and len(set(found)) == len(found)
    assert 0 < chosen.cycles == min(plan.cycles for plan in found)
    by_windows = {"direct sums", "Winograd F(2x2, 3x3)", "Winograd F(4x4, 3x3)"}
    assert {plan.algorithm for plan in found} == {
        "forward": by_windows,
        "data_gradient": by_windows,
        "weight_gradient": {"weight gradient"},
        "strips": {"depthwise sums", "depthwise strips" if target.has_32_registers else "depthwise rings"},
    }.get(case, {"depthwise sums"})


@pytest.mark.parametrize(("extent", "n_stored"), [(112, 28), (224, 7)])
def test_results_beyond_the_caches_are_stored_few_at_a_time(extent, n_stored):
    c = contraction(batch=1, channels=(3, 64), inputs=(extent, extent))
    tile = plan_contraction(c, Target("x86_64-linux-gnu", "any", "", 512), is_reused=True).tile
    assert tile.rows * tile.vectors == n_stored


@pytest.mark.parametrize("case", PLANNED)
def test_every_candidate_computes_the_same(case):
    c, target = contraction(**{**PLANNED[case], "inputs": (5, 7)}), host_target()
    for plan in candidates(c, target, is_reused=True)[::9]:
        check(c, target, plan=plan)


def test_a_plan_is_checked_against_the_buffers():
    c = contraction(channels=(16, 33))
    plan = winograd_plan(c, host_target(), 2)
    made = with_plan(c, plan)
    with pytest.raises(GraphError, match="its plan wants it dense, of shape"):
        verify(replace(made, buffers=(*c.buffers, made.buffers[-1])))
    with pytest.raises(GraphError, match=r"scratch: float32.*its plan wants it dense"):
        verify(replace(made, buffers=(*made.buffers[:-1], Buffer.dense("scratch", (7,), "float32"))))
    with pytest.raises(GraphError, match=r"scratch \(\); its plan wants shape"):
        verify(replace(made, written=()))


def test_refuses_a_plan_of_another_device():
    foreign = ContractionPlan(algorithm="by hand", cycles=1.0, why="")
    with pytest.raises(CodegenError, match=r"its plan is ContractionPlan.*by hand.*expected one of the CPU's"):
        schedule_contraction(replace(contraction(), plan=foreign))


def matrix(batch=1, depth=70, columns=33, dtype="float32", **options):
    nothing = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    return contraction(batch=batch, channels=(depth, columns), dtype=dtype, **nothing, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("batch", "depth", "columns"), [(1, 64, 1), (1, 517, 33), (2, 70, 7)])
def test_a_matrix_that_serves_two_rows_is_read_as_it_lies(batch, depth, columns, dtype):
    c = matrix(batch, depth, columns, dtype, epilogue=bias_residual_relu, offset=3)
    plan = plan_contraction(c, host_target())
    assert isinstance(plan, RowsPlan)
    assert plan.packing is None
    rng = np.random.default_rng(0)
    contents = {b.name: rng.normal(size=b.shape).astype(dtype) for b in c.buffers}
    x, w, bias, y = (contents[name].astype("float64") for name in ("x", "w", "bias", "y"))
    expected = np.maximum(x @ w.T + bias + y, 0)
    memory = {b.name: Memory.of(b, contents[b.name]) for b in c.buffers}
    for call in schedule_rows(replace(c, plan=plan), host_target()):
        run_call(call, host_target(), {name: m.address for name, m in memory.items()}, call.launch.n_chunks)
    np.testing.assert_allclose(memory["y"].view(), expected, **TOLERANCE[dtype])
    assert all(m.outside_is_untouched() for m in memory.values())


def test_sums_along_rows_see_those_of_all_sections():
    c = matrix(2, 70, 14, "float64", epilogue=gates(2), sections=2)
    c = replace(c, plan=plan_contraction(c, host_target()))
    assert isinstance(c.plan, RowsPlan)
    rng = np.random.default_rng(0)
    contents = {b.name: rng.normal(size=b.shape) for b in c.buffers}
    memory = {b.name: Memory.of(b, contents[b.name]) for b in c.buffers}
    for call in schedule_rows(c, host_target()):
        run_call(call, host_target(), {name: m.address for name, m in memory.items()}, call.launch.n_chunks)
    interpret(c, contents)
    for name in ("y", "output"):
        np.testing.assert_allclose(memory[name].view(), contents[name], **TOLERANCE["float64"])


@pytest.mark.parametrize(
    "options", [dict(batch=3), dict(depth=63), dict(depth=9000), dict(kind="data_gradient"), dict(stack=2)]
)
def test_other_matrices_are_packed(options):
    assert not isinstance(plan_contraction(matrix(**options), host_target()), RowsPlan)


def test_a_matrix_that_serves_many_runs_is_packed():
    assert plan_contraction(matrix(), host_target(), is_reused=True).packing is not None


@pytest.mark.parametrize("rows", [16, 32, 64])
def test_batches_that_are_no_multiple_of_seven_fill_their_tiles(rows):
    """The data gradient of a recurrent step of 200 units: 7 or 14 rows at once would leave up to a quarter empty."""
    c = matrix(rows, 80, 200)
    plan = plan_contraction(c, Target("x86_64-linux-gnu", "any", "", 512), is_reused=True)
    assert plan.tile == Tile(8, 1, 16)
    if host_target().vector_bits == 512:
        check(c, host_target(), splits=(3,), plan=plan)


@pytest.mark.parametrize(("rows", "shorter"), [(16, 2), (25, 5), (36, 0), (49, 5), (128, 4)])
@pytest.mark.parametrize("options", [dict(epilogue=bias_residual_relu), dict(stack=3), dict(kind="data_gradient")])
def test_evenly_spaced_rows_fill_tiles_of_six_and_five(rows, shorter, options, target):
    c = matrix(rows, 40, 48, **options)
    plan = plan_contraction(c, target, is_reused=True)
    if not target.has_32_registers:
        assert (plan.tile.rows, plan.tile.vectors) == (6, 2)
        assert plan.n_shorter == shorter and plan.row_distance is not None
        assert [t.rows for t in plan.tiles] == ([6, 5] if shorter else [6, 4])
    check(c, target, splits=(None, 1, 3), plan=plan)


@pytest.mark.parametrize(("rows", "shorter"), [(12, 0), (10, 2), (5, 1), (8, None), (13, None), (19, None), (20, 4)])
def test_rows_that_no_tiles_of_six_and_five_hold(rows, shorter):
    narrow, wide = (Target("x86_64-linux-gnu", "any", "", bits) for bits in (256, 512))
    tile, products = Tile(6, 2, 8), products_of("float32", narrow)
    assert n_shorter(rows, tile, narrow, products, 1) == shorter
    if shorter != 0:
        assert n_shorter(rows, tile, wide, products, 1) is None
        assert n_shorter(rows, tile, narrow, products, 2) is None  # of a step of a recurrent layer


@pytest.mark.parametrize(("columns", "tile"), [(17, Tile(8, 3, 8)), (24, Tile(8, 3, 8)), (32, Tile(14, 2, 16))])
def test_columns_that_three_half_vectors_hold_leave_no_quarter_of_a_tile_empty(columns, tile):
    c = contraction(batch=1, channels=(96, columns), inputs=(56, 56), kernel=(1, 1), pad=(0, 0))
    assert plan_contraction(c, Target("x86_64-linux-gnu", "any", "", 512), is_reused=True).tile == tile
