"""What a compiled program is and what it costs, for people: its steps, its kernels' source, its memory, its times."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from symc.core.lazy import lazy
from symc.ir.kernels import ArenaPlan, KernelGraph, KernelNode
from symc.loopir.kernel import buffer_of
from symc.loopir.work import NO_WORK, Work
from symc.passes.plan_memory import life_of, loop_spans, touches

from .instance import Instance
from .lowered import Lowered
from .program import CallBack, KernelStep
from .table import scaled, shape_text, shortened, size_text, table, time_text

NODES_WIDTH = 44


def explain(lowered: Lowered, remarks: Sequence[str] = ()) -> str:
    """A table with a row for each step, and under it why the step is as it is; `remarks` are about each.

    step  phase    operators                    nodes        output  chunks      work    moved  memory
       4  forward  FullyConnected + Activation  fc1 + relu1  1x128        1  201 KFLOP  396 KiB  data -> arena+0
          kernel symc_matrix_449e329e8e7a4637: fused; 1x128 (8 vectors of 16) tile, 1 row tiles x 1 panels; ...
    """
    program = lowered.program
    rows, notes = [], []
    for k, (step, node, call) in enumerate(lowered.steps()):
        work, (reads, writes) = lowered.work(k), lowered.touched(k)
        rows.append(
            (
                k,
                step.phase,
                shortened(" + ".join(_counted(lowered.operators(k))), NODES_WIDTH),
                shortened(" + ".join(node.nodes), NODES_WIDTH),
                ", ".join(dict.fromkeys(shape_text(buffer_of(node.kernel, name).shape) for name in writes)),
                call.launch or "Python",
                scaled(work.flops, "FLOP"),
                size_text(work.size_bytes),
                f"{_places(lowered.kernels, reads)} -> {_places(lowered.kernels, writes)}",
            )
        )
        loops = ", ".join(f"in {loop}" for loop in node.loops)
        remark = remarks[k] if remarks else ""
        reasons = "; ".join(r for r in (loops, node.reason, call.schedule, remark) if r)
        notes.append(f"      kernel {call.code.name}: {reasons}")
    header = ("step", "phase", "operators", "nodes", "output", "launch", "work", "moved", "memory")
    head, *lines = table(header, rows, right="step launch work moved").splitlines()
    total = sum(map(lowered.work, range(len(lowered.calls))), NO_WORK)
    body = [line for pair in zip(lines, notes) for line in pair]
    summary = (
        f"{len(rows)} steps, {len(lowered.codes)} kernels, {scaled(total.flops, 'FLOP')}, "
        f"{size_text(total.size_bytes)} moved, arena {size_text(program.arena_bytes)}, "
        f"prepared {size_text(program.prepared_bytes)}"
    )
    return "\n".join([head, *body, summary])


def source(lowered: Lowered) -> str:
    """The source of every kernel, each under a line with its name and the steps that call it."""
    parts = []
    for name, code in lowered.codes.items():
        steps = ", ".join(str(k) for k, (_, _, c) in enumerate(lowered.steps()) if c.code.name == name)
        parts.append(f"# ---- {name}: steps {steps}\n{code.source.rstrip()}\n")
    return "\n".join(parts)


def _counted(names: Sequence[str]) -> list[str]:
    """Each name once, with how often it follows itself.

    >>> _counted(["_copy", "exp", "exp"])
    ['_copy', 'exp x 2']
    """
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return [name if n == 1 else f"{name} x {n}" for name, n in runs]


def _places(kernels: KernelGraph, buffers: Sequence[str]) -> str:
    """Where buffers lie: `arena+offset`, the name of an argument, or another place and its key (`head 0`)."""
    found = []
    for name in buffers:
        storage = kernels.storage_of(name)
        offset = kernels.arena.offsets.get(storage.name) if kernels.arena else None
        is_named = storage.place in ("argument", "parameter", "aux")
        other = storage.key if is_named else f"{storage.place} {storage.key}".rstrip()
        found.append(other if offset is None else f"arena+{offset}")
    return shortened(", ".join(dict.fromkeys(found)) or "nothing", NODES_WIDTH)


# -- memory --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placed:
    """A piece of arena: from the first step that writes it to the last that touches it."""

    name: str
    offset_bytes: int
    size_bytes: int
    first_step: int
    last_step: int
    in_place_of: str | None


@dataclass(frozen=True)
class MemoryReport:
    """The memory plan; all sizes in bytes. Prints as a table.

    planned_bytes      the arena: every intermediate of one run
    naive_bytes        what they take when each has memory of its own
    lower_bound_bytes  the largest sum of intermediates that are needed at the same time: no plan can be smaller
    prepared_bytes     parameters packed or folded once
    parameter_bytes, state_bytes, input_bytes, output_bytes   the caller's arrays
    """

    planned_bytes: int
    naive_bytes: int
    lower_bound_bytes: int
    prepared_bytes: int
    parameter_bytes: int
    state_bytes: int
    input_bytes: int
    output_bytes: int
    storages: tuple[Placed, ...] = field(repr=False)

    @staticmethod
    def of(lowered: Lowered) -> MemoryReport:
        """The report of a compiled program."""
        return MemoryReport.of_kernels(lowered.kernels, [node for node, _ in lowered.calls])

    @staticmethod
    def of_kernels(kernels: KernelGraph, steps: Sequence[KernelNode] = ()) -> MemoryReport:
        """The report of a planned kernel graph, which needs no compiled code; `steps` are its kernels as they run."""
        plan = kernels.arena or ArenaPlan({}, 0, 0, 0)
        made = steps or kernels.kernels
        spans, found = loop_spans([node.loops for node in made]), touches(kernels, made)
        placed = [
            Placed(name, offset, kernels.storages[name].size_bytes, first, last, plan.in_place.get(name))
            for name, offset in plan.offsets.items()
            for first, last, _ in [life_of(found[name], spans)]
        ]

        def used(place: str) -> int:
            return sum(s.size_bytes for s in kernels.storages.values() if s.place == place)

        return MemoryReport(
            planned_bytes=plan.size_bytes,
            naive_bytes=plan.naive_bytes,
            lower_bound_bytes=plan.lower_bound_bytes,
            prepared_bytes=used("prepared"),
            parameter_bytes=used("parameter"),
            state_bytes=used("aux"),
            input_bytes=used("argument"),
            output_bytes=used("head"),
            storages=tuple(sorted(placed, key=lambda p: (p.first_step, p.offset_bytes))),
        )

    @property
    def in_place(self) -> list[tuple[str, str]]:
        """Pairs (result, operand whose memory it takes over)."""
        return [(p.name, p.in_place_of) for p in self.storages if p.in_place_of is not None]

    @property
    def total_bytes(self) -> int:
        """Everything one executor holds, the caller's arrays included."""
        own = self.planned_bytes + self.prepared_bytes
        return own + self.parameter_bytes + self.state_bytes + self.input_bytes + self.output_bytes

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "total_bytes": self.total_bytes}

    def summary(self) -> str:
        """The sizes, a line each."""
        rows = [
            ("parameters", size_text(self.parameter_bytes), ""),
            ("states", size_text(self.state_bytes), ""),
            ("inputs", size_text(self.input_bytes), ""),
            ("outputs", size_text(self.output_bytes), ""),
            ("prepared parameters", size_text(self.prepared_bytes), ""),
            ("intermediates", size_text(self.planned_bytes), self._quality()),
            ("total", size_text(self.total_bytes), ""),
        ]
        return table(("memory", "size", ""), rows, right="size")

    def _quality(self) -> str:
        in_place = f", {len(self.in_place)} results in place" if self.in_place else ""
        return (
            f"naive {size_text(self.naive_bytes)}, lower bound {size_text(self.lower_bound_bytes)}, "
            f"{len(self.storages)} pieces{in_place}"
        )

    def __str__(self) -> str:
        rows = [
            (p.offset_bytes, p.size_bytes, f"{p.first_step}..{p.last_step}", shortened(p.name, NODES_WIDTH),
             f"in place of {p.in_place_of}" if p.in_place_of else "")
            for p in self.storages
        ]  # fmt: skip
        header = ("offset", "bytes", "steps", "intermediate", "")
        return table(header, rows, right="offset bytes steps") + "\n\n" + self.summary()


# -- time ----------------------------------------------------------------------------------------------------------


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
                shortened(" + ".join(_counted(r.operators)), NODES_WIDTH),
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
                        "name": " + ".join(_counted(row.operators)),
                        "cat": row.phase,
                        "ph": "X",
                        "pid": 0,
                        "tid": 0,
                        "ts": (begin_ns - start_ns) / 1e3,
                        "dur": (end_ns - begin_ns) / 1e3,
                        "args": {"run": run, "step": row.step, "kernel": row.kernel, "nodes": list(row.nodes)},
                    }
                )
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ns"}, file)


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
