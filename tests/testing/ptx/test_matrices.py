"""Products of matrices by tensor cores, for each shape and type."""

from __future__ import annotations

import numpy as np
import pytest

from .kernels import Empty, edited, run_text
from .lines import NAMES, NUMPY, run

LANES = np.arange(32)


@pytest.mark.parametrize(
    "k, kind, result",
    [
        (4, "tf32", "f32"),
        (8, "bf16", "f32"),
        (8, "f16", "f16"),
        (16, "f16", "f32"),
        (16, "s8", "s32"),
        (32, "u8", "s32"),
    ],
)
def test_products_of_matrices(k, kind, result):
    """Element (i, j) of A and C lies with lane 4 (i mod 8) + j / n mod 4, as figures of the PTX manual have it."""
    n = {"tf32": 1, "s8": 4, "u8": 4}.get(kind, 2)  # elements of a register
    generator = np.random.default_rng(3)
    low, high = (0, 200) if kind == "u8" else (-9, 9)
    a, b = (generator.integers(low, high, shape) for shape in ((16, k), (k, 8)))
    c = generator.integers(-9, 9, (16, 8))
    group, lane = LANES.astype(int) // 4, LANES.astype(int) % 4

    def packed(values):
        if kind in ("s8", "u8"):
            return np.ascontiguousarray(values.astype("u1")).view("u4")[:, 0]
        bits = values.astype("f2").view("u2") if kind == "f16" else (values.astype("f4").view("u4") >> 16).astype("u2")
        return values[:, 0].astype("f4").view("u4") if kind == "tf32" else np.ascontiguousarray(bits).view("u4")[:, 0]

    columns = np.arange(n)
    halves = range(k // (4 * n))
    left = [
        packed(a[(group + 8 * r)[:, None], ((lane + 4 * h) * n)[:, None] + columns]) for h in halves for r in (0, 1)
    ]
    right = [packed(b[((lane + 4 * h) * n)[:, None] + columns, group[:, None]]) for h in halves]
    plus = [c[group + 8 * (r // 2), 2 * lane + r % 2] for r in range(4)]
    if result == "f16":
        plus = [np.stack(plus[r : r + 2], 1).astype("f2").view("u4")[:, 0] for r in (0, 2)]
    n_out, text = len(plus), f"mma.sync.aligned.m16n8k{k}.row.col.{result}.{kind}.{kind}.{result}"
    registers = [left, right, [np.asarray(v, NUMPY["u32" if result == "f16" else result]).view("u4") for v in plus]]
    for r in range(n_out):
        names, inputs = [], []
        for group_of in registers:
            own = NAMES[len(inputs) : len(inputs) + len(group_of)]
            names.append("{" + ", ".join(f"%{name}" for name in own) + "}")
            inputs += [("u32", v) for v in group_of]
        outs = ["%out" if m == r else f"%x{m}" for m in range(n_out)]
        found = run(f"{text} {{{', '.join(outs)}}}, {', '.join(names)};", "u32", *inputs)
        exact = a @ b + c
        if result == "f16":
            pair = np.stack([exact[group + 8 * r, 2 * lane], exact[group + 8 * r, 2 * lane + 1]], 1)
            assert np.array_equal(found.view("f2").reshape(-1, 2), pair)
        else:
            assert np.array_equal(found.view(NUMPY[result]), exact[group + 8 * (r // 2), 2 * lane + r % 2])


@pytest.mark.parametrize("mode, expected", [("", 4 - 2**31), (".satfinite", 2**31 - 1)])
def test_sums_of_integers_wrap_unless_they_are_asked_to_stay_finite(mode, expected):
    """32 products of 127 by 127 beyond the largest int32."""
    inputs = [("u32", np.full(32, 0x7F7F7F7F, "u4"))] * 6 + [("u32", np.full(32, 2**31 + 4 - 32 * 127**2, "u4"))] * 4
    a, b, c = ("{" + ", ".join(f"%{name}" for name in NAMES[s]) + "}" for s in (slice(4), slice(4, 6), slice(6, 10)))
    text = f"mma.sync.aligned.m16n8k32.row.col{mode}.s32.s8.s8.s32 {{%out, %x1, %x2, %x3}}, {a}, {b}, {c};"
    assert set(run(text, "u32", *inputs).view("i4")) == {expected}


@pytest.mark.parametrize("kind", ["tf32", "f16", "bf16"])
@pytest.mark.parametrize("is_added", [True, False])
def test_products_of_four_warps(kind, is_added):
    """Recorded places: cores of 8 rows of 16 bytes; sums as those of m16n8, 16 rows a warp."""
    k = 8 if kind == "tf32" else 16
    generator = np.random.default_rng(3)
    a, b = (generator.integers(-9, 9, shape).astype("f4") for shape in ((64, k), (8, k)))
    edits = [] if is_added else [("setp.eq.u32", "setp.ne.u32")]
    edits.append(("mov.f32 \t%f4, 0f00000000", "mov.f32 \t%f4, 0f40000000"))
    if kind != "tf32":
        edits += [("m64n8k8.f32.tf32.tf32", f"m64n8k16.f32.{kind}.{kind}"), ("%p2, 1, 1;", "%p2, 1, 1, 0, 0;")]
    raw = [
        x if kind == "tf32" else x.astype("f2") if kind == "f16" else (x.view("u4") >> 16).astype("u2") for x in (a, b)
    ]
    found = run_text(edited("groups", *edits), (1,), (128,), *raw, Empty((64, 8)))[-1]
    expected = a @ b.T
    rows, columns = np.arange(64)[:, None], np.arange(8)
    assert np.array_equal(found, expected + 2 * is_added * (rows % 16 >= 8) * (columns % 2))


def test_the_left_matrix_of_four_warps_may_lie_in_registers():
    loads = "".join(
        f"ld.shared.u32 %r{12 + r}, [%r11+{(r & 1) * 128 * 2 + (r >> 1) * 128}]; " for r in range(4)
    )  # rows g and g + 8, products t and t + 4, as those of m16n8k8
    place = "shr.u32 %r8, %r1, 5; mul.lo.u32 %r8, %r8, 512; and.b32 %r9, %r1, 31; mad.lo.u32 %r11, %r9, 4, %r8; "
    place += "add.s32 %r11, %r11, %r2; "
    text = edited(
        "groups",
        ("wgmma.fence", place + loads + "wgmma.fence"),
        ("%rd8, %rd9, %p2", "{%r12, %r13, %r14, %r15}, %rd9, %p2"),
    )
    a, b = (np.random.default_rng(3).integers(-9, 9, shape).astype("f4") for shape in ((64, 8), (8, 8)))
    found = run_text(text, (1,), (128,), a, b, Empty((64, 8)))[-1]
    assert np.array_equal(found, a @ b.T)
