"""The profiles of the benchmark networks: no step above the machine's FMA peak, and which steps only copy.

    python benchmarks/steps.py [--workloads inception-a,resnet18] [--threads 1] [--runs 15] [--peers-dir DIR]

For each network: how many steps there are, which of them are copies (first, last, or number), and the fastest step in
% of the peak, which is measured before and behind. Exit status 1 where that is more than 100 %. Networks of 8-bit
integers are left out: their products have another peak.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import symc as mx
from symc.runtime.profile import Profile

from compare import BENCHMARKS, cpu_name
from peak import fma_rate
from workloads import WORKLOADS, Workload

NAMES = [name for name, workload in WORKLOADS.items() if not workload.is_quantized]


def profiled(workload: Workload, models: Path, n_threads: int, n_runs: int) -> Profile:
    """The steps of a network with its recorded weights, of random data."""
    rng = np.random.default_rng(0)
    symbol, args, states = mx.model.load_checkpoint(str(models / workload.name), 0)
    requests = {n: "write" if workload.is_training and n in args else "null" for n in symbol.list_arguments()}
    executor = symbol.simple_bind(mx.cpu(), grad_req=requests, **workload.inputs)
    executor.set_num_threads(n_threads)
    executor.copy_params_from(args, states)
    for name, shape in workload.inputs.items():
        executor.arg_dict[name][:] = 0 if name.endswith("label") else rng.standard_normal(shape)
    executor.forward(is_train=workload.is_training)
    if workload.is_training:
        executor.backward()
    return executor.profile(is_train=workload.is_training, n_runs=n_runs)


def copies(profile: Profile) -> str:
    """Where the steps are that only copy."""
    last = len(profile.rows) - 1
    found = [k for k, row in enumerate(profile.rows) if row.operators == ("_copy",)]
    return ", ".join({0: "first", last: "last"}.get(k, str(k)) for k in found) or "none"


def main() -> int:
    """1 where a step is above the peak, else 0."""
    parser = argparse.ArgumentParser(description="Steps beside the FMA peak; see benchmarks/README.md")
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=NAMES, help=",".join(NAMES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--peers-dir", type=Path, default=BENCHMARKS / ".peers", help="what peers/setup.sh made")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.workloads if name not in NAMES]:
        parser.error(f"unknown {', '.join(unknown)}; known: {', '.join(NAMES)}")
    print(f"{cpu_name()}\n\n| network | steps | copies | the fastest step | % of the peak |\n|---|---|---|---|---|")
    is_above = False
    for name in arguments.workloads:
        before = fma_rate(arguments.threads)
        profile = profiled(WORKLOADS[name], arguments.peers_dir / "models", arguments.threads, arguments.runs)
        limit = 2e-9 * max(before, fma_rate(arguments.threads))
        fastest = max(profile.rows, key=lambda row: row.gflops_per_s)
        is_above |= fastest.gflops_per_s > limit
        step = f"{fastest.step}: {' + '.join(fastest.operators)}"
        share = fastest.gflops_per_s / limit
        print(f"| {name} | {len(profile.rows)} | {copies(profile)} | {step} | {share:.1%} |", flush=True)
    return int(is_above)


if __name__ == "__main__":
    sys.exit(main())
