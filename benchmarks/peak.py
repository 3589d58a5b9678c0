"""What the machine can do at most, measured: products with additions on registers, bytes copied."""

from __future__ import annotations

import functools
import statistics
import threading
import time
from collections.abc import Callable

import numba
import numpy as np

from symc.codegen.cpu.abilities import abilities_of
from symc.codegen.cpu.target import host_target
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.llvm.lanes import I64, Lanes
from symc.codegen.llvm.loops import loop

TARGET, N_SUMS = host_target(), 12  # sums: more than the eight that two units of four cycles need, in 16 registers
FMA_ROUNDS, N_TURNS = 40_000, 60  # of 0.13 ms


@intrinsic(result="float32")
def fma_rounds(b, n):
    """`n` times N_SUMS vectors of FMAs, none of which waits for another of its round."""
    lanes = Lanes(b, TARGET.lanes("float32"), abilities_of(TARGET))
    half, one = lanes.const(0.5, "float32"), lanes.const(1, "float32")
    sums = [lanes.const(-k, "float32") for k in range(N_SUMS)]  # none is 2, which would stay as it is
    sums = loop(b, I64(0), n, sums, lambda _, found: [lanes.fma(total, half, one) for total in found])
    return lanes.extract(functools.reduce(b.fadd, sums), 0)


@numba.njit("float32(int64)", nogil=True)
def multiply(n):
    return fma_rounds(n)


def fma_rate(n_threads: int) -> float:
    """FMAs a second of as many threads, together."""
    return FMA_ROUNDS * N_SUMS * TARGET.lanes("float32") * rate([lambda: multiply(FMA_ROUNDS)] * n_threads)


def copying_rate(n_threads: int, size_bytes: int) -> float:
    """Bytes a second, read or written, of threads that copy arrays: of so many bytes in all, results included."""
    n = max(1, size_bytes // (8 * n_threads))
    arrays = [(np.empty(n, np.float32), np.ones(n, np.float32)) for _ in range(n_threads)]
    return 8 * n * rate([functools.partial(np.copyto, *pair) for pair in arrays])


def rate(turns: list[Callable[[], object]]) -> float:
    """Turns a second of threads that take one each again and again, together; by the median of each thread's turns."""

    def repeat(k: int) -> None:
        times_s[k] = statistics.median(timed(turns[k]) for _ in range(N_TURNS))

    times_s = [0.0] * len(turns)
    threads = [threading.Thread(target=repeat, args=(k,)) for k in range(1, len(turns))]
    for thread in threads:
        thread.start()
    repeat(0)
    for thread in threads:
        thread.join()
    return sum(1 / time_s for time_s in times_s)


def timed(turn: Callable[[], object]) -> float:
    start = time.perf_counter()
    turn()
    return time.perf_counter() - start
