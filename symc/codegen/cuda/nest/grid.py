"""A plan for a grid of threads."""

from __future__ import annotations

from dataclasses import dataclass

from symc.codegen.cuda.launch import WARP
from symc.codegen.nest.plan import AxisLoop, NestPlan, StorePlan

THREADS = 256  # of a block, where threads do not work together


@dataclass(frozen=True, eq=False)
class GridPlan(NestPlan):
    """A plan whose units belong to threads, or to teams of threads that work together.

    `row_vectors` has the axis that threads share of each reduction, `StorePlan.vector` that of stores.

    n_threads  of a block
    team       of a unit: a whole block, one of its warps, or a part of a warp; 1 where threads work alone
    rounds     of each thread along a shared axis, of which the last alone may lie behind its end; what is `kept` is in
               registers; 0: as many as there are, in a loop
    """

    n_threads: int = THREADS
    team: int = 1
    rounds: int = 0
    is_kept_by_device: bool = True

    @property
    def n_blocks(self) -> int:
        """Into how many parts of `lanes` elements the blocked axis is cut; 1 without one."""
        return -(-self.form.extents[self.blocked] // self.lanes) if self.blocked else 1

    @property
    def is_shared(self) -> bool:
        """Whether threads work together."""
        return self.kind == "row"

    @property
    def shares_warp(self) -> bool:
        """Whether a warp has several units, whose threads have to go together."""
        return 1 < self.team < WARP

    def loops_of(self, group: StorePlan) -> tuple[AxisLoop, ...]:
        """The loops of a group of stores: those of its own, and who walks them."""
        serial = tuple(AxisLoop(axis) for axis in group.serial)
        if not self.is_shared:
            return serial
        if group.vector is None:
            return (AxisLoop("", "first thread"), *serial)
        return (*serial, AxisLoop(group.vector, "threads"))
