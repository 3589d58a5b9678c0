"""The graph: nodes in topological order, a networkx view of them, and typed facts about their values.

Graphs are values: a pass returns a new one.  Nodes are immutable and shared between the graphs of a pipeline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from symc.core.lazy import lazy
from symc.core.required import required
from symc.core.shapes import FullShape, Shape

from .op import Op

if TYPE_CHECKING:
    import networkx

# A "parameter" is an argument that only feeds slots holding trained values; an "accumulator" is the present content of
# a gradient array that the new gradient is added to.
Role = Literal["argument", "parameter", "aux", "head_gradient", "accumulator"]


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One operation, or an input of the graph when `op` is None (then `role` says which kind).

    name    the user's name; nodes made by passes derive theirs from the node they serve
    origin  where the user made it: "file:line", or the model file it was read from
    """

    op: Op | None
    name: str
    inputs: tuple[Value, ...] = ()
    role: Role = "argument"
    origin: str = ""

    @property
    def is_input(self) -> bool:
        return self.op is None

    @property
    def operator(self) -> Op:
        """The operator of a node that is not an input."""
        assert self.op is not None, f"{self.name} is an input"
        return self.op

    @property
    def bodies(self) -> tuple[Graph, ...]:
        """The graphs it runs on what it reads (a recorded block, the step of a loop); most nodes have none.

        A body is a graph of its own: its inputs, in their order, stand for what its node feeds them, its outputs are
        heads.
        """
        return () if self.op is None else self.op.bodies

    @property
    def n_outputs(self) -> int:
        return 1 if self.op is None else self.op.n_produced

    def __getitem__(self, index: int) -> Value:
        return Value(self, index)

    def __repr__(self) -> str:
        return f"<{self.op.name if self.op else self.role} {self.name}>"


class Value(NamedTuple):
    """One output of a node; values of one node and index are equal (nodes are compared by identity)."""

    node: Node
    index: int = 0  # type: ignore[assignment]  # tuple has a method of that name

    def __str__(self) -> str:
        return f"%{self.node.name}" + (f":{self.index}" if self.index else "")


class Output(NamedTuple):
    """What the graph computes: a head of the symbol, the gradient of an argument, the update of a state, or a check:
    a number that must be 0, else the run raises an error."""

    kind: Literal["head", "gradient", "update", "check"]
    name: str  # the head's output name, the argument, the auxiliary state, or the error's text
    value: Value


@dataclass(frozen=True)
class Layout:
    """In which order the axes of a value lie in memory, outermost first; channels-last is (0, 2, 3, 1)."""

    order: tuple[int, ...]

    @staticmethod
    def row_major(rank: int) -> Layout:
        """(0, 1, ..., rank - 1): as NumPy's arrays lie."""
        return Layout(tuple(range(rank)))

    @staticmethod
    def channels_last(rank: int, channel: int = 1) -> Layout:
        """The axis of channels innermost: (N, C, *S) as (0, 2, ..., rank - 1, 1)."""
        if rank <= channel:
            return Layout.row_major(rank)
        return Layout((*(axis for axis in range(rank) if axis != channel), channel))

    @property
    def is_row_major(self) -> bool:
        return self.order == tuple(range(len(self.order)))

    def strides(self, shape: FullShape) -> tuple[int, ...]:
        """Strides in elements, by logical axis."""
        strides = [0] * len(shape)
        step = 1
        for axis in reversed(self.order):
            strides[axis] = step
            step *= max(shape[axis], 1)
        return tuple(strides)

    def __str__(self) -> str:
        return ("" if len(self.order) <= 10 else ",").join(map(str, self.order)) if self.order else "scalar"


@dataclass(frozen=True)
class Facts:
    """What passes have found out; each table is keyed by value (group: by node)."""

    shape: Mapping[Value, Shape] = field(default_factory=dict)
    dtype: Mapping[Value, str] = field(default_factory=dict)
    layout: Mapping[Value, Layout] = field(default_factory=dict)
    group: Mapping[Node, int] = field(default_factory=dict)


FACTS = ("shape", "dtype", "layout", "group")


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order and what is asked of them.

    training   whether operators behave as in training (BatchNorm's batch statistics, Dropout's mask)
    """

    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    training: bool = False
    facts: Facts = field(default_factory=Facts)

    @staticmethod
    def of(
        outputs: Iterable[Output], training: bool = False, facts: Facts | None = None, inputs: Iterable[Node] = ()
    ) -> Graph:
        """The graph of everything the outputs need, in depth-first post-order (MXNet's order).

        `inputs` are there, in that order, whether needed or not.
        """
        outputs = tuple(outputs)
        nodes = post_order([*inputs, *(o.value.node for o in outputs)])
        return Graph(tuple(nodes), outputs, training, facts or Facts())

    @lazy
    def nx(self) -> networkx.MultiDiGraph:
        """The same graph for networkx: an edge per use (`x * x` has two), keyed by the input's position."""
        # Imported here: its 90 ms are more than a start from a warm cache takes otherwise, and that one asks no order.
        g = required("networkx").MultiDiGraph()
        g.add_nodes_from(self.nodes)
        g.add_edges_from((v.node, n, k, {"output": v.index}) for n in self.nodes for k, v in enumerate(n.inputs))
        return g

    @lazy
    def users(self) -> Mapping[Value, tuple[tuple[Node, int], ...]]:
        """Who reads a value: (node, input position) pairs in topological order."""
        found: dict[Value, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            for k, v in enumerate(node.inputs):
                found.setdefault(v, []).append((node, k))
        return {v: tuple(u) for v, u in found.items()}

    @lazy
    def random_streams(self) -> Mapping[Node, int]:
        """The random nodes numbered in order: equal graphs draw equal numbers, whatever their nodes are called."""
        return {n: k for k, n in enumerate(n for n in self.nodes if n.op is not None and n.op.is_random)}

    @lazy
    def has_bodies(self) -> bool:
        """Whether any node holds graphs of its own."""
        return any(node.bodies for node in self.nodes)

    @lazy
    def output_values(self) -> frozenset[Value]:
        return frozenset(o.value for o in self.outputs)

    @lazy
    def _n_listed(self) -> Counter[Value]:
        """How often a value is an output."""
        return Counter(o.value for o in self.outputs)

    @property
    def inputs(self) -> Iterator[Node]:
        """Input nodes in order."""
        return (n for n in self.nodes if n.is_input)

    def n_uses(self, value: Value) -> int:
        """How often a value is read, being an output counted as one reading."""
        return len(self.users.get(value, ())) + self._n_listed[value]

    def shape(self, value: Value) -> FullShape:
        """The shape of a value, fully known."""
        return self.facts.shape[value]  # type: ignore[return-value]

    def dtype(self, value: Value) -> str:
        """The dtype of a value."""
        return self.facts.dtype[value]

    def layout(self, value: Value) -> Layout:
        """The layout of a value; row-major unless a pass decided otherwise."""
        return self.facts.layout.get(value) or Layout(tuple(range(len(self.shape(value)))))

    def with_facts(self, **tables: Mapping) -> Graph:
        """The same graph with some fact tables replaced."""
        return replace(self, facts=replace(self.facts, **tables))


def post_order(roots: Iterable[Node]) -> Iterator[Node]:
    """Every node the roots need, inputs before users, left to right; without recursion."""
    done: set[Node] = set()
    for root in roots:
        stack: list[tuple[Node, int]] = [] if root in done else [(root, 0)]
        while stack:
            node, position = stack.pop()
            if position < len(node.inputs):
                stack.append((node, position + 1))
                child = node.inputs[position].node
                if child not in done:
                    stack.append((child, 0))
            elif node not in done:
                done.add(node)
                yield node
