"""What was decided about a form: which axes are units of work, which one the lanes share, which loops are inside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from symc.loopir.expr import Expr

from .form import Form, StoreForm

Kind = Literal["lane", "row", "tile", "scalar"]


@dataclass(frozen=True, eq=False)
class StorePlan:
    """Stores that share their inner loops: `serial` loops, then vector lanes along `vector` (None: as around it)."""

    stores: tuple[StoreForm, ...]
    serial: tuple[str, ...]
    vector: str | None


@dataclass(frozen=True, eq=False)
class Plan:
    """The schedule of one form."""

    form: Form
    kind: Kind
    lanes: int
    unroll: int
    outer: tuple[str, ...]
    vector: str | None  # lane and tile: the axis of the lanes
    blocked: str | None  # the axis whose range is cut into blocks; if it is not that of the lanes, a serial loop inside
    cross: str | None  # tile: the axis the strided loads are contiguous along
    row_vectors: dict[Expr, str | None]  # reductions in scalar surroundings: the axis of their lanes
    stores: tuple[StorePlan, ...]
    reason: str
    cost: float
