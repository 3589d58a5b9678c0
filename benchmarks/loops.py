"""Rows and chains against loops written by hand with numba: one thread, interleaved rounds.

python benchmarks/loops.py                    all cases
python benchmarks/loops.py softmax layernorm  some

A ratio above 1 says that symc is faster. symc is called with NumPy arrays and returns fresh arrays, as users call it;
the loops (fast-math, exp as a polynomial, so that LLVM vectorises it) write into one array again and again.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("SYMC_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numba
import numpy as np

import symc as mx

f4 = np.float32
hand = numba.njit(fastmath=True, inline="always")
Case = tuple[Callable[[], np.ndarray], Callable[[], np.ndarray]]  # symc, the loop
rng = np.random.default_rng(0)


@hand
def exp(x):
    x = min(max(x, f4(-87.0)), f4(88.0))
    t = x * f4(1.44269504)
    i = np.int32(t + (f4(0.5) if t >= f4(0) else f4(-0.5)))
    n = f4(i)
    r = x - n * f4(0.693359375) + n * f4(2.12194440e-4)
    p = f4(1.9875691500e-4)
    p = p * r + f4(1.3981999507e-3)
    p = p * r + f4(8.3334519073e-3)
    p = p * r + f4(4.1665795894e-2)
    p = p * r + f4(1.6666665459e-1)
    p = p * r + f4(5.0000001201e-1)
    p = p * r * r + r + f4(1)
    return p * np.int32((i + np.int32(127)) << np.int32(23)).view(np.float32)


@hand
def tanh(x):
    return f4(1) - f4(2) / (exp(f4(2) * x) + f4(1))


@numba.njit(fastmath=True, parallel=True)  # of one thread; a plain loop over six arrays is not vectorised
def chain_loop(x, w, b, y, z, o):
    one = f4(1)
    for i in numba.prange(x.size):
        o[i] = one / (one + exp(-(x[i] * w[i] + b[i]))) * tanh(y[i]) + z[i]


@numba.njit(fastmath=True)
def softmax_loop(x, o):
    for r in range(x.shape[0]):
        top = x[r, 0]
        for j in range(x.shape[1]):
            top = max(top, x[r, j])
        s = f4(0)
        for j in range(x.shape[1]):
            e = exp(x[r, j] - top)
            o[r, j] = e
            s += e
        s = f4(1) / s
        for j in range(x.shape[1]):
            o[r, j] *= s


@numba.njit(fastmath=True)
def layernorm_loop(x, g, b, o):
    n = x.shape[1]
    for r in range(x.shape[0]):
        s = f4(0)
        for j in range(n):
            s += x[r, j]
        m = s / f4(n)
        q = f4(0)
        for j in range(n):
            d = x[r, j] - m
            q += d * d
        i = f4(1) / np.sqrt(q / f4(n) + f4(1e-5))
        for j in range(n):
            o[r, j] = (x[r, j] - m) * i * g[j] + b[j]


def numbers(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(f4)


def called(symbol: mx.sym.Symbol, **arrays: np.ndarray) -> Callable[[], np.ndarray]:
    """A call of a symbol with these arrays."""
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", **{n: a.shape for n, a in arrays.items()})
    for name, array in arrays.items():
        executor.arg_dict[name][:] = array
    data = {n: a for n, a in arrays.items() if n not in ("gamma", "beta")}
    return lambda: executor(**data)[0]


def chain(n: int) -> Case:
    names = "x w b y z".split()
    arrays, out = {name: numbers(n) for name in names}, np.empty(n, f4)
    x, w, b, y, z = map(mx.sym.Variable, names)
    symbol = mx.sym.sigmoid(x * w + b) * mx.sym.tanh(y) + z

    def loop() -> np.ndarray:
        chain_loop(*arrays.values(), out)
        return out

    return called(symbol, **arrays), loop


def softmax(rows: int, columns: int) -> Case:
    x, out = numbers(rows, columns), np.empty((rows, columns), f4)

    def loop() -> np.ndarray:
        softmax_loop(x, out)
        return out

    return called(mx.sym.softmax(mx.sym.Variable("x")), x=x), loop


def layernorm(rows: int, columns: int) -> Case:
    x, g, b, out = numbers(rows, columns), numbers(columns), numbers(columns), np.empty((rows, columns), f4)

    def loop() -> np.ndarray:
        layernorm_loop(x, g, b, out)
        return out

    symbol = mx.sym.LayerNorm(*map(mx.sym.Variable, ("x", "gamma", "beta")))
    return called(symbol, x=x, gamma=g, beta=b), loop


CASES: dict[str, Callable[[], Case]] = {
    "softmax": lambda: softmax(1024, 1000),
    "softmax-short": lambda: softmax(4096, 64),
    "layernorm": lambda: layernorm(1024, 768),
    "chain-1e4": lambda: chain(10_000),
    "chain-1e6": lambda: chain(1_000_000),
    "chain-1e7": lambda: chain(10_000_000),
}


def time_us(call: Callable[[], object], n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n * 1e6


def measure(case: Case, rounds: int = 60) -> tuple[float, float, float]:
    """(symc in us, the loop in us, median of loop / symc): the times are the best of interleaved rounds."""
    ours, loop = case
    np.testing.assert_allclose(ours().asnumpy(), loop(), rtol=1e-4, atol=1e-5)
    n = max(1, int(3000 / time_us(loop, 3)))
    times = [(time_us(ours, n), time_us(loop, n)) for _ in range(rounds)]
    return (
        min(own for own, _ in times),
        min(other for _, other in times),
        statistics.median(other / own for own, other in times),
    )


def main() -> None:
    for name in sys.argv[1:] or CASES:
        own, other, ratio = measure(CASES[name]())
        print(
            f"{name:<16} best: symc {own:9.1f} us, loop {other:9.1f} us, ratio {other / own:5.2f}   "
            f"median of ratios {ratio:5.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
