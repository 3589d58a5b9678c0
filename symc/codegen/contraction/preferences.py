"""What tiles of results ask of the graph, on every device: memory orders, and what may run before and after the sums.

A tile holds some rows (pixels) by some columns (channels) of a result, and neighbouring channels are computed together.
So data streams best with its channels innermost, a weight is packed anew in the tile's order, and an epilogue may read
what lies as the result does, or depends on the channel alone.
"""

from __future__ import annotations

from symc.core.dtypes import BFLOAT16
from symc.ir.graph import Graph, Layout, Node, Value
from symc.loopir.expr import Affine
from symc.loopir.tensor import Product
from symc.passes.meaning import Meaning, meaning_of, same_order

# What sums are turned into and combined with; all others stay in their dtype.
BESIDE = {
    "int32": ("int8", "uint8", "int16", "int32", "float32"),
    "float16": ("float16", "float32"),
    "float32": ("float32", BFLOAT16),
}


def layout_of(product: Product, rank: int, operand: int | None) -> Layout | None:
    """Channels-last for the result and for what is streamed; a packed operand may lie as it likes."""
    if operand is None or operand == product.lhs or product.kind == "weight_gradient":
        return Layout.channels_last(rank, product.channel_axis)
    return None


def fits_prologue(product: Product, operand: int) -> bool:
    """A packed operand is copied into the tile's order anyway; other operands are streams of memory."""
    return product.kind != "weight_gradient" and operand == product.rhs != product.lhs


def fits_epilogue(graph: Graph, anchor: Node, node: Node, takes_rows: bool = False) -> bool:
    """An epilogue reads full tensors in the tile's own order, or values that depend on the channel alone, or, where it
    `takes_rows`, on the row of a matrix alone.

    One that runs over a section of the result's channels reads sections, too.
    """
    product = meaning_of(graph, anchor).product
    assert product is not None
    if product.kind == "weight_gradient":
        return False  # its tile lies across output channels and taps, not rows and channels
    computed, meaning = graph.dtype(anchor[0]), meaning_of(graph, node)
    allowed = BESIDE.get(computed, (computed,))
    if any(graph.dtype(v) not in allowed for v in (*node.inputs, node[0])) or meaning.uses_index:
        return False
    alone = [product.channel_axis, *([0] if takes_rows and len(meaning.axes) == 2 else [])]
    order, has_sections = graph.layout(anchor[0]).order, graph.shape(node[0]) != graph.shape(anchor[0])

    def is_read_in_order(position: int, v: Value) -> bool:
        is_section = has_sections and meaning.reads_section(position, product.channel_axis)
        if is_section or meaning.is_pointwise(position):
            return same_order(graph.layout(v).order, order, graph.shape(v))
        return meaning.is_broadcast(position) and any(_differs_along(meaning, position, axis) for axis in alone)

    return all(is_read_in_order(k, v) for k, v in enumerate(node.inputs))


def _differs_along(meaning: Meaning, position: int, axis: int) -> bool:
    """Whether an input has but one axis, and that is the given axis of the output."""
    if sum(n > 1 for n in meaning.in_shapes[position]) > 1:
        return False
    components = [i for index in meaning.loads(position) for i in index if isinstance(i, Affine)]
    return {a for i in components for a in i.axes() if a.extent > 1} <= {*meaning.axes[axis : axis + 1]}
