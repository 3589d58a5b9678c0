"""Every recorded operator and network on a simulated GPU: MXNet's numbers, and equal bits in another order of blocks.

    python -m tests.runtime.cuda.every_case [ops quantized nets] [--only TEXT] [--slowest 10]

A run that reads what nobody wrote or beyond an array, races, or leaves threads behind at a barrier is a fault of its
kernel (`symc/testing/ptx`). The second run takes the blocks of every grid from the last to the first. Exit status 1
where a case fails, or passes though it is known not to on any device. The code is taken from the kernel cache where it
is there: `every_kernel --keep` fills one.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import symc as mx
from symc.context import register_device
from symc.runtime.cuda.device import device_of
from symc.testing.driver import SimDriver
from tests.conformance import golden, replay
from tests.conformance.suite import KNOWN, one_line
from tests.ops.cases_quantized import CASES as CASES_OF_BYTES
from tests.ops.recorded import recorded
from tests.ops.test_quantized import symbol_of


def quantized_cases() -> Iterator[golden.Case]:
    """Operators on 8-bit integers, but the logarithms of calibrate_entropy."""
    for case in (c for c in CASES_OF_BYTES if "entropy" not in c.op):
        symbol, given = symbol_of(case)
        arrays = {f"{'aux' if n in symbol.list_auxiliary_states() else 'arg'}/{n}": a for n, a in given.items()}
        outs = {f"out/{k}": a for k, a in enumerate(recorded("quantized")[str(case)].outs)}
        yield golden.Case(str(case), case.op, symbol.tojson(), {}, arrays | outs)


def check_quantized(mx: Any, case: golden.Case) -> dict[str, np.ndarray]:
    """Every output, which is equal; gives them."""
    found = replay.results(mx, mx.sym.load_json(case.symbol_json), case)
    for name, want in case.by_name("out").items():
        if not np.array_equal(found[f"output {name}"], want):
            raise replay.Mismatch(f"output {name}: other numbers than MXNet's")
    return found


CASES = {
    "ops": (golden.op_cases, replay.check_op),
    "quantized": (quantized_cases, check_quantized),
    "nets": (golden.net_cases, replay.check_net),
}


class Outcome(NamedTuple):
    """Of one case: what is wrong, or nothing, and how long it took, compilation included."""

    problem: str
    time_s: float


@functools.cache
def device() -> SimDriver:
    """The simulated GPU of this process, which is mx.gpu(0) from now on."""
    driver = SimDriver()
    opened = device_of(driver)
    register_device("gpu", lambda number: opened)
    return driver


def run(task: tuple[str, golden.Case]) -> Outcome:
    """One case in both orders."""
    kind, case = task
    driver, start = device(), time.perf_counter()
    try:
        with mx.gpu():
            mx.random.seed(0)
            found = CASES[kind][1](mx, case)
            if found:
                require_equal_bits(driver, case, found)
    except Exception as error:  # whatever goes wrong is a result
        return Outcome(one_line(error), time.perf_counter() - start)
    return Outcome("", time.perf_counter() - start)


def require_equal_bits(driver: SimDriver, case: golden.Case, found: dict[str, np.ndarray]) -> None:
    """Raises Mismatch where the order of blocks shows in what a case leaves."""
    mx.random.seed(0)
    driver.is_backwards = True
    try:
        last_first = replay.results(mx, mx.sym.load_json(case.symbol_json), case)
    finally:
        driver.is_backwards = False
    for name, array in found.items():
        if array.tobytes() != last_first[name].tobytes():
            raise replay.Mismatch(f"{name}: its bits depend on the order of blocks")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", help=f"default: {' '.join(CASES)}")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this")
    parser.add_argument("--slowest", type=int, default=0, metavar="N", help="names those that took longest")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["SYMC_COMPILERS"] = "1"
    kinds = options.kinds or reversed(CASES)  # nets first, which take longest
    tasks = [(k, case) for k in kinds for case in CASES[k][0]() if options.only in case.name]
    outcomes: dict[str, Outcome] = {}
    with multiprocessing.get_context("fork").Pool() as pool:
        for (_, case), outcome in zip(tasks, pool.imap(run, tasks)):
            outcomes[case.name] = outcome
            reason = KNOWN.get(case.name)
            if outcome.problem and not reason:
                print(f"{case.name}: {outcome.problem}", flush=True)
            elif reason and not outcome.problem:
                print(f"{case.name}: passes; it was expected not to: {reason}", flush=True)
    known = outcomes.keys() & KNOWN.keys()
    failed = {name for name, outcome in outcomes.items() if outcome.problem}
    for name in sorted(outcomes, key=lambda n: -outcomes[n].time_s)[: options.slowest]:
        print(f"{outcomes[name].time_s:8.1f} s  {name}")
    spent = sum(outcome.time_s for outcome in outcomes.values())
    print(f"{len(outcomes) - len(failed)}/{len(outcomes)} pass, {len(known)} are known not to; {spent:.0f} s in all")
    return int(failed != known)


if __name__ == "__main__":
    sys.exit(main())
