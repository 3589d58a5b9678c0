"""What a compiled program is, for people: its steps with the reasons for them, and its kernels' source."""

from __future__ import annotations

from collections.abc import Sequence

from symc.ir.kernels import HELD, KernelGraph
from symc.loopir.kernel import buffer_of
from symc.loopir.work import NO_WORK

from .lowered import Lowered
from .table import NODES_WIDTH, counted, scaled, shape_text, shortened, size_text, table


def explain(lowered: Lowered, remarks: Sequence[str] = ()) -> str:
    """A table with a row for each step, and under it why the step is as it is; `remarks` are about each.

    step  phase    operators                    nodes        output   launch       work    moved  memory
       4  forward  FullyConnected + Activation  fc1 + relu1  1x128   1 chunk  201 KFLOP  396 KiB  data -> arena+0
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
                shortened(" + ".join(counted(lowered.operators(k))), NODES_WIDTH),
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


def _places(kernels: KernelGraph, buffers: Sequence[str]) -> str:
    """Where buffers lie: `arena+offset`, the name of an argument, or another place and its key (`head 0`)."""
    found = []
    for name in buffers:
        storage = kernels.storage_of(name)
        offset = kernels.arena.offsets.get(storage.name) if kernels.arena else None
        is_named = storage.place in ("argument", *HELD)
        other = storage.key if is_named else f"{storage.place} {storage.key}".rstrip()
        found.append(other if offset is None else f"arena+{offset}")
    return shortened(", ".join(dict.fromkeys(found)) or "nothing", NODES_WIDTH)
