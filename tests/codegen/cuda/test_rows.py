"""Rows that threads share: what is read once, by how much at a time, and that numbers are right at every length."""

from __future__ import annotations

import re

import numpy as np
import pytest
from llvmlite import ir

from symc.codegen.cuda.compile import compile_for
from symc.codegen.cuda.nest import plan as nest_plan
from symc.codegen.cuda.nest import rounds, schedule, schedule_nest
from symc.codegen.cuda.target import KNOWN, Target
from symc.loopir.expr import Axis, Expr, cast, index_value, load, prim, reduce
from symc.loopir.kernel import Buffer, Nest, Store, verify
from symc.testing.ptx.faults import KernelFault
from tests.codegen.nests import Memory, assert_nothing_else_changed, f32, rand

from .packages import needs_compiler
from .simulate import image_of, run_calls

pytestmark = needs_compiler

ROWS = 3
F32, F16 = "float32", "float16"
LENGTHS = (1, 24, 25, 31, 32, 33, 100, 127, 1000, 1001, 1023, 4096, 5000)


def run(nest: Nest, values: dict[str, np.ndarray], aliases: dict[str, str] | None = None):
    """The call, its PTX, and what the buffers hold afterwards; nothing else has changed."""
    verify(nest)
    memory = Memory(nest, values, aliases or {})
    (call,) = schedule_nest(nest)
    raw = {name: found[256:] for name, found in memory.raw.items()}
    run_calls([call], raw | {name: raw[home] for name, home in (aliases or {}).items()})
    found = {name: view.copy() for name, view in memory.views.items()}
    assert_nothing_else_changed(nest, memory, Memory(nest, values, aliases or {}))
    return call, image_of(call).code.decode("ascii"), found


def row(name: str, n: int, dtype: str = "float32", pitch: int | None = None, step: int = 1, offset: int = 0) -> Buffer:
    return Buffer(name, (ROWS, n), dtype, (pitch or n * step, step), offset)


def softmax_of(x: Buffer, y: Buffer) -> Nest:
    i, j, k = Axis("i", ROWS), Axis("j", x.shape[1]), Axis("k", x.shape[1])
    powers = [
        prim(
            "exp",
            cast(load("x", (i, a), x.dtype), "float32")
            - reduce("max", (k,), cast(load("x", (i, k), x.dtype), "float32")),
        )
        for a in (j, k)
    ]
    return Nest((x, y), (Store("y", (i, j), cast(powers[0] / reduce("sum", (k,), powers[1]), y.dtype), (i, j)),))


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x.astype("float64") - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def loads(ptx: str) -> list[str]:
    """The accesses of elements, all but words of the descriptor."""
    return re.findall(r"ld\.global(?:\.v\d)?\.[fsub]\d+", ptx.replace("ld.global.u64", ""))


@pytest.mark.parametrize("n", [*LENGTHS, 16_384])
def test_softmax_reads_a_row_once(n):
    x = rand((ROWS, n)) * 5
    call, ptx, found = run(softmax_of(row("x", n), row("y", n)), {"x": x})
    np.testing.assert_allclose(found["y"], softmax(x), 1e-5, 1e-7)
    if n > nest_plan.SHORT_ROW:
        width = "ld.global.v4.f32" if n % 4 == 0 else "ld.global.f32"
        assert "read them once" in call.schedule and set(loads(ptx)) == {width}
        n_rounds = -(-n // ((4 if n % 4 == 0 else 1) * call.launch.n_threads))
        assert len(loads(ptx)) == n_rounds and ptx.count("st.global") == n_rounds


@pytest.mark.parametrize(
    "x, y, access",
    [
        (dict(pitch=2004, offset=8), dict(pitch=2008), "v4.f32"),
        (dict(offset=1), {}, "f32"),
        (dict(pitch=2002), {}, "v2.f32"),
        (dict(pitch=2001), {}, "f32"),
        ({}, dict(offset=3), "f32"),
        (dict(step=2), dict(step=3), "f32"),
        (dict(dtype="float16"), dict(dtype="float16"), "v4.u32"),
        (dict(dtype="float16", pitch=2004), dict(dtype="float16"), "v2.u32"),
        (dict(dtype="float16"), {}, "v2.u32"),
        (dict(dtype="int32"), {}, "v4.u32"),
        (dict(dtype="int8"), {}, "v4.u8"),
        (dict(dtype="float64"), {}, "v2.f64"),
    ],
)
def test_rows_at_any_place_and_of_any_dtype(x, y, access):
    values = rand((ROWS, 2000), x.get("dtype", "float32"))
    call, ptx, found = run(softmax_of(row("x", 2000, **x), row("y", 2000, **y)), {"x": values})
    tolerance = 1e-3 if y.get("dtype") == "float16" else 1e-5
    np.testing.assert_allclose(found["y"], softmax(values), tolerance, tolerance * 1e-2)
    assert "read them once" in call.schedule and set(loads(ptx)) == {f"ld.global.{access}"}


def test_a_row_is_overwritten_behind_what_reads_it():
    x = rand((ROWS, 1024))
    nest = softmax_of(row("x", 1024), row("y", 1024))
    _, _, found = run(nest, {"x": x}, {"y": "x"})
    np.testing.assert_allclose(found["y"], softmax(x), 1e-5, 1e-7)


def layer_norm(n_rows: int, n: int, dtype: str) -> Nest:
    """Normalised rows, scaled and shifted; their means and deviations."""
    i, j, k = Axis("i", n_rows), Axis("j", n), Axis("k", n)
    x = {a: cast(load("x", (i, a), dtype), "float32") for a in (j, k)}
    mean = reduce("sum", (k,), x[k]) / float(n)
    centred = {a: x[a] - mean for a in (j, k)}
    deviation = prim("sqrt", reduce("sum", (k,), centred[k] * centred[k]) / float(n) + 1e-5)
    y = centred[j] / deviation * f32("gamma", j) + f32("beta", j)
    vectors = [Buffer.dense(name, (n,), "float32") for name in ("gamma", "beta")]
    totals = [Buffer.dense(name, (n_rows,), "float32") for name in ("mean", "deviation")]
    rows = [Buffer.dense(name, (n_rows, n), dtype) for name in "xy"]
    stores = (
        Store("y", (i, j), cast(y, dtype), (i, j)), Store("mean", (i,), mean, (i,)),
        Store("deviation", (i,), deviation, (i,)),
    )  # fmt: skip
    return Nest((*rows, *vectors, *totals), stores)


@pytest.mark.parametrize(
    "n_rows, n, dtype",
    [(3, 768, "float32"), (700, 96, "float32"), (5, 12_000, "float32"), (5, 20_000, "float32"), (2, 999, "float16")],
)
def test_norms_read_a_row_once(n_rows, n, dtype):
    values = {"x": rand((n_rows, n), dtype), "gamma": rand((n,)), "beta": rand((n,))}
    call, ptx, found = run(layer_norm(n_rows, n, dtype), values)
    x, gamma, beta = (v.astype("float64") for v in values.values())
    deviation = np.sqrt(x.var(1, keepdims=True) + 1e-5)
    tolerance = 2e-3 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(
        found["y"], (x - x.mean(1, keepdims=True)) / deviation * gamma + beta, tolerance, tolerance
    )
    np.testing.assert_allclose(found["mean"], x.mean(1), 1e-5, 1e-6)
    np.testing.assert_allclose(found["deviation"], deviation[:, 0], 1e-5)
    assert image_of(call).spilled_bytes == 0 and ("read them once" in call.schedule) == (n < 20_000)
    if n == 20_000:
        return
    team = 32 if n == 96 else call.launch.n_threads
    assert len(loads(ptx)) == 3 * -(-n // (team * (4 if n % 4 == 0 else 1)))


@pytest.mark.parametrize("n_rows, n", [(20_000, 1024), (3000, 16_384), (300, 5001), (300, 20_000), (300, 20_001)])
def test_no_generation_lacks_registers(n_rows, n):
    (call,) = schedule_nest(layer_norm(n_rows, n, F32))
    images = compile_for([Target(capability) for capability in KNOWN], call.code.build(), call.code.name)
    assert [image.spilled_bytes for image in images] == [0, 0, 0]


@pytest.mark.parametrize("n", [25, 128, 1001, 70_000])
def test_the_place_of_the_largest_is_found_in_one_read(n):
    i, k = Axis("i", ROWS), Axis("k", n)
    largest = reduce("max", (k,), f32("x", i, k))
    other = Axis("m", n)
    place = reduce("min", (other,), prim("select", prim("eq", f32("x", i, other), largest), index_value(other), n))
    x = np.round(rand((ROWS, n)) * 4)
    nest = Nest((row("x", n), Buffer.dense("y", (ROWS,), "int64")), (Store("y", (i,), place, (i,)),))
    call, _, found = run(nest, {"x": x})
    np.testing.assert_array_equal(found["y"], x.argmax(1))
    assert ("read them once" in call.schedule) == (n < 70_000)


def test_rows_that_are_looked_up_and_numbered():
    n = 300
    i, j, k = Axis("i", ROWS), Axis("j", n), Axis("k", n)

    def value(a: Axis) -> Expr:
        place = load("places", (i, a), "int32")
        return load("table", (cast(place, "int64"),), "float32") + cast(index_value(i * 1000 + a), "float32")

    buffers = (
        Buffer.dense("table", (50,), "float32"), Buffer.dense("places", (ROWS, n), "int32"),
        Buffer.dense("y", (ROWS, n), "float32"),
    )  # fmt: skip
    table, places = rand((50,)), np.arange(ROWS * n, dtype="int32").reshape(ROWS, n) * 7 % 50
    nest = Nest(buffers, (Store("y", (i, j), value(j) / reduce("sum", (k,), value(k)), (i, j)),))
    _, _, found = run(nest, {"table": table, "places": places})
    x = table.astype("float64")[places] + np.arange(ROWS)[:, None] * 1000 + np.arange(n)
    np.testing.assert_allclose(found["y"], x / x.sum(1, keepdims=True), 1e-5)


@pytest.mark.parametrize("n", [24, 1001, 4096])
@pytest.mark.parametrize("n_images", [2, 5])
def test_sums_over_several_axes(n_images, n):
    """As of a channel of some images, which is no row in memory."""
    b, i, k = Axis("b", n_images), Axis("i", ROWS), Axis("k", n)
    total = reduce("sum", (b, k), f32("x", b, i, k))
    buffers = (Buffer.dense("x", (n_images, ROWS, n), "float32"), Buffer.dense("y", (ROWS,), "float32"))
    x = rand((n_images, ROWS, n))
    _, _, found = run(Nest(buffers, (Store("y", (i,), total, (i,)),)), {"x": x})
    np.testing.assert_allclose(found["y"], x.astype("float64").sum((0, 2)), 1e-5, 1e-4)


@pytest.mark.parametrize("n_rows, n, team", [(1100, 64, 16), (20_001, 16, 4), (10_003, 21, 8), (1021, 256, 64)])
def test_many_short_rows_share_blocks(n_rows, n, team):
    x = rand((n_rows, n))
    buffers = tuple(Buffer.dense(name, (n_rows, n), "float32") for name in "xy")
    i, j, k = Axis("i", n_rows), Axis("j", n), Axis("k", n)
    value, largest = f32("x", i, j), reduce("max", (k,), f32("x", i, k))
    stores = (Store("y", (i, j), value - largest, (i, j)), Store("z", (i,), largest, (i,)))
    call, ptx, found = run(Nest((*buffers, Buffer.dense("z", (n_rows,), "float32")), stores), {"x": x}, {"y": "x"})
    np.testing.assert_array_equal(found["y"], x - x.max(1, keepdims=True))
    np.testing.assert_array_equal(found["z"], x.max(1))
    assert call.schedule.startswith(f"{team} threads share") and ("bar.sync" in ptx) == (team > 32)
    n_threads = 64 if team > 32 else 128
    assert call.launch == (min(2048, -(-n_rows * team // n_threads)), n_threads, 0)


@pytest.mark.parametrize("n_rows, n, team", [(6, 16, 4), (1, 5000, 512)])
def test_what_would_go_wrong_is_found(monkeypatch, n_rows, n, team):
    """A team that leaves its warp before the others of it are done; a last round that does not end with the row."""
    text, when = schedule.function_text, rounds.when
    monkeypatch.setattr(
        schedule, "function_text", lambda *of: re.sub(r"unit - remainder\(unit, \d+\) <", "unit <", text(*of))
    )
    monkeypatch.setattr(rounds, "when", lambda b, condition, *rest: when(b, ir.Constant(condition.type, 1), *rest))
    buffers = tuple(Buffer.dense(name, (n_rows, n), "float32") for name in "xy")
    i, j, k = Axis("i", n_rows), Axis("j", n), Axis("k", n)
    nest = Nest(buffers, (Store("y", (i, j), f32("x", i, j) - reduce("max", (k,), f32("x", i, k)), (i, j)),))
    (call,) = schedule_nest(nest)
    assert call.schedule.startswith(f"{team} threads share")
    with pytest.raises(KernelFault, match="shfl" if n == 16 else "behind the end of allocation"):
        run(nest, {"x": rand((n_rows, n))})
