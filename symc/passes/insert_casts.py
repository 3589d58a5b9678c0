"""Cast handling: contractions compute in float32 or float64, whatever type their operands are stored in."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import DTypeError
from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass
from .meaning import meaning_of

COMPUTED = ("float32", "float64")


@graph_pass()
def insert_casts(graph: Graph, context: PassContext) -> Graph:
    """Puts explicit casts around contractions of 16-bit storage, so that sums accumulate in float32.

    before:  %y = Convolution(%x: float16, %w: float16)
    after:   %a = Cast(%x, float32); %b = Cast(%w, float32); %c = Convolution(%a, %b); %y = Cast(%c, float16)

    Every other kernel widens 16-bit elements as it loads them and rounds as it stores.
    Raises DTypeError, naming the node, for a contraction of integers.
    """

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not inputs or g.dtype(inputs[0]) in COMPUTED or meaning_of(graph, node).kind != "product":
            return None
        dtype = g.dtype(inputs[0])
        op = node.operator
        if dtype != "float16":
            raise DTypeError(
                f"Error in operator {node.name}: {op.name} of {dtype} is not supported; cast its inputs to float32"
            )
        wide = [g("Cast", v, dtype="float32") if g.dtype(v) == dtype else v for v in inputs]
        made = g.apply(op, wide, node.name, node.origin)
        return [g("Cast", made[0], dtype=dtype)]

    return rewrite(graph, rule)
