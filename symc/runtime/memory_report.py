"""What memory a compiled program takes, for people: every intermediate's place, and the sizes of all there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from symc.ir.kernels import ArenaPlan, KernelGraph, KernelNode
from symc.passes.plan_memory import life_of, loop_spans, touches

from .lowered import Lowered
from .table import NODES_WIDTH, shortened, size_text, table


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
    gradient_bytes     what backward writes, and the gradients of outputs that it reads
    """

    planned_bytes: int
    naive_bytes: int
    lower_bound_bytes: int
    prepared_bytes: int
    parameter_bytes: int
    state_bytes: int
    input_bytes: int
    output_bytes: int
    gradient_bytes: int
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

        def used(*places: str) -> int:
            return sum(s.size_bytes for s in kernels.storages.values() if s.place in places)

        return MemoryReport(
            planned_bytes=plan.size_bytes,
            naive_bytes=plan.naive_bytes,
            lower_bound_bytes=plan.lower_bound_bytes,
            prepared_bytes=used("prepared"),
            parameter_bytes=used("parameter"),
            state_bytes=used("aux"),
            input_bytes=used("argument"),
            output_bytes=used("head"),
            gradient_bytes=used("gradient", "head_gradient"),
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
        of_caller = self.parameter_bytes + self.state_bytes + self.input_bytes + self.output_bytes
        return own + of_caller + self.gradient_bytes

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
            *([("gradients", size_text(self.gradient_bytes), "")] if self.gradient_bytes else []),
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
