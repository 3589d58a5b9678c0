"""The CPU's body of a routine as a function that every thread calls for a part of the work."""

from __future__ import annotations

from collections.abc import Callable

from symc.codegen.cuda.launch import Grid, bounded
from symc.codegen.kernel import KernelCall, KernelCode
from symc.codegen.routines.body import Compiler
from symc.codegen.routines.table import body_of
from symc.loopir.kernel import Template

THREADS = 64  # of a block: parts are few, and take long

SOURCE = """
def kernel(desc, bufs):
    part = cuda.grid(1)
    n_parts = desc[{n_parts}]
    if part < n_parts:
        routine(part, n_parts, desc, bufs)
"""


def a_thread_for_each_part(template: Template) -> KernelCall:
    """The call that carries out a template, a thread for each of its parts; raises CodegenError for a routine that has
    no kernel."""
    body = body_of(template)
    d = body.descriptor()
    n_parts = template.n_parts
    d.add("n_parts", n_parts)
    source = SOURCE.format(n_parts=d.number("n_parts")).lstrip()

    def build() -> Callable[..., None]:
        from symc.codegen.cuda.compile import cuda
        from symc.codegen.routines.access import elements, floats

        jit = cuda().jit(device=True)
        scope = {"cuda": cuda(), "routine": jit(body.make(Compiler(jit, elements, floats()), *body.options))}
        exec(source, scope)
        return bounded(scope["kernel"], THREADS)

    code = KernelCode(
        body.family,
        f"gpu {THREADS} threads {body.make.__name__} {body.structure} words {d.number('n_parts')}",
        lambda: f"{source}\n{body.text()}",
        build,
    )
    grid = Grid(max(1, -(-n_parts // THREADS)), THREADS)
    return KernelCall(code, tuple(d.words), grid, f"{body.reason}, a thread for each of {n_parts} parts")
