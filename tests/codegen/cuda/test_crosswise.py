"""Copies between memory orders through shared memory: numbers, and what they ask of memory on a simulated GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symc.codegen.cuda.launch import Grid
from symc.codegen.cuda.nest import crosswise, schedule_nest
from symc.codegen.cuda.nest import plan as plan_module
from symc.codegen.cuda.nest.plan import plan_stores
from symc.codegen.cuda.nest.sectors import moved_bytes
from symc.codegen.nest.form import form_of
from symc.core.dtypes import ITEM_SIZE
from symc.loopir.expr import Axis, cast, index_value, load, prim
from symc.loopir.kernel import Buffer, Nest, Store
from symc.testing.driver import SimDriver
from symc.testing.ptx.faults import KernelFault
from symc.testing.ptx.traffic import Traffic
from tests.codegen.nests import f32, rand

from . import simulate
from .packages import needs_compiler
from .test_numbers import check

TILES = "through shared memory"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiles for a few elements, too, though edges waste sectors."""
    monkeypatch.setattr(crosswise, "PROCESSORS", 1)
    monkeypatch.setattr(plan_module, "WASTE", 1.0)


def transpose(n: int, m: int, dtype: str = "float32") -> Nest:
    """y[i, j] = x[j, i], with n x m elements of y."""
    i, j = Axis("i", n), Axis("j", m)
    x, y = Buffer.dense("x", (m, n), dtype), Buffer.dense("y", (n, m), dtype)
    return Nest((x, y), (Store("y", (i, j), load("x", (j, i), dtype), (i, j)),))


def planned(nest: Nest):
    return plan_stores([form_of(list(nest.stores), {b.name: b for b in nest.buffers})])


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "bool", "int64", "int32"])
@pytest.mark.parametrize("shape", [(64, 128), (70, 45), (129, 66)])
def test_a_transpose_of_every_size_of_element(shape, dtype):
    nest = transpose(*shape, dtype)
    for is_backwards in (False, True):
        check(nest, {"x": rand(shape[::-1], dtype)}, TILES, SimDriver(is_backwards=is_backwards))
    side = 64 if ITEM_SIZE[dtype] <= 2 and min(shape) >= 64 else 32
    assert planned(nest).lanes == side


@needs_compiler
@pytest.mark.parametrize("n_channels, n_pixels", [(37, 49), (64, 33)])
def test_layouts_of_channels_with_what_stands_around(n_channels, n_pixels):
    """y[n, hw, c] = tanh(x[n, c, hw] * scale[c]) + z[n, hw, c] * 2, of strided rows at odd places."""
    n, p, c = Axis("n", 3), Axis("p", n_pixels), Axis("c", n_channels)
    x = Buffer("x", (3, n_channels, n_pixels), "float32", (n_channels * (n_pixels + 3), n_pixels + 3, 1), 5)
    z, y = (
        Buffer(name, (3, n_pixels, n_channels), dtype, (n_pixels * (n_channels + 1), n_channels + 1, 1), offset)
        for name, dtype, offset in (("z", "float32", 1), ("y", "float16", 3))
    )
    scale = Buffer.dense("scale", (n_channels,), "float32")
    value = prim("tanh", f32("x", n, c, p) * f32("scale", c)) + f32("z", n, p, c) * 2.0
    numbered = cast(value + cast(index_value(p * 3 + c), "float32"), "float16")
    nest = Nest((x, z, scale, y), (Store("y", (n, p, c), numbered, (n, p, c)),))
    values = {"x": rand(x.shape), "z": rand(z.shape), "scale": rand(scale.shape)}
    check(nest, values, TILES)
    (group,) = planned(nest).stores
    (handed,) = group.crosswise
    assert handed.op == "tanh"  # one value, not what it is made of


@needs_compiler
def test_axes_in_opposite_order_backwards_and_added():
    """y[a, b, c] += x[c, b, a] with x and y read from their ends."""
    a, b, c = Axis("a", 40), Axis("b", 3), Axis("c", 35)
    x = Buffer("x", (35, 3, 40), "int32", (-120, 40, -1), 120 * 34 + 39)
    y = Buffer("y", (40, 3, 35), "int32", (105, -35, 1), 70)
    nest = Nest((x, y), (Store("y", (a, b, c), load("x", (c, b, a), "int32"), (a, b, c), "add"),))
    given = np.arange(40 * 3 * 35, dtype="int32")
    memory = {"x": given.copy(), "y": given[::-1].copy()}
    (call,) = schedule_nest(nest)
    assert TILES in call.schedule
    simulate.run_calls([call], memory)
    seen = memory["y"].reshape(40, 3, 35)[:, ::-1, :]
    before = given[::-1].reshape(40, 3, 35)[:, ::-1, :]
    read = given.reshape(35, 3, 40)[::-1, :, ::-1]
    np.testing.assert_array_equal(seen, before + read.transpose(2, 1, 0))


def two_ways(n: int, m: int) -> Nest:
    """y[i, j] = x[i, j] + w[j, i] and z[j, i] = x[i, j] * w[j, i], of which the first may overwrite x."""
    i, j = Axis("i", n), Axis("j", m)
    sizes = {"x": (n, m), "w": (m, n), "y": (n, m), "z": (m, n)}
    x, w = f32("x", i, j), f32("w", j, i)
    stores = (Store("y", (i, j), x + w, (i, j)), Store("z", (j, i), x * w, (i, j)))
    return Nest(tuple(Buffer.dense(name, shape, "float32") for name, shape in sizes.items()), stores)


@needs_compiler
def test_stores_along_both_axes():
    (call,) = check(two_ways(45, 67), {"x": rand((45, 67)), "w": rand((67, 45))}, TILES)
    assert simulate.image_of(call).code.count(b"bar.sync") == 2


@needs_compiler
def test_results_may_take_the_place_of_what_is_read_there():
    (call,) = schedule_nest(two_ways(45, 67))
    x, w = rand((45, 67)), rand((67, 45))
    memory = {"x": x.copy(), "w": w.copy()}
    simulate.run_calls([call.renamed({"x": "x", "w": "w", "y": "x", "z": "w"})], memory)
    np.testing.assert_array_equal(memory["x"], x + w.T)
    np.testing.assert_array_equal(memory["w"], (x * w.T).T)


def traffic_of(nest: Nest, kind: str = TILES) -> dict[str, int]:
    driver = SimDriver(traffic=Traffic())
    shapes = {b.name: (b.shape, b.dtype) for b in nest.buffers if b.name != "y"}
    check(nest, {name: rand(*found) for name, found in shapes.items()}, kind, driver)
    return driver.traffic.counts


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "bool"])
def test_all_of_each_sector_is_needed_and_banks_do_not_conflict(dtype):
    n, m = 128, 192
    nest = transpose(n, m, dtype)
    found = traffic_of(nest)
    moved = 2 * n * m * ITEM_SIZE[dtype]
    words = found["sectors"] * 32 - moved  # the rest are words of the descriptor, the same for all threads of a warp
    n_warps = planned(nest).n_units * 8
    assert 0 < words <= 32 * 12 * n_warps
    assert found["served"] == found["least"]
    assert moved_bytes(planned(nest)) == moved


@needs_compiler
def test_the_model_counts_the_sectors_that_warps_ask_for(monkeypatch):
    nest = transpose(256, 128)
    through = traffic_of(nest)
    monkeypatch.setattr(crosswise, "PROCESSORS", 1 << 20)
    plan = planned(nest)
    directly = traffic_of(nest, "a thread for each element")
    assert moved_bytes(plan) == 256 * 128 * (4 + 32)
    words = 32 * 12 * 256 * 128 // 32
    assert 0 < directly["sectors"] * 32 - moved_bytes(plan) <= words
    assert directly["sectors"] > 2.5 * through["sectors"]


@needs_compiler
@pytest.mark.parametrize("n_left_out", [0, 1])
def test_a_barrier_that_is_missing_is_a_race(monkeypatch, n_left_out):
    nest = transpose(64, 64)
    (call,) = schedule_nest(nest)
    image = simulate.image_of(call)
    parts = image.code.split(b"bar.sync")
    assert len(parts) == 3
    parts[n_left_out : n_left_out + 2] = [b"// ".join(parts[n_left_out : n_left_out + 2])]
    monkeypatch.setattr(simulate, "image_of", lambda *of: image._replace(code=b"bar.sync".join(parts)))
    memory = {"x": rand((64, 64)), "y": np.zeros((64, 64), "float32")}
    with pytest.raises(KernelFault) as fault:
        simulate.run_calls([replace(call, launch=Grid(1, 256))], memory)
    assert fault.value.kind == "race"


@pytest.mark.parametrize(
    "n, m, kind",
    [(4096, 1024, "tile"), (100_000, 16, "tile"), (4096, 3, "scalar"), (3, 4096, "scalar"), (200, 64, "scalar")],
)
def test_tiles_are_for_much_that_lies_across_in_both_orders(monkeypatch, n, m, kind):
    monkeypatch.undo()
    assert planned(transpose(n, m)).kind == kind


@needs_compiler
@pytest.mark.parametrize("dtype, n_together", [("float16", 2), ("int8", 4), ("float32", 3)])
def test_elements_that_lie_together_in_both_orders(dtype, n_together):
    """y[g, k, n, t] = x[g, n, t + T * k], a product's operand of which T neighbours are a word."""
    g, k, n, t = Axis("g", 2), Axis("k", 62), Axis("n", 65), Axis("t", n_together)
    x = Buffer.dense("x", (2, 65, 62 * n_together), dtype)
    y = Buffer.dense("y", (2, 62, 65, n_together), dtype)
    nest = Nest((x, y), (Store("y", (g, k, n, t), load("x", (g, n, t + k * n_together), dtype), (g, k, n, t)),))
    check(nest, {"x": rand(x.shape, dtype)}, TILES)
    found, n_bytes = moved_bytes(planned(nest)), x.size_bytes
    assert (1 + n_together) * n_bytes <= found < 1.6 * (1 + n_together) * n_bytes
