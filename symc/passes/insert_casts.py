"""Cast handling: contractions compute in float32 or float64, whatever type their operands are stored in, unless the
machine adds up such products in a wider type by itself."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.dtypes import BYTES
from symc.core.errors import DTypeError
from symc.core.shapes import size_of
from symc.ir.builder import GraphBuilder, rewrite
from symc.ir.graph import Graph, Node, Value
from symc.loopir.tensor import Product

from .base import PassContext, graph_pass
from .meaning import meaning_of

COMPUTED = ("float32", "float64")
LARGEST_PRODUCT = 255 * 128  # in size, of a byte and an int8
EXACT_FLOAT32 = 1 << 24  # up to there float32 holds every integer
LARGEST_INT32 = (1 << 31) - 1


@graph_pass(enters_bodies=True)
def insert_casts(graph: Graph, context: PassContext) -> Graph:
    """Puts explicit casts around contractions of 16-bit storage, so that sums accumulate in float32.

    before:  %y = Convolution(%x: float16, %w: float16)
    after:   %a = Cast(%x, float32); %b = Cast(%w, float32); %c = Convolution(%a, %b); %y = Cast(%c, float16)

    Those that the machine multiplies as they are, with sums in float32, stay what they are; further channels
    that it wants are zeros.

    Every other kernel widens 16-bit elements as it loads them and rounds as it stores. Contractions of 8-bit integers
    into int32 stay what they are where the machine has int32 sums of them, or become such of int16 where it has those,
    their channels filled up with zeros; else they become such of floats that hold each sum exactly: float32 for up to
    514 products, then float64.
    Raises DTypeError, naming the node, for a contraction of other integers.
    """

    def rule(g: GraphBuilder, node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        if not inputs or g.dtype(inputs[0]) in COMPUTED or meaning_of(graph, node).kind != "product":
            return None
        dtype = g.dtype(inputs[0])
        op = node.operator
        if dtype == "int16" and g.dtype(node[0]) == "int32":
            return None  # widened bytes
        if dtype in BYTES and g.dtype(inputs[1]) in BYTES:
            return _of_bytes(g, node, inputs, meaning_of(graph, node).product, context)
        if dtype != "float16":
            raise DTypeError(
                f"Error in operator {node.name}: {op.name} of {dtype} is not supported; cast its inputs to float32"
            )
        return _of_halves(g, node, inputs, meaning_of(graph, node).product, context)

    return rewrite(graph, rule)


def _of_halves(
    g: GraphBuilder, node: Node, inputs: tuple[Value, ...], product: Product | None, context: PassContext
) -> list[Value] | None:
    assert product is not None
    together = context.backend.channels_together(product, "float16")
    missing = -product.summed_channels % (together or 1)
    if together is None or (missing and not _has_channels_second(g, inputs, product)):
        return _widened(g, node, inputs, "float32")
    return _filled_up(g, node, inputs, product, missing) if missing else None


def _has_channels_second(g: GraphBuilder, inputs: Sequence[Value], product: Product) -> bool:
    """Whether the channels of both operands are their second axis, and can be filled up there."""
    is_plain = product.kind == "forward" and product.groups == 1 and product.stack is None
    return is_plain and all(g.shape(inputs[k])[1] == product.sizes[1] for k in (product.lhs, product.rhs))


def _filled_up(g: GraphBuilder, node: Node, inputs: Sequence[Value], product: Product, missing: int) -> list[Value]:
    """The contraction with so many channels of zeros more."""
    factors = (product.lhs, product.rhs)
    filled = [g("_filled_up", v, axis=1, n_more=missing) if k in factors else v for k, v in enumerate(inputs)]
    return [g.apply(node.operator, filled, node.name, node.origin)[0]]


def _widened(g: GraphBuilder, node: Node, inputs: Sequence[Value], dtype: str) -> list[Value]:
    """The contraction of operands in a float dtype, its result in that of the node."""
    narrow = {g.dtype(inputs[0]), *BYTES}
    wide = [g("Cast", v, dtype=dtype) if g.dtype(v) in narrow else v for v in inputs]
    made = g.apply(node.operator, wide, node.name, node.origin)
    return [g("Cast", made[0], dtype=g.dtype(node[0]))]


def _of_bytes(
    g: GraphBuilder, node: Node, inputs: tuple[Value, ...], product: Product | None, context: PassContext
) -> list[Value] | None:
    assert product is not None
    largest = size_of(g.shape(inputs[1])[1:]) * LARGEST_PRODUCT
    are_sums_kept = g.dtype(node[0]) == "int32" and largest < LARGEST_INT32  # a dot of bytes gives bytes
    for dtype in (g.dtype(inputs[0]), "int16") if are_sums_kept else ():
        together = context.backend.channels_together(product, dtype)
        if together is not None:
            missing = -product.sizes[1] % together if product.groups == 1 else 0
            return _of_words(g, node, inputs, product, dtype, missing)
    return _widened(g, node, inputs, "float32" if largest <= EXACT_FLOAT32 else "float64")


def _of_words(
    g: GraphBuilder, node: Node, inputs: tuple[Value, ...], product: Product, dtype: str, missing: int
) -> list[Value] | None:
    """The contraction of data in an integer dtype, with so many channels of zeros more."""
    if dtype == g.dtype(inputs[0]):
        return _filled_up(g, node, inputs, product, missing) if missing else None
    wide = [g("_int16", v) for v in inputs]
    if missing:
        return _filled_up(g, node, wide, product, missing)
    return [g.apply(node.operator, wide, node.name, node.origin)[0]]
