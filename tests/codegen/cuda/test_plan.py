"""What is decided about nests and refused, which takes none of the packages that compile."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from symc.codegen.cuda import compile as compile_module
from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.contraction.cost import n_tiles
from symc.codegen.cuda.contraction.plan import candidates, plan_contraction, widths_of
from symc.codegen.cuda.contraction.problem import problem_of
from symc.codegen.cuda.contraction.tile import FOUR_SMALL, LARGE, NARROW
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.launch import Grid
from symc.codegen.cuda.nest import schedule_nest
from symc.codegen.cuda.target import Target
from symc.core.errors import DeviceError
from symc.loopir.expr import Axis, Expr, prim, reduce
from symc.loopir.factorize import Cholesky
from symc.loopir.kernel import Buffer, Contraction, Nest, Store, Template
from symc.loopir.work import work_of
from tests.codegen.contractions import contraction
from tests.codegen.nests import f32

ROW, COLUMN, OTHER = Axis("i", 70), Axis("j", 300), Axis("k", 300)


def nest(value: Expr, axes: tuple[Axis, ...]) -> Nest:
    buffers = (Buffer.dense("x", (70, 300), "float32"), Buffer.dense("y", tuple(a.extent for a in axes), "float32"))
    return Nest(buffers, (Store("y", axes, value, axes),))


def the_call(value: Expr, *axes: Axis):
    (call,) = schedule_nest(nest(value, axes))
    return call


def test_elementwise_work_has_a_thread_for_each_element():
    call = the_call(prim("exp", f32("x", ROW, COLUMN)), ROW, COLUMN)
    assert call.launch == Grid(-(-70 * 300 // 256), 256)
    assert "a thread for each element" in call.schedule and str(call.launch) == "83 x 256 threads"


def test_threads_of_a_block_share_a_row_and_the_stores_along_it():
    call = the_call(f32("x", ROW, COLUMN) - reduce("max", (OTHER,), f32("x", ROW, OTHER)), ROW, COLUMN)
    assert call.launch == Grid(70, 128)
    assert "cuda.blockIdx.x" in call.code.source and "128 threads share" in call.schedule


def test_many_columns_are_added_up_by_a_thread_each():
    rows, columns = Axis("r", 300), Axis("c", 1 << 16)
    buffers = (Buffer.dense("x", (300, 1 << 16), "float32"), Buffer.dense("y", (1 << 16,), "float32"))
    total = reduce("sum", (rows,), f32("x", rows, columns))
    (call,) = schedule_nest(Nest(buffers, (Store("y", (columns,), total, (columns,)),)))
    assert call.launch == Grid(256, 256) and "a thread for each reduction" in call.schedule


def test_additions_to_one_element_keep_their_order():
    position = f32("x", ROW, COLUMN)
    buffers = (Buffer.dense("x", (70, 300), "float32"), Buffer.dense("y", (70,), "float32"))
    (call,) = schedule_nest(Nest(buffers, (Store("y", (ROW,), position, (ROW, COLUMN), "add"),)))
    assert "its additions in order" in call.schedule and call.launch == Grid(1, 256)


def test_equal_structures_are_one_kernel_whatever_their_extents():
    short, long = (the_call(prim("exp", f32("x", ROW, a)), ROW, a) for a in (Axis("j", 299), Axis("j", 300)))
    assert short.code.name != long.code.name  # a row of 299 of 300 is not contiguous with the next
    assert the_call(prim("exp", f32("x", ROW, COLUMN)), ROW, COLUMN).code.name == long.code.name


def test_an_image_is_kept_whole():
    image = KernelImage(b"// PTX", "symc_nest_0", 24, 512, 0, b"\x7fELF code")
    assert KernelImage.from_bytes(image.to_bytes()) == image


def test_targets_are_generations():
    assert Target.of((9, 0)).name == Target.of((9, 9)).name == "sm_90" and Target.of((12, 0)).name == "sm_100"
    assert Target.of((9, 0), by_groups=True).name == "sm_90a"  # which no other one runs
    assert Target.of((9, 9), by_groups=True).name == "sm_90" and Target.of((12, 0), by_groups=True).name == "sm_100"
    with pytest.raises(DeviceError, match=r"capability 7\.5 is too old: kernels are compiled for 8\.0"):
        Target.of((7, 5))


def test_missing_packages_are_one_clear_error(monkeypatch):
    def version(name: str) -> str:
        raise compile_module.PackageNotFoundError(name)

    monkeypatch.setattr(compile_module, "version", version)
    with pytest.raises(DeviceError, match=r"numba-cuda is not installed; pip install 'symc\[cuda\]'"):
        compile_module.cuda()


def test_another_process_compiles_but_has_no_gpu():
    backend = pickle.loads(pickle.dumps(CudaBackend(Target((9, 0)), lambda image: (1, None))))
    assert backend.target == Target((9, 0)) and backend.schedule(nest(f32("x", ROW, COLUMN), (ROW, COLUMN)))
    image = KernelImage(b"", "symc_nest_0")
    with pytest.raises(DeviceError, match="loading symc_nest_0: this process compiles for a GPU that another one has"):
        backend.load({"symc_nest_0": image.to_bytes()})


def product(kind: str, n_rows: int, channels: tuple[int, int], **options) -> Contraction:
    flat = dict(inputs=(), kernel=(), stride=(), dilate=(), pad=())
    return contraction(kind=kind, batch=n_rows, channels=channels, **{**flat, **options})


@pytest.mark.parametrize("kind", ["forward", "data_gradient", "weight_gradient"])
def test_products_are_tiles_where_they_fill_some(kind):
    n = 200_000
    deep = {"forward": (72, (n, 72)), "data_gradient": (72, (72, n)), "weight_gradient": (n, (72, 72))}[kind]
    large = LARGE if kind == "weight_gradient" else NARROW
    cases = [(72, (72, 72), FOUR_SMALL), (2000, (2000, 2000), large), (*deep, FOUR_SMALL)]
    for n_rows, channels, tile in cases:
        plan = plan_contraction(product(kind, n_rows, channels))
        assert plan.tile == tile and str(tile) in plan.why and plan.is_long == (n in (n_rows, *channels))
        assert (plan.packing is None) == (kind == "weight_gradient")
    assert plan_contraction(product(kind, 3, (4, 5))) is None


@pytest.mark.parametrize("kind", ["forward", "data_gradient", "weight_gradient"])
def test_neighbours_are_copied_together_where_all_lie_at_multiples_of_16_bytes(kind):
    def widths(**options):
        return widths_of(contraction(kind=kind, **options))

    assert widths(channels=(24, 40)) == widths(channels=(24, 40), groups=2, slack=4, offset=8) == (4, 4)
    for odd in (dict(channels=(24, 40), offset=2), dict(channels=(24, 40), slack=1), dict(channels=(12, 20), groups=2)):
        assert widths(**odd) == ((1, 1) if kind == "weight_gradient" else (1, 4))


def test_few_rows_are_tiles_where_their_weight_is_packed_for_many_runs():
    """The weight is read once: a nest reads it for each row, and packing it anew would take longer than that."""
    tiles = {1: "4x32x256 by 16 teams", 7: "8x64x128 by 4 teams", 15: "16x32x128 by 4 teams"}
    for n_rows, tile in tiles.items():
        c = product("forward", n_rows, (4096, 4096))
        assert str(plan_contraction(c, is_reused=True).tile) == tile and plan_contraction(c) is None
    halves = plan_contraction(product("forward", 1, (4096, 4096), dtype="float16"), is_reused=True)
    assert str(halves.tile) == "16x128x32 float16" and halves.n_parts > 1
    assert plan_contraction(product("weight_gradient", 600, (600, 10))).tile.rows < 16


def test_the_cheapest_of_all_tiles_is_taken():
    narrow = plan_contraction(product("forward", 100_000, (576, 64)))
    assert narrow.tile == NARROW and narrow.n_parts == 1 and not narrow.scratch
    few = plan_contraction(product("forward", 49, (4608, 512)))
    n_sums = n_tiles(problem_of(product("forward", 49, (4608, 512))), few.tile) * few.tile.rows * few.tile.columns
    assert few.n_parts > 4 and few.scratch == (few.n_parts * n_sums,)
    assert f"each shared by {few.n_parts} blocks" in few.why
    assert few.cycles == min(plan.cycles for plan in candidates(product("forward", 49, (4608, 512))))
    huge = product("forward", 8192, (8192, 8192))
    assert not any(plan.scratch for plan in candidates(huge))  # the sums of parts would not stay in L2


def test_what_blocks_that_share_a_tile_leave_there_is_no_work():
    c = product("forward", 49, (4608, 512))
    plan = plan_contraction(c)
    scratch = Buffer.dense("scratch", plan.scratch, "float32")
    c = replace(c, plan=plan, buffers=(*c.buffers, scratch), written=("scratch",))
    (call,) = CudaBackend(Target((9, 0)), lambda image: (1, None)).schedule(c)
    assert call.share.writes == ("scratch", "y") and call.share.work.flops == c.work_flops
    assert work_of(c).size_bytes - call.share.work.size_bytes == scratch.size_bytes
    assert f"shared by {plan.n_parts} blocks" in call.code.source


def test_what_tiles_cannot_compute_is_a_nest():
    assert plan_contraction(contraction(channels=(70, 70), inputs=(20, 20))) is not None
    assert plan_contraction(contraction(channels=(70, 70), inputs=(20, 20), groups=70)) is None
    assert plan_contraction(contraction(channels=(70, 70), inputs=(20, 20), dtype="float64")) is None
    rows_first = contraction(channels=(70, 70), inputs=(20, 20))
    strides = (28_000, 400, 20, 1)
    buffers = tuple(replace(b, strides=strides) if b.name == "x" else b for b in rows_first.buffers)
    assert plan_contraction(replace(rows_first, buffers=buffers)) is None


def test_a_tile_has_a_block_for_each_part_of_each_set():
    c = product("weight_gradient", 100, (90, 200), stack=3)
    plan = replace(plan_contraction(c), n_parts=1, scratch=())
    (call,) = CudaBackend(Target((9, 0)), lambda image: (1, None)).schedule(replace(c, plan=plan))
    assert call.launch == Grid(3 * 7 * 3, 64, call.launch.shared_bytes)  # tiles of 32 of 200 rows and of 90 columns
    assert "a tile of 32x32x16 by a block" in call.code.source and "63 tiles" in call.schedule


def test_a_routine_without_kernels_of_its_own_has_a_thread_for_each_part():
    backend = CudaBackend(Target((9, 0)), lambda image: (1, None))
    matrices, roots = Buffer.dense("x", (100, 7, 7), "float32"), Buffer.dense("y", (100, 7, 7), "float32")
    assert backend.scratch(Cholesky(), [matrices]) == Cholesky().scratch([matrices.shape])
    template = Template(Cholesky(), ("x",), ("y",), (), (matrices, roots))
    (call,) = backend.schedule(template)
    assert call.launch.n_threads == 64 and call.words[-1] == template.n_parts
    assert "if part < n_parts" in call.code.source and "a thread for each of" in call.schedule
