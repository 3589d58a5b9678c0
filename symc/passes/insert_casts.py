"""Cast handling: contractions compute in float32 or float64, whatever type their operands are stored in."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import DTypeError
from symc.core.shapes import size_of
from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value

from .base import PassContext, graph_pass
from .meaning import meaning_of

COMPUTED = ("float32", "float64")
BYTES = ("int8", "uint8")
LARGEST_PRODUCT = 255 * 128  # in size, of a byte and an int8
EXACT_FLOAT32 = 1 << 24  # up to there float32 holds every integer


@graph_pass(enters_bodies=True)
def insert_casts(graph: Graph, context: PassContext) -> Graph:
    """Puts explicit casts around contractions of 16-bit storage, so that sums accumulate in float32.

    before:  %y = Convolution(%x: float16, %w: float16)
    after:   %a = Cast(%x, float32); %b = Cast(%w, float32); %c = Convolution(%a, %b); %y = Cast(%c, float16)

    Every other kernel widens 16-bit elements as it loads them and rounds as it stores. Contractions of 8-bit integers
    become such of floats that hold each of their sums exactly: float32 for up to 514 products, else float64.
    Raises DTypeError, naming the node, for a contraction of other integers.
    """

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not inputs or g.dtype(inputs[0]) in COMPUTED or meaning_of(graph, node).kind != "product":
            return None
        dtype = g.dtype(inputs[0])
        op = node.operator
        if dtype in BYTES and g.dtype(inputs[1]) in BYTES:
            n_products = size_of(g.shape(inputs[1])[1:])
            wide = "float32" if n_products * LARGEST_PRODUCT <= EXACT_FLOAT32 else "float64"
        elif dtype == "float16":
            wide = "float32"
        else:
            raise DTypeError(
                f"Error in operator {node.name}: {op.name} of {dtype} is not supported; cast its inputs to float32"
            )
        operands = [g("Cast", v, dtype=wide) if g.dtype(v) in (dtype, *BYTES) else v for v in inputs]
        made = g.apply(op, operands, node.name, node.origin)
        return [g("Cast", made[0], dtype=g.dtype(node[0]))]

    return rewrite(graph, rule)
