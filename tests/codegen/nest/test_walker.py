"""The walker knows no device: one lane, serial axes, through LLVM's back end for NVIDIA and, to be run, for the CPU."""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from symc.codegen.cpu.target import host_target
from symc.codegen.kernel import Chunks, KernelCall, KernelCode
from symc.codegen.llvm.abilities import Abilities
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I32, I64, declare
from symc.codegen.nest.form import form_of
from symc.codegen.nest.layout import WordLayout, lay_out
from symc.codegen.nest.plan import AxisLoop, NestPlan, StorePlan
from symc.codegen.nest.walker import Serial, Walker
from symc.core.errors import CodegenError
from symc.loopir.expr import Axis, Expr, cast, prim, reduce
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Nest, Store
from tests.codegen.kernels import run_call
from tests.codegen.nests import Memory, f32, rand

NO_LIBRARY = Abilities({})
TRIPLE = "nvptx64-nvidia-cuda"


def softmax(n_rows: int, n_columns: int) -> Nest:
    """Rows of a softmax in float16, with their logarithms beside them."""
    i, j, k = Axis("i", n_rows), Axis("j", n_columns), Axis("k", n_columns)
    shifted = [f32("x", i, a) - reduce("max", (k,), f32("x", i, k)) for a in (j, k)]
    total = reduce("sum", (k,), prim("exp", shifted[1]))
    values = {"y": cast(prim("exp", shifted[0]) / total, "float16"), "z": shifted[0] - prim("log", total)}
    return nest_of(values, (i, j), {"y": "float16", "z": "float32"})


def nest_of(values: dict[str, Expr], axes: tuple[Axis, ...], dtypes: dict[str, str]) -> Nest:
    shape = tuple(a.extent for a in axes)
    buffers = [Buffer.dense("x", shape, "float32"), *(Buffer.dense(n, shape, d) for n, d in dtypes.items())]
    return Nest(tuple(buffers), tuple(Store(name, axes, value, axes) for name, value in values.items()))


def planned(nest: Nest) -> tuple[NestPlan, WordLayout]:
    """One unit of work for each index of the first axis; all else is walked inside, by one lane."""
    form = form_of(nest.stores, {b.name: b for b in nest.buffers})
    outer, *inner = form.stores[0].axes
    stores = (StorePlan(form.stores, tuple(inner), None),)
    plan = NestPlan(form, "scalar", 1, 1, (outer,), None, None, None, {}, stores, "a test's", 0.0)
    return plan, lay_out(plan, 1, 1)


def nvptx() -> llvm.TargetMachine:
    """The machine of LLVM's back end for NVIDIA; skips where llvmlite was built without it."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        return llvm.Target.from_triple(TRIPLE).create_target_machine(cpu="sm_70", opt=3)
    except RuntimeError as error:
        pytest.skip(f"this llvmlite has no NVPTX back end: {error}")


def ptx_of(nest: Nest, machine: llvm.TargetMachine) -> tuple[llvm.ModuleRef, str]:
    """The nest as a kernel, a thread for each unit."""
    plan, layout = planned(nest)
    module = ir.Module("nest")
    module.triple = TRIPLE
    kernel = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64.as_pointer()] * 2), "nest")
    kernel.calling_convention = "ptx_kernel"
    b = ir.IRBuilder(kernel.append_basic_block("entry"))
    block, size, thread = (
        b.zext(b.call(declare(module, f"llvm.nvvm.read.ptx.sreg.{register}.x", I32, []), []), I64)
        for register in ("ctaid", "ntid", "tid")
    )
    walker = Walker(b, plan, layout, NO_LIBRARY, Serial(), *kernel.args, {})
    unit = b.add(b.mul(block, size), thread)
    with b.if_then(b.icmp_signed("<", unit, walker.words.extent[plan.outer[0]])):
        walker.run([unit])
    b.ret_void()
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return parsed, machine.emit_assembly(parsed)


def test_a_nest_goes_through_the_back_end_for_nvidia_unchanged() -> None:
    module, ptx = ptx_of(softmax(3, 5), nvptx())
    outside = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    assert not outside
    assert (".entry nest" in ptx and "%tid.x" in ptx and "fma.rn.f32" in ptx and "st.b16" in ptx) or "st.u16" in ptx
    assert ".extern" not in ptx


def test_what_needs_a_library_asks_the_device_for_it() -> None:
    i, j = Axis("i", 2), Axis("j", 3)
    nest = nest_of({"y": prim("sin", f32("x", i, j))}, (i, j), {"y": "float32"})
    with pytest.raises(CodegenError, match="emitting sin: this device's library has no such function"):
        ptx_of(nest, nvptx())


@pytest.mark.parametrize("shape", [(2, 1), (3, 7), (5, 300)])
def test_one_lane_computes_what_the_interpreter_says(shape: tuple[int, int]) -> None:
    nest = softmax(*shape)
    plan, layout = planned(nest)

    def build():  # type: ignore[no-untyped-def]
        def unit(b, desc, bufs, index):  # type: ignore[no-untyped-def]
            Walker(b, plan, layout, NO_LIBRARY, Serial(), desc, bufs, {}).run([index])

        body, extent = intrinsic(unit), layout.at["extent", plan.outer[0]]

        def kernel(chunk, n_chunks, desc, bufs):  # type: ignore[no-untyped-def]
            for index in range(desc[extent]):
                body(desc, bufs, index)

        return kernel

    x = rand(shape)
    memory, expected = Memory(nest, {"x": x}, {}), Memory(nest, {"x": x}, {})
    interpret(nest, expected.views)
    code = KernelCode("one_lane", layout.structure, str, build)
    run_call(KernelCall(code, layout.words, Chunks(1)), host_target(), memory.pointers(), 1)
    for name, tolerance in (("y", 1e-3), ("z", 2e-6)):
        np.testing.assert_allclose(memory.views[name], expected.views[name], tolerance, tolerance)


def test_a_serial_device_refuses_other_loops() -> None:
    with pytest.raises(CodegenError, match="axis i0: a serial device has no vector loops"):
        Serial().loop(None, None, AxisLoop("i0", "vector"), (), [], None)  # type: ignore[arg-type]
