"""Times predictions: warm-up, then median, p10 and p90; and where the time goes, step by step."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from .opening import add_model_arguments, add_trust_arguments, count, open_model, positive, ready, threads_of
from .report import Report, progress
from .targets import add_force_argument, require_free

if TYPE_CHECKING:
    from symc.executor import Executor
    from symc.ndarray import NDArray

EXAMPLES = ("symc bench resnet-18 --threads 2 --batch 1", "symc bench m.symc --runs 200 --trace trace.json")
WARM_UP_S, MEASURE_S = 0.3, 2.0
MAX_RUNS = 10_000
PROFILE_RUNS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, how to measure and what to print."""
    add_model_arguments(parser)
    add_trust_arguments(parser)
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads to run with (default: all CPUs of this process)"
    )
    parser.add_argument(
        "--runs", type=positive, metavar="N", help=f"timed runs (default: as many as take {MEASURE_S:g} s)"
    )
    parser.add_argument(
        "--steps", type=count, default=10, metavar="N", help="how many of the longest steps to print (default 10)"
    )
    parser.add_argument("--trace", metavar="FILE", help="write the profile for chrome://tracing")
    add_force_argument(parser)


def execute(args: argparse.Namespace) -> Report:
    """Compiles, warms up, measures, profiles."""
    from symc.runtime.cpu.native import thread_count
    from symc.runtime.table import time_text

    if args.trace:
        require_free([args.trace], args)
    n_threads = thread_count(threads_of(args))
    opened = ready(open_model(args))
    inputs = opened.model.sample_inputs()
    with progress("compiling"):
        start = time.perf_counter()
        executor = opened.executor()
        executor.set_num_threads(n_threads)
        executor(**inputs)
        first_s = time.perf_counter() - start
    with progress("measuring"):
        times_s = measure(executor, inputs, args.runs)
        profile = executor.profile(n_runs=PROFILE_RUNS)
    if args.trace:
        profile.chrome_trace(args.trace)
    p10_s, median_s, p90_s = np.percentile(times_s, (10, 50, 90)).tolist()
    batch = next(iter(opened.model.shapes.values()), (1,))[0]
    data = {
        "model": opened.model.name,
        "shapes": {n: list(s) for n, s in opened.model.shapes.items()},
        "threads": n_threads,
        "first_call_s": first_s,
        "n_runs": len(times_s),
        "median_s": median_s,
        "p10_s": p10_s,
        "p90_s": p90_s,
        "items_per_s": batch / median_s,
        "profile": profile.as_dict(),
    }
    shapes = ", ".join(f"{n} {s}" for n, s in opened.model.shapes.items())
    threads = "1 thread" if n_threads == 1 else f"{n_threads} threads"
    text = (
        f"{opened.model.name}, {shapes}, {threads}: median {time_text(median_s)} (p10 {time_text(p10_s)}, "
        f"p90 {time_text(p90_s)}, {len(times_s)} runs), {data['items_per_s']:,.1f} items/s; "
        f"first call {time_text(first_s)}\n\n{profile.text(args.steps)}"
    )
    return Report(data, text + (f"\ntrace: {args.trace}" if args.trace else ""))


def measure(executor: Executor, inputs: dict[str, NDArray], n_runs: int | None) -> np.ndarray:
    """Seconds of each call, after a warm-up."""
    start = time.perf_counter()
    n_warm = 0
    while n_warm < 3 or (time.perf_counter() - start < WARM_UP_S and (n_runs is None or n_warm < n_runs)):
        executor(**inputs)
        n_warm += 1
    per_run_s = (time.perf_counter() - start) / n_warm
    n = n_runs if n_runs is not None else min(MAX_RUNS, max(10, int(MEASURE_S / per_run_s)))
    times_ns = np.empty(max(1, n), np.int64)
    for k in range(len(times_ns)):
        begin = time.perf_counter_ns()
        executor(**inputs)
        times_ns[k] = time.perf_counter_ns() - begin
    return times_ns * 1e-9
