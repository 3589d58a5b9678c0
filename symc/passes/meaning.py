"""What fusion must know of one node: its definitions as index functions, and how it reads its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from symc.core.bounded import bounded
from symc.core.lazy import lazy
from symc.core.shapes import FullShape
from symc.ir.graph import Graph, Node, Value
from symc.ir.op import Op
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, walk
from symc.loopir.tensor import Function, Lowering, Product, Tensor

from .signature import Signature, signature_of

Kind = Literal["view", "map", "reduction", "regions", "product", "template", "loop"]
# Primitives that cost about one instruction: recomputing them is cheaper than a trip through memory.
CHEAP = frozenset(
    "const param load index cast add sub mul neg abs maximum minimum lt le gt ge eq ne and or not select".split()
)


def memoised(function: Function) -> Function:
    """The function remembering each index, so that shared definitions are expanded once (and stay one Expr)."""
    known: dict[tuple, Expr] = {}

    def call(*index: IndexLike | Expr) -> Expr:
        key = tuple(i if isinstance(i, Expr) else Affine.of(i) for i in index)
        if key not in known:
            known[key] = function(*key)
        return known[key]

    return call


def define(graph: Graph, node: Node, read: Callable[[Value], Tensor]) -> Lowering:
    """The node's definitions over tensors supplied by `read`."""
    outs = [node[k] for k in range(node.n_outputs)]
    t = Lowering(
        ins=[read(v) for v in node.inputs],
        out_shapes=[graph.shape(v) for v in outs],
        out_dtypes=[graph.dtype(v) for v in outs],
        prefix=f"{node.name}.",
        stream=graph.random_streams.get(node, 0),
    )
    node.operator.lower(t)
    return t


@dataclass(frozen=True)
class Meaning:
    """How an operator computes on given shapes, found by looking at its definitions over plain loads."""

    op: Op
    kind: Kind
    axes: tuple[Axis, ...]  # loop variables of output 0
    bodies: tuple[Expr, ...]  # values at `axes`, of every output that has output 0's shape
    in_shapes: tuple[FullShape, ...]
    product: Product | None = None

    @lazy
    def _loads(self) -> dict[str, list[tuple[Affine | Expr, ...]]]:
        found: dict[str, list[tuple[Affine | Expr, ...]]] = {}
        for body in self.bodies:
            for e in walk(body):
                if e.op == "load":
                    found.setdefault(e.data[0], []).append(e.data[1])
        return found

    def loads(self, position: int) -> list[tuple[Affine | Expr, ...]]:
        """The indices at which an input is read."""
        return self._loads.get(f"in{position}", [])

    @property
    def shape(self) -> FullShape:
        """The shape of output 0."""
        return tuple(a.extent for a in self.axes)

    def n_loads(self, position: int) -> int:
        """How many different elements of an input one output element reads (a reduction counts its body once)."""
        return len(set(self._loads.get(f"in{position}", ())))

    def is_pointwise(self, position: int) -> bool:
        """Whether an input of the output's shape is read only at the output's own index."""
        return self._pointwise[position]

    @lazy
    def _pointwise(self) -> tuple[bool, ...]:
        return tuple(
            shape == self.shape and all(self._is_own_index(i) for i in self.loads(k))
            for k, shape in enumerate(self.in_shapes)
        )

    def _is_own_index(self, index: tuple[Affine | Expr, ...]) -> bool:
        return all(
            isinstance(i, Affine) and (i == Affine.of(a) or (a.extent == 1 and not i.terms and i.constant == 0))
            for i, a in zip(index, self.axes)
        )

    def reads_section(self, position: int, axis: int) -> bool:
        """Whether an input is read at the output's own index, but for where a section of the input begins: the axis
        falls into sections of the output's extent."""
        shape = self.in_shapes[position]
        if len(shape) != len(self.shape) or shape != (*self.shape[:axis], shape[axis], *self.shape[axis + 1 :]):
            return False
        extent = self.shape[axis]
        if not extent or shape[axis] % extent:
            return False
        for index in self.loads(position):
            at = index[axis]
            if not isinstance(at, Affine) or at.constant % extent:
                return False
            if not self._is_own_index((*index[:axis], Affine(at.terms), *index[axis + 1 :])):
                return False
        return True

    def is_broadcast(self, position: int) -> bool:
        """Whether an input is read at the output's index with some axes held at 0 or left out."""
        own = {Affine.of(a) for a in self.axes} | {Affine()}
        return all(
            all(isinstance(i, Affine) and i in own for i in index) for index in self._loads.get(f"in{position}", ())
        )

    def follows_axes(self, position: int) -> bool:
        """Whether each axis of an input of equal rank belongs to the same axis of the output."""
        return self._following[position]

    @lazy
    def _following(self) -> tuple[bool, ...]:
        return tuple(
            len(shape) == len(self.axes) and all(map(self._follows, self.loads(k)))
            for k, shape in enumerate(self.in_shapes)
        )

    def _follows(self, index: tuple[Affine | Expr, ...]) -> bool:
        return not any(
            a in self.axes and a != own
            for component, own in zip(index, self.axes)
            for a in (component.axes() if isinstance(component, Affine) else ())
        )

    @lazy
    def is_cheap(self) -> bool:
        """Whether recomputing an element costs less than storing and loading it."""
        ops = [e.op for body in self.bodies for e in walk(body)]
        return len(ops) <= 24 and all(op in CHEAP for op in ops)

    @lazy
    def uses_index(self) -> bool:
        """Whether an element depends on where it is (random numbers, ranges, computed positions)."""
        return any(e.op == "index" for body in self.bodies for e in walk(body))

    @lazy
    def n_operations(self) -> int:
        return sum(1 for body in self.bodies for e in walk(body) if e.op not in ("const", "param", "load", "index"))


def meaning_of(graph: Graph, node: Node) -> Meaning:
    """Classifies a node by lowering it alone."""
    first: dict[Value, int] = {}
    return _meaning(signature_of(graph, node), tuple([first.setdefault(v, k) for k, v in enumerate(node.inputs)]))


@bounded(1 << 18, lambda _, meaning: 64 + sum(1 for body in meaning.bodies for _ in walk(body)))  # expressions
def _meaning(s: Signature, names: tuple[int, ...]) -> Meaning:
    """The meaning of an operator; input k is called in<names[k]>, equal inputs by the first of them."""
    _, op, in_shapes, _, out_shapes, _ = s
    axes = tuple(Axis(f"i{k}", n) for k, n in enumerate(out_shapes[0]))
    if op.is_view:
        return Meaning(op, "view", axes, (), in_shapes)
    if op.bodies:
        return Meaning(op, "loop", axes, (), in_shapes)
    t = s.lowered(names)
    if t.products:
        return Meaning(op, "product", axes, (), in_shapes, t.products[0])
    if t.routine is not None:
        return Meaning(op, "template", axes, (), in_shapes)
    if t.regions:
        bodies = tuple(r.value for regions in t.regions.values() for r in regions)
        return Meaning(op, "regions", axes, bodies, in_shapes)
    bodies = tuple(t.functions[k](*axes) for k in sorted(t.functions) if out_shapes[k] == out_shapes[0])
    has_reduce = any(e.op == "reduce" for body in bodies for e in walk(body))
    return Meaning(op, "reduction" if has_reduce else "map", axes, bodies, in_shapes)


def meanings(graph: Graph) -> dict[Node, Meaning]:
    """The meaning of every operation of a graph."""
    return {node: meaning_of(graph, node) for node in graph.nodes if not node.is_input}


def same_order(a: Sequence[int], b: Sequence[int], shape: FullShape) -> bool:
    """Whether two axis orders put a tensor's elements in the same places: axes of extent 1 do not matter."""
    return a == b or [k for k in a if shape[k] != 1] == [k for k in b if shape[k] != 1]
