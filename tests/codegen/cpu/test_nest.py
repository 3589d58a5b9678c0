"""Compiled nests against the interpreter: odd sizes, views, dtypes, in-place, ordered stores."""

from __future__ import annotations

import numpy as np
import pytest

from symc.codegen.cpu.nest import schedule_nest
from symc.codegen.cpu.target import Target, host_target
from symc.core.errors import CodegenError
from symc.loopir.expr import Axis, cast, const, index_value, load, param, prim, reduce, select
from symc.loopir.kernel import Buffer, Nest, Store
from tests.codegen.kernels import run_call
from tests.codegen.nests import Memory, assert_nothing_else_changed, axes, check, f32, rand

SIZES = (1, 7, 16, 17, 33, 100, 1000)


@pytest.mark.parametrize("n", SIZES)
def test_elementwise(target: Target, n: int) -> None:
    (i,) = axes(n)
    x, y, z = (Buffer.dense(b, (n,), "float32") for b in "xyz")
    value = prim("sigmoid", f32("x", i) * param(1.5, "float32") + 0.25) * prim("tanh", f32("y", i))
    nest = Nest((x, y, z), (Store("z", (i,), value, (i,)),))
    check(
        nest, {"x": rand((n,)), "y": rand((n,), seed=1)}, target, kind="lane" if n > 1 else "scalar", chunks=(1, 2, 5)
    )


@pytest.mark.parametrize("n", [17, 100])
def test_polynomials_that_wait_for_others_are_computed_for_two_vectors(target: Target, n: int) -> None:
    (i,) = axes(n)
    x, y = (Buffer.dense(b, (n,), "float32") for b in "xy")
    beside = prim("tanh", f32("x", i)) + prim("sigmoid", f32("x", i))
    for value, unroll in ((beside, 1), (prim("tanh", beside), 1 if target.vector_bits == 512 else 2)):
        (call,) = check(Nest((x, y), (Store("y", (i,), value, (i,)),)), {"x": rand((n,))}, target)
        assert call.code.structure.splitlines()[0].endswith(f"unroll {unroll}")


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (7, 3), (16, 33), (5, 100), (33, 16), (64, 64)])
def test_broadcast_and_collapse(target: Target, shape: tuple[int, int]) -> None:
    i, j = axes(*shape)
    n, m = shape
    buffers = (
        Buffer.dense("x", shape, "float32"),
        Buffer.dense("row", (m,), "float32"),
        Buffer.dense("col", (n,), "float32"),
        Buffer.dense("s", (), "float32"),
        Buffer.dense("y", shape, "float32"),
    )
    value = f32("x", i, j) * f32("row", j) + f32("col", i) - f32("s")
    check(
        Nest(buffers, (Store("y", (i, j), value, (i, j)),)),
        {"x": rand(shape), "row": rand((m,)), "col": rand((n,)), "s": rand(())},
        target,
    )
    dense = Nest((buffers[0], buffers[4]), (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)),))
    calls = check(dense, {"x": rand(shape)}, target)
    assert calls[0].code.structure.splitlines()[1].startswith(("outer  vector a0 ", "outer  vector None "))


def test_one_kernel_serves_many_shapes() -> None:
    names = set()
    for shape in ((5, 7, 9), (100, 3, 11), (64, 2, 32)):
        a = axes(*shape)
        buffers = (Buffer.dense("x", shape, "float32"), Buffer.dense("y", shape, "float32"))
        nest = Nest(buffers, (Store("y", a, f32("x", *a) * param(float(shape[0]), "float32"), a),))
        names |= {c.code.name for c in schedule_nest(nest, host_target())}
    assert len(names) == 1


def test_strided_and_reversed_views(target: Target) -> None:
    for n in SIZES[:-1]:
        (i,) = axes(n)
        x = Buffer("x", (n,), "float32", (-2,), 2 * (n - 1) + 1)
        y = Buffer("y", (n,), "float32", (3,), 2)
        nest = Nest((x, y), (Store("y", (i,), f32("x", i) + 1.0, (i,)),))
        check(nest, {"x": rand((n,))}, target)
        shifted = Nest(
            (Buffer.dense("x", (2 * n + 1,), "float32"), Buffer.dense("y", (n,), "float32")),
            (Store("y", (i,), f32("x", i * 2 + 1) - f32("x", i * -1 + (n - 1)), (i,)),),
        )
        check(shifted, {"x": rand((2 * n + 1,))}, target)


def test_matrix_product_as_a_nest(target: Target) -> None:
    i, j, k = axes(7, 33, 21)
    nest = Nest(
        (
            Buffer.dense("a", (7, 21), "float32"),
            Buffer.dense("b", (21, 33), "float32"),
            Buffer.dense("y", (7, 33), "float32"),
        ),
        (Store("y", (i, j), reduce("sum", (k,), f32("a", i, k) * f32("b", k, j)), (i, j)),),
    )
    check(nest, {"a": rand((7, 21)), "b": rand((21, 33))}, target, rtol=1e-5, atol=1e-5)


def test_stores_of_different_axes_become_several_calls() -> None:
    i, j = axes(5, 33)
    buffers = (
        Buffer.dense("x", (5, 33), "float32"),
        Buffer.dense("y", (5, 33), "float32"),
        Buffer.dense("z", (5,), "float32"),
    )
    stores = (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)), Store("z", (i,), f32("x", i, 0), (i,)))
    check(Nest(buffers, stores), {"x": rand((5, 33))}, host_target(), n_calls=2)
    chained = (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)), Store("z", (i,), f32("y", i, 32), (i,)))
    check(Nest(buffers, chained), {"x": rand((5, 33))}, host_target(), n_calls=2)


def test_stores_that_share_a_loop() -> None:
    i, j = axes(5, 33)
    buffers = tuple(Buffer.dense(b, (5, 33), "float32") for b in "xyz")
    shared = prim("exp", f32("x", i, j))
    stores = (Store("y", (i, j), shared, (i, j)), Store("z", (i, j), shared * 2.0, (i, j)))
    (call,) = check(Nest(buffers, stores), {"x": rand((5, 33))}, host_target(), n_calls=1)
    assert call.code.structure.count("exp") == 1


def test_in_place(target: Target) -> None:
    i, j = axes(6, 35)
    x, y = (Buffer.dense(b, (6, 35), "float32") for b in "xy")
    same = Nest((x,), (Store("x", (i, j), f32("x", i, j) * 2.0 + 1.0, (i, j)),))
    check(same, {"x": rand((6, 35))}, target)
    aliased = Nest((x, y), (Store("y", (i, j), prim("tanh", f32("x", i, j)) + f32("x", i, j), (i, j)),))
    check(aliased, {"x": rand((6, 35))}, target, aliases={"y": "x"})
    z = Buffer.dense("z", (6, 35), "float32")
    two = Nest(
        (x, y, z), (Store("y", (i, j), f32("x", i, j) + 1.0, (i, j)), Store("z", (i, j), f32("x", i, j) * 3.0, (i, j)))
    )
    check(two, {"x": rand((6, 35))}, target, aliases={"y": "x"}, n_calls=1)


def test_reading_what_is_overwritten_elsewhere_is_an_error() -> None:
    (i,) = axes(5)
    nest = Nest((Buffer.dense("x", (6,), "float32"),), (Store("x", (i,), f32("x", i + 1), (i,)),))
    with pytest.raises(CodegenError, match="stored index only"):
        schedule_nest(nest, host_target())


@pytest.mark.parametrize("width", [1, 7, 16, 33, 100])
def test_embedding_gradient_adds_in_order(target: Target, width: int) -> None:
    t, d = Axis("t", 50), Axis("d", width)
    row = load("idx", (t,), "int64")
    buffers = (
        Buffer.dense("idx", (50,), "int64"),
        Buffer.dense("dy", (50, width), "float32"),
        Buffer.dense("out", (10, width), "float32"),
    )
    nest = Nest(buffers, (Store("out", (row, d), f32("dy", t, d), (t, d), "add"),))
    ids = np.random.default_rng(0).integers(0, 10, 50)
    check(nest, {"idx": ids, "dy": rand((50, width)), "out": rand((10, width))}, target, rtol=0, atol=0)


def test_embedding_forward_and_gather(target: Target) -> None:
    t, d = Axis("t", 23), Axis("d", 37)
    ids = np.random.default_rng(0).integers(0, 10, 23)
    buffers = (
        Buffer.dense("idx", (23,), "int32"),
        Buffer.dense("w", (10, 37), "float32"),
        Buffer.dense("y", (23, 37), "float32"),
    )
    row = cast(load("idx", (t,), "int32"), "int64")
    check(
        Nest(buffers, (Store("y", (t, d), load("w", (row, d), "float32"), (t, d)),)),
        {"idx": ids, "w": rand((10, 37))},
        target,
        rtol=0,
        atol=0,
    )
    pick = Nest(
        (
            Buffer.dense("idx", (23,), "int64"),
            Buffer.dense("x", (23, 10), "float32"),
            Buffer.dense("y", (23,), "float32"),
        ),
        (Store("y", (t,), load("x", (t, load("idx", (t,), "int64")), "float32"), (t,)),),
    )
    check(pick, {"idx": ids, "x": rand((23, 10))}, target, rtol=0, atol=0)
    clamped = prim("minimum", prim("maximum", index_value(t - 3), const(0, "int64")), const(9, "int64"))
    shift = Nest(
        (Buffer.dense("x", (10,), "float32"), Buffer.dense("y", (23,), "float32")),
        (Store("y", (t,), select(index_value(t) < const(13, "int64"), load("x", (clamped,), "float32"), 0.0), (t,)),),
    )
    check(shift, {"x": rand((10,))}, target, rtol=0, atol=0)


def test_scatter_and_overlapping_add(target: Target) -> None:
    t = Axis("t", 40)
    ids = np.random.default_rng(1).integers(0, 12, 40)
    buffers = (
        Buffer.dense("idx", (40,), "int64"),
        Buffer.dense("x", (40,), "float32"),
        Buffer.dense("y", (12,), "float32"),
    )
    for mode in ("set", "add"):
        nest = Nest(buffers, (Store("y", (load("idx", (t,), "int64"),), f32("x", t), (t,), mode),))
        check(nest, {"idx": ids, "x": rand((40,)), "y": rand((12,))}, target, rtol=1e-6)
    n, i, k = axes(3, 20, 4)
    windows = Nest(
        (Buffer.dense("x", (3, 20, 4), "float32"), Buffer.dense("y", (3, 23), "float32")),
        (Store("y", (n, i + k), f32("x", n, i, k), (n, i, k), "add"),),
    )
    check(windows, {"x": rand((3, 20, 4)), "y": rand((3, 23))}, target, rtol=1e-6)


def test_add_to_every_element(target: Target) -> None:
    i, j = axes(5, 35)
    nest = Nest(
        (Buffer.dense("x", (5, 35), "float32"), Buffer.dense("y", (5, 35), "float32")),
        (Store("y", (i, j), f32("x", i, j), (i, j), "add"),),
    )
    check(nest, {"x": rand((5, 35)), "y": rand((5, 35), seed=3)}, target, rtol=0, atol=0)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "uint64", "bool"]
)
def test_dtypes_and_casts(target: Target, dtype: str) -> None:
    for n in (1, 7, 33, 100):
        (i,) = axes(n)
        computed = "float32" if dtype == "float16" else dtype
        x = load("x", (i,), computed)
        buffers = [Buffer.dense("x", (n,), dtype)]
        stores = []
        for k, to in enumerate(("float32", "float16", "uint8", "int32", "bool", "float64")):
            buffers.append(Buffer.dense(f"y{k}", (n,), to))
            stores.append(Store(f"y{k}", (i,), cast(x, "float32" if to == "float16" else to), (i,)))
        check(
            Nest(tuple(buffers), tuple(stores)),
            {"x": rand((n,), dtype) * np.dtype(dtype).type(1)},
            target,
            rtol=1e-7,
            atol=0,
        )


def test_index_values(target: Target) -> None:
    i, j = axes(9, 33)
    value = cast(index_value(i * 100 + j * 3 - 5), "float32") + select(
        index_value(j) <= index_value(i), f32("x", i, j), -1.0
    )
    nest = Nest(
        (Buffer.dense("x", (9, 33), "float32"), Buffer.dense("y", (9, 33), "float32")),
        (Store("y", (i, j), value, (i, j)),),
    )
    check(nest, {"x": rand((9, 33))}, target)


def test_nan_and_infinity_survive() -> None:
    x = np.array([[np.nan, 1, 2, -np.inf] * 9, [np.inf, -np.inf, 3, 4] * 9, [0, -0.0, 1, 2] * 9], "float32")
    i, j = axes(3, 36)
    for combiner in ("max", "min", "sum"):
        nest = Nest(
            (Buffer.dense("x", (3, 36), "float32"), Buffer.dense("y", (3,), "float32")),
            (Store("y", (i,), reduce(combiner, (j,), f32("x", i, j)), (i,)),),
        )
        check(nest, {"x": x}, host_target())
    relu = Nest(
        (Buffer.dense("x", (3, 36), "float32"), Buffer.dense("y", (3, 36), "float32")),
        (Store("y", (i, j), prim("maximum", f32("x", i, j), const(0, "float32")), (i, j)),),
    )
    check(relu, {"x": x}, host_target())


def test_empty_nests_and_empty_reductions() -> None:
    i, j = axes(4, 0)
    x = Buffer.dense("x", (4, 0), "float32")
    assert (
        schedule_nest(
            Nest((x, Buffer.dense("y", (4, 0), "float32")), (Store("y", (i, j), f32("x", i, j), (i, j)),)),
            host_target(),
        )
        == []
    )
    nest = Nest(
        (x, Buffer.dense("y", (4,), "float32")), (Store("y", (i,), reduce("sum", (j,), f32("x", i, j)) + 2.0, (i,)),)
    )
    check(nest, {"x": rand((4, 0))}, host_target())


def test_scalars() -> None:
    nest = Nest(
        (Buffer.dense("x", (), "float32"), Buffer.dense("y", (), "float32")),
        (Store("y", (), prim("exp", f32("x")) * param(2.0, "float32"), ()),),
    )
    check(nest, {"x": rand(())}, host_target(), kind="scalar")


@pytest.mark.parametrize(("vector_bits", "most"), [(512, 11), (256, 45)])
def test_chunks_follow_the_work_and_the_vectors_only(vector_bits: int, most: int) -> None:
    target = Target("x86_64-linux-gnu", "any", "", vector_bits)
    for n, expected in ((10, 1), (1000, 1), (10**6, most), (10**8, 64)):
        i = Axis("i", n)
        nest = Nest(
            (Buffer.dense("x", (n,), "float32"), Buffer.dense("y", (n,), "float32")),
            (Store("y", (i,), f32("x", i) + 1.0, (i,)),),
        )
        (call,) = schedule_nest(nest, target)
        assert expected / 2 <= call.launch.n_chunks <= min(64, 2 * expected)


@pytest.mark.parametrize(("n_rows", "is_cut_by_columns"), [(64, True), (65, False)])
def test_few_rows_are_cut_by_columns(n_rows: int, is_cut_by_columns: bool) -> None:
    """As products of few rows are; with AVX-512, whose products may compute gates themselves, by rows."""
    r, c = axes(n_rows, 250)
    x, y = (Buffer.dense(name, (n_rows, 250), "float32") for name in "xy")
    nest = Nest((x, y), (Store("y", (r, c), prim("tanh", f32("x", r, c) * cast(index_value(r), "float32")), (r, c)),))
    calls = check(nest, {"x": rand((n_rows, 250))}, host_target(256), kind="lane", chunks=(1, 2, 5))
    assert f"vector a0 cross None blocked {'a0' if is_cut_by_columns else 'a1'}" in calls[0].code.structure


def test_long_and_heavily_shared_expressions() -> None:
    (i,) = axes(20)
    value = f32("x", i)
    for _ in range(30):
        value = value * 0.5 + value * 0.5  # 2**30 nodes as a tree
    for _ in range(200):
        value = value + 0.001
    buffers = (Buffer.dense("x", (20,), "float32"), Buffer.dense("y", (20,), "float32"))
    nest = Nest(buffers, (Store("y", (i,), value, (i,)),))
    memory = Memory(nest, {"x": rand((20,))}, {})
    (call,) = schedule_nest(nest, host_target())
    run_call(call, host_target(), memory.pointers(), 1)
    np.testing.assert_allclose(memory.views["y"], memory.views["x"] + 0.2, rtol=1e-5)
    assert len(call.code.source) < 40_000


def test_the_checker_notices_writes_outside() -> None:
    """The guard check fails for a kernel that writes every element of a buffer where every second one is meant."""
    (i,) = axes(8)
    x, dense, strided = (
        Buffer.dense("x", (8,), "float32"),
        Buffer.dense("y", (8,), "float32"),
        Buffer("y", (8,), "float32", (2,)),
    )
    stores = (Store("y", (i,), f32("x", i) + 1.0, (i,)),)
    meant = Nest((x, strided), stores)
    memory, before = (Memory(meant, {"x": rand((8,))}, {}) for _ in range(2))
    (call,) = schedule_nest(Nest((x, dense), stores), host_target())
    run_call(call, host_target(), memory.pointers(), 1)
    with pytest.raises(AssertionError, match="outside y"):
        assert_nothing_else_changed(meant, memory, before)
