"""How far apart the first two cores are: nanoseconds until one sees what the other wrote.   See benchmarks/README.md

    python benchmarks/cores.py [--repeats 5]

Two threads, each on a core of its own, hand a number to and fro. About 30 ns: the cores share a cache; 150 ns and more:
each has its own. A virtual machine may be moved from the one to the other while it runs, and which it is decides how
well two threads work together, whatever the program.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time

import numpy as np
from numba import njit

from symc.codegen.cpu.atomics import load, store

N_ROUNDS = 200_000


@njit("void(int64, int64, int64)", nogil=True)
def hand_over(address: int, mine: int, n_rounds: int) -> None:
    """Waits for `mine`, `mine` + 2, ... and answers each with the next number."""
    for turn in range(n_rounds):
        while load(address, 0) != mine + 2 * turn:
            pass
        store(address, 0, mine + 2 * turn + 1)


def one_way_ns(cores: tuple[int, int]) -> float:
    """The time from a store on one core to the other's load that sees it."""
    word = np.zeros(16, np.int64)  # a cache line of its own

    def on(core: int, mine: int) -> None:
        os.sched_setaffinity(threading.get_native_id(), {core})
        hand_over(word.ctypes.data, mine, N_ROUNDS)

    threads = [threading.Thread(target=on, args=(core, mine)) for mine, core in enumerate(cores)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - start) / (2 * N_ROUNDS) * 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description="Time from core to core; see benchmarks/README.md")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("this process may use one core only", file=sys.stderr)
        return 1
    first, second = cores[:2]
    times_ns = [one_way_ns((first, second)) for _ in range(repeats)]
    print(f"from core {first} to core {second}: {min(times_ns):.0f} to {max(times_ns):.0f} ns")
    return 0


if __name__ == "__main__":
    sys.exit(main())
