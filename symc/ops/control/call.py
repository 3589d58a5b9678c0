"""A graph as one node of another: a hybridized block on the tape of autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from symc.core.errors import GradientError
from symc.core.lazy import lazy
from symc.core.params import param
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Graph, Value
from symc.ir.infer import dtypes_through, shapes_through
from symc.ir.op import DTypes, Op, Shapes, op
from symc.ir.reverse import Reverse, between, pulled_back


@op("_call")
class Call(Op):
    """The heads of its body, of which the inputs are those of the body in their order."""

    is_internal = True
    n_bodies = 1

    bodies: tuple[Graph, ...] = field(default=())
    wanted: tuple[int, ...] = param((), doc="positions of the inputs whose gradients may be asked for")
    inline_limit: int = param(0, doc="how many operators a body may have that users see in its place")

    @property
    def body(self) -> Graph:
        """The graph it runs."""
        return self.bodies[0]

    @property
    def is_inlined(self) -> bool:
        """Whether users see the operators of its body in its place."""
        return sum(not node.is_input for node in self.body.nodes) <= self.inline_limit

    @lazy
    def aux(self) -> tuple[str, ...]:  # type: ignore[override]
        """The states among the inputs."""
        return tuple(node.name for node in self.body.inputs if node.role == "aux")

    @lazy
    def is_random(self) -> bool:  # type: ignore[override]
        return any(node.operator.is_random for node in self.body.nodes if not node.is_input)

    @lazy
    def has_loss(self) -> bool:
        return any(node.operator.has_loss for node in self.body.nodes if not node.is_input)

    def argument_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.body.inputs if node.role != "aux")

    def input_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.body.inputs)

    def result_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.body.outputs)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return shapes_through(self.body, ins, outs)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return dtypes_through(self.body, ins, outs)

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return g.inline(self.body, x)

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        """Those of its body; what they compute again is merged with what the body computes."""
        if all(node.is_input or type(node.op).checks is Op.checks for node in self.body.nodes):
            return []
        inner = between(set(x), g.inline(self.body, x))
        return [check for node in inner for check in node.operator.checks(g, node.inputs)]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """Computes the body again, as far as heads have a gradient.

        Raises GradientError where that would draw other random numbers.
        """
        heads = [(v, d) for v, d in zip(g.inline(self.body, x), dy) if d is not None]
        found = pulled_back(g, x, [v for v, _ in heads], [d for _, d in heads], [x[k] for k in self.wanted])
        if self.is_random:
            raise GradientError(
                "the gradient of a block that draws random numbers cannot be recorded (create_graph=True): call it "
                "without hybridize(), or keep Dropout outside of it"
            )
        return found

    def update_aux(self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value]) -> dict[str, Value]:
        nodes = between(set(x), g.inline(self.body, x))
        new = Reverse(g, nodes, {x[k]: "write" for k in self.wanted}).updates()
        return {name: new[v] for name, v in zip(self.input_names(), x) if v in new}
