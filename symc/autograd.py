"""`mx.autograd`: records operators on NDArrays and computes gradients from what was recorded.

with mx.autograd.record():
    y = mx.nd.sum(x * x)          # x.attach_grad() made x a variable
y.backward()                      # x.grad is 2 * x

A recording keeps every operator with the contents of its inputs and results. `backward` turns it into one graph of
gradient nodes over those contents (`Op.gradient`, as for a Symbol) and runs it through the same passes and kernels; the
graph is prepared once for each structure, so that a training loop compiles nothing after its first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from symc.core.bounded import BoundedCache
from symc.core.errors import ArgumentError, GradientError
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value
from symc.ir.reverse import Reverse
from symc.ndarray import tape
from symc.ndarray.eager import EagerGraph
from symc.ndarray.fit import require_fit
from symc.ndarray.invoke import apply
from symc.ndarray.ndarray import NDArray
from symc.ndarray.tape import Made, Recorded, Source
from symc.ops.math.binary import IdentityLike

__all__ = [
    "backward", "grad", "is_recording", "is_training", "mark_variables", "pause", "predict_mode", "record",
    "set_recording", "set_training", "train_mode",
]  # fmt: skip

is_recording, is_training = tape.is_recording, tape.is_training


def set_recording(is_recording: bool) -> bool:
    """Switches recording; gives what was set before."""
    before, tape.mode.recording = tape.mode.recording, bool(is_recording)
    return before


def set_training(train_mode: bool) -> bool:
    """Switches whether operators behave as in training; gives what was set before."""
    before, tape.mode.training = tape.mode.training, bool(train_mode)
    return before


@contextmanager
def _scope(recording: bool | None, training: bool | None) -> Iterator[None]:
    mode = tape.mode
    before = mode.recording, mode.training
    mode.recording = before[0] if recording is None else recording
    mode.training = before[1] if training is None else training
    try:
        yield
    finally:
        mode.recording, mode.training = before


def record(train_mode: bool = True) -> Any:
    """Records what runs inside the `with`, in training mode unless told otherwise."""
    return _scope(True, train_mode)


def pause(train_mode: bool = False) -> Any:
    """Records nothing inside the `with`."""
    return _scope(False, train_mode)


def train_mode() -> Any:
    """Operators behave as in training inside the `with`."""
    return _scope(None, True)


def predict_mode() -> Any:
    """Operators behave as in prediction inside the `with`."""
    return _scope(None, False)


def mark_variables(
    variables: NDArray | Sequence[NDArray],
    gradients: NDArray | Sequence[NDArray],
    grad_reqs: str | Sequence[str] = "write",
) -> None:
    """Makes arrays variables whose gradients `backward` writes into (or adds to) the arrays given."""
    if isinstance(variables, NDArray):
        variables, gradients = [variables], [gradients]  # type: ignore[list-item]
    reqs = [grad_reqs] * len(variables) if isinstance(grad_reqs, str) else list(grad_reqs)
    if not len(variables) == len(gradients) == len(reqs):  # type: ignore[arg-type]
        raise ArgumentError(f"mark_variables: {len(variables)} variables, {len(gradients)} gradients, {len(reqs)} reqs")  # type: ignore[arg-type]
    for variable, gradient, req in zip(variables, gradients, reqs):
        tape.mark(variable, gradient, req)


def backward(
    heads: NDArray | Sequence[NDArray],
    head_grads: NDArray | Sequence[NDArray | None] | None = None,
    retain_graph: bool = False,
    train_mode: bool = True,
) -> None:
    """Computes the gradients of the heads for all variables they were computed from, into the variables' `grad`.

    head_grads     gradient of each head; None, for all or for one, means ones
    retain_graph   keeps the recording, for another backward
    train_mode     accepted as in MXNet: gradients are those of the mode that was recorded
    Raises GradientError where nothing was recorded, or an operator on the way has no gradient.
    """
    heads, head_grads = _listed(heads, head_grads)
    order = _recorded(heads)
    variables = _variables(heads, order)
    for variable, gradient in zip(variables, _gradients(heads, head_grads, order, variables)):
        target = variable._grad
        assert target is not None
        if variable._grad_req == "add":
            target._data[...] += gradient
        else:
            target._data[...] = gradient
        target._touch()
    if not retain_graph:
        for node in order:
            node.inputs = None


def grad(
    heads: NDArray | Sequence[NDArray],
    variables: NDArray | Sequence[NDArray],
    head_grads: NDArray | Sequence[NDArray | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    train_mode: bool = True,
) -> list[NDArray]:
    """The gradients of the heads for the variables, as new arrays; the variables' own `grad` stays as it is.

    variables      one or several; as in MXNet the gradient of one alone comes in a list, too
    retain_graph   keeps the recording; by default as create_graph
    create_graph   records the gradients themselves, so that they can be differentiated in turn
    Raises GradientError where nothing was recorded, or an operator on the way has no gradient.
    """
    heads, head_grads = _listed(heads, head_grads)
    wanted = [variables] if isinstance(variables, NDArray) else list(variables)
    order = _recorded(heads)
    if any(tape.source_of(v) is None for v in wanted):
        raise GradientError("autograd.grad: a variable has no gradient attached; call attach_grad() before recording")
    if create_graph:
        results = _recorded_gradients(heads, head_grads, order, wanted)
    else:
        found = _gradients(heads, head_grads, order, wanted)
        results = [NDArray(g, v.context) for g, v in zip(found, wanted)]
    if not (create_graph if retain_graph is None else retain_graph):
        for node in order:
            node.inputs = None
    return results


def get_symbol(x: NDArray) -> Any:
    """Not available: a recording keeps operators, not a Symbol; raises ArgumentError."""
    raise ArgumentError("autograd.get_symbol is not supported; build the network with mx.sym")


def _listed(heads: Any, head_grads: Any) -> tuple[list[NDArray], list[NDArray | None]]:
    heads = [heads] if isinstance(heads, NDArray) else list(heads)
    if head_grads is None:
        head_grads = [None] * len(heads)
    head_grads = [head_grads] if isinstance(head_grads, NDArray) else list(head_grads)
    if len(heads) != len(head_grads):
        raise ArgumentError(f"backward: {len(heads)} heads, {len(head_grads)} head gradients")
    for head, gradient in zip(heads, head_grads):
        require_fit("backward: a head", head)
        if gradient is not None:
            require_fit("backward: the head gradient", gradient, head.shape, head._data.dtype)
    return heads, head_grads


def _recorded(heads: Sequence[NDArray]) -> list[Recorded]:
    """The recorded operators the heads were computed by, inputs before users."""
    order: list[Recorded] = []
    done: set[Recorded] = set()
    for head in heads:
        source = tape.source_of(head)
        if source is None:
            raise GradientError(
                "Cannot differentiate node because it is not in a computational graph. You need to set is_recording "
                "to true or use autograd.record() to save computational graphs for backward. If you want to "
                "differentiate the same graph twice, you need to pass retain_graph=True to backward."
            )
        stack = [(source.by, False)] if isinstance(source, Made) else []
        while stack:
            node, is_ready = stack.pop()
            if is_ready:
                order.append(node)
            elif node not in done:
                done.add(node)
                if node.inputs is None:
                    raise GradientError(
                        "backward: the recording was used up by an earlier backward; to differentiate the same graph "
                        "twice, pass retain_graph=True to the first"
                    )
                stack.append((node, True))
                stack += [(s.by, False) for s, _ in reversed(node.inputs) if isinstance(s, Made) and s.by not in done]
    return order


def _variables(heads: Sequence[NDArray], order: Sequence[Recorded]) -> list[NDArray]:
    """The variables that the recording leads to, each once."""
    found = {id(h): h for h in heads if h._grad is not None}
    for node in order:
        found.update((id(s), s) for s, _ in node.inputs or () if isinstance(s, NDArray))
    return list(found.values())


class _Recording:
    """What a backward graph is over: the recorded values, numbered in order, then the head gradients.

    steps    operator, mode, numbers of inputs and results, of each recorded operator
    heads, wanted   numbers of the heads and of the variables whose gradients are asked for
    arrays, sources   contents of each value, and where its own gradient would go
    """

    def __init__(
        self,
        heads: Sequence[NDArray],
        head_grads: Sequence[NDArray | None],
        order: Sequence[Recorded],
        wanted: Sequence[NDArray],
    ) -> None:
        self.arrays: list[NDArray] = []
        self.sources: list[Source] = []
        self._numbers: dict[Any, int] = {}
        steps = []
        for node in order:
            assert node.inputs is not None
            ins = tuple(self._number(s, x) for s, x in node.inputs)
            outs = tuple(self._number(Made(node, k), r) for k, r in enumerate(node.results))
            steps.append((node.op, node.training, ins, outs))
        self.steps = tuple(steps)
        self.heads = tuple(self._number(tape.source_of(h), h) for h in heads)
        self.wanted = tuple(self._number(tape.source_of(v), v) for v in wanted)
        for head, gradient in zip(heads, head_grads):
            self.arrays.append(NDArray(np.ones_like(head._data), head.context) if gradient is None else gradient)
            self.sources.append(None if gradient is None else tape.source_of(gradient))

    def _number(self, source: Source, contents: NDArray) -> int:
        """The number of a value; a constant is the memory that holds it."""
        key = (
            (source.by, source.index) if isinstance(source, Made) else id(contents._data if source is None else source)
        )
        if key not in self._numbers:
            self._numbers[key] = len(self.arrays)
            self.arrays.append(contents)
            self.sources.append(source)
        return self._numbers[key]

    @property
    def key(self) -> tuple:
        """What the backward graph depends on."""
        facts = tuple((a.shape, a._data.dtype.name) for a in self.arrays)
        return self.steps, self.heads, self.wanted, facts


def _gradients(
    heads: Sequence[NDArray],
    head_grads: Sequence[NDArray | None],
    order: Sequence[Recorded],
    wanted: Sequence[NDArray],
) -> list[np.ndarray]:
    """The gradients of the wanted variables; also updates the states of operators that trained."""
    recording = _Recording(heads, head_grads, order, wanted)
    key = recording.key
    found = _prepared.get(key)
    if found is None:
        graph, inputs, states = _backward_graph(*key)
        found = _prepared.put(key, (EagerGraph(graph, inputs), states))
    run, states = found
    results = run(recording.arrays, heads[0].context)
    for number, value in zip(states, results[len(wanted) :]):
        recording.arrays[number]._data[...] = value
        recording.arrays[number]._touch()
    return results[: len(wanted)]


def _recorded_gradients(
    heads: Sequence[NDArray],
    head_grads: Sequence[NDArray | None],
    order: Sequence[Recorded],
    wanted: Sequence[NDArray],
) -> list[NDArray]:
    """The gradients of the wanted variables, computed operator by operator and recorded."""
    recording = _Recording(heads, head_grads, order, wanted)
    graph, inputs, _ = _backward_graph(*recording.key)
    made: dict[Any, NDArray] = {}
    for value, array, source in zip(inputs, recording.arrays, recording.sources):
        made[value] = source if isinstance(source, NDArray) else array.detach()
        if isinstance(source, Made):
            made[value]._made = source
    with _scope(True, True):
        for node in graph.nodes:
            if not node.is_input:
                results = apply(node.operator, [made[v] for v in node.inputs])
                made.update((node[k], r) for k, r in enumerate(results))
        found = [made[o.value] for o in graph.outputs[: len(wanted)]]
        return [g if tape.source_of(g) is not None else _leading_to(v, g) for g, v in zip(found, wanted)]


def _leading_to(variable: NDArray, constant: NDArray) -> NDArray:
    """A gradient that does not depend on the variable, as a result whose own gradient is 0."""
    return apply(IdentityLike(), [constant, variable])[0]


_prepared: BoundedCache[tuple, tuple[EagerGraph, tuple[int, ...]]] = BoundedCache(256)  # backward graphs


def _backward_graph(
    steps: tuple[tuple[Any, bool, tuple[int, ...], tuple[int, ...]], ...],
    heads: tuple[int, ...],
    wanted: tuple[int, ...],
    facts: tuple[tuple[tuple[int, ...], str], ...],
) -> tuple[Graph, list[Value], tuple[int, ...]]:
    """The graph of gradients over recorded values and head gradients, its inputs, and which values it updates."""
    g = GraphBuilder(training=True)
    contents = [g.input(f"array{k}", shape, dtype) for k, (shape, dtype) in enumerate(facts)]
    value = dict(enumerate(contents))  # what was recorded, as the results of nodes
    training: dict[Node, bool] = {}
    for n, (op, is_training, ins, outs) in enumerate(steps):
        node = Node(op, f"{op.name.strip('_').lower()}{n}", tuple(value[k] for k in ins))
        value.update((k, node[i]) for i, k in enumerate(outs))
        training[node] = is_training
    recorded = {v: contents[k] for k, v in value.items()}
    reverse = Reverse(g, list(training), {value[k]: "write" for k in wanted}, recorded, training)
    flowing: dict[Value, list[Value]] = {}
    for head, gradient in zip(heads, contents[len(contents) - len(heads) :]):
        flowing.setdefault(value[head], []).append(gradient)
    terms = reverse.gradients(flowing)
    updates = reverse.updates()
    totals = [g.add(terms[value[k]]) if value[k] in terms else g.like(contents[k], 0.0) for k in wanted]
    outputs = [Output("head", f"gradient{k}", v) for k, v in enumerate(totals)]
    outputs += [Output("head", f"update{k}", v) for k, v in enumerate(updates.values())]
    numbers = {v: k for k, v in value.items()}
    return finish(g, outputs), contents, tuple(numbers[v] for v in updates)


class Function:
    """Not available: gradients written in Python; raises ArgumentError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ArgumentError("autograd.Function is not supported: symc differentiates registered operators")
