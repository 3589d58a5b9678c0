"""THE ordered list of passes, and the runner that verifies, times and dumps every step.

graph of a Symbol -> PASSES -> lower -> plan_memory -> code generation (codegen) -> Program (runtime)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from symc.core.config import setting
from symc.core.errors import ArgumentTypeError, GraphError
from symc.ir import infer
from symc.ir.graph import Graph
from symc.ir.kernels import KernelGraph
from symc.ir.text import graph_text

from .add_checks import add_checks
from .assign_layout import assign_layout
from .base import Pass, PassContext, graph_pass
from .eliminate_dead import eliminate_dead
from .expand import expand, expand_first
from .fold_constants import fold_constants
from .fuse import fuse
from .gradient import gradient
from .hoist import hoist
from .insert_casts import insert_casts
from .keep_rounds import keep_rounds
from .lower_loops import lower
from .mark_parameters import mark_parameters
from .merge_equal import merge_equal
from .move_strides import move_strides
from .move_views import move_views
from .plan_memory import plan_memory
from .round_operands import round_operands
from .simplify import simplify
from .split_batch import split_batch
from .transpose_loops import transpose_loops
from .trim_loops import trim_loops
from .verify import Verifier


@graph_pass(requires=(), provides=("shape",), keeps=("dtype",))
def infer_shape(graph: Graph, context: PassContext) -> Graph:
    """Every shape, from those of the inputs, in both directions (see ir.infer)."""
    return infer.infer_shape(graph)


@graph_pass(requires=("shape",), provides=("dtype",), keeps=("shape",))
def infer_dtype(graph: Graph, context: PassContext) -> Graph:
    """Every dtype, from those of the inputs, in both directions (see ir.infer)."""
    return infer.infer_dtype(graph)


# Inference and training run the same list: without gradients asked for, `gradient` returns the graph as it is, and
# `fold_constants` finds frozen parameters only where nothing trains them.
PASSES: tuple[Pass, ...] = (
    eliminate_dead,
    mark_parameters,
    infer_shape,
    infer_dtype,
    expand_first,
    add_checks,
    hoist,
    keep_rounds,
    gradient,
    trim_loops,
    expand,
    insert_casts,
    simplify,
    fold_constants,
    hoist,
    simplify,
    merge_equal,
    move_strides,
    move_views,
    round_operands,
    split_batch,
    transpose_loops,
    assign_layout,
    fuse,
)

_USER_PASSES: list[tuple[str, Pass]] = []


Result = TypeVar("Result")


@dataclass
class Stage:
    """What one pass did: its time and the result's text (only when it is being dumped)."""

    name: str
    time_s: float
    n_nodes: int
    text: str = ""


@dataclass
class Trace:
    """Every stage of one compilation."""

    stages: list[Stage] = field(default_factory=list)

    def run(
        self,
        name: str,
        work: Callable[[], Result],
        show: Callable[[Result], str] | None,
        count: Callable[[Result], int],
    ) -> Result:
        """Times `work()`, keeps its printed result when SYMC_DUMP or SYMC_DEBUG=5 asks for it."""
        start = time.perf_counter()
        result = work()
        spent = time.perf_counter() - start
        debug = setting("SYMC_DEBUG")
        text = show(result) if show and (debug >= 5 or setting("SYMC_DUMP")) else ""
        self.stages.append(Stage(name, spent, count(result), text))
        if debug >= 2:
            print(f"symc: {name:<16} {spent * 1e3:8.2f} ms  {count(result)} nodes", file=sys.stderr)
        if debug >= 5 and text:
            print(text, file=sys.stderr)
        return result


def run_passes(graph: Graph, context: PassContext, trace: Trace) -> Graph:
    """Runs PASSES (and passes users registered) in order, verifying after each.

    Raises GraphError when a pass lacks a fact it requires or leaves a graph that breaks an invariant.
    """
    known: frozenset[str] = frozenset()
    verifier = Verifier()
    for p in _pass_list():
        if not p.requires <= known:
            missing = ", ".join(sorted(p.requires - known))
            raise GraphError(f"pass {p.name} needs {missing}; run the pass that provides it first")
        graph = trace.run(p.name, partial(p, graph, context), graph_text, lambda g: len(g.nodes))
        known = (known & p.keeps) | p.provides
        if setting("SYMC_VERIFY"):
            verifier.verify(graph, p.name, known)
    return graph


def lower_graph(graph: Graph, context: PassContext, trace: Trace) -> KernelGraph:
    """Passes, then kernels, then the memory plan."""
    graph = run_passes(graph, context, trace)
    kernels = trace.run("lower", lambda: lower(graph, context), KernelGraph.text, lambda k: len(k.kernels))
    return trace.run("plan_memory", lambda: plan_memory(kernels), KernelGraph.text, lambda k: len(k.kernels))


def register_pass(p: Pass, before: str = "assign_layout") -> Pass:
    """Adds a pass of one's own in front of (the first run of) a named one, for all compilations from now on.

    Raises ArgumentTypeError for what `graph_pass` did not make, GraphError where there is no pass of that name or the
    pass is registered already.
    """
    if not isinstance(p, Pass):
        raise ArgumentTypeError(f"register_pass: expected a pass, made by @graph_pass(), got {p!r}")
    if before not in {q.name for q in PASSES}:
        raise GraphError(f"no pass {before!r}; there are {', '.join(dict.fromkeys(q.name for q in PASSES))}")
    if any(own is p for _, own in _USER_PASSES):
        raise GraphError(f"pass {p.name} is registered already; unregister_pass takes it out")
    _USER_PASSES.append((before, p))
    return p


def unregister_pass(p: Pass) -> None:
    """Takes a pass of one's own out again; raises GraphError when it is not in."""
    kept = [(before, own) for before, own in _USER_PASSES if own is not p]
    if len(kept) == len(_USER_PASSES):
        raise GraphError(f"pass {getattr(p, 'name', p)!r} is not registered")
    _USER_PASSES[:] = kept


def has_user_passes() -> bool:
    """Whether `register_pass` was called."""
    return bool(_USER_PASSES)


def _pass_list() -> list[Pass]:
    found: list[Pass] = []
    for p in PASSES:
        if p not in found:
            found += [own for before, own in _USER_PASSES if before == p.name]
        found.append(p)
    return found
