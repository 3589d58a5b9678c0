"""Template -> kernel call: the kernel that a routine's class stands for."""

from __future__ import annotations

from collections.abc import Callable

from symc.codegen.contraction.winograd import TransformWeight
from symc.codegen.cpu.contraction import schedule_weight_transform
from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall
from symc.core.errors import CodegenError
from symc.loopir.factorize import Cholesky, Lq, Lu, TriangularSolve
from symc.loopir.kernel import Template
from symc.loopir.matching import Match, Suppress
from symc.loopir.roi import RoiAlign, RoiMax
from symc.loopir.routine import Routine
from symc.loopir.scan import Scan
from symc.loopir.sorting import Sort
from symc.loopir.variates import Variate

from . import factorize, matching, roi, scan, sort, variates

SCHEDULES: dict[type[Routine], Callable[[Template], KernelCall]] = {
    Cholesky: factorize.schedule,
    Lq: factorize.schedule,
    Lu: factorize.schedule,
    Match: matching.schedule_match,
    RoiAlign: roi.schedule_align,
    RoiMax: roi.schedule_max,
    Scan: scan.schedule,
    Sort: sort.schedule,
    Suppress: matching.schedule_suppress,
    TriangularSolve: factorize.schedule,
    Variate: variates.schedule,
}


def schedule_template(template: Template, target: Target) -> KernelCall:
    """The call that carries out a template; raises CodegenError for a routine that has no kernel."""
    if isinstance(template.routine, TransformWeight):
        return schedule_weight_transform(template, target)
    found = SCHEDULES.get(type(template.routine))
    if found is None:
        raise CodegenError(f"no CPU kernel for routine {template.routine}; expected one of {list(SCHEDULES)}")
    return found(template)
