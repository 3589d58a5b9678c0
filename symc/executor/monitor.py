"""What `Executor.set_monitor_callback` reports: the results of every node in a run, and the gradients of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from symc.context import Context
from symc.core.bounded import BoundedCache
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Value
from symc.ir.infer import infer_dtype, infer_shape
from symc.ir.op import Op
from symc.ir.reverse import Reverse
from symc.ndarray.ndarray import NDArray
from symc.ndarray.storage import empty_aligned
from symc.passes.gradient import head_gradients

if TYPE_CHECKING:
    from symc.runtime.function import GraphFunction

MOST_GRAPHS = 64  # whose programs one OpHook keeps: a graph for each combination of shapes
Named = list[tuple[str, Value]]

# Operators of one input that has a name in MXNet (FListInputNames); it calls the input of others input0.
NAMED_INPUT = frozenset(
    """Crop Dropout GridGenerator L2Normalization LRN LeakyReLU MakeLoss Pad Pooling Pooling_v1 SequenceLast
    SequenceMask SequenceReverse SliceChannel SwapAxis _contrib_BilinearResize2D _contrib_MultiBoxPrior
    _contrib_index_array _contrib_interleaved_matmul_selfatt_qk _contrib_quadratic _contrib_quantize_asym
    _contrib_quantize_v2 _histogram _image_normalize _image_to_tensor _linalg_det _linalg_extractdiag
    _linalg_extracttrian _linalg_gelqf _linalg_inverse _linalg_makediag _linalg_maketrian _linalg_potrf
    _linalg_potri _linalg_slogdet _linalg_sumlogdiag _linalg_syevd _linalg_syrk _np_cumsum _ravel_multi_index
    _split_v2 _unravel_index all_finite col2im depth_to_space diag im2col log_softmax moments one_hot repeat
    reverse softmax space_to_depth squeeze tile""".split()
)
# Operators whose gradient is the head gradient itself: MXNet has no backward node to report.
WITHOUT_BACKWARD = frozenset({"elemwise_add", "add_n"})


class Watched:
    """Values of a graph, each told under one or several names, and the program that computes them."""

    def __init__(self, graph: Graph, named: Named, context: Context) -> None:
        self.named = named
        self.computed = list(dict.fromkeys(v for _, v in named if not v.node.is_input))
        self.facts = [(graph.shape(v), np.dtype(graph.dtype(v))) for v in self.computed]
        self.inputs = [node[0] for node in graph.inputs]
        self._function: GraphFunction | None = None
        if self.computed:
            from symc.runtime.function import GraphFunction

            self._function = GraphFunction(graph, context.device)
        self._context = context

    def __call__(self, arrays: Mapping[str, NDArray], key: int) -> dict[Value, NDArray]:
        """All values, from the arrays of the graph's inputs by name and a key for its random numbers."""
        found = {v: arrays[v.node.name] for v in self.inputs}
        made = [empty_aligned(shape, dtype) for shape, dtype in self.facts]
        if self._function is not None:
            self._function([a._address_on(self._context) for a in found.values()], [a.ctypes.data for a in made], key)
        found.update({v: NDArray(a) for v, a in zip(self.computed, made)})
        return found


@dataclass
class Monitor:
    """Tells a callback what a run computed, from programs of its own with the arrays and the random key of that run.

    is_all   the inputs of every node are told too, as <node>_<argument>, those of variables also by their own names
    """

    callback: Callable[[str, NDArray], None]
    is_all: bool
    _watched: dict[tuple[str, bool], Watched] = field(default_factory=dict)

    def forward(self, graph: Graph, arrays: Mapping[str, NDArray], key: int, context: Context) -> None:
        """Tells the results of every node."""
        mode = "forward", graph.training
        if mode not in self._watched:
            g, copy = _of_arguments(graph)
            named = list(_results(graph, copy, self.is_all))
            self._watched[mode] = Watched(_graph(g, named), named, context)
        self._tell(self._watched[mode], arrays, key)

    def backward(
        self, graph: Graph, requests: Mapping[str, str], arrays: Mapping[str, NDArray], key: int, context: Context
    ) -> None:
        """Tells the gradients of the inputs of every node; `arrays` hold the head gradients too."""
        mode = "backward", graph.training
        if mode not in self._watched:
            g, copy = _of_arguments(graph)
            named = _gradients(g, graph, copy, requests)
            self._watched[mode] = Watched(_graph(g, named), named, context)
        self._tell(self._watched[mode], arrays, key)

    def _tell(self, watched: Watched, arrays: Mapping[str, NDArray], key: int) -> None:
        values = watched(arrays, key)
        for name, v in watched.named:
            self.callback(name, values[v])


class OpHook:
    """Tells a callback what the operators of a graph computed: `callback(name, operator, array)`, names as bytes.

    The arrays come from a program of its own, over the same inputs; random operators draw other numbers there.

    is_all   the inputs of every operator are told too, as <node>_<argument>
    """

    def __init__(self, callback: Callable[[bytes, bytes, NDArray], None], is_all: bool) -> None:
        self._callback = callback
        self._is_all = is_all
        self._watched: BoundedCache[Graph, tuple[list[str], Watched]] = BoundedCache(MOST_GRAPHS)

    def __call__(self, graph: Graph, arrays: Mapping[str, NDArray], context: Context) -> None:
        """Tells what a run with these inputs computes."""
        operators, watched = self._watched.obtain(graph, lambda: self._watch(graph, context))
        values = watched(arrays, 0)
        for operator, (name, v) in zip(operators, watched.named):
            self._callback(name.encode(), operator.encode(), values[v])

    def _watch(self, graph: Graph, context: Context) -> tuple[list[str], Watched]:
        g, copy = _of_arguments(graph)
        told = list(_told(graph, copy, self._is_all))
        named = [(name, v) for name, _, v in told]
        return [op for _, op, _ in told], Watched(_graph(g, named), named, context)


def _told(graph: Graph, copy: Mapping[Value, Value], is_all: bool) -> Iterator[tuple[str, str, Value]]:
    """Name, operator and value of what an OpHook tells."""
    for node in graph.nodes:
        if node.is_input:
            continue
        op = node.operator
        for argument, v in zip(_input_names(op), node.inputs if is_all else ()):
            yield f"{node.name}_{argument}", op.name, copy[v]
        for k, result in zip(range(op.n_visible()), op.result_names()):
            yield f"{node.name}_{result}", op.name, copy[node[k]]


def _of_arguments(graph: Graph) -> tuple[GraphBuilder, dict[Value, Value]]:
    """A copy of a graph whose inputs are arguments, all of them; maps its values to those of the copy."""
    known = infer_dtype(infer_shape(graph))
    g = GraphBuilder(training=graph.training)
    copy: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.is_input:
            copy[node[0]] = g.input(node.name, known.shape(node[0]), known.dtype(node[0]))
            continue
        made = g.apply(node.operator, [copy[v] for v in node.inputs], node.name, node.origin)
        copy.update((node[k], made[k]) for k in range(node.n_outputs))
    return g, copy


def _graph(g: GraphBuilder, named: Named) -> Graph:
    computed = dict.fromkeys(v for _, v in named if not v.node.is_input)
    return finish(g, [Output("head", str(k), v) for k, v in enumerate(computed)])


def _results(graph: Graph, copy: Mapping[Value, Value], is_all: bool) -> Iterator[tuple[str, Value]]:
    """The results of every node, hidden ones included, as <node>_<result>; before them its inputs."""
    for node in graph.nodes:
        if node.is_input:
            continue
        for argument, v in zip(_input_names(node.operator), node.inputs if is_all else ()):
            if v.node.is_input:
                yield v.node.name, copy[v]
            yield f"{node.name}_{argument}", copy[v]
        for k, result in enumerate(node.operator.result_names()[: node.operator.n_listed()]):
            yield f"{node.name}_{result}", copy[node[k]]


def _input_names(op: Op) -> tuple[str, ...]:
    names = op.input_names()
    return ("input0",) if len(names) == 1 and op.variadic is None and op.name not in NAMED_INPUT else names


def _gradients(g: GraphBuilder, graph: Graph, copy: Mapping[Value, Value], requests: Mapping[str, str]) -> Named:
    """What every node gives back to its inputs, last nodes first, as <node>_backward_output<position>.

    An input that leads to nothing wanted is told with zeros, where MXNet shows whatever lies in that memory.
    """
    inputs = {n.name: copy[n[0]] for n in graph.inputs}
    wanted = {v: requests[name] for name, v in inputs.items() if requests.get(name, "null") != "null"}
    nodes = list(dict.fromkeys(copy[node[0]].node for node in graph.nodes if not node.is_input))
    reverse = Reverse(g, nodes, wanted)
    reverse.gradients(head_gradients(g, reverse, [copy[o.value] for o in graph.outputs]))
    named: Named = []
    for node, parts in reverse.given_back.items():
        if node.operator.name not in WITHOUT_BACKWARD:
            names = node.operator.argument_names()
            for k, v in zip(range(len(names)), node.inputs):
                part = parts[k] if k in parts else g.like(v, 0.0)
                named.append((f"{node.name}_backward_output{k if len(names) > 1 else ''}", part))
    return named
