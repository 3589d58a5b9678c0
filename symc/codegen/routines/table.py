"""Template -> body: the kernel that a routine's class stands for."""

from __future__ import annotations

from collections.abc import Callable

from symc.core.errors import CodegenError
from symc.loopir.ctc import CtcForward, CtcOccupation
from symc.loopir.entropy import Divergences
from symc.loopir.factorize import Cholesky, Eigen, Lq, Lu, TriangularSolve
from symc.loopir.kernel import Template
from symc.loopir.matching import Match, Suppress
from symc.loopir.multibox import AssignAnchors, Detect
from symc.loopir.roi import RoiAlign, RoiMax, RoiMean, RotatedAlign
from symc.loopir.routine import Routine
from symc.loopir.scan import Scan
from symc.loopir.sorting import Sort
from symc.loopir.variates import Variate

from . import ctc, entropy, factorize, matching, multibox, roi, scan, sort, variates
from .body import Body

BODIES: dict[type[Routine], Callable[[Template], Body]] = {
    AssignAnchors: multibox.assign_body,
    Cholesky: factorize.body,
    CtcForward: ctc.body,
    CtcOccupation: ctc.body,
    Detect: multibox.detect_body,
    Divergences: entropy.body,
    Eigen: factorize.body,
    Lq: factorize.body,
    Lu: factorize.body,
    Match: matching.match_body,
    RoiAlign: roi.align_body,
    RoiMax: roi.max_body,
    RoiMean: roi.mean_body,
    RotatedAlign: roi.rotated_body,
    Scan: scan.body,
    Sort: sort.body,
    Suppress: matching.suppress_body,
    TriangularSolve: factorize.body,
    Variate: variates.body,
}


def body_of(template: Template) -> Body:
    """The body that carries out a template; raises CodegenError for a routine that has none."""
    found = BODIES.get(type(template.routine))
    if found is None:
        raise CodegenError(f"no kernel for routine {template.routine}; expected one of {list(BODIES)}")
    return found(template)
