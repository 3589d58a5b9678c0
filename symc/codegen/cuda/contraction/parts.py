"""A contraction whose sums several blocks share: sums of parts go to scratch memory, and a nest adds them up.

before:  y = f(sum of all products)
after:   parts[k] = sum of the products of part k, by tiles;  y = f(parts[0] + parts[1] + ...)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from operator import mul

from symc.core.shapes import size_of
from symc.loopir.expr import Affine, Axis, Expr, cast, load, reduce
from symc.loopir.kernel import ACCUMULATOR, Buffer, Contraction, Nest, Store, buffer_of
from symc.loopir.work import Work, work_of

from .direct import with_sum
from .tile import DTYPE, ITEM_BYTES

SUM_OF_PARTS = "sum of parts"  # what the second call is called


def sums_of_parts(c: Contraction) -> Contraction:
    """The same sums, stored into the first part of its scratch memory, whose rows lie as those of one matrix."""
    (name,) = c.written
    axes = c.stores[0].axes
    store = Store(name, tuple(map(Affine.of, axes)), load(ACCUMULATOR, (), DTYPE), axes)
    operands = tuple(b for b in c.buffers if b.name in c.operands)
    return replace(c, buffers=(*operands, _part(c, name)), stores=(store,))


def sum_of_parts(c: Contraction, n_parts: int) -> Nest:
    """Adds up what `sums_of_parts` has stored, in order, and does what the contraction does with its sums."""
    (name,) = c.written
    one, part = _part(c, name), Axis("part", n_parts)
    parts = Buffer(name, (n_parts, *one.shape), DTYPE, (size_of(one.shape), *one.strides))

    def total(axes: Sequence[Axis], dtype: str) -> Expr:
        stored = load(name, (Affine.of(part), *map(Affine.of, axes)), DTYPE)
        return cast(reduce("sum", (part,), stored), dtype)

    stores = tuple(with_sum(store, total) for store in c.stores)
    return Nest((*(b for b in c.buffers if b.name != name), parts), stores)


def work_of_parts(c: Contraction) -> tuple[Work, Work]:
    """The work of the contraction as if it had no parts, and what these add to it."""
    (name,) = c.written
    stored = buffer_of(c, name).size_bytes  # whatever it is made of, sums are put there
    return work_of(c) - Work(0, stored), Work(stored // ITEM_BYTES, 2 * stored)


def _part(c: Contraction, name: str) -> Buffer:
    """One part of the scratch memory: the computed tensor, channels last, as rows and columns of tiles are."""
    extents = [a.extent for a in c.stores[0].axes]
    channel = 1 if c.stack is None else 2
    order = [k for k in range(len(extents)) if k != channel] + [channel]
    steps = dict(zip(reversed(order), accumulate([1, *(extents[k] for k in reversed(order))], mul)))
    return Buffer(name, tuple(extents), DTYPE, tuple(steps[k] for k in range(len(extents))))
