"""Single instructions: the bits that the PTX manual promises, against exact integers and fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from symc.testing.ptx.faults import KernelFault, PtxError

from .kernels import Empty, run_text
from .lines import HEAD, NUMPY, run

PRECISION = {"f16": (11, -24), "bf16": (8, -133), "f32": (24, -149), "f64": (53, -1074)}


def rng(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


def value(bits: object, kind: str) -> list[Fraction | float]:
    """Floats as fractions; infinities and NaN as they are."""
    array = np.asarray(bits)
    if kind == "bf16":
        array = (array.astype("u4") << 16).view("f4")
    return [Fraction(v) if math.isfinite(v) else v for v in array.astype("f8").tolist()]


def rounded(exact: Fraction, kind: str, mode: str) -> float:
    """The float of a type that a number becomes, by integers."""
    precision, least = PRECISION[kind]
    if exact == 0:
        return 0.0
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    ulp = Fraction(2) ** max(exponent - precision + 1, least)
    low = (exact / ulp).__floor__()
    rest = exact / ulp - low
    up = {"rn": rest > Fraction(1, 2) or (rest == Fraction(1, 2) and low % 2), "rm": False, "rp": rest > 0}
    up["rz"] = rest > 0 and exact < 0
    return float((low + bool(up[mode])) * ulp)


def floats(kind: str, n: int, seed: int) -> np.ndarray:
    """Numbers whose sums and products need rounding, some subnormal, as a type holds them."""
    generator = rng(seed)
    spread = {"f16": 3, "bf16": 20, "f32": 20, "f64": 30}[kind]
    v = generator.normal(size=n) * 2.0 ** generator.integers(-spread, spread, n)
    v[::7] = np.round(v[::7] * 4) / 4
    if kind == "f32":
        v[::11] *= 2.0**-130
    if kind == "bf16":
        return (v.astype("f4").view("u4") >> 16).astype("u2")
    return v.astype(NUMPY[kind])


ARITHMETIC = [
    *[
        (f"{op}.{mode}.f32", "f32", mode)
        for op in ("add", "sub", "mul", "fma", "div")
        for mode in ("rn", "rz", "rm", "rp")
    ],
    *[(f"{op}.rn.f64", "f64", "rn") for op in ("add", "mul", "fma", "div")],
    *[(f"{op}.rn.{kind}", kind, "rn") for op in ("add", "sub", "mul", "fma") for kind in ("f16", "bf16")],
]


@pytest.mark.parametrize("opcode, kind, mode", ARITHMETIC, ids=[a[0] for a in ARITHMETIC])
def test_results_are_rounded_once(opcode, kind, mode):
    operation = opcode.partition(".")[0]
    n_inputs = 3 if operation == "fma" else 2
    inputs = [floats(kind, 160, seed) for seed in range(n_inputs)]
    if operation == "fma":  # near cancellation the product's last bits decide
        product = [-float(x) * float(y) for x, y in zip(value(inputs[0], kind)[:80], value(inputs[1], kind)[:80])]
        inputs[2][:80] = (
            (np.array(product, "f4").view("u4") >> 16).astype("u2")
            if kind == "bf16"
            else np.array(product, NUMPY[kind])
        )
    found = run(
        f"{opcode} %out, {', '.join('%' + 'abc'[k] for k in range(n_inputs))};", kind, *[(kind, x) for x in inputs]
    )
    function = {
        "add": lambda x, y: x + y,
        "sub": lambda x, y: x - y,
        "mul": lambda x, y: x * y,
        "div": lambda x, y: x / y if y else None,
        "fma": lambda x, y, z: x * y + z,
    }[operation]
    for got, *operands in zip(value(found, kind), *(value(x, kind) for x in inputs)):
        exact = function(*operands)
        if exact is not None and math.isfinite(got):
            assert got == Fraction(rounded(exact, kind, mode)), (operands, float(got))


def test_roots_and_reciprocals():
    x = np.abs(floats("f32", 100, 5))
    assert np.array_equal(run("sqrt.rn.f32 %out, %a;", "f32", ("f32", x)), np.sqrt(x))
    with np.errstate(all="ignore"):
        assert np.array_equal(run("rcp.rn.f32 %out, %a;", "f32", ("f32", x)), np.float32(1) / x)
    x = x[x > 0]
    for name, function in (("rsqrt", lambda v: 1 / np.sqrt(v)), ("lg2", np.log2), ("sqrt", np.sqrt)):
        exact = function(x.astype("f8"))
        found = run(f"{name}.approx.f32 %out, %a;", "f32", ("f32", x))
        assert np.all(np.abs(found - exact) <= 2.0**-22 * np.abs(exact) + 1e-38)


NAN, INF = math.nan, math.inf
BIG = 2**31
CASES = [
    # floats: min, max, saturation, flushing
    ("min.f32 %out, %a, %b;", "f32", [("f32", [NAN, 1, -0.0, 0.0, NAN]), ("f32", [1, NAN, 0.0, -0.0, NAN])], [1, 1,
        -0.0, -0.0, NAN]),
    ("max.f32 %out, %a, %b;", "f32", [("f32", [NAN, 2, -0.0, 0.0]), ("f32", [1, 3, 0.0, -0.0])], [1, 3, 0.0, 0.0]),
    ("max.NaN.f32 %out, %a, %b;", "f32", [("f32", [NAN, 2]), ("f32", [1, 3])], [NAN, 3]),
    ("add.sat.f32 %out, %a, %b;", "f32", [("f32", [2, -3, NAN, 0.25]), ("f32", 0.5)], [1, 0, 0, 0.75]),
    ("mul.ftz.f32 %out, %a, %b;", "f32", [("f32", [1e-39, -1e-39, 1e-20]), ("f32", [1e10, 1, 1e-20])], [0, -0.0, 0]),
    ("fma.rn.relu.f16 %out, %a, %a, %b;", "f16", [("f16", [2, 3]), ("f16", [-5, 1])], [0, 10]),
    ("fma.rn.f64 %out, %a, %b, %c;", "f64", [("f64", [0, -0.0, 0, 1e200, 2, INF]), ("f64", [5, 5, -5, 1e200, -1, 0]),
        ("f64", [-0.0, -0.0, 3, -INF, 2, 1])], [0, -0.0, 3, -INF, 0, NAN]),
    ("fma.rn.f64 %out, %a, %a, %b;", "f64", [("f64", [1e-170, 3e-162]), ("f64", [5e-324, -1e-323])], [5e-324, -0.0]),
    ("abs.f32 %out, %a;", "f32", [("f32", [-0.0, -INF, 3])], [0.0, INF, 3]),
    ("neg.f32 %out, %a;", "f32", [("f32", [0.0, INF])], [-0.0, -INF]),
    ("copysign.f32 %out, %a, %b;", "f32", [("f32", [-1, 1]), ("f32", [5, -6])], [-5, 6]),
    ("testp.subnormal.f32 %out, %a;", "pred", [("f32", [1e-40, 0, 1])], [1, 0, 0]),
    ("ex2.approx.ftz.f32 %out, %a;", "f32", [("f32", [3, -2, -INF])], [8, 0.25, 0]),
    ("sin.approx.f32 %out, %a;", "f32", [("f32", [0])], [0]),
    ("cos.approx.f32 %out, %a;", "f32", [("f32", [0])], [1]),
    # conversions
    ("cvt.rni.s32.f32 %out, %a;", "s32", [("f32", [2.5, 3.5, -2.5, 1e10, -1e10, NAN])], [2, 4, -2, BIG - 1, -BIG, 0]),
    ("cvt.rzi.u8.f32 %out, %a;", "u8", [("f32", [2.9, -1, 300])], [2, 0, 255]),
    ("cvt.rmi.s64.f64 %out, %a;", "s64", [("f64", [-1.5, 1e300, NAN])], [-2, 2**63 - 1, -(2**63)]),
    ("cvt.rpi.f32.f32 %out, %a;", "f32", [("f32", [1.2, -0.5])], [2, -0.0]),
    ("cvt.rn.f32.s32 %out, %a;", "f32", [("s32", [16777217, 16777219])], [16777216, 16777220]),
    ("cvt.rz.f32.u32 %out, %a;", "f32", [("u32", [16777219, 2**32 - 1])], [16777218, 4294967040]),
    ("cvt.rp.f32.s64 %out, %a;", "f32", [("s64", [2**40 + 1, -(2**40) - 1])], [2.0**40 + 2**17, -(2.0**40)]),
    ("cvt.rn.f16.f32 %out, %a;", "f16", [("f32", [1 + 2**-11, 70000, 1e-8])], [1, INF, 0]),
    ("cvt.rz.f16.f32 %out, %a;", "f16", [("f32", [1.9999, -70000])], [1.9990234375, -65504]),
    ("cvt.rn.bf16.f32 %out, %a;", "bf16", [("f32", [1 + 2**-8, 1 + 3 * 2**-8, NAN])], [0x3F80, 0x3F82, 0x7FFF]),
    ("cvt.rz.bf16.f32 %out, %a;", "bf16", [("f32", [1 + 3 * 2**-8])], [0x3F81]),
    ("cvt.f32.bf16 %out, %a;", "f32", [("bf16", [0x3FC0])], [1.5]),
    ("cvt.rn.relu.bf16x2.f32 %out, %a, %b;", "b32", [("f32", [1.5, -1]), ("f32", [-2, 2])], [0x3FC00000, 0x4000]),
    ("cvt.rn.f16x2.f32 %out, %a, %b;", "b32", [("f32", 1), ("f32", -2)], [0x3C00C000]),
    ("cvt.rna.tf32.f32 %out, %a;", "b32", [("f32", [1 + 2**-11, -1 - 2**-12])], [0x3F802000, 0xBF800000]),
    ("cvt.rn.f32.f64 %out, %a;", "f32", [("f64", [1 + 2**-24, 1e39])], [1, INF]),
    ("cvt.sat.f32.f32 %out, %a;", "f32", [("f32", [2, -1, NAN])], [1, 0, 0]),
    ("cvt.sat.s8.s32 %out, %a;", "s8", [("s32", [200, -200, 5])], [127, -128, 5]),
    ("cvt.sat.u16.s32 %out, %a;", "u16", [("s32", [-1, 70000])], [0, 65535]),
    ("cvt.s64.s32 %out, %a;", "s64", [("s32", -5)], [-5]),
    ("cvt.u64.u32 %out, %a;", "u64", [("s32", -5)], [2**32 - 5]),
    ("cvt.s32.s8 %out, %a;", "s32", [("s32", 0x1F0)], [-16]),
    # comparisons and selection
    ("setp.lt.f32 %out, %a, %b;", "pred", [("f32", [1, NAN]), ("f32", 2)], [1, 0]),
    ("setp.geu.f32 %out, %a, %b;", "pred", [("f32", [1, NAN]), ("f32", 2)], [0, 1]),
    ("setp.ne.f32 %out, %a, %b;", "pred", [("f32", [1, NAN]), ("f32", 2)], [1, 0]),
    ("setp.neu.f32 %out, %a, %b;", "pred", [("f32", [2, NAN]), ("f32", 2)], [0, 1]),
    ("setp.nan.f32 %out, %a, %b;", "pred", [("f32", [1, NAN]), ("f32", 2)], [0, 1]),
    ("setp.lo.u32 %out, %a, %b;", "pred", [("s32", [-1, 1]), ("s32", 2)], [0, 1]),
    ("setp.eq.s32 %q0, %a, 1; setp.lt.and.s32 %out|%q1, %a, %b, !%q0;", "pred", [("s32", [0, 1, 3]), ("s32", 2)], [1, 0,
        0]),
    ("setp.eq.s32 %q0, %a, 1; setp.lt.or.s32 %q1|%out, %a, %b, %q0;", "pred", [("s32", [0, 1, 3]), ("s32", 2)], [0, 1,
        1]),
    ("set.gt.u32.f32 %out, %a, %b;", "u32", [("f32", [1, 3]), ("f32", 2)], [0, 2**32 - 1]),
    ("set.gt.f32.s32 %out, %a, %b;", "f32", [("s32", [1, 3]), ("s32", 2)], [0, 1]),
    ("slct.f32.s32 %out, %a, %b, %c;", "f32", [("f32", 1), ("f32", 2), ("s32", [0, -1])], [1, 2]),
    ("setp.ne.u32 %q0, %a, 0; not.pred %q1, %q0; xor.pred %out, %q0, %q1;", "pred", [("u32", [0, 1])], [1, 1]),
    # integers
    ("add.sat.s32 %out, %a, %b;", "s32", [("s32", [BIG - 1, -BIG]), ("s32", [1, -1])], [BIG - 1, -BIG]),
    ("div.s32 %out, %a, %b;", "s32", [("s32", [-7, 7, -7, 5]), ("s32", [2, -2, -2, 0])], [-3, -3, 3, -1]),
    ("rem.s32 %out, %a, %b;", "s32", [("s32", [-7, 7]), ("s32", [2, -2])], [-1, 1]),
    ("mul.hi.s32 %out, %a, %b;", "s32", [("s32", [-BIG, 123456789]), ("s32", [3, -987654321])], [-2,
        123456789 * -987654321 >> 32]),
    ("mul.hi.u64 %out, %a, %b;", "u64", [("u64", 2**64 - 3), ("u64", 2**63 + 9)], [(2**64 - 3) * (2**63 + 9) >> 64]),
    ("mul.hi.s64 %out, %a, %b;", "s64", [("s64", -(2**62) - 5), ("s64", 2**61 + 77)],
        [(-(2**62) - 5) * (2**61 + 77) >> 64]),
    ("mad.lo.s32 %out, %a, %b, %b;", "s32", [("s32", 2**30), ("s32", 7)], [(2**30 * 7 + 7 + BIG) % 2**32 - BIG]),
    ("mad.wide.s32 %out, %a, %b, 5;", "s64", [("s32", -BIG), ("s32", BIG - 1)], [-BIG * (BIG - 1) + 5]),
    ("mul.wide.s16 %out, %a, %b;", "s32", [("s16", -300), ("s16", 300)], [-90000]),
    ("mad.hi.u32 %out, %a, %b, 5;", "u32", [("u32", 2**31), ("u32", 6)], [8]),
    ("sad.s32 %out, %a, %b, 10;", "s32", [("s32", -5), ("s32", 7)], [22]),
    ("shl.b32 %out, %a, %b;", "u32", [("u32", 3), ("u32", [1, 31, 32, 99])], [6, BIG, 0, 0]),
    ("shr.s32 %out, %a, %b;", "s32", [("s32", [-8, -8, 8]), ("u32", [1, 77, 40])], [-4, -1, 0]),
    ("shr.u64 %out, %a, %b;", "u64", [("u64", 2**63), ("u32", [63, 64])], [1, 0]),
    ("shr.u32 %out, %a, 4;", "u32", [("u32", 0xFFFF0000)], [0x0FFFF000]),
    ("shf.l.wrap.b32 %out, %a, %b, %c;", "u32", [("u32", 0x80000001), ("u32", 2), ("u32", [1, 33])], [5, 5]),
    ("shf.r.clamp.b32 %out, %a, %b, %c;", "u32", [("u32", 0x10), ("u32", 3), ("u32", [4, 40])], [0x30000001, 3]),
    ("bfe.u32 %out, %a, %b, %c;", "u32", [("u32", 0xABCD1234), ("u32", [8, 28, 40]), ("u32", [8, 8, 4])], [0x12, 0xA,
        0]),
    ("bfe.s32 %out, %a, %b, %c;", "s32", [("u32", 0xF0), ("u32", [4, 0, 4]), ("u32", [4, 4, 0])], [-1, 0, 0]),
    ("bfe.s64 %out, %a, 60, 8;", "s64", [("u64", 2**63)], [-8]),
    ("bfi.b32 %out, %a, %b, %c, %d;", "u32", [("u32", 0xFF), ("u32", 0), ("u32", [4, 28, 3]), ("u32", [4, 8, 0])],
        [0xF0, 0xF0000000, 0]),
    ("prmt.b32 %out, %a, %b, 0x9170;", "u32", [("u32", 0x03028100), ("u32", 0x07060504)], [0xFF810700]),
    ("lop3.b32 %out, %a, %b, %c, 0xE8;", "u32", [("u32", 0b1100), ("u32", 0b1010), ("u32", 0b0110)], [0b1110]),
    ("popc.b64 %out, %a;", "u32", [("u64", [2**64 - 1, 5])], [64, 2]),
    ("clz.b32 %out, %a;", "u32", [("u32", [0, 1, 2**31])], [32, 31, 0]),
    ("clz.b64 %out, %a;", "u32", [("u64", [0, 2**63 - 1, 2**53 + 1])], [64, 1, 10]),
    ("bfind.s32 %out, %a;", "s32", [("s32", [0, -1, 16, -17])], [-1, -1, 4, 4]),
    ("brev.b64 %out, %a;", "u64", [("u64", 3)], [3 << 62]),
    ("cnot.b32 %out, %a;", "u32", [("u32", [0, 7])], [1, 0]),
    ("dp4a.u32.s32 %out, %a, %b, %c;", "s32", [("u32", 0xFF010203), ("u32", 0xFF010203), ("s32", 10)],
        [-255 + 1 + 4 + 9 + 10]),
    ("dp2a.lo.s32.s32 %out, %a, %b, %c;", "s32", [("u32", 0xFFFF0003), ("u32", 0x0506FE04), ("s32", 1)], [12 + 2 + 1]),
    # pairs, packing, widths
    ("mov.b64 {%x0, %x1}, %a; mov.b64 %out, {%x1, %x0};", "u64", [("u64", 0x1111222233334444)], [0x3333444411112222]),
    ("mov.b32 {%h0, _}, %a; mov.b32 %out, {%h0, %h0};", "u32", [("u32", 0xABCD1234)], [0x12341234]),
    ("fma.rn.f16x2 %out, %a, %b, %b;", "u32", [("u32", 0x40003C00), ("u32", 0x3C003C00)], [0x42004000]),
    ("max.bf16x2 %out, %a, %b;", "u32", [("u32", 0x3F80C000), ("u32", 0x40003F80)], [0x40003F80]),
    ("and.b16 %out, %a, 0x0FF0;", "u16", [("u16", 0xABCD)], [0x0BC0]),
]  # fmt: skip


@pytest.mark.parametrize("lines, result, inputs, expected", CASES, ids=[c[0] for c in CASES])
def test_one_instruction(lines, result, inputs, expected):
    found = run(lines, result, *inputs)
    wanted = np.asarray(expected, NUMPY[result])
    assert np.array_equal(np.atleast_1d(found), wanted, equal_nan=wanted.dtype.kind == "f"), (found, wanted)
    if wanted.dtype.kind == "f":
        numbers = ~np.isnan(wanted)
        assert np.array_equal(np.signbit(found[numbers]), np.signbit(wanted[numbers]))


def test_carries_make_wide_sums():
    x, y = (rng(k).integers(0, 1 << 63, size=64, dtype="u8") * 2 + 1 for k in (0, 1))
    words = "mov.b64 {%x0, %x1}, %a; mov.b64 {%x2, %x3}, %b;"
    back = "mov.b64 %out, {%x4, %x5};"
    for lines, function in (
        ("add.cc.u32 %x4, %x0, %x2; addc.u32 %x5, %x1, %x3;", lambda a, b: a + b),
        ("sub.cc.u32 %x4, %x0, %x2; subc.u32 %x5, %x1, %x3;", lambda a, b: a - b),
        (
            "mad.lo.cc.u32 %x4, %x0, %x2, %x3; madc.hi.u32 %x5, %x0, %x2, 0;",
            lambda a, b: (a % 2**32) * (b % 2**32) + (b >> 32),
        ),
    ):
        found = run(words + lines + back, "u64", ("u64", x), ("u64", y))
        assert found.tolist() == [function(a, b) % 2**64 for a, b in zip(x.tolist(), y.tolist())]


LANES = np.arange(32, dtype="u4")


@pytest.mark.parametrize(
    "lines, expected",
    [
        ("shfl.sync.up.b32 %out|%q0, %a, 3, 0, -1;", np.where(LANES < 3, LANES, LANES - 3)),
        ("shfl.sync.down.b32 %out, %a, 2, 31, -1;", np.where(LANES > 29, LANES, LANES + 2)),
        ("shfl.sync.bfly.b32 %out, %a, 5, 31, -1;", LANES ^ 5),
        ("shfl.sync.idx.b32 %out, %a, 1, 0x181F, -1;", LANES // 8 * 8 + 1),
        ("setp.gt.u32 %q0, %a, 27; vote.sync.ballot.b32 %out, %q0, -1;", np.full(32, 0xF0000000)),
        ("setp.gt.u32 %q0, %a, 27; vote.sync.any.pred %q1, %q0, -1; selp.u32 %out, 1, 0, %q1;", np.ones(32)),
        ("setp.gt.u32 %q0, %a, 27; vote.sync.all.pred %q1, !%q0, -1; selp.u32 %out, 1, 0, %q1;", np.zeros(32)),
        ("and.b32 %x0, %a, 1; match.any.sync.b32 %out, %x0, -1;", np.where(LANES % 2, 0xAAAAAAAA, 0x55555555)),
        ("redux.sync.add.u32 %out, %a, -1;", np.full(32, 496)),
        ("redux.sync.max.s32 %out, %a, -1;", np.full(32, 31)),
        ("activemask.b32 %out;", np.full(32, 0xFFFFFFFF)),
        ("mov.u32 %out, %lanemask_lt;", (1 << LANES.astype("i8")) - 1),
        ("mov.u32 %x0, %laneid; mov.u32 %x1, %warpid; add.u32 %out, %x0, %x1;", LANES),
        ("setp.lt.u32 %q0, %a, 9; mov.u32 %out, 0; @%q0 activemask.b32 %out;", np.where(LANES < 9, 511, 0)),
        ("setp.gt.u32 %q0, %a, 9; bar.red.popc.u32 %out, 0, %q0;", np.full(32, 22)),
    ],
)
def test_what_a_warp_does_together(lines, expected):
    assert np.array_equal(run(lines, "u32", ("u32", LANES)), np.asarray(expected, "u4"))


def test_branches_by_a_table():
    lines = """mov.u32 %out, 9; brx.idx %a, WAYS;
    WAYS: .branchtargets A, B, A;
    A: add.u32 %out, %out, 1; bra.uni END;
    B: add.u32 %out, %out, 2;
    END: add.u32 %out, %out, 100;"""
    assert run(lines, "u32", ("u32", [0, 1, 2, 1])).tolist() == [110, 111, 110, 111]


def test_vectors_and_narrow_integers_in_memory():
    lines = "ld.param.u64 %y0, [in0]; ld.global.v2.s8 {%x0, %x1}, [%y0+2]; add.s32 %out, %x0, %x1;"
    found = run(lines, "s32", ("s8", np.arange(-8, 24)))
    assert found.tolist() == [-11] * 32


def test_half_of_a_block_at_a_named_barrier():
    text = f"""{HEAD}.visible .entry k(.param .u64 y)
{{
    .shared .align 4 .b8 s[256]; .reg .b32 %t, %a, %w, %v; .reg .b64 %y; .reg .pred %q;
    mov.u32 %t, %tid.x; mov.u32 %a, s; mad.lo.u32 %a, %t, 4, %a; st.shared.u32 [%a], %t;
    shr.u32 %w, %t, 5; add.u32 %w, %w, 1;
    bar.sync %w, 32;
    mov.u32 %a, s; xor.b32 %t, %t, 1; mad.lo.u32 %a, %t, 4, %a; ld.shared.u32 %v, [%a];
    xor.b32 %t, %t, 1; ld.param.u64 %y, [y]; mad.wide.u32 %y, %t, 4, %y; st.global.u32 [%y], %v; ret;
}}
"""
    (y,) = run_text(text, (1,), (64,), Empty(64, "u4"))
    assert np.array_equal(y, np.arange(64) ^ 1)


def test_threads_of_a_warp_may_write_one_value_to_one_place():
    text = f"""{HEAD}.visible .entry k(.param .u64 y)
{{
    .shared .align 4 .b8 s[4]; .reg .b32 %t, %v; .reg .b64 %y;
    mov.u32 %t, %tid.x; st.shared.u32 [s], 7; bar.warp.sync -1; ld.shared.u32 %v, [s];
    ld.param.u64 %y, [y]; mad.wide.u32 %y, %t, 4, %y; st.global.u32 [%y], %v; ret;
}}
"""
    (y,) = run_text(text, (1,), (32,), Empty(32, "u4"))
    assert y.tolist() == [7] * 32
    with pytest.raises(KernelFault, match="another thread writes something else at the same time"):
        run_text(text.replace("[s], 7", "[s], %t"), (1,), (32,), Empty(32, "u4"))


@pytest.mark.parametrize("n_threads", [1, 31, 33, 100])
def test_blocks_need_not_be_whole_warps(n_threads):
    text = f"""{HEAD}.visible .entry k(.param .u64 y)
{{
    .reg .b32 %t, %b, %n; .reg .b64 %y;
    mov.u32 %t, %tid.x; mov.u32 %b, %ctaid.x; mov.u32 %n, %ntid.x; mad.lo.u32 %t, %b, %n, %t;
    bar.sync 0;
    ld.param.u64 %y, [y]; mad.wide.u32 %y, %t, 4, %y; st.global.u32 [%y], %t; ret;
}}
"""
    (y,) = run_text(text, (5,), (n_threads,), Empty(5 * n_threads, "u4"))
    assert np.array_equal(y, np.arange(5 * n_threads))


def test_atomics_of_many_lanes_on_few_words():
    text = f"""{HEAD}.visible .entry k(.param .u64 y, .param .u64 z)
{{
    .reg .b32 %t, %v, %r; .reg .b64 %y, %z; .reg .f32 %f;
    mov.u32 %t, %tid.x; and.b32 %v, %t, 3; ld.param.u64 %y, [y]; mad.wide.u32 %y, %v, 4, %y;
    cvt.rn.f32.u32 %f, %t; red.global.add.f32 [%y], %f;
    ld.param.u64 %z, [z]; atom.global.max.s32 %r, [%z], %t; atom.global.add.u32 %r, [%z+4], 1;
    atom.global.cas.b32 %r, [%z+8], 7, %t; atom.global.inc.u32 %r, [%z+12], 9; atom.global.exch.b32 %r, [%z+16], 5; ret;
}}
"""
    y, z = run_text(text, (1,), (64,), np.zeros(4, "f4"), np.array([3, 0, 7, 0, 0], "i4"))
    assert y.tolist() == [sum(range(k, 64, 4)) for k in range(4)]
    assert z.tolist() == [63, 64, 0, 64 % 10, 5]


@pytest.mark.parametrize("is_backwards", [False, True])
def test_the_order_of_blocks(is_backwards):
    start = f"{HEAD}.visible .entry k(.param .u64 y)\n{{ .reg .b32 %b, %r; .reg .b64 %y; ld.param.u64 %y, [y]; "
    start += "mov.u32 %b, %ctaid.x; "
    last = f"{start} st.global.u32 [%y], %b; ret; }}"  # a race
    (y,) = run_text(last, (2000,), (32,), Empty(1, "u4"), is_racing=False, is_backwards=is_backwards)
    assert y == (0 if is_backwards else 1999)
    met = f"{start} atom.global.exch.b32 %r, [%y], %b; ret; }}"
    (y,) = run_text(met, (50,), (1,), np.zeros(1, "u4"), is_backwards=is_backwards)
    assert y == (0 if is_backwards else 49)


@pytest.mark.parametrize(
    "text, says",
    [
        ("add.f32 %x0, %x1;; #", "line 11: cannot read"),
        ("mbarrier.inval.b64 [%y0];", "line 11: the interpreter has no `mbarrier.inval.b64"),
        ("mov.u32 %nobody, 1;", "line 11: %nobody is no register"),
        ("bra NOWHERE;", "line 11: there is no label NOWHERE"),
        ("mov.u64 %y0, nothing;", "nothing, which nobody defines"),
        ("add.f64 %x0, %x1, %x2;", "too narrow for .f64"),
        ("add.rz.f64 %y0, %y1, %y2;", "line 11: the interpreter has no `add.rz.f64"),
    ],
)
def test_what_cannot_be_run_says_so(text, says):
    with pytest.raises(PtxError, match=says):
        run(text, "u32", ("u32", [1]))
