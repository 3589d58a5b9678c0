"""Templates on a GPU: the body of the routine as a function that every thread calls for a part of the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from symc.codegen.kernel import KernelCall, KernelCode
from symc.codegen.llvm.intrinsic import intrinsic
from symc.codegen.routines.body import Compiler
from symc.codegen.routines.table import body_of
from symc.core.dtypes import ITEM_SIZE
from symc.loopir.kernel import Template

from .launch import Grid, bounded

THREADS = 64  # of a block: parts are few, and take long
_FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}

SOURCE = """
def kernel(desc, bufs):
    part = cuda.grid(1)
    n_parts = desc[{n_parts}]
    if part < n_parts:
        routine(part, n_parts, desc, bufs)
"""


def schedule_template(template: Template) -> KernelCall:
    """The call that carries out a template, a thread for each of its parts; raises CodegenError for a routine that has
    no kernel."""
    body = body_of(template)
    d = body.descriptor()
    n_parts = template.n_parts
    d.add("n_parts", n_parts)
    source = SOURCE.format(n_parts=d.number("n_parts")).lstrip()

    def build() -> Callable[..., None]:
        from .compile import cuda

        jit = cuda().jit(device=True)
        scope = {"cuda": cuda(), "routine": jit(body.make(Compiler(jit, elements, _floats()), *body.options))}
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


def _floats() -> Any:
    """An intrinsic `desc -> pointer to float64`."""

    @intrinsic(result="float64*")
    def floats(b: Any, desc: Any) -> Any:
        return b.bitcast(desc, ir.DoubleType().as_pointer())

    return floats


def elements(dtype: str) -> Any:
    """An intrinsic `address -> pointer`."""
    element = _FLOATS.get(dtype) or ir.IntType(8 * ITEM_SIZE[dtype])

    @intrinsic(result="uint8*" if dtype == "bool" else f"{dtype}*")
    def typed(b: Any, address: Any) -> Any:
        return b.inttoptr(address, element.as_pointer())

    return typed
