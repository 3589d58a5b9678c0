"""A decision about one contraction as a value, which schedules carry out, reports show and tuners compare."""

from __future__ import annotations

from dataclasses import dataclass

from symc.core.shapes import FullShape
from symc.loopir.kernel import Packing


@dataclass(frozen=True, kw_only=True)
class ContractionPlan:
    """How a device computes one contraction: made once, before anything is printed; devices add what else they decide.

    algorithm         what computes it, for readers
    cycles            the time to expect, on one core at full speed
    why               the decision in words, as `Executor.explain()` shows it
    packing, scratch, work_flops  what passes and reports must know: see `loopir.kernel.Plan`
    """

    algorithm: str
    cycles: float
    why: str
    packing: Packing | None = None
    scratch: FullShape = ()
    work_flops: int | None = None
