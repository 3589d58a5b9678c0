"""The ways to run a workload, and the process of each: compare.py's side of the conversation in workers/protocol.py."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workloads import RECURRENT, Workload

BENCHMARKS = Path(__file__).resolve().parent
SETTLE_S_MAX = 2.0


@dataclass(frozen=True)
class Contestant:
    """One way of running a workload: a peer in one of its variants; symc's sources may be those of another commit."""

    peer: str
    variant: str
    environment: dict[str, str] = field(default_factory=dict)
    sources: Path | None = None

    @property
    def is_symc(self) -> bool:
        return self.sources is not None

    def is_for(self, workload: Workload) -> bool:
        if self.is_symc:
            return True
        if self.peer in ("onnxruntime", "openvino"):
            return not workload.is_training and not workload.is_quantized
        if self.peer == "jax":
            return workload.network not in RECURRENT and not workload.is_quantized
        if self.peer == "torch":
            is_recurrent = workload.network in RECURRENT
            return is_recurrent == (self.variant == "module") and not workload.is_quantized
        if workload.is_training and self.variant.startswith("gluon"):
            return False
        # The engine's queue and gluon's call path matter only where a call takes microseconds.
        return self.variant in ("executor", "executor+fusion") or workload.network == "mlp"


FUSION = {"MXNET_SUBGRAPH_BACKEND": "MKLDNN"}
NO_FUSION = {"MXNET_SUBGRAPH_BACKEND": "NONE"}
NAIVE_ENGINE = {"MXNET_ENGINE_TYPE": "NaiveEngine"}
CONTESTANTS = (
    Contestant("symc", "call", sources=BENCHMARKS.parent),
    Contestant("mxnet", "executor", NO_FUSION),
    Contestant("mxnet", "executor+fusion", FUSION),
    Contestant("mxnet", "executor+fusion, naive engine", {**FUSION, **NAIVE_ENGINE}),
    Contestant("mxnet", "gluon", NO_FUSION),
    Contestant("mxnet", "gluon, naive engine", {**NO_FUSION, **NAIVE_ENGINE}),
    Contestant("onnxruntime", "session"),
    Contestant("openvino", "latency hint"),
    Contestant("torch", "module"),
    Contestant("torch", "eager"),
    Contestant("torch", "compiled"),
    Contestant("jax", "compiled"),
)


@contextlib.contextmanager
def symc_at(commit: str) -> Iterator[Contestant]:
    """symc as it was at a commit of this repository, its sources in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="symc-at-") as folder:
        archive = subprocess.run(
            ["git", "archive", commit, "symc"], cwd=BENCHMARKS.parent, check=True, stdout=subprocess.PIPE
        )
        subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
        yield Contestant(f"symc at {commit}", "call", sources=Path(folder))


class WorkerError(Exception):
    """A worker ended before it replied."""


def cpu_s(pid: int) -> float:
    """CPU time of a whole process, by the clock id that Linux derives from its id (clock_getcpuclockid)."""
    return time.clock_gettime((~pid << 3) | 2)


class Worker:
    """The process of one contestant for one workload and thread count."""

    def __init__(self, contestant: Contestant, workload: Workload, n_threads: int, peers_dir: Path) -> None:
        self.contestant = contestant
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  (lives as long as the process that writes it)
        module = f"workers.{'symc' if contestant.is_symc else contestant.peer}_worker"
        arguments = [workload.name, contestant.variant, str(n_threads), str(peers_dir / "models")]
        self.process = subprocess.Popen(
            [interpreter(contestant, peers_dir), "-m", module, *arguments],
            cwd=BENCHMARKS,
            env=worker_environment(contestant, n_threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise WorkerError(self.log.read().strip() or f"exit status {self.process.returncode}")
        return json.loads(line)

    def run(self, n_untimed: int, n_calls: int) -> list[float]:
        """Seconds of each of `n_calls` calls, after `n_untimed` that bring the caches back; the process ends idle."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"n_untimed": n_untimed, "n_calls": n_calls}) + "\n")
        self.process.stdin.flush()
        times_s = self.receive()["times_s"]
        self.settle()
        return times_s

    def settle(self) -> None:
        """Returns once the process's CPU clock stands still: thread pools spin for a while after their last work."""
        deadline = time.monotonic() + SETTLE_S_MAX
        used_s = cpu_s(self.process.pid)
        while time.monotonic() < deadline:
            time.sleep(0.01)
            before_s, used_s = used_s, cpu_s(self.process.pid)
            if used_s - before_s < 0.0005:
                return
        print(f"! {self.contestant.peer} is still busy {SETTLE_S_MAX} s after its turn", file=sys.stderr)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.log.close()


def interpreter(contestant: Contestant, peers_dir: Path) -> str:
    if contestant.is_symc:
        return sys.executable
    environment = contestant.peer if contestant.peer in ("mxnet", "torch", "jax") else "onnx"
    return str(peers_dir / environment / "bin" / "python")


def worker_environment(contestant: Contestant, n_threads: int) -> dict[str, str]:
    """The caller's environment without anything that steers a peer's threads, then the thread count and the variant."""
    steering = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "MXNET_", "DNNL_", "SYMC_", "NUMBA_", "PYTHON")
    kept = {n: value for n, value in os.environ.items() if not n.startswith(steering) or n == "SYMC_CACHE_DIR"}
    count = str(n_threads)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "SYMC_NUM_THREADS", "NPROC")  # the last is XLA's
    threads = dict.fromkeys(names, count)
    path = {"PYTHONPATH": str(contestant.sources)} if contestant.is_symc else {}
    return {**kept, **threads, **path, **contestant.environment}
