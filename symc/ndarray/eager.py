"""One operator on arrays of given shapes, run at once: as NumPy calls where they are few, compiled where it pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from symc.context import Context
from symc.core.errors import AllocationError, ElementError, ShapeError
from symc.core.shapes import FullShape, is_known
from symc.core.timeline import timeline
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value
from symc.ir.infer import require_countable
from symc.ir.op import Op
from symc.loopir.whole import WholeArrays, whole_arrays
from symc.passes.add_checks import with_checks

from .generator import generator
from .ndarray import NDArray
from .storage import allocation

if TYPE_CHECKING:
    from symc.runtime.function import GraphFunction


# Elements that NumPy may compute for one call, all its passes together.  At 2^16 the kernel, which makes one pass on
# several threads, is as fast (relu 28 us against 32, 2 cores); below it its longer call costs more than the passes, and
# it has to be compiled first (100 ms).
NUMPY_WORK = 1 << 16

Facts = Sequence[tuple[FullShape, str]]  # shape and dtype of each array


@dataclass(frozen=True)
class NumPyStep:
    """One node: the registers it reads, and its calls, or the shape under which it shows its first input."""

    inputs: tuple[int, ...]
    calls: WholeArrays | FullShape


@dataclass(frozen=True)
class NumPyPlan:
    """The nodes of a graph as NumPy calls; registers are the inputs, then the outputs of the steps.

    heads   the register of each head, and whether its array is nobody else's
    """

    steps: tuple[NumPyStep, ...]
    heads: tuple[tuple[int, bool], ...]

    def __call__(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        registers = list(inputs)
        with np.errstate(all="ignore"):
            for step in self.steps:
                operands = [registers[k] for k in step.inputs]
                if isinstance(step.calls, tuple):
                    registers.append(operands[0].reshape(step.calls))
                else:
                    registers += step.calls(operands)
        return [registers[k] if is_own else registers[k].copy() for k, is_own in self.heads]


class EagerGraph:
    """A graph over given arrays, run at once; calling it gives new arrays for all its heads.

    out_facts   shape and dtype of each head
    """

    def __init__(self, graph: Graph, inputs: Sequence[Value]) -> None:
        """`inputs` are the graph's inputs in the order of the arrays; some may be unused."""
        self.out_facts = [(graph.shape(o.value), np.dtype(graph.dtype(o.value))) for o in graph.outputs]
        self._results = [(allocation(shape, dtype), shape, dtype) for shape, dtype in self.out_facts]
        self.graph = graph
        checked = with_checks(graph)
        self._checks = [o.name for o in checked.outputs if o.kind == "check"]
        self._plan = numpy_plan(checked, inputs)
        self._functions: dict[Context, GraphFunction] = {}
        used = {v.node: k for k, v in enumerate(inputs)}
        self._used = [used[node] for node in graph.inputs]

    @property
    def is_compiled(self) -> bool:
        """Whether calls run compiled kernels rather than NumPy."""
        return self._plan is None

    def __call__(self, arrays: Sequence[NDArray], context: Context) -> list[NDArray]:
        """The heads for arrays of the prepared shapes and dtypes, computed on the device of a context.

        Raises AllocationError, naming the operators, where memory is missing.
        """
        try:
            if timeline.is_on:
                return self._timed(arrays, context)
            return self._run(arrays, context)
        except MemoryError as error:
            names = dict.fromkeys(node.op.name for node in self.graph.nodes if node.op is not None)
            raise AllocationError(f"{', '.join(islice(names, 5))}: {error}") from None

    def _timed(self, arrays: Sequence[NDArray], context: Context) -> list[NDArray]:
        """The same, as one span where it is one operator or NumPy runs it; kernels of others are timed one by one."""
        names = [node.op.name for node in self.graph.nodes if node.op is not None]
        if self._plan is None and len(names) > 1:
            return self._run(arrays, context)
        if self._plan is None:
            self._function(context)  # compiling it is no part of the operator
        with timeline.operator(" + ".join(dict.fromkeys(names))):
            return self._run(arrays, context)

    def _function(self, place: Context) -> GraphFunction:
        """The compiled graph on a device."""
        function = self._functions.get(place)
        if function is None:
            from symc.runtime.function import GraphFunction

            function = self._functions[place] = GraphFunction(self.graph, place.device)
        return function

    def _run(self, arrays: Sequence[NDArray], context: Context) -> list[NDArray]:
        if self._plan is not None:
            results = self._plan([a._host for a in arrays])
            n_heads = len(self.out_facts)
            for text, counted in zip(self._checks, results[n_heads:]):
                if counted.any():
                    raise ElementError(text)
            return [NDArray._over(r, context) for r in results[:n_heads]]
        function = self._function(context)
        made = [NDArray._over(make(shape, dtype), context) for make, shape, dtype in self._results]
        if any(y._memory.size for y in made):
            seed = int(generator().integers(0, 2**62)) if function.is_random else 0
            inputs = [arrays[k]._address_on(context) for k in self._used]
            function(inputs, [y._address for y in made], seed, (arrays, made))
        return made


def operator_graph(op: Op, in_facts: Facts, training: bool) -> EagerGraph:
    """All results of one operator, hidden ones last; raises ShapeError or DTypeError where the inputs do not fit."""
    g = GraphBuilder(training=training)
    inputs = [g.input(name, shape, dtype) for name, (shape, dtype) in zip(op.input_names(), in_facts)]
    node = g.apply(op, inputs, op.name)
    heads = [node[k] for k in range(node.n_outputs)]
    for head in heads:
        require_countable(head, g.shapes.get(head))
    if not all(is_known(g.shapes.get(h)) and h in g.dtypes for h in heads):
        raise ShapeError(f"{op}: parameters and inputs do not decide the shape and dtype of the result")
    return EagerGraph(finish(g, [Output("head", name, h) for name, h in zip(op.result_names(), heads)]), inputs)


def numpy_plan(graph: Graph, inputs: Sequence[Value]) -> NumPyPlan | None:
    """The graph as NumPy calls; None where a node is none for NumPy or the work is beyond NUMPY_WORK."""
    g = GraphBuilder.over(graph)
    register = {v: k for k, v in enumerate(inputs)}
    steps: list[NumPyStep] = []
    root = {k: k for k in register.values()}  # whose memory each register shows
    n_registers, work = len(inputs), 0

    def run(node: Node) -> bool:
        nonlocal n_registers, work
        if node[0] in register:
            return True
        if not all(run(v.node) for v in node.inputs):
            return False
        g.serving = node
        expanded = None if node.is_input else node.operator.expand(g, node.inputs, graph.training)
        outs = [node[k] for k in range(node.n_outputs)]
        if expanded is not None:
            if not all(run(v.node) for v in expanded):
                return False
            register.update((out, register[v]) for out, v in zip(outs, expanded))
            return True
        if node.bodies:  # a loop
            return False
        calls: WholeArrays | FullShape | None
        if node.operator.is_view:
            calls = g.shape(outs[0])
            root[n_registers] = root.get(register[node.inputs[0]], register[node.inputs[0]])
        else:
            facts = [[(g.shape(v), g.dtype(v)) for v in values] for values in (node.inputs, outs)]
            calls = whole_arrays(node.operator.lower, *facts, NUMPY_WORK)
            if calls is None:
                return False
            work += calls.work
        steps.append(NumPyStep(tuple(register[v] for v in node.inputs), calls))
        register.update((out, n_registers + k) for k, out in enumerate(outs))
        n_registers += len(outs)
        return work <= NUMPY_WORK

    if not all(run(node) for node in graph.nodes):  # inputs come first, so that only expansions recurse
        return None
    heads = [register[o.value] for o in graph.outputs]
    roots = [root.get(k, k) for k in heads]
    first = {k: n for n, k in reversed([*enumerate(roots)])}
    own = [k >= len(inputs) and first[k] == n for n, k in enumerate(roots)]
    return NumPyPlan(tuple(steps), tuple(zip(heads, own)))
