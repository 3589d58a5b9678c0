"""A decision about one contraction as a value, which schedules carry out, reports show and tuners compare."""

from __future__ import annotations

from dataclasses import dataclass

from symc.core.shapes import FullShape
from symc.loopir.kernel import Contraction, Packing, buffer_of


@dataclass(frozen=True, kw_only=True)
class ContractionPlan:
    """How a device computes one contraction: made once, before anything is printed; devices add what else they decide.

    algorithm         what computes it, for readers
    cycles            the time to expect, on one core at full speed
    why               the decision in words, as `Executor.explain()` shows it
    is_reused         whether the right operand is arranged once for many runs
    is_in_place       whether the right operand lies already as its packing says, so that nothing is to be copied
    packing, scratch, work_flops  what passes and reports must know: see `loopir.kernel.Plan`
    """

    algorithm: str
    cycles: float
    why: str
    packing: Packing | None = None
    scratch: FullShape = ()
    work_flops: int | None = None
    is_reused: bool = False
    is_in_place: bool = False

    @property
    def name(self) -> str:
        """Tells it from the other candidates of its problem."""
        return self.algorithm


def problem_text(c: Contraction, is_reused: bool) -> str:
    """What decides which plans there are and how fast each is: contractions of one problem get the same plan."""
    source = buffer_of(c, c.lhs)
    return f"{c.problem} {source.dtype} strides={source.strides}{' reused' if is_reused else ''}"
