"""Templates on the CPU: the body of the routine, compiled by numba like every other kernel."""

from __future__ import annotations

from collections.abc import Callable

from symc.codegen.contraction.winograd import TransformWeight
from symc.codegen.cpu.contraction import schedule_weight_transform
from symc.codegen.kernel import Chunks, KernelCall, KernelCode
from symc.codegen.routines.access import elements, floats
from symc.codegen.routines.body import Compiler
from symc.codegen.routines.table import body_of
from symc.loopir.kernel import Template

from .compile import jit
from .target import Target


def schedule_template(template: Template, target: Target) -> KernelCall:
    """The call that carries out a template; raises CodegenError for a routine that has no kernel."""
    if isinstance(template.routine, TransformWeight):
        return schedule_weight_transform(template, target)
    body = body_of(template)

    def build() -> Callable[..., None]:
        return jit()(body.make(compiler(), *body.options))

    code = KernelCode(body.family, f"{body.make.__name__} {body.structure}", body.text, build)
    words = tuple(body.descriptor().words)
    return KernelCall(code, words, Chunks(template.n_parts), f"{body.reason}, {template.n_parts} chunks")


def compiler() -> Compiler:
    """numba's."""
    return Compiler(jit(), elements, floats())
