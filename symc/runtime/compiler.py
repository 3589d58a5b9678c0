"""From a graph to a program that can run, taken from the cache on disk where the same graph was compiled before."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symc.codegen.backend import Backend
from symc.codegen.cache import kernel_cache
from symc.codegen.objects import ObjectStore
from symc.codegen.tuned import digest
from symc.core.config import setting
from symc.core.lazy import lazy
from symc.core.undisturbed import imported
from symc.core.version import source_digest
from symc.ir.graph import Graph
from symc.ir.text import graph_text
from symc.runtime.cpu.device import host

from .device import Device
from .instance import LoadedProgram
from .program import Program

if TYPE_CHECKING:
    from .lowered import Lowered

_LAYERS = ("core", "loopir", "ops", "ir", "passes", "codegen", "runtime")  # whose sources decide what a program is


@dataclass(frozen=True, eq=False)
class Compiled:
    """A loaded program and how it came to be.

    objects    the object code of its kernels
    compiled   seconds spent on each kernel that no cache had
    time_s     the whole compilation
    """

    loaded: LoadedProgram
    objects: Mapping[str, bytes] = field(repr=False)
    compiled: Mapping[str, float]
    time_s: float
    _request: _Request = field(repr=False)

    @property
    def program(self) -> Program:
        return self.loaded.program

    @property
    def backend(self) -> Backend:
        """What made its kernels."""
        return self.loaded.device.backend

    @property
    def remarks(self) -> list[str]:
        """What its backend tells readers of each step; "" of what Python does."""
        found = ((node.kernel, call, self.objects.get(call.code.name)) for _, node, call in self.lowered.steps())
        return ["" if data is None else self.backend.remark(kernel, call, data) for kernel, call, data in found]

    @lazy
    def lowered(self) -> Lowered:
        """What the program was made from; a program that came from the cache is lowered again for those who look."""
        return self._request.lowered


@dataclass(frozen=True, eq=False)
class _Request:
    """What is to be compiled."""

    graph: Graph
    grad_req: Mapping[str, str]
    device: Device
    has_parameters: bool
    grad_dtype: Mapping[str, str]

    @lazy
    def lowered(self) -> Lowered:
        return self.again()()

    def again(self) -> Callable[[], Lowered]:
        """Lowers once more, for those who rarely look, rather than keep what was lowered."""
        return partial(_lowered, self.graph, self.grad_req, self.device.backend, self.has_parameters, self.grad_dtype)

    @lazy
    def key(self) -> str | None:
        """Names the program in the cache; None where something outside symc's sources decides what it is."""
        if _is_being_watched() or _has_user_passes() or not _is_ours(self.graph):
            return None
        asked = " ".join(f"{name!r}:{req}" for name, req in sorted(self.grad_req.items()))
        asked += "".join(f" {name!r}:{dtype}" for name, dtype in sorted(self.grad_dtype.items()))
        asked += "" if self.has_parameters else " without parameters"
        asked += f" {setting('SYMC_NUMERICS')}"
        asked += f" {digest(self.device.backend.tuned)}"
        return f"program {self.device.backend.identity()} {source_digest(*_LAYERS)}\n{asked}\n{graph_text(self.graph)}"


def compile_graph(
    graph: Graph,
    grad_req: Mapping[str, str] | None = None,
    device: Device | None = None,
    has_parameters: bool = True,
    grad_dtype: Mapping[str, str] | None = None,
) -> Compiled:
    """Compiles a graph whose inputs have shapes and dtypes.

    grad_req         "write", "add" or "null" by argument; empty or all "null" compiles no backward part
    device           what it shall run on; None: the CPU
    has_parameters   whether arguments that hold parameters rarely change: then they are prepared once
    grad_dtype       of gradients that are not of their argument's dtype, by argument
    """
    start = time.perf_counter()
    request = _Request(graph, grad_req or {}, device or host(), has_parameters, grad_dtype or {})
    loaded, objects, compiled = _from_cache(request) or _from_graph(request)
    result = Compiled(loaded, objects, compiled, time.perf_counter() - start, request)
    _tell(result, len(graph.nodes))
    return result


def _lowered(*request: Any) -> Lowered:
    # Imported here: a start from a warm cache needs neither the passes nor the schedulers.
    lowered: Lowered = imported("symc.runtime.lowered").lower_program(*request)
    return lowered


def _from_cache(request: _Request) -> tuple[LoadedProgram, Mapping[str, bytes], Mapping[str, float]] | None:
    """The program when the cache has it with all its kernels."""
    data = None if request.key is None else kernel_cache().get(request.key, "program")
    if data is None:
        return None
    program = Program.from_bytes(data)
    backend = request.device.backend
    objects = ObjectStore(backend).find(program.kernel_names)
    if objects is None:
        return None
    loaded = LoadedProgram(program, backend.load(objects), request.device, lowered=request.again())
    return loaded, objects, {}


def _from_graph(request: _Request) -> tuple[LoadedProgram, Mapping[str, bytes], Mapping[str, float]]:
    device, backend = request.device, request.device.backend
    store = ObjectStore(backend)
    # The runner's functions, which a first start lacks, too, keep another processor busy from the beginning.
    functions = device.runner.functions()
    with store.begin(functions, len(request.graph.nodes)) as team:
        lowered = request.lowered
        run = lowered.trace.run
        built = run("compile", lambda: store.compile(lowered.sources, functions, team), None, lambda b: len(b.spent_s))
    loaded = run(
        "load",
        lambda: LoadedProgram(lowered.program, backend.load(built.kernels), device, lowered.callouts, request.again()),
        None,
        lambda _: 1,
    )
    if request.key is not None:
        kernel_cache().put(request.key, lowered.program.to_bytes(), {"nodes": len(request.graph.nodes)}, "program")
    return loaded, built.kernels, built.spent_s


def _is_being_watched() -> bool:
    """Whether somebody asked to see the steps of the compilation."""
    return setting("SYMC_DEBUG") >= 2 or bool(setting("SYMC_DUMP"))


def _has_user_passes() -> bool:
    # Nobody has registered a pass with what is not imported yet, or is just being imported by another thread.
    has_any = getattr(sys.modules.get("symc.passes.pipeline"), "has_user_passes", None)
    return has_any is not None and has_any()


def _is_ours(graph: Graph) -> bool:
    """Whether symc's own operators are all there is, in bodies too, and all they run is symc's."""
    ops = [node.op for node in graph.nodes if node.op is not None]
    return all(
        type(op).__module__.startswith("symc.") and not op.calls_out and all(map(_is_ours, op.bodies)) for op in ops
    )


def _tell(compiled: Compiled, n_nodes: int) -> None:
    """What SYMC_DEBUG and SYMC_DUMP ask for."""
    debug, program = setting("SYMC_DEBUG"), compiled.program
    if debug >= 1:
        print(
            f"symc: compiled {n_nodes} nodes to {len(program.steps)} steps, {len(program.kernel_names)} kernels "
            f"({len(compiled.compiled)} new), arena {program.arena_bytes} bytes, {compiled.time_s * 1e3:.0f} ms",
            file=sys.stderr,
        )
    if debug >= 3:
        from .report import explain, source

        print(explain(compiled.lowered), file=sys.stderr)
        if debug >= 4:
            print(source(compiled.lowered), file=sys.stderr)
    if setting("SYMC_DUMP"):
        from .dump import dump

        dump(Path(setting("SYMC_DUMP")), compiled.lowered)
