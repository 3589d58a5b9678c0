"""symc beside its peers in one run, same models, same thread count, turns interleaved.   See benchmarks/README.md

    python benchmarks/compare.py [--workloads resnet18,mlp] [--threads 1,2] [--rounds 10] [--peers symc] [--json FILE]
    python benchmarks/compare.py --peers symc --against COMMIT
    python benchmarks/compare.py --disturb 0.5

Every contestant is a process that lives through all rounds of a workload and works only when it has its turn. This file
needs no packages; Linux only, for the processes' CPU clocks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from contestants import BENCHMARKS, CONTESTANTS, Contestant, Worker, WorkerError, cpu_s, symc_at
from disturber import disturbed
from workloads import WORKLOADS, Workload

PEERS = tuple(dict.fromkeys(contestant.peer for contestant in CONTESTANTS))

WARM_UP_S = 0.5
TURN_S = 0.15  # a turn's timed calls, at the pace of the fastest contestant ...
N_CALLS_MIN, N_CALLS_MAX = 3, 5000  # ... within these bounds
BUSY_CORES_MAX = 0.1  # other work on the machine, in cores, above which a run is called disturbed


@dataclass
class Result:
    """What one contestant showed. `times_s` holds a list for each round; a failed or wrong contestant has none."""

    workload: str
    n_threads: int
    peer: str
    variant: str
    version: str = ""
    error: float | None = None
    failure: str | None = None
    times_s: list[list[float]] = field(default_factory=list)

    def percentile_ms(self, percent: int) -> float:
        calls = sorted(time_s for turn in self.times_s for time_s in turn)
        return calls[min(len(calls) - 1, len(calls) * percent // 100)] * 1e3

    @property
    def median_ms(self) -> float:
        return self.percentile_ms(50)

    def speed_against(self, other: Result) -> tuple[float, float, float]:
        """How many times as fast as `other`: (median, lowest, highest) over the rounds, each turn by its own median.

        Turns of one round lie close in time, so a machine that slows down for a while does so on both sides of a ratio.
        """
        rounds = sorted(
            statistics.median(theirs) / statistics.median(ours)
            for ours, theirs in zip(self.times_s, other.times_s, strict=True)
        )
        return statistics.median(rounds), rounds[0], rounds[-1]


@dataclass(frozen=True)
class Race:
    """All results of one workload at one thread count, and how many cores other processes used during the turns.

    `disturb` is the share of one core that a process of our own took meanwhile.
    """

    results: list[Result]
    other_cores: float
    disturb: float = 0.0


def race(
    workload: Workload,
    n_threads: int,
    contestants: Iterable[Contestant],
    n_rounds: int,
    peers_dir: Path,
    disturb: float = 0.0,
) -> Race:
    """Starts the contestants one after another, then gives each a turn in every round, in rotating order."""
    results: list[Result] = []
    workers: list[tuple[Worker, Result]] = []
    try:
        for contestant in contestants:
            result = Result(workload.name, n_threads, contestant.peer, contestant.variant)
            results.append(result)
            worker = Worker(contestant, workload, n_threads, peers_dir)
            if prepare(worker, result, workload.tolerance):
                workers.append((worker, result))
            else:
                worker.close()
        with disturbed(disturb) if disturb else contextlib.nullcontext() as disturber:
            other_cores = turns(workers, n_rounds, disturber) if n_rounds and workers else 0.0
    finally:
        for worker, _ in workers:
            worker.close()
    return Race(results, other_cores, disturb)


def prepare(worker: Worker, result: Result, tolerance: float) -> bool:
    """Waits for the worker's own check against MXNet; notes in `result` what it showed, returns whether it may race."""
    try:
        ready = worker.receive()
    except WorkerError as failure:
        print(f"! {result.workload}: {result.peer} ({result.variant}) failed\n{failure}", file=sys.stderr)
        result.failure = str(failure).splitlines()[-1]
        return False
    result.version, result.error = ready["version"], ready["error"]
    if not result.error <= tolerance:
        result.failure = f"wrong: error {result.error:.1e}, at most {tolerance:.0e} expected"
        return False
    worker.settle()
    return True


def turns(workers: Sequence[tuple[Worker, Result]], n_rounds: int, disturber: int | None = None) -> float:
    """Runs all rounds, filling each result's `times_s`; returns the cores that strangers used meanwhile."""
    own = [os.getpid(), *(worker.process.pid for worker, _ in workers), *([disturber] if disturber else [])]
    pace_s = min(warm_up(worker) for worker, _ in workers)
    n_calls = int(min(max(TURN_S / pace_s, N_CALLS_MIN), N_CALLS_MAX))
    start_s, busy_s = time.monotonic(), machine_busy_s()
    own_s = sum(map(cpu_s, own))
    for i in range(n_rounds):
        shift = i % len(workers)
        for worker, result in [*workers[shift:], *workers[:shift]]:
            result.times_s.append(worker.run(max(1, n_calls // 10), n_calls))
    others_s = (machine_busy_s() - busy_s) - (sum(map(cpu_s, own)) - own_s)
    return max(0.0, others_s / (time.monotonic() - start_s))


def warm_up(worker: Worker) -> float:
    """Runs for WARM_UP_S; returns the seconds of the fastest call."""
    fastest_s = min(worker.run(0, 2))
    n_calls = int(min(max(WARM_UP_S / fastest_s, 2), 5 * N_CALLS_MAX))
    return min(worker.run(0, n_calls))


def machine_busy_s() -> float:
    """CPU seconds of everything on the machine since it started."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def best_variants(results: Sequence[Result]) -> list[Result]:
    """For each peer its fastest variant, or its first failure where none ran."""
    by_peer: dict[str, list[Result]] = {}
    for result in results:
        by_peer.setdefault(result.peer, []).append(result)
    return [
        min((result for result in group if result.times_s), key=lambda result: result.median_ms, default=group[0])
        for group in by_peer.values()
    ]


def table(results: Sequence[Result], best: Result | None) -> str:
    """One line for each result; `speed` is against `best`, the fastest peer other than symc."""
    numbers = f"{'median ms':>10}{'p10':>9}{'p90':>9}{'error':>10}"
    lines = [f"  {'peer':52}{numbers}   speed against the best peer, by rounds"]
    for result in results:
        name = f"{result.peer} {result.version} {result.variant}"
        if result.failure is not None:
            lines.append(f"  {name:52} {result.failure}")
            continue
        if not result.times_s:
            lines.append(f"  {name:52}{'':28}{result.error:10.1e}")
            continue
        figures = f"{result.median_ms:10.4g}{result.percentile_ms(10):9.4g}{result.percentile_ms(90):9.4g}"
        lines.append(f"  {name:52}{figures}{result.error:10.1e}   {speed(result, best)}")
    return "\n".join(lines)


def speed(result: Result, best: Result | None) -> str:
    if best is None:
        return ""
    if result is best:
        return "1 (the best peer)"
    middle, lowest, highest = result.speed_against(best)
    return f"{middle:.3f} ({lowest:.3f} to {highest:.3f})"


def report(outcome: Race, shows_variants: bool) -> None:
    first = outcome.results[0]
    beside = f", {outcome.disturb:.0%} of one core taken" if outcome.disturb else ""
    print(f"\n{first.workload}, {first.n_threads} thread{'s' if first.n_threads > 1 else ''}{beside}")
    peers = best_variants(outcome.results)
    timed = [result for result in peers if result.peer != "symc" and result.times_s]
    best = min(timed, key=lambda result: result.median_ms, default=None)
    print(table(outcome.results if shows_variants else peers, best))
    if outcome.other_cores > BUSY_CORES_MAX:
        print(f"  ! disturbed: other processes used {outcome.other_cores:.2f} cores; do not cite these figures")
    sys.stdout.flush()


def to_json(races: Sequence[Race]) -> str:
    rows = []
    for outcome in races:
        for result in outcome.results:
            row = asdict(result) | {"other_cores": outcome.other_cores, "disturb": outcome.disturb}
            if result.times_s:
                row |= {f"p{percent}_ms": result.percentile_ms(percent) for percent in (10, 50, 90)}
            rows.append(row)
    machine = {"cpu": cpu_name(), "n_cores": os.cpu_count(), "system": platform.platform()}
    return json.dumps({"machine": machine, "results": rows}, indent=1)


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def parse_arguments() -> argparse.Namespace:
    def names(allowed: Iterable[str]):
        def parse(text: str) -> list[str]:
            chosen = text.split(",")
            unknown = [name for name in chosen if name not in allowed]
            if unknown:
                raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; known: {', '.join(allowed)}")
            return chosen

        return parse

    def commit(text: str) -> str:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "--verify", "--quiet", f"{text}^{{commit}}"],
            cwd=BENCHMARKS, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if found.returncode:
            raise argparse.ArgumentTypeError(f"{text!r} is no commit of {BENCHMARKS.parent}")
        return found.stdout.strip()

    def counts(text: str) -> list[int]:
        return [int(count) for count in text.split(",")]

    parser = argparse.ArgumentParser(description="symc beside its peers; see benchmarks/README.md")
    parser.add_argument("--workloads", type=names(WORKLOADS), default=list(WORKLOADS), help=",".join(WORKLOADS))
    parser.add_argument("--threads", type=counts, default=[1, 2], help="thread counts, such as 1,2 (default)")
    parser.add_argument("--rounds", type=int, default=15, help="0 only checks the outputs (default 15)")
    parser.add_argument("--peers", type=names(PEERS), default=list(PEERS), help=",".join(PEERS))
    parser.add_argument("--peers-dir", type=Path, default=BENCHMARKS / ".peers", help="what peers/setup.sh made")
    parser.add_argument(
        "--against", type=commit, metavar="COMMIT", help="symc as it was at this commit is one more peer"
    )
    parser.add_argument(
        "--disturb", type=float, default=0.0, metavar="SHARE", help="another process takes this share of one core"
    )
    parser.add_argument("--variants", action="store_true", help="show every variant, not each peer's best")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every single time to FILE")
    arguments = parser.parse_args()
    if not 0 <= arguments.disturb <= 1:
        parser.error(f"--disturb takes a share of one core, 0 to 1, not {arguments.disturb}")
    arguments.peers_dir = arguments.peers_dir.resolve()
    if not (arguments.peers_dir / "models").is_dir():
        parser.error(f"no models in {arguments.peers_dir}: run benchmarks/peers/setup.sh {arguments.peers_dir} first")
    missing = [n for n in arguments.workloads if not (arguments.peers_dir / "models" / f"{n}-reference.npz").is_file()]
    if missing:
        parser.error(
            f"{arguments.peers_dir}/models lacks {', '.join(missing)}: run peers/setup.sh with that folder again, "
            "or leave them out of --workloads"
        )
    return arguments


def main() -> int:
    """0 when every contestant ran and was right, else 1."""
    arguments = parse_arguments()
    print(f"{cpu_name()}, {os.cpu_count()} cores; {arguments.rounds} rounds")
    races = []
    with symc_at(arguments.against) if arguments.against else contextlib.nullcontext() as earlier:
        contestants = [one for one in CONTESTANTS if one.peer in arguments.peers] + ([earlier] if earlier else [])
        for name in arguments.workloads:
            workload = WORKLOADS[name]
            chosen = [one for one in contestants if one.is_for(workload)]
            for n_threads in arguments.threads if chosen else ():
                races.append(
                    race(workload, n_threads, chosen, arguments.rounds, arguments.peers_dir, arguments.disturb)
                )
                report(races[-1], arguments.variants)
    if arguments.json:
        arguments.json.write_text(to_json(races), encoding="utf-8")
    return int(any(result.failure is not None for outcome in races for result in outcome.results))


if __name__ == "__main__":
    sys.exit(main())
