"""Kernels recorded from real compilations give what NumPy gives in float64."""

from __future__ import annotations

import numpy as np
import pytest

from .kernels import Empty, run_text, text_of
from .lines import HEAD


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def run(name, grid, block, *arguments, **options):
    return run_text(text_of(name), grid, block, *arguments, **options)


def close(found, expected, tolerance):
    error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    assert error.max() <= tolerance, f"{error.max()} at {np.argmax(error)}"


@pytest.mark.parametrize("n, blocks", [(4, 1), (1028, 2), (4000, 3)])
def test_vectors_of_four(n, blocks):
    x = rng().normal(size=n).astype("f4")
    y = run("relu4", (blocks,), (256,), x, Empty(n), n)[1]
    assert np.array_equal(y, np.maximum(x, 0))


def test_sine_of_large_arguments_and_exponentials():
    x = np.concatenate([rng().normal(size=700) * 3, [0.0, -0.0, -1e5, -4e6, -3e7, -88, -104, 80]]).astype("f4")
    y = run("waves", (3,), (256,), x, Empty(x.size), x.size)[1]
    v = x.astype("f8")
    close(y, np.exp(v) + np.sin(v) * np.cos(v), 3e-7)


def test_functions_of_the_device_library():
    x = np.concatenate([rng().normal(size=300) * 2, [0.0, 9.5, -9.5]]).astype("f4")
    y = run("curves", (2,), (256,), x, Empty(5 * x.size), x.size)[1].reshape(-1, 5)
    v = x.astype("f8")
    from math import erf

    expected = [np.tanh(v), np.array([erf(e) for e in v]), np.log(abs(v) + 0.5), (abs(v) + 0.5) ** 1.7]
    close(y, np.stack([*expected, np.tanh(v) / (np.sqrt(abs(v)) + 1)], 1), 3e-6)


def test_float16_and_bfloat16_are_exact():
    x = rng().normal(size=200).astype("f2")
    y = run("halves", (2,), (128,), x.view("u2"), Empty(400, "u2"), x.size)[1].reshape(-1, 2)
    assert np.array_equal(y[:, 0], np.maximum(x.astype("f4") * 1.5 + 1, 0).astype("f2").view("u2"))
    v = (x.view("u2").astype("u4") << 16).view("f4") * np.float32(0.75) - np.float32(2)
    bits = v.view("u4")
    assert np.array_equal(y[:, 1], ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("u2"))


def test_doubles():
    x, y = rng().normal(size=(2, 300)) * [[3], [2]]
    z = run("doubles", (2,), (256,), x, y, Empty(300, "f8"), 300)[2]
    close(z, np.exp(x) / (y * y + 1) + np.fmod(x, y), 1e-15)


@pytest.mark.parametrize("rows, n", [(1, 1), (5, 33), (3, 700)])
def test_softmax_by_warps_and_shared_memory(rows, n):
    x = (rng().normal(size=(rows, n)) * 4).astype("f4")
    y = run("softmax", (rows,), (128,), x, Empty((rows, n)), n)[1]
    e = np.exp(x.astype("f8") - x.max(1, keepdims=True))
    close(y, e / e.sum(1, keepdims=True), 3e-7)


@pytest.mark.parametrize("m, n, k", [(16, 16, 16), (33, 20, 7), (5, 40, 31)])
def test_matrix_product_by_tiles(m, n, k):
    a, b = rng().normal(size=(m, k)).astype("f4"), rng().normal(size=(k, n)).astype("f4")
    c = run("matmul", (-(-n // 16), -(-m // 16)), (16, 16), a, b, Empty((m, n)), m, n, k)[2]
    close(c, a.astype("f8") @ b, 2e-6)


@pytest.mark.parametrize("k", [16, 80])
def test_tensor_cores_in_tf32(k):
    a, b = rng().normal(size=(16, k)).astype("f4"), rng().normal(size=(8, k)).astype("f4")
    c = run("tensor_tf32", (1,), (32,), a, b, Empty((16, 8)), k)[2]

    def rounded(x):
        return ((x.view("u4") + 0x1000) & 0xFFFFE000).astype("u4").view("f4").astype("f8")

    close(c, rounded(a) @ rounded(b).T, 2e-6)


def test_tensor_cores_in_bfloat16_and_int8():
    def bfloat16(shape):
        bits = rng().normal(size=shape).astype("f4").view("u4") >> 16
        return bits.astype("u2"), (bits << 16).view("f4").astype("f8")

    (a, x), (b, y) = bfloat16((16, 16)), bfloat16((16, 8))
    p, q = rng().integers(-128, 128, size=(16, 32), dtype="i1"), rng().integers(-128, 128, size=(8, 32), dtype="i1")
    found = run("tensor_halves", (1,), (32,), a, b, Empty((16, 8)), p, q, Empty((16, 8), "i4"))
    close(found[2], x @ y, 1e-6)
    assert np.array_equal(found[5], p.astype("i8") @ q.T.astype("i8"))


def test_integers_of_64_bits():
    n = 100
    x = rng().integers(0, 1 << 63, size=n, dtype="u8")
    x[:4] = [0, 1, 7, (1 << 63) - 1]
    d = rng().integers(-1000, 1000, size=n)
    d[d == 0] = 3
    y = run("integers", (1,), (256,), x, d, Empty((n, 9), "i8"), n)[2]
    for k in range(n):
        z = (int(x[k]) + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        z ^= z >> 31
        low, high = z % 2**32, z >> 32
        signed = low - (low >> 31 << 32)
        octets = [low.to_bytes(4, "little"), high.to_bytes(4, "little")]
        dot = sum(a * b for a, b in zip(*(np.frombuffer(o, "i1").tolist() for o in octets)))
        both = octets[0] + octets[1]
        picked = int.from_bytes(bytes([both[4], 255 * (both[3] >> 7), both[0], both[7]]), "little")
        field = (signed >> 5) & 0x7FF
        expected = [
            z - (z >> 63 << 64), int(x[k]) // int(d[k]), int(x[k]) % int(d[k]), z.bit_count(), 64 - z.bit_length(),
            int(f"{low:032b}"[::-1], 2), (dot + signed + 2**31) % 2**32 - 2**31, picked, field - (field >> 10 << 11),
        ]  # fmt: skip
        assert y[k].tolist() == expected


def test_threads_that_go_different_ways():
    x = rng().integers(0, 5000, size=500).astype("i4")

    def one(v):
        n = 0
        while v > 1 and n < 50:
            v, n = (v // 2 if v % 2 == 0 else 3 * v + 1), n + 1
        return n

    ways = [lambda v: v * 3 + 1, lambda v: v ^ 0x55, lambda v: v - 1000, lambda v: v << 3]
    ways += [lambda v: -v, lambda v: v // 3, one]
    y = run("branches", (2,), (256,), x, Empty(500, "i4"), 500)[1]
    assert y.tolist() == [ways[v % 7](v) for v in x.tolist()]


def test_function_calls():
    x = rng().normal(size=70).astype("f4")
    y = run("calls", (1,), (256,), x, Empty(70), 70)[1]
    v = x.astype("f8")
    close(y, np.where(v > 0, (2 * v + 3) * v + 1, (v + 0.5) * -v + 1), 1e-6)


def test_local_arrays():
    x = rng().integers(-99, 99, size=100).astype("i4")
    y = run("medians", (2,), (64,), x, Empty(100, "i4"), 100)[1]
    padded = np.pad(x, 4, mode="edge")
    assert y.tolist() == [int(np.median(padded[k : k + 9])) for k in range(100)]


def test_votes_and_atomics():
    x = rng().integers(0, 40, size=1000).astype("i4") * (rng().random(1000) < 0.6).astype("i4")
    _, y, counts = run("votes", (4,), (256,), x, np.zeros(1024, "i4"), np.zeros(16, "i4"), 1000)
    expected = np.zeros((32, 32), "i4")
    for row, values in zip(expected, np.pad(x, (0, 24)).reshape(32, 32)):
        row[: np.count_nonzero(values)] = values[values != 0]
    assert np.array_equal(y, expected.ravel())
    assert np.array_equal(counts, np.bincount(x[x != 0] & 15, minlength=16))


def test_the_block_that_comes_last_sees_what_all_others_wrote():
    x = rng().normal(size=3000).astype("f4")
    found = run("last_block", (9,), (128,), x, Empty(9), np.zeros(1, "u4"), Empty(1), x.size)
    close(found[3], x.astype("f8").sum(), 1e-5)
    assert found[2] == 9


def test_dynamic_shared_memory():
    x = np.arange(100, dtype="f4")
    y = run("dynamic", (2,), (64,), x, Empty(128), 100, dynamic_bytes=256)[1]
    assert np.array_equal(y, np.pad(x, (0, 28)).reshape(2, 64)[:, ::-1].ravel())


@pytest.mark.parametrize("name, threads", [("softmax", 128), ("waves", 256)])
def test_runs_are_equal_to_the_bit(name, threads):
    x = rng().normal(size=(40, 50)).astype("f4")
    arguments = x, Empty(x.shape), 50 if name == "softmax" else x.size
    first, second = (run(name, (40,), (threads,), *arguments)[1] for _ in range(2))
    assert np.array_equal(first.view("u4"), second.view("u4"))


ROUNDS = (
    HEAD
    + """.visible .entry rounds(.param .u64 y)
{
    .reg .b64 %p, %q; .reg .b32 %t, %n, %k, %v, %s, %w; .reg .pred %c;
    .shared .align 4 .b8 memory[256];
    mov.u32 %t, %tid.x; mov.u32 %n, %ctaid.x; mov.u32 %k, 0; mov.u32 %s, 0;
    mov.u64 %p, memory; mad.wide.u32 %q, %t, 4, %p;
AGAIN:
    bar.sync 0;
    add.u32 %w, %t, %k; st.shared.u32 [%q], %w;
    bar.sync 0;
    ld.shared.u32 %v, [%p+12]; add.u32 %s, %s, %v;
    ld.shared.u32 %v, [%p+252]; add.u32 %s, %s, %v;
    add.u32 %k, %k, 1; setp.le.u32 %c, %k, %n; @%c bra AGAIN;
    setp.ge.u32 %c, %t, 8; @%c bra END;
    ld.param.u64 %p, [y]; mad.lo.u32 %n, %n, 8, %t; mad.wide.u32 %p, %n, 4, %p; st.global.u32 [%p], %s;
END:
    ret;
}
"""
)


@pytest.mark.parametrize("n_blocks", [1, 5])
def test_blocks_that_leave_a_loop_of_barriers_earlier_than_others(n_blocks):
    (y,) = run_text(ROUNDS, (n_blocks,), (64,), Empty(8 * n_blocks, "u4"))
    for block, found in enumerate(y.reshape(n_blocks, 8)):
        assert (found == sum(3 + 63 + 2 * k for k in range(block + 1))).all()
