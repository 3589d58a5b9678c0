"""From a graph to a program that can run: passes, schedules, kernels; with a record of what it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from symc.codegen.cpu.backend import CpuBackend
from symc.core.config import setting
from symc.ir.graph import Graph
from symc.passes.base import PassContext
from symc.passes.pipeline import Trace, lower_graph

from .instance import LoadedProgram
from .program import Program, assemble


@dataclass(frozen=True)
class Compiled:
    """A loaded program and how it came to be.

    compiled   seconds spent on each kernel that no cache had
    time_s     the whole compilation
    """

    loaded: LoadedProgram
    objects: Mapping[str, bytes] = field(repr=False)
    trace: Trace = field(repr=False)
    compiled: Mapping[str, float]
    time_s: float

    @property
    def program(self) -> Program:
        return self.loaded.program


def compile_graph(
    graph: Graph,
    grad_req: Mapping[str, str] | None = None,
    backend: CpuBackend | None = None,
    has_parameters: bool = True,
) -> Compiled:
    """Compiles a graph whose inputs have shapes and dtypes.

    grad_req         "write", "add" or "null" by argument; empty or all "null" compiles no backward part
    has_parameters   whether arguments that hold parameters rarely change: then they are prepared once
    """
    start = time.perf_counter()
    backend = backend or CpuBackend.host()
    trace = Trace()
    kernels = lower_graph(graph, PassContext(backend, dict(grad_req or {}), has_parameters), trace)
    calls = trace.run(
        "schedule",
        lambda: [(node, call) for node in kernels.kernels for call in backend.schedule(node.kernel)],
        None,
        len,
    )
    program = assemble(kernels, calls)
    built = trace.run("compile", lambda: backend.compile(program.codes.values()), None, lambda b: len(b.compiled))
    loaded = trace.run("load", lambda: LoadedProgram(program, backend.load(built.objects)), None, lambda _: 1)
    spent = time.perf_counter() - start
    if setting("SYMC_DEBUG") >= 1:
        arena = kernels.arena
        print(
            f"symc: compiled {len(graph.nodes)} nodes to {len(program.steps)} steps, {len(program.codes)} kernels "
            f"({len(built.compiled)} new), arena {arena.size_bytes if arena else 0} bytes, {spent * 1e3:.0f} ms",
            file=sys.stderr,
        )
    if setting("SYMC_DEBUG") >= 3:
        from .report import explain, source

        print(explain(program), file=sys.stderr)
        if setting("SYMC_DEBUG") >= 4:
            print(source(program), file=sys.stderr)
    if setting("SYMC_DUMP"):
        from .dump import dump

        dump(Path(setting("SYMC_DUMP")), trace, program)
    return Compiled(loaded, built.objects, trace, built.compiled, spent)
