"""The model of an H200: occupancy as NVIDIA's calculator gives it, times that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from symc.codegen.cuda.contraction.cost import sharing_time, tile_times
from symc.codegen.cuda.contraction.plan import plan_contraction
from symc.codegen.cuda.contraction.problem import problem_of
from symc.codegen.cuda.contraction.schedule import schedule_tiles
from symc.codegen.cuda.contraction.tile import LARGE
from symc.codegen.cuda.h200 import CLOCK_HZ, COPY_BYTES_PER_S, L2_BYTES_PER_S, LATENCY_S, NEAREST_S, START_S
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.launch import WARP, Grid
from symc.codegen.cuda.nest import schedule_nest
from symc.codegen.cuda.nest.schedule import planned
from symc.codegen.cuda.roofline import _asked_at_once, _nest, _step, blocks_of_processor, predict
from symc.codegen.cuda.routines import schedule_template, scratch_of
from symc.codegen.cuda.routines.parts import a_thread_for_each_part
from symc.loopir.expr import Axis, prim, reduce
from symc.loopir.kernel import Buffer, Nest, Store, Template
from symc.loopir.sorting import Sort
from symc.loopir.work import work_of
from tests.codegen.contractions import contraction
from tests.codegen.nests import f32

FLAT = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
COPY = "ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1];\nst.global.v4.f32 [%rd2], {%f1, %f2, %f3, %f4};"


def image(registers: int, shared_bytes: int = 0, ptx: str = COPY) -> KernelImage:
    return KernelImage(ptx.encode(), "k", registers, shared_bytes, 0)


@pytest.mark.parametrize(
    "registers, shared_bytes, n_threads, n_blocks",
    [(32, 0, 256, 8), (33, 0, 256, 6), (64, 0, 256, 4), (233, 16_640, 256, 1), (32, 0, 64, 32), (40, 65_536, 64, 3)],
)
def test_blocks_of_a_processor(registers, shared_bytes, n_threads, n_blocks):
    assert blocks_of_processor(image(registers, shared_bytes), Grid(1, n_threads)) == n_blocks


def copy(n_rows: int) -> Nest:
    i, j = Axis("i", n_rows), Axis("j", 4096)
    buffers = tuple(Buffer.dense(name, (n_rows, 4096), "float32") for name in "xy")
    return Nest(buffers, (Store("y", (i, j), f32("x", i, j), (i, j)),))


def test_a_large_copy_is_bound_by_memory_and_a_small_one_by_its_start():
    (call,) = schedule_nest(copy(16384))
    found = predict(copy(16384), call, image(32))
    assert found.bound == "memory" and found.time_s == found.limit_s
    assert found.time_s == pytest.approx(START_S + 2 * 16384 * 4096 * 4 / COPY_BYTES_PER_S)
    assert str(found) == "8 blocks a processor; on an H200 126.4 us by memory, 100% of the limit"
    (call,) = schedule_nest(copy(1))
    assert START_S < predict(copy(1), call, image(32)).time_s < 2 * START_S


def test_threads_that_ask_for_little_at_once_wait():
    (call,) = schedule_nest(copy(16384))
    found = predict(copy(16384), call, image(128, ptx="ld.global.f32 %f1, [%rd1];"))
    assert found.bound == "latency" and found.n_blocks == 2
    n_threads = 132 * 2 * 256
    assert found.time_s == pytest.approx(START_S + 16384 * 4096 / n_threads * LATENCY_S)


def test_a_warp_that_reads_every_eighth_element_gets_all_of_each_sector():
    n = 1 << 24
    i = Axis("i", n)
    buffers = (Buffer("x", (n,), "float32", (8,)), Buffer.dense("y", (n,), "float32"))
    nest = Nest(buffers, (Store("y", (i,), f32("x", i), (i,)),))
    (call,) = schedule_nest(nest)
    found = predict(nest, call, image(32))
    assert found.bound == "L2"
    assert found.time_s == pytest.approx(START_S + n * (32 + 4) / L2_BYTES_PER_S)


@pytest.mark.parametrize(
    "ptx, n_bytes",
    [
        ("ld.global.u64 %rd1, [%rd2];", 4),
        ("ld.global.f32 %f1, [%rd2];\nld.global.nc.v2.f64 {%d1, %d2}, [%rd3];", 20),
        ("ld.global.u8 %rs1, [%rd2];\nld.global.u32 %r1, [%rd3];", 5),
        ("$L1:\nld.global.f32 %f1, [%rd2];\n@%p1 bra $L1;", 16),
        ("$L1:\nld.global.v2.f32 {%f1, %f2}, [%rd2];\nst.global.f32 [%rd3], %f1;\n@%p1 bra $L1;", 8),
        ("$L1:\nld.global.f64 %d1, [%rd2];\n@%p1 bra $L2;\nld.global.s8 %r1, [%rd3];\n$L2:\nret;", 9),
        (2 * "ld.global.b16 %h1, [%rd2];\ncvt.f32.f16 %f1, %h1;\n" + "ld.global.u32 %r1, [%rd3];", 8),
        ("ld.global.b16 %h1, [%rd2];\ncvt.f32.f16 %f1, %h1;\nneg.f32 %f2, %f1;\nld.global.f64 %d1, [%rd3];", 8),
        ("ld.global.f64 %d1, [%rd2];\nadd.f64 %d3, %d2, %d1;\nld.global.u32 %r1, [%rd3];", 8),
    ],
)
def test_bytes_that_a_thread_asks_for_at_once(ptx, n_bytes):
    assert _asked_at_once(ptx) == n_bytes


SHUFFLES = 5 * "shfl.sync.bfly.b32 %r1, %r2, %r3, 31, 4294967295;\n"
LOOP = "$L2:\nld.global.f32 %f1, [%rd1];\n@%p1 bra $L2;\n"


def softmax(n_rows: int, n_columns: int) -> Nest:
    i, j, k = Axis("i", n_rows), Axis("j", n_columns), Axis("k", n_columns)
    powers = [prim("exp", f32("x", i, a) - reduce("max", (k,), f32("x", i, k))) for a in (j, k)]
    buffers = tuple(Buffer.dense(name, (n_rows, n_columns), "float32") for name in "xy")
    return Nest(buffers, (Store("y", (i, j), powers[0] / reduce("sum", (k,), powers[1]), (i, j)),))


@pytest.mark.parametrize("n_columns, extra_bytes", [(4096, 0), (81_920, 2 * 81_920 * 4)])
def test_rows_that_are_read_again_come_from_l2_if_l1_is_too_small(n_columns, extra_bytes):
    n_rows = 4000
    kernel = softmax(n_rows, n_columns)
    ((plan, call),) = planned(kernel)
    walks = image(32, ptx=f"$L1:\n{2 * (LOOP + SHUFFLES)}{LOOP}@%p1 bra $L1;".replace("$L2", "$L3", 2))
    once = image(32, ptx=f"$L1:\n{COPY}\n{2 * SHUFFLES}@%p1 bra $L1;")
    found = [_nest(kernel, plan, work_of(kernel), i, 1, Grid(*call.launch)) for i in (walks, once)]
    assert found[0]["L2"] - found[1]["L2"] == pytest.approx(n_rows * extra_bytes / L2_BYTES_PER_S)
    n_lines = COPY.count(";") + 10 + 1  # what a straight piece of code has is what each thread of a row executes
    instructions = n_rows * plan.team * n_lines / 128 / 132 / 1.98e9 / busy(call.launch)
    assert found[1]["instructions"] == pytest.approx(instructions, rel=0.1)


def busy(launch: Grid) -> float:
    """The part of a processor's schedulers that a block's warps keep supplied."""
    return min(1.0, launch[1] / WARP / 16)


def test_a_large_product_is_near_the_limit_and_a_deep_small_one_is_not():
    large = contraction(batch=4096, channels=(1024, 4096), **FLAT)
    large = replace(large, plan=plan_contraction(large))
    assert large.plan.tile == LARGE
    (call,) = schedule_tiles(large, large.plan)
    found = predict(large, call, image(168, 37_888))
    flops = 2 * 4096 * 1024 * 4096
    assert found.limit_s == pytest.approx(START_S + flops / (132 * 256 * 1.98e9)) and found.limit_s / found.time_s > 0.8
    small = contraction(batch=49, channels=(4608, 512), **FLAT)
    small = replace(small, plan=plan_contraction(small))
    shared = Buffer.dense("scratch", small.plan.scratch, "float32")
    small = replace(small, buffers=(*small.buffers, shared), written=("scratch",))
    (call,) = schedule_tiles(small, small.plan)
    found = predict(small, call, image(127, 38_912))
    assert 0.4 < found.limit_s / found.time_s < 0.8
    assert sharing_time(problem_of(small), small.plan.tile, small.plan.n_parts) > 0.75e-6


SEARCH = "$L1:\nld.shared.u32 %r1, [%rd1];\nsetp.lt.s32 %p1, %r1, %r2;\nshr.s64 %rd2, %rd2, 1;\n@%p2 bra $L1;\n"


@pytest.mark.parametrize(
    "ptx, step",
    [
        (SEARCH, (4, 1)),
        (f"$L0:\nbar.sync 0;\n{SEARCH}ld.u32 %r3, [%rd3];\n@%p3 bra $L0;", (4, 1)),
        ("$L1:\nld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];\nadd.s64 %rd1, %rd1, 16;\n@%p2 bra $L1;", (0.75, 1)),
        ("$L1:\nst.shared.u32 [%rd1], 0;\n@%p2 bra $L1;", (1, 1)),
    ],
)
def test_a_step_is_a_round_of_the_innermost_loop_that_reads(ptx, step):
    assert _step(ptx) == step


def test_parts_of_a_routine_are_not_spread_over_the_machine():
    x, order = Buffer.dense("x", (1, 5000), "float32"), Buffer.dense("y", (1, 5000), "int32")
    template = Template(Sort(1, 5000, True), ("x",), ("y",), (), (x, order))
    found = predict(template, a_thread_for_each_part(template), image(64, ptx=SEARCH))
    own_s = 4 * 4 / CLOCK_HZ + NEAREST_S
    assert found.time_s == pytest.approx(START_S + template.work_flops * own_s) and found.time_s > 1e-3
    keys, positions = (Buffer.dense(f"s{k}", *wanted) for k, wanted in enumerate(scratch_of(template.routine, [x])))
    own = replace(template, scratch=("s0", "s1"), buffers=(x, order, keys, positions))
    assert sum(predict(own, call, image(64, ptx=SEARCH)).time_s for call in schedule_template(own)) < 5e-5


def test_groups_of_warps_multiply_at_the_full_rate():
    """1024 products of tf32 a cycle of each of 132 processors, 0.62 of that by single warps; L2 brings the same."""
    c = contraction(batch=8192, channels=(4096, 4096), **FLAT)
    whole, single = (plan_contraction(c, "tf32", by_groups=by_groups) for by_groups in (True, False))
    assert whole.tile.by_group and not single.tile.by_group and "by warpgroups" in whole.why
    times = [tile_times(p.tile, p.widths, problem_of(c), p.n_parts, p.tile.n_blocks) for p in (whole, single)]
    rounds = -(-8192 // 128 * 4096 // 256 // 132)
    assert times[0]["arithmetic"] == pytest.approx(rounds * 128 * 256 * 4096 / 1024 / CLOCK_HZ)
    assert times[0]["arithmetic"] == pytest.approx(0.62 * times[1]["arithmetic"]) and times[0]["L2"] == times[1]["L2"]
    assert times[0]["instructions"] < times[1]["instructions"] / 4
