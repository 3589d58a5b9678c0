"""What is decided about nests and refused, which takes none of the packages that compile."""

from __future__ import annotations

import pickle

import pytest

from symc.codegen.cuda import compile as compile_module
from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.launch import Grid
from symc.codegen.cuda.nest import schedule_nest
from symc.codegen.cuda.target import Target
from symc.core.errors import DeviceError
from symc.loopir.expr import Axis, Expr, prim, reduce
from symc.loopir.kernel import Buffer, Nest, Store
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
    image = KernelImage(b"\x7fELF code", "symc_nest_0", 24, 512, 0)
    assert KernelImage.from_bytes(image.to_bytes()) == image


def test_targets_are_generations():
    assert Target.of((9, 0)).name == Target.of((9, 9)).name == "sm_90" and Target.of((12, 0)).name == "sm_100"
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
