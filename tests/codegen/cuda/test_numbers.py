"""What kernels compute on a simulated GPU, and that they touch nothing else, beside the interpreter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symc.codegen.cuda.contraction.cost import n_tiles
from symc.codegen.cuda.contraction.plan import candidates, packing_of, plan_contraction
from symc.codegen.cuda.contraction.problem import problem_of
from symc.codegen.cuda.contraction.tile import (
    EIGHT_ROWS,
    FEW_GATES,
    FOUR_SMALL,
    GATES,
    GROUP_SMALL,
    LARGE,
    LEAN,
    MIDDLE,
    SIXTEEN_GATES,
    SIXTEEN_OF_CORES,
    SIXTEEN_ROWS,
    SMALL,
    TILES_OF_FEW_ROWS,
    TILES_OF_GROUPS,
    TILES_OF_SECTIONS,
    TWO_FLAT,
    WIDE,
)
from symc.codegen.cuda.nest import plan as nest_plan
from symc.codegen.cuda.nest import schedule_nest
from symc.loopir.expr import Axis, cast, index_value, load, prim, reduce
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Nest, Store, buffer_of, verify
from symc.testing.driver import SimDriver
from tests.codegen.contractions import GUARD, Memory, bias_residual_relu, contraction, gates, packed_weight
from tests.codegen.nests import Memory as NestMemory
from tests.codegen.nests import assert_nothing_else_changed, f32, rand

from .packages import needs_compiler
from .simulate import BACKEND, BY_GROUPS, image_of, run_calls

pytestmark = needs_compiler


def check(nest: Nest, values: dict[str, np.ndarray], kind: str, driver: SimDriver | None = None) -> list:
    """Runs a nest and compares all of memory with the interpreter's."""
    verify(nest)
    expected, memory = NestMemory(nest, values, {}), NestMemory(nest, values, {})
    interpret(nest, expected.views)
    calls = schedule_nest(nest)
    assert all(kind in call.schedule for call in calls), calls[0].schedule
    run_calls(calls, {name: raw[256:] for name, raw in memory.raw.items()}, driver)
    for store in nest.stores:
        found, wanted = (m.views[store.buffer].astype("float64") for m in (memory, expected))
        np.testing.assert_allclose(found, wanted, 2e-6, 2e-6)
    assert_nothing_else_changed(nest, memory, NestMemory(nest, values, {}))
    return calls


@pytest.mark.parametrize("n_columns", [5, 64, 129, 1100])
def test_softmax_and_its_logarithm(n_columns):
    i, j, k = Axis("i", 3), Axis("j", n_columns), Axis("k", n_columns)
    shifted = [f32("x", i, a) - reduce("max", (k,), f32("x", i, k)) for a in (j, k)]
    total = reduce("sum", (k,), prim("exp", shifted[1]))
    x = Buffer("x", (3, n_columns), "float32", (n_columns + 3, 1), 1)
    y, z = Buffer.dense("y", x.shape, "float32"), Buffer.dense("z", x.shape, "float16")
    stores = (
        Store("y", (i, j), prim("exp", shifted[0]) / total, (i, j)),
        Store("z", (i, j), cast(shifted[0] - prim("log", total), "float16"), (i, j)),
    )
    check(Nest((x, y, z), stores), {"x": rand((3, n_columns))}, "threads share" if n_columns > 24 else "a thread for")


def test_sums_of_several_dtypes_share_a_row():
    i, j = Axis("i", 4), Axis("j", 300)
    buffers, stores, values = [], [], {}
    for dtype, combiner in (("float64", "sum"), ("int64", "max"), ("bool", "min"), ("float32", "prod")):
        x, y = Buffer.dense(f"x_{dtype}", (4, 300), dtype), Buffer.dense(f"y_{dtype}", (4,), dtype)
        value = reduce(combiner, (j,), load(x.name, (i, j), dtype))
        buffers += [x, y]
        stores.append(Store(y.name, (i,), value, (i,)))
        values[x.name] = rand((4, 300), dtype) if dtype != "float32" else 1 + rand((4, 300)) / 100
    check(Nest(tuple(buffers), tuple(stores)), values, "threads share")


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("n_columns", [24, 23, 3])
def test_neighbours_are_read_and_written_together_where_they_are_aligned(monkeypatch, n_columns, offset):
    monkeypatch.setattr(nest_plan, "MUCH", 1)
    i, j = Axis("i", 6), Axis("j", n_columns)
    shape = (6, n_columns)
    x = Buffer("x", shape, "float32", (n_columns + 4, 1), offset)
    bias, y = Buffer.dense("bias", (6,), "float32"), Buffer.dense("y", shape, "float32")
    value = prim("maximum", prim("tanh", f32("x", i, j)) + f32("bias", i), 0.25) * prim("abs", f32("x", i, j))
    numbered = value + cast(index_value(i * 7 + j), "float32")
    nest = Nest((x, bias, y), (Store("y", (i, j), numbered, (i, j)),))
    values = {"x": rand(shape), "bias": rand((6,))}
    (call,) = check(nest, values, "4 neighbours" if n_columns > 3 else "a thread for each element")
    if n_columns > 3:
        text = image_of(call).code.decode("ascii")
        assert "ld.global.v4" in text and "st.global.v4" in text


@pytest.mark.parametrize("kind", ["forward", "data_gradient", "weight_gradient"])
@pytest.mark.parametrize(
    "geometry",
    [
        dict(channels=(17, 33)),
        dict(channels=(40, 40), groups=2, pad=(2, 0), slack=4, offset=8),
        dict(channels=(36, 40), groups=2, stride=(2, 1), slack=3, offset=2),
        dict(inputs=(), kernel=(), stride=(), dilate=(), pad=(), batch=70, channels=(40, 70), stack=2),
    ],
    ids=["padded", "quads", "groups", "stack"],
)
def test_tiles(kind, geometry):
    epilogue = bias_residual_relu if kind != "weight_gradient" and "stack" not in geometry else None
    check_tiles(contraction(kind=kind, epilogue=epilogue, **geometry))


@pytest.mark.parametrize("rounded, tolerance", [("tf32", 2e-2), ("bfloat16", 1.6e-1)])
@pytest.mark.parametrize("kind", ["forward", "weight_gradient"])
def test_tiles_of_tensor_cores_round_operands(kind, rounded, tolerance):
    c = contraction(kind=kind, channels=(36, 40), groups=2, stride=(2, 1))
    plan = plan_contraction(c, rounded)
    assert plan.tile.kind == rounded and rounded in plan.why and "tensor cores" in plan.why
    check_tiles(c, tolerance, tile=plan.tile)
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    check_tiles(contraction(batch=130, channels=(20, 135), **flat), tolerance, tile=replace(LARGE, kind=rounded))
    check_tiles(contraction(batch=70, channels=(20, 70), **flat), tolerance, tile=replace(MIDDLE, kind=rounded))
    check_tiles(contraction(batch=70, channels=(1100, 70), **flat), 5 * tolerance, tile=plan.tile, is_long=True)


def test_operands_that_bfloat16_holds_are_multiplied_exactly():
    c = contraction(batch=70, channels=(40, 70), inputs=(), kernel=(), stride=(), dilate=(), pad=())
    rng = np.random.default_rng(0)
    whole = {b.name: rng.integers(-8, 9, b.shape).astype(b.dtype) for b in c.buffers}
    check_tiles(c, 0, given=whole, tile=replace(SMALL, kind="bfloat16"))


def test_large_tiles_and_long_sums():
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    check_tiles(contraction(batch=130, channels=(20, 135), **flat), tile=LARGE)
    check_tiles(contraction(batch=16, channels=(1100, 16), **flat), tile=SMALL, is_long=True)
    check_tiles(contraction(batch=70, channels=(20, 70), **flat), tile=MIDDLE)


@pytest.mark.parametrize(
    "n_rows, width, depth, tile, n_parts",
    [
        (18, 20, 100, FEW_GATES, 3),
        (70, 24, 100, GATES, 1),
        (18, 20, 292, SIXTEEN_GATES, 1),
        (1, 20, 292, SIXTEEN_GATES, 1),
        (3, 20, 100, FEW_GATES, 3),
        (16, 6, 1028, SIXTEEN_GATES, 2),
    ],
)
def test_a_thread_has_the_sums_of_all_gates(n_rows, width, depth, tile, n_parts):
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    c = contraction(batch=n_rows, channels=(depth, 4 * width), sections=4, epilogue=gates(4), **flat)
    assert {plan.tile for plan in candidates(c, is_reused=True)} == set(TILES_OF_SECTIONS)
    check_tiles(c, tile=tile, n_parts=n_parts)


@pytest.mark.parametrize("kind", ["forward", "weight_gradient"])
def test_teams_share_the_products_of_a_block(kind):
    sizes = {"forward": (40, (150, 33)), "weight_gradient": (150, (40, 33))}[kind]
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    check_tiles(contraction(kind=kind, batch=sizes[0], channels=sizes[1], **flat), tile=TWO_FLAT, n_parts=3)
    padded = contraction(kind=kind, channels=(40, 40), groups=2, pad=(2, 0), slack=4, offset=8)
    check_tiles(padded, tile=FOUR_SMALL)
    long = {"forward": (16, (1100, 16)), "weight_gradient": (1100, (16, 16))}[kind]
    check_tiles(contraction(kind=kind, batch=long[0], channels=long[1], **flat), tile=FOUR_SMALL, is_long=True)
    odd = contraction(kind=kind, channels=(36, 40), groups=2, stride=(2, 1), slack=3, offset=2)
    teams = [plan.tile for plan in candidates(odd) if plan.tile.n_teams > 1]
    assert all(tile.rows < 32 for tile in teams)  # of others, half the products of a step are too few


@pytest.mark.parametrize("kind", ["forward", "data_gradient", "weight_gradient"])
def test_blocks_share_the_products_of_a_tile(kind):
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    depth = {"forward": (40, (150, 33)), "data_gradient": (40, (33, 150)), "weight_gradient": (150, (40, 33))}[kind]
    epilogue = bias_residual_relu if kind != "weight_gradient" else None
    check_tiles(contraction(kind=kind, batch=depth[0], channels=depth[1], epilogue=epilogue, **flat), n_parts=4)
    check_tiles(contraction(kind=kind, channels=(36, 40), groups=2, stride=(2, 1), slack=3, offset=2), n_parts=3)
    check_tiles(contraction(kind=kind, batch=depth[0], channels=depth[1], stack=2, **flat), n_parts=2, tile=MIDDLE)


@pytest.mark.parametrize("tile", TILES_OF_FEW_ROWS, ids=str)
def test_tiles_of_few_rows(tile):
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    check_tiles(contraction(batch=1, channels=(300, 70), epilogue=bias_residual_relu, **flat), tile=tile)
    wide = contraction(batch=tile.rows - 1, channels=(600, 70), epilogue=bias_residual_relu, **flat)
    check_tiles(wide, tile=tile, n_parts=2)
    check_tiles(contraction(kind="data_gradient", batch=2, channels=(70, 300), **flat), tile=tile)
    check_tiles(contraction(batch=2, channels=(1100, 40), stack=2, **flat), tile=tile, is_long=True)
    check_tiles(contraction(batch=1, channels=(40, 36), inputs=(4, 3), stride=(2, 2), groups=2), tile=tile)
    check_tiles(contraction(kind="weight_gradient", batch=150, channels=(40, tile.rows - 1), **flat), tile=tile)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_few_rows_of_odd_lengths(dtype):
    """Copies of a word each, by the tiles whose threads then bring whole lines."""
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    few = {EIGHT_ROWS, SIXTEEN_ROWS} if dtype == "float32" else {SIXTEEN_OF_CORES}
    for n_rows, depth in ((1, 302), (15, 154)):
        c = contraction(batch=n_rows, channels=(depth, 33), dtype=dtype, epilogue=bias_residual_relu, **flat)
        tiles = {plan.tile for plan in candidates(c, is_reused=True) if plan.tile.rows <= 16}
        assert {(t.rows, t.columns, t.depth // 2) for t in few} == {(t.rows, t.columns, t.depth) for t in tiles}
        for tile in tiles:
            check_tiles(c, 1e-2 if dtype == "float16" else 2e-4, tile=tile)


@pytest.mark.parametrize("kind", ["forward", "data_gradient"])
def test_tiles_of_float16_add_up_in_float32(kind):
    flat = dict(kind=kind, dtype="float16", inputs=(), kernel=(), stride=(), dilate=(), pad=())
    plan = plan_contraction(contraction(**{**flat, "batch": 130, "channels": (200, 136)}))
    assert plan.tile.kind == "float16" and plan.widths == (4, 4) and "float16" in plan.why
    for tile in (WIDE, LARGE, MIDDLE, SMALL):
        c = contraction(**flat, batch=tile.rows + 2, channels=(200, 136), epilogue=bias_residual_relu)
        check_tiles(c, 1e-2, tile=replace(tile, kind="float16"))
    check_tiles(contraction(**flat, batch=40, channels=(152, 152)), 1e-2, n_parts=3)
    check_tiles(contraction(**flat, batch=40, channels=(38, 38), stack=2), 1e-2)
    padded = contraction(kind=kind, dtype="float16", channels=(36, 40), groups=2, stride=(2, 1), slack=2, offset=2)
    assert plan_contraction(padded).widths == (1, 4)
    check_tiles(padded, 1e-2)


@pytest.mark.parametrize("kind", ["forward", "data_gradient"])
@pytest.mark.parametrize("rounded, dtype, tolerance", [("float16", "float16", 1e-2), ("tf32", "float32", 2e-2)])
def test_groups_of_warps_multiply_together(kind, rounded, dtype, tolerance):
    flat = dict(kind=kind, dtype=dtype, inputs=(), kernel=(), stride=(), dilate=(), pad=())
    tiles = [replace(tile, kind=rounded) for tile in TILES_OF_GROUPS]
    for tile in tiles:
        c = contraction(**flat, batch=tile.rows + 2, channels=(200, 136), epilogue=bias_residual_relu)
        assert tile in {plan.tile for plan in candidates(c, rounded, by_groups=True)}
        check_tiles(c, tolerance, tile=tile)
    small = tiles[-1]
    check_tiles(contraction(**flat, batch=40, channels=(152, 152)), tolerance, tile=small, n_parts=3)
    check_tiles(contraction(**flat, batch=40, channels=(40, 48), stack=2), tolerance, tile=small, n_parts=2)
    windows = dict(kind=kind, dtype=dtype, channels=(48, 80), groups=2, epilogue=bias_residual_relu)
    check_tiles(contraction(**windows, pad=(2, 0), slack=8, offset=8), tolerance, tile=small)
    check_tiles(contraction(**windows, stride=(2, 1)), tolerance, tile=replace(tiles[-2], kind=rounded))


def test_groups_of_warps_read_quads_of_a_packed_weight_alone():
    odd = contraction(dtype="float16", channels=(36, 40), groups=2)  # 18 channels of a group are no quads of pairs
    gradient = contraction(kind="weight_gradient", channels=(40, 40))
    for c, by in ((odd, "fma"), (gradient, "tf32"), (contraction(channels=(40, 40)), "fma")):
        assert candidates(c, by, by_groups=True) and not any(p.tile.by_group for p in candidates(c, by, by_groups=True))


def test_groups_of_warps_multiply_what_was_rounded_to_tf32():
    """Sums of numbers that are cut off instead would be smaller by 3e-4 for each operand that is."""
    c = contraction(batch=130, channels=(512, 136), inputs=(), kernel=(), stride=(), dilate=(), pad=())
    rng = np.random.default_rng(0)
    given = {b.name: rng.uniform(1, 2, b.shape).astype(b.dtype) for b in c.buffers}
    check_tiles(c, 1e-4, given=given, tile=replace(GROUP_SMALL, kind="tf32"))


@pytest.mark.parametrize(
    "how, widths",
    [
        (dict(batch=150, channels=(40, 72), inputs=(), kernel=(), stride=(), dilate=(), pad=()), (4, 4)),
        (dict(batch=70, channels=(36, 34), inputs=(), kernel=(), stride=(), dilate=(), pad=()), (1, 1)),
        (dict(channels=(40, 40), slack=8, offset=16, pad=(2, 0)), (4, 4)),
        (dict(channels=(36, 40), groups=2, stride=(2, 1), slack=2, offset=2), (1, 1)),
        (dict(batch=90, channels=(40, 40), stack=2, inputs=(), kernel=(), stride=(), dilate=(), pad=()), (4, 4)),
    ],
)
def test_weight_gradients_of_float16_turn_pixels_into_products(how, widths):
    c = contraction(kind="weight_gradient", dtype="float16", **how)
    plan = plan_contraction(c)
    assert plan.tile.kind == "float16" and plan.widths == widths
    check_tiles(c, 1e-2)
    check_tiles(c, 1e-2, tile=replace(SMALL, kind="float16"), n_parts=2, is_long=True)


@pytest.mark.parametrize("tile", [WIDE, LARGE, LEAN, MIDDLE, SIXTEEN_OF_CORES], ids=str)
def test_large_weight_gradients_of_float16(tile):
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    sizes = (tile.columns + 8, tile.rows + 8)
    c = contraction(kind="weight_gradient", dtype="float16", batch=150, channels=sizes, **flat)
    check_tiles(c, 1e-2, tile=replace(tile, kind="float16"))


def check_tiles(c, tolerance: float = 2e-4, given: dict[str, np.ndarray] | None = None, **decisions) -> None:
    plan = plan_contraction(c, is_reused=True)
    assert plan is not None
    plan = replace(plan, **{"n_parts": 1, "scratch": (), **decisions})
    if plan.n_parts > 1:
        n_sums = n_tiles(problem_of(c), plan.tile) * plan.tile.rows * plan.tile.columns
        plan = replace(plan, scratch=(plan.n_parts * plan.tile.n_together * n_sums,))
    dtype = buffer_of(c, c.lhs).dtype
    if plan.packing is not None:
        plan = replace(plan, packing=packing_of(c, plan.tile))
    rng = np.random.default_rng(0)
    given = given or {b.name: rng.normal(size=b.shape).astype(b.dtype) for b in c.buffers}
    expected = {name: a.copy() for name, a in given.items()}
    interpret(c, expected)
    scheduled = replace(c, plan=plan)
    if plan.packing is not None:
        packed = Buffer.dense("packed", plan.packing.shape, dtype)
        given["packed"] = packed_weight(plan.packing, given[c.rhs])
        scheduled = replace(scheduled, rhs="packed", buffers=(*c.buffers, packed))
    if plan.scratch:
        scratch = Buffer.dense("scratch", plan.scratch, dtype)
        given["scratch"] = np.full(scratch.shape, np.nan)
        scheduled = replace(scheduled, buffers=(*scheduled.buffers, scratch), written=("scratch",))
    memory = {b.name: Memory.of(b, given[b.name]) for b in scheduled.buffers}
    backend = BY_GROUPS if plan.tile.by_group else BACKEND
    run_calls(backend.schedule(scheduled), {name: m.raw[GUARD:] for name, m in memory.items()}, backend=backend)
    for store in c.stores:
        np.testing.assert_allclose(memory[store.buffer].view(), expected[store.buffer], tolerance, tolerance)
    assert all(m.outside_is_untouched() for m in memory.values())
