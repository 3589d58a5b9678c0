"""What was decided about a form: which axes are units of work, which one the lanes share, which loops are inside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from symc.loopir.expr import Expr

from .form import Access, Form, StoreForm
from .keep import Kept
from .slide import Slide

Kind = Literal["lane", "row", "tile", "scalar"]


@dataclass(frozen=True)
class AxisLoop:
    """How a device walks an axis: "serial", or a way of its own ("vector"), with `parts` steps side by side."""

    axis: str
    binding: str = "serial"
    parts: int = 1


@dataclass(frozen=True, eq=False)
class StorePlan:
    """Stores that share their inner loops: `serial` loops, then vector lanes along `vector` (None: as around it).

    `crosswise` has the values that others find along `cross` and hand over, where a device does so.
    """

    stores: tuple[StoreForm, ...]
    serial: tuple[str, ...]
    vector: str | None
    crosswise: tuple[Expr, ...] = ()


@dataclass(frozen=True, eq=False)
class NestPlan:
    """The schedule of one form."""

    form: Form
    kind: Kind
    lanes: int
    unroll: int
    outer: tuple[str, ...]
    vector: str | None  # lane and tile: the axis of the lanes
    blocked: str | None  # the axis whose range is cut into blocks; if it is not that of the lanes, a serial loop inside
    cross: str | None  # tile: the axis the strided loads are contiguous along; woven: the one the stores are
    row_vectors: dict[Expr, str | None]  # reductions in scalar surroundings: the axis of their lanes
    stores: tuple[StorePlan, ...]
    reason: str
    cost: float
    kept: tuple[Kept, ...] = ()  # row: what the first walk that computes it leaves for the others
    asks_ahead: bool = False  # row: walks that need the result of another one ask for what is needed next
    abreast: int = 1  # row: neighbours along `blocked` whose walks take turns, so that none waits for the end of a sum
    slide: Slide | None = None  # lane: windows that share columns, along a serial axis
    woven: int = 0  # the extent of `cross` where all of it is stored at once, element by element of the lanes
    below: tuple[Expr, ...] = ()  # values that are at most 0 or NaN, where an exp of such takes less
    scales: bool = False  # whether what these exponentials are all multiplied with cancels
    streams: bool = False  # lane, tile: what is stored will not be found in the caches, so it need not go through them
    is_kept_by_device: bool = False  # what is `kept`: where it likes, instead of in memory

    @property
    def around(self) -> tuple[AxisLoop, ...]:
        """The loops of a unit that all stores share, outermost first."""
        lanes = [AxisLoop(self.vector, "vector", self.unroll)] if self.vector else []
        sweep = [AxisLoop(self.blocked)] if self.blocked not in (None, self.vector) else []
        return (*lanes, *sweep)

    def is_short(self, reduce: Expr) -> bool:
        """Whether a reduction is not cut into blocks: what a block gives is added to 0, which takes time, too."""
        shared = self.row_vectors.get(reduce) if self.lanes > 1 else None
        return self.form.is_short(reduce, shared, self.lanes * self.unroll)

    def reads_in_common(self, group: StorePlan) -> bool:
        """Whether rows read something, element by element of the lanes, that is the same for all of them."""
        along, rows = group.vector, self.blocked
        if along is None or rows is None:
            return False
        return any(a.stride(along) and not a.stride(rows) for a in self.form.loads.values())

    def loops_of(self, group: StorePlan) -> tuple[AxisLoop, ...]:
        """The loops of a group of stores inside those."""
        serial = tuple(AxisLoop(axis) for axis in group.serial)
        return serial if group.vector is None else (*serial, AxisLoop(group.vector, "vector", min(2, self.unroll)))


def common_axes(form: Form) -> tuple[str, ...]:
    """The axes that all stores share, neighbours in memory last: those reductions depend on, or all without any."""
    axes = form.stores[0].axes
    if form.reduce_axes:
        free = frozenset().union(*(form.free(r) for r in form.reduce_axes))
        axes = tuple(a for a in axes if a in free)
    return by_stride(axes, form.stores[0].access)


def by_stride(axes: Iterable[str], access: Access) -> tuple[str, ...]:
    """Widest steps first."""
    return tuple(sorted(axes, key=lambda a: -abs(access.stride(a))))
