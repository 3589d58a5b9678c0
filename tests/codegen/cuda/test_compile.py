"""Kernels become PTX without a GPU; what they compute is tested where programs run (tests/runtime/cuda)."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from symc.codegen.contraction.panels import panels_of
from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.compile import assembled
from symc.codegen.cuda.contraction.plan import LONG_SUMS, plan_contraction
from symc.codegen.cuda.contraction.schedule import schedule_tiles
from symc.codegen.cuda.contraction.tile import TILES, TILES_OF_CORES, TOGETHER
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.roofline import blocks_of_processor
from symc.codegen.cuda.target import KNOWN, Target
from symc.core.errors import CodegenError
from symc.loopir.expr import Axis, prim, reduce
from symc.loopir.kernel import Buffer, Nest, Store
from tests.codegen.contractions import bias_residual_relu, contraction
from tests.codegen.nests import f32

from .machine_code import disassembled
from .packages import needs_compiler

pytestmark = needs_compiler


def softmax(n_rows: int, n_columns: int) -> Nest:
    i, j, k = Axis("i", n_rows), Axis("j", n_columns), Axis("k", n_columns)
    shifted = [prim("exp", f32("x", i, a) - reduce("max", (k,), f32("x", i, k))) for a in (j, k)]
    buffers = tuple(Buffer.dense(name, (n_rows, n_columns), "float32") for name in "xy")
    return Nest(buffers, (Store("y", (i, j), shifted[0] / reduce("sum", (k,), shifted[1]), (i, j)),))


@pytest.mark.parametrize("capability", KNOWN)
def test_a_row_of_threads_for_every_target(capability):
    backend = CudaBackend(Target(capability), lambda image: (1, None))
    kernel = softmax(3, 700)
    (call,) = backend.schedule(kernel)
    image = KernelImage.from_bytes(backend.build(call.code))
    text = image.code.decode("ascii")
    assert f".visible .entry {image.entry}(" in text and f".target sm_{capability[0]}{capability[1]}" in text
    assert image.entry == call.code.name and ".maxntid 256" in text and "NumbaEnv" not in text
    assert text.count("shfl.sync.bfly") == 10 and text.count("bar.sync") == 4
    assert image.shared_bytes == 2 * 8 * 8  # a number of 8 bytes for each warp and reduction
    assert image.registers and image.spilled_bytes == 0 and image.cubin.startswith(b"\x7fELF")
    remark = backend.remark(kernel, call, image.to_bytes())
    assert remark.startswith(f"{image.registers} registers, 128 B shared, ")
    assert "blocks a processor; on an H200" in remark
    assert "fma.rn.f32" in text and "ex2.approx" not in text  # the CPU's polynomial
    assert str(Target(capability).name) in backend.identity()


MULTIPLIED = {
    "fma": ("fma.rn.f32", "LDS.128"),
    "tf32": ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", "HMMA.1688.F32.TF32"),
    "bfloat16": ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "HMMA.16816.F32.BF16"),
    "float16": ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "HMMA.16816.F32"),
}


@pytest.mark.parametrize(
    "kind, tile",
    [(k, t) for t in TILES for k in ("forward", "weight_gradient")]
    + [(k, replace(t, kind="tf32")) for t in TILES_OF_CORES for k in ("forward", "weight_gradient")]
    + [("forward", replace(t, kind="bfloat16")) for t in TILES_OF_CORES]
    + [("forward", replace(t, kind="float16")) for t in TILES_OF_CORES],
    ids=str,
)
def test_tiles_keep_their_sums_in_registers(kind, tile):
    dtype = "float16" if tile.kind == "float16" else "float32"
    epilogue = bias_residual_relu if kind == "forward" else None
    c = contraction(kind=kind, channels=(72, 72), inputs=(20, 20), epilogue=epilogue, dtype=dtype)
    packing = None if kind == "weight_gradient" else panels_of(c, dtype, tile.columns, tile.n_together)
    n_parts = 1 if kind == "weight_gradient" else 5
    decisions = dict(tile=tile, packing=packing, is_long=tile.n_sums <= LONG_SUMS, n_parts=n_parts)
    if n_parts > 1:
        c = replace(c, buffers=(*c.buffers, Buffer.dense("scratch", (1,), dtype)), written=("scratch",))
    (call,) = schedule_tiles(c, replace(plan_contraction(c), **decisions))
    image = KernelImage.from_bytes(CudaBackend(Target((9, 0)), lambda image: (1, None)).build(call.code))
    text = image.code.decode("ascii")
    assert image.spilled_bytes == 0 and image.registers * tile.n_threads * tile.n_blocks <= 65536
    multiplication, instruction = MULTIPLIED[tile.kind]
    assert ("cvt.rna.tf32.f32" in text) == (tile.kind == "tf32")
    assert ("cvt.rn.bf16x2.f32" in text) == (tile.kind == "bfloat16")
    n_products = TOGETHER * tile.n_sums // {"fma": 1, "bfloat16": 64}.get(tile.kind, 32)
    assert text.count(multiplication) >= n_products and ("ld.shared.v4.f32" in text) == (tile.kind == "fma")
    n_left = tile.rows * (tile.depth + 4) if kind == "forward" else tile.depth * (tile.rows + 8)
    assert call.launch.shared_bytes == 3 * 4 * (n_left + tile.depth * (tile.columns + 8)) and not image.shared_bytes
    assert call.launch.shared_bytes <= 163 << 10  # of a block of sm_80
    assert blocks_of_processor(image, call.launch) >= tile.n_blocks  # of sm_90
    (machine_code,) = disassembled([image], Target((9, 0)))
    assert "LDGSTS.E.BYPASS.128" in machine_code and not re.search(r"\b(LDL|STL)\b", machine_code)
    assert instruction in machine_code


def test_what_lies_at_odd_places_is_copied_element_by_element():
    c = contraction(channels=(70, 70), inputs=(20, 20))
    plan = plan_contraction(c)
    (call,) = schedule_tiles(c, replace(plan, n_parts=1, scratch=()))
    assert plan.widths == (1, 4)
    text = KernelImage.from_bytes(CudaBackend(Target((9, 0)), lambda image: (1, None)).build(call.code)).code.decode()
    assert "cp.async.ca.shared.global" in text and "cp.async.cg.shared.global" in text


def test_what_the_assembler_refuses_is_an_error_with_its_words():
    with pytest.raises(CodegenError, match="assembling symc_nest_0 for sm_90: ptxas"):
        assembled(
            KernelImage(b".version 9.0\n.target sm_90\n.address_size 64\nnonsense;", "symc_nest_0"), Target((9, 0))
        )
