"""Shape and dtype inference: facts flow from inputs to outputs and back until nothing changes.

before: %y = FullyConnected(%x, %w, %b; num_hidden=3)     with x (2, 5)
after:  the same nodes                                    with x (2, 5), w (3, 5), b (3,), y (2, 3)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from symc.core.errors import DTypeError, ShapeError
from symc.core.shapes import MAX_AXES, MAX_ELEMENTS, Shape, is_known, mx_text, size_of, unify

from .graph import Graph, Node, Value
from .op import Op

Fact = TypeVar("Fact")


def infer_shape(graph: Graph) -> Graph:
    """The graph with the shape of every value that is used, fully known.

    Raises ShapeError, naming the node, on contradiction, and naming the arguments when something stays undecided.
    """
    shapes = partial_shapes(graph)
    undecided = [v for v in used_values(graph) if not is_known(shapes.get(v))]
    if undecided:
        raise ShapeError(_undecided_shapes(graph, shapes, undecided))
    for v, shape in shapes.items():
        require_countable(v, shape)
    return graph.with_facts(shape=shapes)


def require_countable(value: Value, shape: Shape | None) -> None:
    """Raises ShapeError for more axes or elements than any tensor has."""
    if is_known(shape) and (len(shape) > MAX_AXES or size_of(shape) > MAX_ELEMENTS):  # type: ignore[arg-type]
        node = value.node
        raise ShapeError(
            f"{node.op.name if node.op else node.role} {node.name} has shape {mx_text(shape)}: "
            f"expected at most {MAX_AXES} axes and {MAX_ELEMENTS} elements; check the shapes of the inputs"
        )


def infer_dtype(graph: Graph) -> Graph:
    """The graph with the dtype of every value that is used; arguments that nothing decides are float32.

    Raises DTypeError, naming the node, on contradiction.
    """
    dtypes = partial_dtypes(graph, default="float32")
    undecided = [v for v in used_values(graph) if v not in dtypes]
    if undecided:
        raise DTypeError(f"cannot decide the dtype of {', '.join(_name(v) for v in undecided[:10])}")
    return graph.with_facts(dtype=dtypes)


def partial_shapes(graph: Graph) -> dict[Value, Shape]:
    """What can be known about shapes, in both directions, from the shapes the graph already has."""
    return _Inference(graph, graph.facts.shape, lambda op, ins, outs: op.checked_shapes(ins, outs), unify).run()


def partial_dtypes(graph: Graph, default: str | None = None) -> dict[Value, str]:
    """What can be known about dtypes; inputs that nothing decides get the default, one by one in graph order."""
    return _Inference(graph, graph.facts.dtype, lambda op, ins, outs: op.infer_dtype(ins, outs), _unify_dtype).run(
        default
    )


def shapes_through(
    body: Graph, ins: Sequence[Shape | None], outs: Sequence[Shape | None]
) -> tuple[list[Shape | None], list[Shape | None]]:
    """What is known about the inputs and heads of a body from what is known outside, in both directions."""
    found = partial_shapes(body.with_facts(shape=_known(body, body.facts.shape, (*ins, *outs), unify)))
    return [found.get(n[0]) for n in body.inputs], [found.get(o.value) for o in body.outputs]


def dtypes_through(
    body: Graph, ins: Sequence[str | None], outs: Sequence[str | None]
) -> tuple[list[str | None], list[str | None]]:
    """The same of dtypes."""
    found = partial_dtypes(body.with_facts(dtype=_known(body, body.facts.dtype, (*ins, *outs), _unify_dtype)))
    return [found.get(n[0]) for n in body.inputs], [found.get(o.value) for o in body.outputs]


def _known(
    body: Graph, table: Mapping[Value, Fact], facts: Sequence[Fact | None], merge: Callable
) -> dict[Value, Fact]:
    """A body's own facts and those about its inputs and heads; raises ShapeError or DTypeError on contradiction."""
    known = dict(table)
    for v, fact in zip((*(n[0] for n in body.inputs), *(o.value for o in body.outputs)), facts):
        if fact is not None:
            known[v] = merge(known.get(v), fact)
    return known


def used_values(graph: Graph) -> list[Value]:
    """Inputs, what nodes read, and outputs: the values that must be known to run."""
    found = {node[0]: None for node in graph.inputs}
    found.update((v, None) for node in graph.nodes for v in node.inputs)
    found.update((o.value, None) for o in graph.outputs)
    return list(found)


def _unify_dtype(a: str | None, b: str | None) -> str | None:
    if a is not None and b is not None and a != b:
        raise DTypeError(f"expected {a}, got {b}")
    return b if a is None else a


class _Inference(Generic[Fact]):
    """Facts about all values of a graph: nodes are visited in order, then again whenever a neighbour learnt something.

    Values are numbered, a node's outputs in a row. A fact only ever becomes more precise, so the work is linear in the
    graph.
    """

    def __init__(
        self,
        graph: Graph,
        known: Mapping[Value, Fact],
        infer: Callable[[Op, list, list], tuple[Sequence, Sequence]],
        merge: Callable[[Fact | None, Fact | None], Fact | None],
    ) -> None:
        self.graph, self.infer, self.merge = graph, infer, merge
        self.first: dict[Node, int] = {}
        n_values = 0
        for node in graph.nodes:
            self.first[node] = n_values
            n_values += node.n_outputs
        self.facts: list[Fact | None] = [None] * n_values
        for (node, k), fact in known.items():
            if node in self.first:
                self.facts[self.first[node] + k] = fact
        self.reads = [[self.first[v.node] + v.index for v in node.inputs] for node in graph.nodes]
        self.writes = [range(first, first + node.n_outputs) for node, first in self.first.items()]
        self.neighbours: list[list[int]] = [
            [] for _ in range(n_values)
        ]  # of a value: its node's and readers' positions
        for position, node in enumerate(graph.nodes):
            if node.op is not None:
                for number in {*self.reads[position], *self.writes[position]}:
                    self.neighbours[number].append(position)
        self.queue = deque(position for position, node in enumerate(graph.nodes) if node.op is not None)
        self.is_queued = [node.op is not None for node in graph.nodes]

    def run(self, default: Fact | None = None) -> dict[Value, Fact]:
        """All facts; inputs that nothing decides get the default, one by one in graph order."""
        self.settle()
        for node in self.graph.inputs if default is not None else ():
            self.learn(self.first[node], self.facts[self.first[node]] or default)
            self.settle()
        values = (node[k] for node in self.graph.nodes for k in range(node.n_outputs))
        return {value: fact for value, fact in zip(values, self.facts) if fact is not None}

    def settle(self) -> None:
        """Visits nodes until nothing changes."""
        while self.queue:
            position = self.queue.popleft()
            self.is_queued[position] = False
            node = self.graph.nodes[position]
            ins = [self.facts[n] for n in self.reads[position]]
            outs = [self.facts[n] for n in self.writes[position]]
            try:
                _check_count(node)
                assert node.op is not None
                new_ins, new_outs = self.infer(node.op, ins, outs)
                for number, fact in zip((*self.reads[position], *self.writes[position]), (*new_ins, *new_outs)):
                    if fact is not None and fact != self.facts[number]:
                        self.learn(number, fact, position)
            except (ShapeError, DTypeError) as e:
                raise explained(e, node, ins) from e

    def learn(self, number: int, fact: Fact | None, here: int | None = None) -> None:
        """Adds to what is known about a value and wakes the nodes around it, except the one that says so."""
        merged = self.merge(self.facts[number], fact)
        if merged == self.facts[number]:
            return
        self.facts[number] = merged
        for position in self.neighbours[number]:
            if position != here and not self.is_queued[position]:
                self.is_queued[position] = True
                self.queue.append(position)


def _check_count(node: Node) -> None:
    assert node.op is not None
    names = node.op.input_names()
    if len(node.inputs) != len(names):
        raise ShapeError(f"expected {len(names)} inputs ({', '.join(names)}), got {len(node.inputs)}")


def explained(error: ShapeError | DTypeError, node: Node, ins: Sequence[Any]) -> ShapeError | DTypeError:
    """The error in MXNet's words, then the operator, what is known about its inputs, and the user's line."""
    assert node.op is not None
    names = node.op.input_names()
    names += tuple(f"input {i}" for i in range(len(names), len(ins)))
    given = [n if n == v.node.name else f"{n} ({v.node.name})" for n, v in zip(names, node.inputs)]
    seen = ", ".join(f"{name} {_fact(fact)}" for name, fact in zip(given, ins))
    where = f"\n  made at: {node.origin}" if node.origin else ""
    return type(error)(f"Error in operator {node.name}: {error}\n  operator: {node.op}\n  inputs: {seen}{where}")


def _fact(fact: Any) -> str:
    return "unknown" if fact is None else fact if isinstance(fact, str) else mx_text(fact)


def _name(value: Value) -> str:
    return value.node.name + (f" (output {value.index})" if value.index else "")


def _undecided_shapes(graph: Graph, shapes: Mapping[Value, Shape], undecided: Sequence[Value]) -> str:
    for v in undecided:
        if v.node.op is not None and v.node.op.undecidable:
            return (
                f"the shape of {_name(v)} cannot be decided when the graph is compiled: {v.node.op.name} "
                f"{v.node.op.undecidable}"
            )
    inputs = [v for v in undecided if v.node.is_input]
    listed = ", ".join(f"{_name(v)}: {mx_text(shapes.get(v))}" for v in (inputs or undecided)[:10])
    what = "arguments" if inputs else "values"
    return (
        f"InferShape pass cannot decide shapes for the following {what} (-1 means unknown dimensions). "
        f"Please consider providing them as inputs:\n{listed}"
    )
