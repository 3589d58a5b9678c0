"""A plan whose units of work are shared out over a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from symc.codegen.cuda.launch import WARP
from symc.codegen.nest.plan import AxisLoop, NestPlan, StorePlan

THREADS = 256  # of a block, where threads do not work together


@dataclass(frozen=True, eq=False)
class GridPlan(NestPlan):
    """A plan whose units belong to threads, or to teams of threads that work together.

    `row_vectors` has the axis that threads share of each reduction, `StorePlan.vector` that of stores.

    n_threads  of a block
    n_blocks   of a processor, for which registers are limited
    team       threads of a unit: a whole block, one of its warps, or a part of a warp; 1 where threads work alone
    rounds     of each thread along a row, of which the last alone may lie behind its end; what is `kept` is in
               registers; 0: as many as there are, in a loop
    """

    n_threads: int = THREADS
    n_blocks: int = 1
    team: int = 1
    rounds: int = 0
    is_kept_by_device: bool = True

    @property
    def around(self) -> tuple[AxisLoop, ...]:
        """The loops of a unit that all stores share; all of its threads go along the blocked axis together."""
        return super().around[::-1]

    @property
    def cut(self) -> tuple[str, ...]:
        """The axes of which a unit has `lanes` elements; neighbouring units are neighbours along the last one."""
        return tuple(axis for axis in (self.cross, self.vector) if axis)

    @property
    def n_units(self) -> int:
        """Of the whole grid."""
        extents = self.form.extents
        n_parts = math.prod(-(-extents[a] // self.lanes) for a in self.cut)
        return math.prod(extents[a] for a in self.outer) * n_parts

    @property
    def is_shared(self) -> bool:
        """Whether threads work together."""
        return self.kind in ("row", "tile")

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
