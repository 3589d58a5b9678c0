"""The way back over a recording: from the gradients of heads to those of variables.

A recording falls into parts. A run of operators in one mode becomes a graph of gradients over what was recorded, which
is prepared once for each structure; an operator that left something for its way back (a block with a program of its
own) is a part alone and runs that. Between parts, gradients flow as arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from symc.core.bounded import BoundedCache
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value
from symc.ir.op import Op
from symc.ir.reverse import Reverse
from symc.ops.math.binary import IdentityLike

from . import tape, varying
from .eager import EagerGraph
from .invoke import apply
from .ndarray import NDArray
from .tape import Made, Recorded, Source

Part = Sequence[Recorded]
Flow = dict[Hashable, list[NDArray]]  # the terms of a value's gradient, by where the value comes from


class Head(NamedTuple):
    """A term that flows into a recorded value."""

    source: Source
    contents: NDArray
    term: NDArray


def gradients(
    heads: Sequence[NDArray],
    head_grads: Sequence[NDArray | None],
    order: Part,
    wanted: Sequence[NDArray],
    into: Mapping[Hashable, NDArray],
    is_last: bool,
) -> list[NDArray | None]:
    """The gradient of each wanted variable, None where nothing flows; also updates the states of what trained.

    order     the operators that the heads need, inputs before users
    into      arrays that the gradient of a variable (by `key_of`) may be written to at once; it is in there already
              when that very memory is the result
    is_last   whether the recording is used up
    """

    def pull(part: Part, ends: Sequence[Head], asked: Mapping[Hashable, tuple[Source, NDArray]]) -> Iterator:
        reached = {end.source for end in ends}
        if part[0].left is None or (part[0].op.has_loss and len(reached) < len(part[0].results)):
            return _computed(part, ends, asked)  # a loss that no head needs does not count: its program cannot tell
        free = into if into.keys().isdisjoint(flowing) else {k: a for k, a in into.items() if k not in flowing}
        return _by_its_own(part[0], ends, asked, free, is_last)

    flowing = _started(heads, head_grads)
    keys = [key_of(v) for v in wanted]
    _flow_back(flowing, list(_parts(order)), keys, pull)
    return [_sum(flowing.get(key, ())) for key in keys]


def recorded_gradients(
    heads: Sequence[NDArray], head_grads: Sequence[NDArray | None], order: Part, wanted: Sequence[NDArray]
) -> list[NDArray]:
    """The gradients of the wanted variables, computed operator by operator and recorded in turn."""
    flowing = _started(heads, head_grads)
    keys = [key_of(v) for v in wanted]
    _flow_back(flowing, list(_parts(order, apart=False)), keys, _recorded)
    with tape.scope(True, True):
        return [_recorded_sum(v, flowing.get(key, [])) for v, key in zip(wanted, keys)]


def _recorded_sum(variable: NDArray, terms: Sequence[NDArray]) -> NDArray:
    """The sum of gradients; one that does not depend on the variable is a result whose own gradient is 0."""
    total = terms[0] if terms else NDArray(np.zeros(variable._shape, variable._dtype), variable.context)
    for term in terms[1:]:
        total = total + term
    return total if tape.source_of(total) is not None else apply(IdentityLike(), [total, variable])[0]


def key_of(array: NDArray) -> Hashable:
    """What the gradient of an array is kept under."""
    return id(array) if array._grad is not None else tape.key_of(tape.source_of(array))


def _started(heads: Sequence[NDArray], head_grads: Sequence[NDArray | None]) -> Flow:
    flowing: Flow = {}
    for head, gradient in zip(heads, head_grads):
        term = NDArray._over(np.ones(head._shape, head._dtype), head._context) if gradient is None else gradient
        flowing.setdefault(key_of(head), []).append(term)
    return flowing


def _parts(order: Part, apart: bool = True) -> Iterator[list[Recorded]]:
    """Runs of operators in one mode; those that left something stand alone where `apart` says so."""
    part: list[Recorded] = []
    for node in order:
        is_alone = apart and (node.left is not None or (bool(part) and part[-1].left is not None))
        if part and (is_alone or node.training != part[-1].training):
            yield part
            part = []
        part.append(node)
    if part:
        yield part


def _flow_back(flowing: Flow, parts: Sequence[Part], wanted: Iterable[Hashable], pull: Callable[..., Iterator]) -> None:
    """Adds the terms of everything that leads to a wanted variable, part by part from the end."""
    leading = set(wanted)
    for part in parts:
        for node in part:
            if not leading.isdisjoint(node.keys):
                leading.update([Made(node, k) for k in range(len(node.results))])
    read = {key for part in parts for node in part for key in node.keys}
    for part in reversed(parts):
        inside = set(part)
        ends = [end for node in part for end in _ends(node, flowing, read)]
        asked = {
            key: value
            for node in part
            for key, value in zip(node.keys, node.inputs or ())
            if key in leading and not (type(key) is Made and key.by in inside)
        }
        if asked and (ends or any(node.op.has_loss for node in part)):
            for key, term in pull(part, ends, asked):
                flowing.setdefault(key, []).append(term)


def _ends(node: Recorded, flowing: Flow, read: Set[Hashable]) -> Iterator[Head]:
    """What flows into the results of an operator; zeros into the results of a body with a loss that are just read."""
    for k, contents in enumerate(node.results):
        made = Made(node, k)
        terms = flowing.get(made, [])
        if not terms and made in read and node.op.has_loss and not node.op.is_loss:
            terms = [NDArray(np.zeros(contents._shape, contents._dtype), contents.context)]
        yield from (Head(made, contents, term) for term in terms)


def _sum(terms: Sequence[NDArray]) -> NDArray | None:
    if len(terms) < 2:
        return terms[0] if terms else None
    total = terms[0]._plus(terms[1])
    for term in terms[2:]:
        total._add(term)
    return total


# -- a block with a way back of its own -------------------------------------------------------------------------------


def _by_its_own(
    node: Recorded,
    ends: Sequence[Head],
    asked: Mapping[Hashable, tuple[Source, NDArray]],
    into: Mapping[Hashable, NDArray],
    is_last: bool,
) -> Iterator[tuple[Hashable, NDArray]]:
    assert node.inputs is not None and node.left is not None
    terms: list[list[NDArray]] = [[] for _ in node.results]
    for source, _, term in ends:
        assert isinstance(source, Made)
        terms[source.index].append(term)
    keys = node.keys
    shared = tape.repeated(keys)
    places = {k: into[key] for k, key in enumerate(keys) if key in into and key not in shared}
    for k, gradient in node.left.gradients([_sum(each) for each in terms], places, is_last).items():
        if keys[k] in asked:
            yield keys[k], places.get(k, gradient)


# -- a run of operators -----------------------------------------------------------------------------------------------


class _Recording:
    """What the graph of gradients of a part is over: the recorded values, numbered in order, then the terms.

    steps           operator, numbers of inputs and results, of each recorded operator
    heads, wanted   numbers of the values that the terms flow into, and of those whose gradients are asked for
    arrays, sources   contents of each value, and where its own gradient would go
    """

    def __init__(self, part: Part, ends: Sequence[Head], asked: Mapping[Hashable, tuple[Source, NDArray]]) -> None:
        self.arrays: list[NDArray] = []
        self.sources: list[Source] = []
        self._numbers: dict[Hashable, int] = {}
        self.training = part[0].training
        steps = []
        for node in part:
            assert node.inputs is not None
            op, inputs = node.op, node.inputs
            arrays = varying.as_arrays(op, [x for _, x in inputs])
            if arrays is not None:
                source, array = inputs[0]
                op, inputs = arrays[0], [(source if x is array else None, x) for x in arrays[1]]
            ins = tuple(self._number(s, x) for s, x in inputs)
            outs = tuple(self._number(Made(node, k), r) for k, r in enumerate(node.results))
            steps.append((op, ins, outs))
        self.steps = tuple(steps)
        self.heads = tuple(self._number(e.source, e.contents) for e in ends)
        self.wanted = tuple(self._number(*value) for value in asked.values())
        for end in ends:
            self.arrays.append(end.term)
            self.sources.append(tape.source_of(end.term))

    def _number(self, source: Source, contents: NDArray) -> int:
        """The number of a value; a constant is the memory that holds it."""
        key = id(contents._memory) if source is None else tape.key_of(source)
        if key not in self._numbers:
            self._numbers[key] = len(self.arrays)
            self.arrays.append(contents)
            self.sources.append(source)
        return self._numbers[key]

    @property
    def is_repetitive(self) -> bool:
        """Whether it has most of its operators several times."""
        shapes = [a._shape for a in self.arrays]
        kinds = {(op.name, *(shapes[k] for k in ins)) for op, ins, _ in self.steps}
        return len(kinds) * REPEATED <= len(self.steps)

    @property
    def key(self) -> tuple:
        """What the graph depends on."""
        facts = tuple((a.shape, a._dtype.name) for a in self.arrays)
        return self.training, self.steps, self.heads, self.wanted, facts


class _Gradients(NamedTuple):
    """The graph of a part's gradients.

    inputs   one for each recorded value and term
    found    positions, among the wanted values, of those that something flows into: the first heads
    states   numbers of the values that the further heads update
    """

    graph: Graph
    inputs: list[Value]
    found: tuple[int, ...]
    states: tuple[int, ...]


def _graph_of_gradients(
    training: bool,
    steps: tuple[tuple[Op, tuple[int, ...], tuple[int, ...]], ...],
    heads: tuple[int, ...],
    wanted: tuple[int, ...],
    facts: tuple[tuple[tuple[int, ...], str], ...],
) -> _Gradients:
    g = GraphBuilder(training=training)
    contents = [g.input(f"array{k}", shape, dtype) for k, (shape, dtype) in enumerate(facts)]
    value = dict(enumerate(contents))  # what was recorded, as the results of nodes
    nodes = []
    for n, (op, ins, outs) in enumerate(steps):
        nodes.append(Node(op, f"{op.name.strip('_').lower()}{n}", tuple(value[k] for k in ins)))
        value.update((k, nodes[-1][i]) for i, k in enumerate(outs))
    recorded = {v: contents[k] for k, v in value.items()}
    reverse = Reverse(g, nodes, {value[k]: "write" for k in wanted}, recorded)
    flowing: dict[Value, list[Value]] = {}
    for head, term in zip(heads, contents[len(contents) - len(heads) :]):
        flowing.setdefault(value[head], []).append(term)
    terms = reverse.gradients(flowing)
    updates = reverse.updates()
    found = tuple(k for k, number in enumerate(wanted) if value[number] in terms)
    outputs = [Output("head", f"gradient{k}", g.add(terms[value[wanted[k]]])) for k in found]
    outputs += [Output("head", f"update{k}", v) for k, v in enumerate(updates.values())]
    numbers = {v: k for k, v in value.items()}
    return _Gradients(finish(g, outputs), contents, found, tuple(numbers[v] for v in updates))


# A recording of few operators, each of them many times (steps of a sequence, of a game), may be as long as no other:
# it is compiled when it comes again, after which the last bits of its gradients may be others. Operators one by one
# were compiled before, in recordings of other lengths.
REPEATED = 4
_prepared: BoundedCache[tuple, tuple[_Gradients, EagerGraph | None]] = BoundedCache(256)


def _computed(
    part: Part, ends: Sequence[Head], asked: Mapping[Hashable, tuple[Source, NDArray]]
) -> Iterator[tuple[Hashable, NDArray]]:
    """The terms of what a part's inputs get, and new contents for its states."""
    recording = _Recording(part, ends, asked)
    key = recording.key
    prepared = _prepared.get(key)
    if prepared is None:
        made = _graph_of_gradients(*key)
        run = None if recording.is_repetitive else EagerGraph(made.graph, made.inputs)
        _prepared.put(key, (made, run))
    else:
        made, run = prepared
        if run is None:
            run = EagerGraph(made.graph, made.inputs)
            _prepared.put(key, (made, run))
    if not made.graph.outputs:
        return
    if run is None:
        with tape.scope(False, recording.training):
            results = _one_by_one(made.graph, dict(zip(made.inputs, recording.arrays)))
    else:
        results = run(recording.arrays, recording.arrays[0].context)
    for number, new in zip(made.states, results[len(made.found) :]):
        recording.arrays[number]._take(new)
    values = list(asked.items())
    for k, result in zip(made.found, results):
        key, (_, contents) = values[k]
        yield key, result if result._context == contents._context else result._copied(contents._context)


def _one_by_one(graph: Graph, arrays: dict[Value, NDArray]) -> list[NDArray]:
    """The heads of a graph as arrays of their own, operator by operator; `arrays` has the inputs, and gets the rest."""
    taken = set(arrays)
    _apply_nodes(graph, arrays)
    heads = []
    for output in graph.outputs:
        head = arrays[output.value]
        heads.append(head._copied(head._context) if output.value in taken else head)
        taken.add(output.value)
    return heads


def _apply_nodes(graph: Graph, arrays: dict[Value, NDArray]) -> None:
    for node in graph.nodes:
        if not node.is_input:
            results = apply(node.operator, [arrays[v] for v in node.inputs])
            arrays.update((node[k], r) for k, r in enumerate(results))


def _recorded(
    part: Part, ends: Sequence[Head], asked: Mapping[Hashable, tuple[Source, NDArray]]
) -> Iterator[tuple[Hashable, NDArray]]:
    """The same terms, computed operator by operator and recorded."""
    recording = _Recording(part, ends, asked)
    made = _graph_of_gradients(*recording.key)
    arrays: dict[Value, NDArray] = {}
    for value, array, source in zip(made.inputs, recording.arrays, recording.sources):
        arrays[value] = source if isinstance(source, NDArray) else array.detach()
        if isinstance(source, Made):
            arrays[value]._made = source
    with tape.scope(True, recording.training):
        _apply_nodes(made.graph, arrays)
    for k, output in zip(made.found, made.graph.outputs):
        yield list(asked)[k], arrays[output.value]
