"""Which routines have kernels of the GPU's own; the others run the CPU's, a thread for each part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from symc.codegen.kernel import KernelCall
from symc.core.shapes import FullShape
from symc.loopir.kernel import Buffer, Template
from symc.loopir.matching import Match, Suppress
from symc.loopir.multibox import AssignAnchors, Detect
from symc.loopir.routine import Routine
from symc.loopir.scan import Scan
from symc.loopir.sorting import Sort

from . import assign, detect, match, scan, sort, suppress
from .parts import a_thread_for_each_part

Scratch = Sequence[tuple[FullShape, str]]


class Own(NamedTuple):
    """How a routine is carried out here.

    calls     its launches, in order
    scratch   shapes and dtypes of the memory that they use besides inputs (which it is given) and outputs
    """

    calls: Callable[[Template], list[KernelCall]]
    scratch: Callable[[Routine, Sequence[Buffer]], Scratch]


OWN: dict[type[Routine], Own] = {
    AssignAnchors: Own(assign.calls, assign.scratch),
    Detect: Own(detect.calls, detect.scratch),
    Match: Own(match.calls, match.scratch),
    Scan: Own(scan.calls, scan.scratch),
    Sort: Own(sort.calls, sort.scratch),
    Suppress: Own(suppress.calls, suppress.scratch),
}


def schedule_template(template: Template) -> list[KernelCall]:
    """The calls that carry out a template; raises CodegenError for a routine that has no kernel."""
    own = OWN.get(type(template.routine))
    return [a_thread_for_each_part(template)] if own is None else own.calls(template)


def scratch_of(routine: Routine, ins: Sequence[Buffer]) -> Scratch:
    """What `schedule_template` expects as the scratch buffers of a template with these inputs."""
    own = OWN.get(type(routine))
    return routine.scratch([b.shape for b in ins]) if own is None else own.scratch(routine, ins)
