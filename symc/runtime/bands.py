"""Into how many bands of rows a loop falls that never read of each other what it writes.

A recurrent layer's sentences know nothing of each other: a thread that keeps to some of them may be in another round
than the others, waits for nobody and reads no state that another thread wrote. What all rows share, such as weights,
the loop does not write.
"""

from __future__ import annotations

from collections.abc import Sequence

from symc.codegen.kernel import KernelCall
from symc.core.shapes import size_of
from symc.ir.kernels import KernelGraph, KernelNode
from symc.loopir.expr import Affine
from symc.loopir.kernel import Buffer, Contraction, loads_of


def bands_of(kernels: KernelGraph, calls: Sequence[tuple[KernelNode, KernelCall]]) -> int:
    """The bands of a loop of one kernel; 1 where its rows depend on each other, or nobody knows.

    (Of several kernels one may overwrite memory that another, of another band, has yet to read.)
    """
    (node, call), *others = calls
    return call.bands if not others and _keeps_to_rows(kernels, node) else 1


def _keeps_to_rows(kernels: KernelGraph, node: KernelNode) -> bool:
    """Whether each row of what a contraction writes depends on the same row, and no other, of what it wrote before."""
    c = node.kernel
    if not isinstance(c, Contraction) or c.stack is not None or size_of(c.window.out_extents) > 1 or node.flags:
        return False
    written = {kernels.views[name].storage for name in node.writes}
    changing = {b.name: b for b in c.buffers if kernels.views[b.name].storage in written}
    seen = [(store, load.data) for store in c.stores for load in loads_of(store.value)]
    seen += [(store, (store.buffer, store.index)) for store in c.stores]
    is_by_rows = all(index[0] == Affine.of(store.axes[0]) for store, (name, index) in seen if name in changing)
    strides = {name: changing[name].strides[:1] for name in changing}
    return (
        is_by_rows
        and c.rhs not in changing
        and not changing.keys() & set(c.written)
        and len(set(strides.values())) == 1
        and all(_is_whole(kernels, b, c.batch) for b in changing.values())
    )


def _is_whole(kernels: KernelGraph, b: Buffer, n_rows: int) -> bool:
    """Whether a buffer has `n_rows` rows, one behind the other, and lies and moves in its storage by whole ones."""
    view, stride = kernels.views[b.name], b.strides[0]
    reach = sum((n - 1) * s for n, s in zip(b.shape[1:], b.strides[1:]))
    places = [view.offset + b.offset, *(move.stride for move in view.moves)]
    return b.shape[0] == n_rows and reach < stride and not any(place % (n_rows * stride) for place in places)
