"""Emitted expressions against the definitions in loopir.prims, and the polynomials against the math module."""

from __future__ import annotations

import ctypes
import itertools
import math

import numpy as np
import pytest
from llvmlite import ir

from symc.codegen.cpu.abilities import abilities_of
from symc.codegen.cpu.compile import compile_function
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import Target, host_target
from symc.codegen.llvm.emit import Emitter
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I1, I8, I64, Lanes
from symc.core.errors import CodegenError
from symc.loopir.expr import Axis, Expr, bounds_of, cast, clamped, const, load, prim, select
from symc.loopir.interpret import convert
from symc.loopir.prims import PRIMS
from tests.codegen.kernels import targets

POSITION = Axis("i", 1)
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64")
UNARY_FLOAT = [n for n, p in PRIMS.items() if p.arity == 1 and n != "not"]
BINARY_FLOAT = [n for n, p in PRIMS.items() if p.arity == 2 and n not in ("and", "or", "hash_uniform")]
_serial = itertools.count()


def evaluate(exprs: list[Expr], arrays: dict[str, np.ndarray], lanes: int, target: Target) -> list[np.ndarray]:
    """Compiles the expressions over loads name[i] into one kernel and runs it on whole arrays."""
    names = list(arrays)
    n = len(arrays[names[0]])
    n_padded = -(-n // lanes) * lanes
    padded = {k: np.concatenate([a, np.ones(n_padded - n, a.dtype)]) for k, a in arrays.items()}
    outputs = [np.zeros(n_padded, e.dtype) for e in exprs]

    @intrinsic
    def body(builder, bufs, i):
        def element(k: int, type_: ir.Type, size: int) -> ir.Value:
            address = builder.load(builder.gep(bufs, [I64(k)]))
            return builder.inttoptr(builder.add(address, builder.mul(i, I64(size))), type_.as_pointer())

        def leaf(expr: Expr) -> ir.Value:
            k = names.index(expr.data[0])
            if expr.dtype == "bool":
                raw = builder.load(element(k, emitter.lanes.of(I8), 1), align=1)
                return builder.icmp_unsigned("!=", raw, emitter.lanes.bits(0, 8))
            size = np.dtype(expr.dtype).itemsize
            return builder.load(element(k, emitter.lanes.type(expr.dtype), size), align=size)

        emitter = Emitter(Lanes(builder, lanes, abilities_of(target)), leaf)
        for k, expr in enumerate(exprs):
            value = emitter.value(expr)
            if expr.dtype == "bool":
                value = builder.zext(value, emitter.lanes.of(I8))
            size = np.dtype(expr.dtype).itemsize
            builder.store(value, element(len(names) + k, value.type, size), align=size)

    def kernel(chunk, n_chunks, desc, bufs):
        for i in range(desc[0] // desc[1]):
            body(bufs, i * desc[1])

    name = f"test_emit_{next(_serial)}"
    address = load_objects({name: compile_function(kernel, name, target)})[name]
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)(address)
    desc = np.array([n_padded, lanes], "int64")
    pointers = np.array([a.ctypes.data for a in (*padded.values(), *outputs)], "int64")
    call(0, 1, desc.ctypes.data, pointers.ctypes.data)
    return [o[:n] for o in outputs]


def variable(name: str, dtype: str) -> Expr:
    return load(name, (POSITION,), dtype)


def ulp_distance(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """|got - expected| in units of the last place of the float32 result; NaN matches NaN, infinity infinity."""
    with np.errstate(all="ignore"):
        exact = expected.astype("float32")
        distance = np.abs(got.astype("float64") - expected) / np.spacing(np.abs(exact)).astype("float64")
        same = (np.isnan(got) & np.isnan(exact)) | (got == exact)
    return np.where(same, 0, distance)


SPECIAL = np.array(
    [
        0.0,
        -0.0,
        1,
        -1,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        1e-40,
        -1e-40,
        1e-30,
        88.7,
        88.8,
        -87.5,
        -103,
        -105,
        17,
        20,
        -30,
        1e10,
        -1e10,
        3e38,
        -3e38,
        np.inf,
        -np.inf,
        np.nan,
        0.9277,
        0.625,
    ],
    "float32",
)


@pytest.mark.parametrize("dtype", FLOATS)
def test_float_primitives(target: Target, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([SPECIAL.astype(dtype), rng.normal(0, 3, 300).astype(dtype)])
    y = np.concatenate([rng.permutation(SPECIAL).astype(dtype), rng.normal(0, 2, 300).astype(dtype)])
    with np.errstate(all="ignore"):
        arrays = {"x": x, "y": y}
    vx, vy = variable("x", dtype), variable("y", dtype)
    exprs = [prim(n, vx) for n in UNARY_FLOAT] + [prim(n, vx, vy) for n in BINARY_FLOAT]
    exprs += [prim("and", vx, vy), prim("or", vx, vy), prim("not", vx)]
    for lanes in (1, target.lanes(dtype)):
        got = evaluate(exprs, arrays, lanes, target)
        for expr, result in zip(exprs, got):
            with np.errstate(all="ignore"):
                expected = np.asarray(PRIMS[expr.op].meaning(*(arrays[a.data[0]] for a in expr.args)))
            # Our float32 polynomials are within 3 ulp; gamma functions differ between C libraries.
            tolerance = 5e-7 if dtype == "float32" else 1e-13
            # At the poles the definition says inf or NaN throughout, C libraries tell more apart: not compared.
            seen = (x > 0) | (x != np.trunc(x)) if "gamma" in expr.op else np.full(len(x), True)
            np.testing.assert_allclose(
                result[seen],
                expected[seen],
                rtol=tolerance * (8 if "gamma" in expr.op else 1),
                atol=1e-44,
                err_msg=f"{expr.op} {lanes}",
            )


def test_small_constant_powers() -> None:
    x = np.concatenate([SPECIAL, np.random.default_rng(3).normal(0, 5, 100).astype("float32")])
    exprs = [prim("pow", variable("x", "float32"), float(k)) for k in (-1, 1, 2, 3)]
    for expr, got in zip(exprs, evaluate(exprs, {"x": x}, 16, host_target())):
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(got, np.power(x, np.float32(expr.args[1].data)), rtol=2e-7, atol=1e-44)


def test_results_do_not_depend_on_lanes() -> None:
    target = host_target()
    x = np.concatenate([SPECIAL, np.random.default_rng(1).normal(0, 5, 500).astype("float32")])
    exprs = [prim(n, variable("x", "float32")) for n in UNARY_FLOAT]
    many = evaluate(exprs, {"x": x}, target.lanes("float32"), target)
    for lanes in (1, 4, 8):
        for expr, few, expected in zip(exprs, evaluate(exprs, {"x": x}, lanes, target), many):
            assert few.tobytes() == expected.tobytes(), (expr.op, lanes)


MATHS = {
    "exp": (math.exp, -104, 88.8, 1.5), "expm1": (math.expm1, -20, 88.7, 2.5), "log": (math.log, 1e-45, 3e38, 1.5),
    "log1p": (math.log1p, -0.9999, 1e6, 2.5), "tanh": (math.tanh, -10, 10, 2.5), "erf": (math.erf, -4, 4, 2),
    "sigmoid": (lambda a: 1 / (1 + math.exp(-a)), -87, 40, 3),
}  # fmt: skip


def test_polynomials_in_ulp(target: Target) -> None:
    rng = np.random.default_rng(2)
    for name, (reference, low, high, limit) in MATHS.items():
        scale = 10.0 ** rng.uniform(-38, 0, 4000)
        spread = np.concatenate([rng.uniform(low, high, 20000), rng.uniform(-1, 1, 4000) * scale])
        if name == "log":
            spread = np.concatenate([10.0 ** rng.uniform(-44, 38, 20000), rng.uniform(0.5, 2, 20000)])
        x = spread.astype("float32")
        x = x[(x >= low) & (x <= high)]
        (got,) = evaluate([prim(name, variable("x", "float32"))], {"x": x}, target.lanes("float32"), target)
        expected = np.array([reference(float(a)) for a in x])
        worst = ulp_distance(got, expected).max()
        # Without FMA (128-bit x86) a rounding more in each Horner step.
        assert worst <= limit + (1.0 if target.vector_bits == 128 else 0.0), f"{name}: {worst} ulp"


def test_special_values() -> None:
    inf, nan = math.inf, math.nan
    cases = {
        "exp": [(-inf, 0.0), (inf, inf), (89.0, inf), (-104.0, 0.0), (-0.0, 1.0)],
        "expm1": [(-inf, -1.0), (inf, inf), (-0.0, -0.0), (0.0, 0.0), (89.0, inf), (1e-40, 1e-40)],
        "log": [(0.0, -inf), (-0.0, -inf), (-1.0, nan), (inf, inf), (-inf, nan), (1.0, 0.0)],
        "log1p": [(-1.0, -inf), (-2.0, nan), (inf, inf), (-0.0, -0.0), (1e-40, 1e-40), (3e38, math.log1p(3e38))],
        "tanh": [(inf, 1.0), (-inf, -1.0), (-0.0, -0.0), (20.0, 1.0), (1e-40, 1e-40)],
        "erf": [(inf, 1.0), (-inf, -1.0), (-0.0, -0.0), (5.0, 1.0)],
        "sigmoid": [(inf, 1.0), (-inf, 0.0), (200.0, 1.0), (-200.0, 0.0), (0.0, 0.5), (-104.0, 0.0)],
    }
    target = host_target()
    for name, table in cases.items():
        x = np.array([*(a for a, _ in table), nan], "float32")
        expected = np.array([*(b for _, b in table), nan], "float32")
        (got,) = evaluate([prim(name, variable("x", "float32"))], {"x": x}, target.lanes("float32"), target)
        np.testing.assert_allclose(got, expected, rtol=2e-7, err_msg=name)
        same_sign = np.signbit(got) == np.signbit(expected)
        assert (same_sign | np.isnan(expected)).all(), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("limit", [0.0, 6.0, math.inf, -math.inf, math.nan])
def test_limits_keep_nan(dtype: str, limit: float) -> None:
    x, target = np.array([-math.inf, -1, -0.0, 0, 1, 6, 7, math.inf, math.nan], dtype), host_target()
    for name, expected in (("maximum", np.maximum(x, limit)), ("minimum", np.minimum(x, limit))):
        (got,) = evaluate([prim(name, variable("x", dtype), limit)], {"x": x}, target.lanes(dtype), target)
        np.testing.assert_array_equal(got, expected, name)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_primitives(dtype: str) -> None:
    target = host_target()
    info = np.iinfo(dtype)
    edge = np.array([0, 1, 2, 7, info.max, info.min, info.max - 1, info.min + 1, 100, 3], dtype)
    if info.min < 0:
        edge = np.concatenate([edge, np.array([-1, -2, -7], dtype)])
    x, y = (a.ravel() for a in np.meshgrid(edge, edge))
    vx, vy = variable("x", dtype), variable("y", dtype)
    names = [
        "add",
        "sub",
        "mul",
        "floordiv",
        "mod",
        "maximum",
        "minimum",
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
        "and",
        "or",
    ]
    exprs = [prim(n, vx, vy) for n in names] + [prim(n, vx) for n in ("neg", "abs", "sign", "floor", "round", "not")]
    exprs += [select(vx < vy, vx, vy), prim("div", vx, vy)]
    expected = []
    for e in exprs[:-1]:
        with np.errstate(all="ignore"):
            if e.op == "select":
                expected.append(np.where(x < y, x, y))
            elif e.op == "round":
                expected.append(x)
            else:
                expected.append(PRIMS[e.op].meaning(*((x, y)[: len(e.args)])))
    # The definition divides in float64; Python's integers say what 64 bits should give.
    wrap = [
        0 if not q else abs(int(p)) // abs(int(q)) * (1 if (p < 0) == (q < 0) else -1)
        for p, q in zip(x.tolist(), y.tolist())
    ]
    expected.append(np.array([w & (2**info.bits - 1) for w in wrap], f"uint{info.bits}").astype(dtype))
    got = evaluate(exprs, {"x": x, "y": y}, min(16, target.lanes(dtype)), target)
    for expr, a, b in zip(exprs, got, expected):
        np.testing.assert_array_equal(a, b, err_msg=expr.op)


def test_hash_uniform() -> None:
    counter = np.concatenate([np.arange(50), [2**62, -5, -(2**63)]]).astype("int64")
    key = np.roll(counter * 12345678901, 3)
    expr = prim("hash_uniform", variable("x", "int64"), variable("y", "int64"))
    for lanes in (1, 8):
        (got,) = evaluate([expr], {"x": counter, "y": key}, lanes, host_target())
        np.testing.assert_array_equal(got, PRIMS["hash_uniform"].meaning(counter, key))


def test_bool_arithmetic() -> None:
    x, y = (a.ravel() for a in np.meshgrid([False, True], [False, True]))
    vx, vy = variable("x", "bool"), variable("y", "bool")
    exprs = [prim(n, vx, vy) for n in ("and", "or", "add", "mul", "maximum", "minimum", "eq", "ne", "lt")]
    got = evaluate([*exprs, prim("not", vx)], {"x": x, "y": y}, 4, host_target())
    for expr, a in zip(exprs, got):
        np.testing.assert_array_equal(a, PRIMS[expr.op].meaning(x, y), err_msg=expr.op)
    np.testing.assert_array_equal(got[-1], ~x)


def test_casts(target: Target) -> None:
    dtypes = (*INTEGERS, *FLOATS, "bool")
    for source in dtypes:
        if source == "bool":
            x = np.array([True, False, True])
        elif source in FLOATS:
            x = np.array([0, -0.0, 1.9, -1.9, 300.0, -1.0, 127.5, -129, 65536.5, 2e9, -2e9], source)
        else:
            info = np.iinfo(source)
            x = np.array([0, 1, 100, info.max, info.min, info.max - 1], source)
        v = variable("x", source)
        exprs = [cast(v, d) for d in dtypes if d != source]
        for expr, got in zip(exprs, evaluate(exprs, {"x": x}, 4, target)):
            np.testing.assert_array_equal(got, convert(x, np.dtype(expr.dtype)), err_msg=f"{source} -> {expr.dtype}")


def test_casts_out_of_range_are_defined() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**63, 2.0**64 - 2.0**40, 2.0**31, -(2.0**31)], "float32")
    v = variable("x", "float32")
    as_int32, as_int64, as_uint64, as_uint8 = evaluate(
        [cast(v, d) for d in ("int32", "int64", "uint64", "uint8")], {"x": x}, 4, host_target()
    )
    assert as_int32.tolist() == [-(2**31)] * 9  # as x86's conversions give it, and so MXNet's
    assert as_int64.tolist() == [-(2**63)] * 7 + [2**31, -(2**31)]
    assert as_uint64.tolist() == [2**63] * 6 + [2**64 - 2**40, 2**31, 2**64 - 2**31]
    assert as_uint8.tolist() == [0] * 9


def test_casts_of_clamped_floats(target: Target) -> None:
    """They need no care about what is out of range, NaN included."""
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -7.5, 2.5, 3.5, 254.7, 255.0, -0.0], "float32")
    rounded = prim("rint", variable("x", "float32"))
    low, high = clamped(rounded, -128.0, 127.0), clamped(rounded, 0.0, 255.0)
    assert bounds_of(low) == (-128.0, 127.0) and bounds_of(rounded) is None
    got = evaluate([cast(low, "int8"), cast(high, "uint8"), cast(high, "int32")], {"x": x}, 4, target)
    assert got[0].tolist() == [-128, 127, -128, 127, -8, 2, 4, 127, 127, 0]
    assert got[1].tolist() == got[2].tolist() == [0, 255, 0, 255, 0, 2, 4, 255, 255, 0]


def test_float16_cast_rounds_to_nearest_even() -> None:
    every = np.arange(65536, dtype="uint16").view("float16").astype("float32")
    with np.errstate(all="ignore"):
        x = np.concatenate(
            [
                every,
                np.nextafter(every, np.float32(1)),
                (every[:-1] + every[1:]) / 2,
                np.array([1 + 2**-11, 1 + 3 * 2**-11, 65519.0, 65520.0, 1e-8, 1e30], "float32"),
            ]
        )
    v = variable("x", "float32")
    for target in targets():
        (got,) = evaluate([cast(cast(v, "float16"), "float32")], {"x": x}, 8, target)
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(got, x.astype("float16").astype("float32"))


def test_shared_expressions_are_emitted_once() -> None:
    module = ir.Module()
    builder = ir.IRBuilder(ir.Function(module, ir.FunctionType(ir.VoidType(), ()), "f").append_basic_block())
    leaves: list[Expr] = []

    def leaf(expr: Expr) -> ir.Value:
        leaves.append(expr)
        return ir.Constant(ir.FloatType(), 1.0)

    x = variable("x", "float32")
    square = x * x
    Emitter(Lanes(builder, 1, abilities_of(host_target())), leaf).value(square + square * 2.0)
    assert leaves == [x]
    assert str(module).count("fmul") == 2


def test_float_only_primitives_reject_integers() -> None:
    builder = ir.IRBuilder(ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), ()), "f").append_basic_block())
    emitter = Emitter(Lanes(builder, 1, abilities_of(host_target())), lambda e: ir.Constant(ir.IntType(32), 1))
    with pytest.raises(CodegenError, match=r"exp.*int32"):
        emitter.value(prim("exp", variable("x", "int32")))
    with pytest.raises(CodegenError, match=r"sub.*bool"):
        Emitter(Lanes(builder, 1, abilities_of(host_target())), lambda e: ir.Constant(I1, 1)).value(
            prim("sub", variable("b", "bool"), const(True, "bool"))
        )
