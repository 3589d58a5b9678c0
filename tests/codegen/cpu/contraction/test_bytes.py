"""Contractions of integers of 8 and 16 bits: exact int32 sums, on every machine, with what follows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symc.codegen.contraction.winograd import MOST_CHANNELS
from symc.codegen.cpu.contraction import candidates, plan_contraction, schedule_contraction
from symc.codegen.cpu.contraction.plan import CpuPlan, WinogradPlan
from symc.codegen.cpu.contraction.products import Products, products_of, widens_bytes
from symc.codegen.cpu.target import Target, host_target
from symc.core.errors import CodegenError
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Contraction, buffer_of, verify
from tests.codegen.contractions import packed_weight
from tests.codegen.integers import GUARD, POISON, contraction, numbers, poisoned, strided, surroundings
from tests.codegen.kernels import run_call

WAYS = {"planned": {}, "plain": {"has_dot": False}}
DTYPES = ["uint8", "int8", "int16"]


@pytest.fixture(scope="module")
def avx2() -> Target:
    """This machine with vectors of 256 bits, which multiplies pairs of int16."""
    return host_target(256)


def by_direct_sums(c: Contraction, target: Target, way: str = "planned") -> CpuPlan:
    plan = plan_contraction(c, target, has_winograd=False)
    return replace(plan, products=replace(plan.products, **WAYS[way]))


def check(c: Contraction, target: Target, plan: CpuPlan, logical: dict[str, np.ndarray] | None = None) -> None:
    """Every store against the interpreter, bytes around the buffers untouched."""
    logical = logical or numbers(c)
    wanted = {name: a.copy() for name, a in logical.items()}
    interpret(c, wanted)
    packed = packed_weight(plan.packing, logical["w"])
    np.testing.assert_array_equal(plan.packing.unpack(packed), logical["w"])
    dtype = next(b.dtype for b in c.buffers if b.name == "w")
    buffers = tuple(Buffer.dense("w", plan.packing.shape, dtype) if b.name == "w" else b for b in c.buffers)
    if plan.scratch:
        buffers += (Buffer.dense("scratch", plan.scratch, buffer_of(c, "x").dtype),)
    form = replace(c, plan=plan, buffers=buffers, written=("scratch",) if plan.scratch else ())
    verify(form)
    raws = {}
    for b in buffers:
        raws[b.name] = poisoned(b)
        if b.name in ("x", "w", "scale"):
            strided(raws[b.name], b)[...] = packed if b.name == "w" else logical[b.name]
    addresses = {name: raw.ctypes.data + GUARD * raw.itemsize for name, raw in raws.items()}
    for call in schedule_contraction(form):
        run_call(call, target, addresses, 3, [2, 0, 1])
    for name in ("y", "small"):
        b = next(b for b in buffers if b.name == name)
        np.testing.assert_array_equal(strided(raws[name], b), wanted[name], err_msg=name)
        assert (surroundings(raws[name], b) == POISON).all(), name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_ways(dtype, way, target):
    c = contraction(dtype)
    check(c, target, by_direct_sums(c, target, way))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "how",
    [
        {"channels": (4, 1)},
        {"channels": (64, 70), "inputs": (5, 5), "slack": 3},
        {"channels": (16, 24), "groups": 2, "stride": (2, 3)},
        {"channels": (12, 40), "inputs": (9,), "kernel": (4,), "stride": (1,)},
        {"channels": (36, 17), "inputs": (), "kernel": (), "stride": (), "batch": 5},
    ],
)
def test_geometry(dtype, how, target):
    c = contraction(dtype, **how)
    check(c, target, by_direct_sums(c, target))


def filtered(c: Contraction, target: Target) -> list[CpuPlan]:
    """The plans with Winograd's algorithm."""
    return [plan for plan in candidates(c, target, is_reused=True) if isinstance(plan, WinogradPlan)]


def test_bytes_are_never_transformed(target):
    """What Winograd's transforms make of them needs more than 8 bits."""
    assert not filtered(contraction("uint8", channels=(64, 64), inputs=(56, 56)), target)


@pytest.mark.parametrize(
    "how",
    [
        {"channels": (16, 33)},
        {"channels": (48, 16), "inputs": (7, 7), "pad": 0, "slack": 3, "batch": 1},
        {"channels": (32, 40), "inputs": (1, 1)},
    ],
)
def test_filters_of_int16(how, avx2):
    """Winograd's algorithm, in every tile."""
    c = contraction("int16", **how)
    plans = filtered(c, avx2)
    assert len(plans) == 3
    for plan in plans:
        check(c, avx2, plan)


@pytest.mark.parametrize("byte", [255, -128])
def test_the_largest_sums_that_filters_hold(byte, avx2):
    c = contraction("int16", channels=(MOST_CHANNELS // 16 * 16, 8), inputs=(3, 3), batch=1)
    extreme = {**numbers(c), "x": np.full((1, c.in_channels, 3, 3), byte, "int16")}
    extreme["w"] = np.full_like(extreme["w"], -128)
    check(c, avx2, filtered(c, avx2)[0], extreme)
    assert not filtered(contraction("int16", channels=(MOST_CHANNELS // 16 * 16 + 16, 8)), avx2)


def test_layers_of_int16_are_filtered_where_it_pays(avx2):
    layers = [contraction("int16", channels=(n, n), inputs=(m, m), batch=1) for n, m in ((64, 56), (256, 14))]
    assert {plan_contraction(c, avx2, is_reused=True).algorithm for c in layers} == {"Winograd F(2x2, 3x3)"}
    assert {plan_contraction(c, avx2, has_winograd=False).algorithm for c in layers} == {"direct sums"}
    wide = replace(avx2, features="+avx512f", vector_bits=512)
    assert not any(filtered(c, wide) for c in layers)


def test_the_interpreter_sums_in_int32():
    """Its sums against plain integers."""
    c = contraction("uint8", channels=(4, 2), inputs=(3,), kernel=(2,), stride=(1,), pad=0, batch=1)
    x, w = np.arange(12, dtype="uint8").reshape(1, 4, 3) * 20, np.arange(16, dtype="int8").reshape(2, 4, 2) - 100
    arrays = {"x": x, "w": w, "scale": np.ones(2, "float32"), "y": np.zeros((1, 2, 2), "int32")}
    interpret(c, {**arrays, "small": np.zeros((1, 2, 2), "uint8")})
    wide, tall = x.astype(int), w.astype(int)
    want = [[[(wide[0, :, q : q + 2] * tall[o]).sum() for q in range(2)] for o in range(2)]]
    np.testing.assert_array_equal(arrays["y"], want)


def test_machines():
    wide = Target("x86_64-linux-gnu", "any", "+avx512f,+avx512vnni", 512)
    assert products_of("int8", wide).is_shifted and not products_of("uint8", wide).is_shifted
    narrow = replace(wide, vector_bits=256)
    assert not products_of("uint8", narrow).has_dot and products_of("int16", narrow).has_dot and widens_bytes(narrow)
    assert products_of("uint8", replace(narrow, features="+avx2,+avxvnni")).has_dot
    other = replace(narrow, triple="aarch64-linux-gnu")
    assert not products_of("int16", other).has_dot and not widens_bytes(other) and not widens_bytes(wide)
    assert products_of("float32", wide) == Products("float32")


@pytest.mark.parametrize("how", [{"channels": (6, 8)}, {"channels": (8, 8), "groups": 8}])
def test_channels_that_fill_no_words_are_refused(how, target):
    with pytest.raises(CodegenError, match="operand 'x' is uint8; expected one of float32, float64"):
        plan_contraction(contraction("uint8", **how), target)
