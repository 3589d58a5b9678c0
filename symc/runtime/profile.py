"""What time the steps of a compiled program take, for people: measured, as a table and as a trace."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from symc.core.lazy import lazy
from symc.core.replacing import replacing
from symc.loopir.work import Work

from .instance import Instance
from .lowered import Lowered
from .program import CallBack, KernelStep
from .table import NODES_WIDTH, counted, shortened, table, time_text


@dataclass(frozen=True)
class StepTime:
    """The median time of one step, and what it achieves."""

    step: int
    phase: str
    kernel: str
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    time_s: float
    share: float
    gflops_per_s: float
    gbytes_per_s: float


@dataclass(frozen=True)
class Profile:
    """Times of every step of some runs; prints as a table.

    steps      number in the program, step, operators, nodes, work
    times_ns   int64 (n_runs, n_steps, 2): when each step began and ended, on a monotonic clock
    """

    steps: tuple[tuple[int, KernelStep | CallBack, tuple[str, ...], tuple[str, ...], Work], ...] = field(repr=False)
    times_ns: np.ndarray = field(repr=False)

    @lazy
    def rows(self) -> list[StepTime]:
        """Steps in order."""
        medians_s = np.median(self.times_ns[:, :, 1] - self.times_ns[:, :, 0], axis=0) * 1e-9
        total_s = max(float(medians_s.sum()), 1e-12)
        found = []
        for (number, step, operators, nodes, work), time_s in zip(self.steps, medians_s.tolist()):
            per_s = 1 / max(time_s, 1e-12)
            found.append(
                StepTime(
                    number,
                    step.phase,
                    step.kernel if isinstance(step, KernelStep) else step.name,
                    operators,
                    nodes,
                    time_s,
                    share=time_s / total_s,
                    gflops_per_s=work.flops * per_s * 1e-9,
                    gbytes_per_s=work.size_bytes * per_s * 1e-9,
                )
            )
        return found

    @property
    def total_s(self) -> float:
        """The median times of all steps together."""
        return sum(row.time_s for row in self.rows)

    @property
    def run_s(self) -> float:
        """The median time from the beginning of a run's first step to the end of its last, pauses included; where the
        last ones lie in a loop, the time of all steps at least: theirs is counted from the first round.
        """
        if not self.steps:
            return 0.0
        begins_ns, ends_ns = self.times_ns[..., 0], self.times_ns[..., 1]
        spans_ns = np.maximum(ends_ns[:, -1] - begins_ns[:, 0], (ends_ns - begins_ns).sum(axis=1))
        return float(np.median(spans_ns)) * 1e-9

    def text(self, n_rows: int | None = None) -> str:
        """The table; with `n_rows` only the longest steps, longest first."""
        rows = self.rows
        if n_rows is not None:
            rows = sorted(rows, key=lambda r: -r.time_s)[:n_rows]
        cells = [
            (
                r.step,
                r.phase,
                time_text(r.time_s),
                f"{r.share:.1%}",
                f"{r.gflops_per_s:.1f}",
                f"{r.gbytes_per_s:.1f}",
                shortened(" + ".join(counted(r.operators)), NODES_WIDTH),
                shortened(" + ".join(r.nodes), NODES_WIDTH),
            )
            for r in rows
        ]
        header = ("step", "phase", "median", "share", "GFLOP/s", "GB/s", "operators", "nodes")
        left_out = f", {len(self.rows) - len(rows)} shorter ones not shown" if len(rows) < len(self.rows) else ""
        summary = f"{len(self.rows)} steps in {time_text(self.total_s)}, median of {len(self.times_ns)} runs{left_out}"
        summary += f"; a run takes {time_text(self.run_s)}"
        return table(header, cells, right="step median share GFLOP/s GB/s") + "\n" + summary

    def __str__(self) -> str:
        return self.text()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "total_s": self.total_s,
            "run_s": self.run_s,
            "n_runs": len(self.times_ns),
            "steps": [asdict(r) for r in self.rows],
        }

    def chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Writes every run as JSON for chrome://tracing or https://ui.perfetto.dev."""
        start_ns = int(self.times_ns.min()) if self.times_ns.size else 0
        events = []
        for run, times in enumerate(self.times_ns.tolist()):
            for row, (begin_ns, end_ns) in zip(self.rows, times):
                events.append(
                    {
                        "name": " + ".join(counted(row.operators)),
                        "cat": row.phase,
                        "ph": "X",
                        "pid": 0,
                        "tid": 0,
                        "ts": (begin_ns - start_ns) / 1e3,
                        "dur": (end_ns - begin_ns) / 1e3,
                        "args": {"run": run, "step": row.step, "kernel": row.kernel, "nodes": list(row.nodes)},
                    }
                )
        trace = json.dumps({"traceEvents": events, "displayTimeUnit": "ns"})
        with replacing(Path(path)) as unfinished:
            unfinished.write_text(trace, encoding="utf-8")


def profile(lowered: Lowered, instance: Instance, n_runs: int) -> Profile:
    """Times each step over some runs of an instance that has run before.

    Of a program with gradients both directions are run, so gradients and states change as by `backward`.
    """
    phases = [phase for phase in ("forward", "backward") if lowered.program.phase_steps(phase)]
    steps = [
        (k, step, lowered.operators(k), node.nodes, lowered.work(k))
        for k, (step, node, _) in enumerate(lowered.steps())
    ]
    numbered = tuple(s for phase in phases for s in steps if s[1].phase == phase)
    times_ns = np.zeros((max(1, n_runs), len(numbered), 2), np.int64)
    for run in times_ns:
        done = 0
        for phase in phases:
            measured = instance.run_profiled(phase)
            run[done : done + len(measured)] = measured
            done += len(measured)
    return Profile(numbered, times_ns)
