"""A graph lowered to scheduled kernels: what a program is assembled from, and what reports about it are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod

from symc.codegen.backend import Backend
from symc.codegen.contraction.plan import ContractionPlan, problem_text
from symc.codegen.kernel import KernelCall, KernelCode, Ref
from symc.core.collector import collector_paused
from symc.core.config import setting
from symc.core.lazy import lazy
from symc.ir.absent import require_present
from symc.ir.graph import Graph
from symc.ir.kernels import KernelGraph, KernelNode
from symc.loopir.callout import CallOut, callout_of
from symc.loopir.kernel import Contraction, LoopKernel
from symc.loopir.rename import nameless
from symc.loopir.work import Work, work_of
from symc.passes.base import PassContext
from symc.passes.phases import PHASES
from symc.passes.pipeline import Trace, lower_graph

from .assemble import assemble
from .program import CallBack, KernelStep, Loop, Program, walk


@dataclass(frozen=True)
class Lowered:
    """Kernels with their memory plan, and the calls that carry them out in the order of the program's steps."""

    kernels: KernelGraph
    calls: tuple[tuple[KernelNode, KernelCall], ...] = field(repr=False)
    trace: Trace = field(repr=False)

    @lazy
    def program(self) -> Program:
        """The calls as data."""
        return assemble(self.kernels, self.calls)

    @lazy
    def codes(self) -> Mapping[str, KernelCode]:
        """The distinct kernels by name."""
        return {call.code.name: call.code for node, call in self.calls if callout_of(node.kernel) is None}

    @lazy
    def callouts(self) -> Mapping[str, CallOut]:
        """What its call-backs call, by name."""
        found = {call.code.name: callout_of(node.kernel) for node, call in self.calls}
        return {name: callout for name, callout in found.items() if callout is not None}

    @lazy
    def sources(self) -> Mapping[KernelCode, LoopKernel]:
        """What each code was scheduled from."""
        return {call.code: node.kernel for node, call in self.calls if callout_of(node.kernel) is None}

    @lazy
    def plans(self) -> Mapping[str, str]:
        """Names of the plans of its contractions, by problem."""
        kernels = [node.kernel for node in self.kernels.kernels if isinstance(node.kernel, Contraction)]
        made = [(kernel, kernel.plan) for kernel in kernels if isinstance(kernel.plan, ContractionPlan)]
        return {problem_text(kernel, plan.is_reused): plan.name for kernel, plan in made}

    def work(self, number: int) -> Work:
        """What a step does, in all rounds of the loops around it."""
        node, call = self.calls[number]
        once = work_of(node.kernel) if call.share is None else call.share.work
        return once * prod(loop.count for loop in node.loops)

    def operators(self, number: int) -> tuple[str, ...]:
        """The operators that a step computes, or what else it is for."""
        node, call = self.calls[number]
        return node.operators if call.share is None or not call.share.title else (call.share.title,)

    def touched(self, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The buffers that a step reads and writes."""
        node, call = self.calls[number]
        return (node.reads, node.writes) if call.share is None else (call.share.reads, call.share.writes)

    def operators_of(self, phase: str) -> list[str]:
        """What each step of a phase that computes something computes."""
        steps = enumerate(self.steps())
        return [" + ".join(self.operators(number)) for number, (step, *_) in steps if step.phase == phase]

    def completed(self, phase: str) -> dict[str, int]:
        """Each gradient that a phase writes, with the position, among the phase's steps, of the last that does."""
        steps = enumerate(self.program.phase_steps(phase))
        positions = [k for k, step in steps for inner in walk([step]) if not isinstance(inner, Loop)]
        numbers = [number for number, (node, _) in enumerate(self.calls) if node.phase == phase]
        found: dict[str, int] = {}
        for position, number in zip(positions, numbers):
            written = [self.kernels.storage_of(buffer) for buffer in self.touched(number)[1]]
            found.update((storage.key, position) for storage in written if storage.place == "gradient")
        return found

    def steps(self) -> Iterator[tuple[KernelStep | CallBack, KernelNode, KernelCall]]:
        """Every step of the program that computes something, with what it was made from."""
        steps = (step for step in walk(self.program.steps) if isinstance(step, (KernelStep, CallBack)))
        return ((step, node, call) for step, (node, call) in zip(steps, self.calls))


@collector_paused()
def lower_program(
    graph: Graph,
    grad_req: Mapping[str, str],
    backend: Backend,
    has_parameters: bool = True,
    grad_dtype: Mapping[str, str] | None = None,
) -> Lowered:
    """Passes, memory plan and schedules; nothing is compiled."""
    require_present((n.op, n.name, n.origin) for n in graph.nodes)
    trace = Trace()
    numerics = setting("SYMC_NUMERICS")
    context = PassContext(
        backend,
        dict(grad_req),
        has_parameters,
        rounds_float16=numerics in ("strict", "default"),
        rounds_operands=numerics == "bfloat16",
        grad_dtype=dict(grad_dtype or {}),
    )
    kernels = lower_graph(graph, context, trace)
    scheduler = _Scheduler(backend)
    calls = trace.run(
        "schedule",
        lambda: [(node, call) for node in kernels.kernels for call in scheduler.calls(node)],
        None,
        len,
    )
    calls.sort(key=lambda c: PHASES.index(c[0].phase))  # stable: within a phase the order of the kernels
    return Lowered(kernels, tuple(calls), trace)


class _Scheduler:
    """Schedules kernels; those that differ in the names of their buffers alone, as layers of a network do, once."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.done: dict[LoopKernel, tuple[LoopKernel, list[KernelCall]]] = {}  # by the nameless kernel

    def calls(self, node: KernelNode) -> list[KernelCall]:
        """The calls that carry out a kernel; one without code where Python does."""
        kernel = node.kernel
        callout = callout_of(kernel)
        if callout is not None:
            return [_call_back(node, callout)]
        key = nameless(kernel)
        if key not in self.done:
            self.done[key] = (kernel, self.backend.schedule(kernel))
        first, calls = self.done[key]
        names = {there.name: here.name for there, here in zip(first.buffers, kernel.buffers)}
        return calls if first is kernel else [call.renamed(names) for call in calls]


def _call_back(node: KernelNode, callout: CallOut) -> KernelCall:
    code = KernelCode("python", " ".join((*node.writes, str(callout))), node.kernel.text, lambda: callout.run)
    buffers = tuple(map(Ref, node.kernel.operands + node.kernel.written))
    return KernelCall(code, buffers, (), "the run comes back to Python for it")
