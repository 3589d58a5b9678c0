"""Accesses that lie along two axes: which values go through shared memory, so that all of them lie along a warp.

In y[i, j] = x[j, i] + z[i, j] threads that are neighbours along j read z and write y as neighbours, but x 4 bytes of
each 32. So x[j, i] is crosswise: threads that are neighbours along i read it, and leave it to the others. Where a few
elements lie together in both orders (colours of a pixel), they are taken one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from symc.codegen.cuda.h200 import PROCESSORS
from symc.codegen.cuda.launch import WARP
from symc.codegen.nest.form import Form, StoreForm
from symc.codegen.nest.plan import StorePlan, by_stride
from symc.core.dtypes import ITEM_SIZE, compute_dtype
from symc.loopir.expr import Expr, operands_of, walk

from .grid import THREADS, GridPlan
from .sectors import lies_along, moved_bytes

INSIDE_BYTES = 16  # of elements that lie together in both orders, such as pairs of float16
WORD_BYTES = 4  # of a bank of shared memory, of which there are 32
SIDES = (64, 32)  # of a square: the longer one for elements of few bytes, or threads would ask for too little at once
SMALL_BYTES = 2
FEW_LOADS = 2  # threads have registers for what they ask for at once though three blocks share a processor
SHARED_BYTES = 32 << 10  # of a block: some blocks shall run on a processor at once


def tile_plan(form: Form, axes: tuple[str, ...]) -> GridPlan | None:
    """The plan that moves fewest bytes by squares of two axes; None where no access lies along another axis than the
    first store, or there is too little of it."""
    if form.reduce_axes or any(set(s.axes) != set(axes) or s.access.computed for s in form.stores):
        return None
    accesses = [*(s.access for s in form.stores), *form.loads.values()]
    inside = lies_along(form, accesses[0])
    if inside and form.extents[inside] * accesses[0].item_size > INSIDE_BYTES:
        inside = None
    along, *others = dict.fromkeys(lies_along(form, a, inside) for a in accesses)
    if along is None:
        return None
    plans = [_tiles(form, axes, inside, along, across, side) for across in others if across for side in SIDES]
    return min((p for p in plans if p), key=moved_bytes, default=None)


def item_bytes(dtype: str) -> int:
    """Of a value that is handed over, as threads have it in registers."""
    return ITEM_SIZE[compute_dtype(dtype)]


def line_bytes(dtype: str, side: int) -> int:
    """From one line of a square of values to the next: a word more than its own, so that columns lie in all banks."""
    return side * item_bytes(dtype) + max(WORD_BYTES, item_bytes(dtype))


def _tiles(
    form: Form, axes: tuple[str, ...], inside: str | None, along: str, across: str, side: int
) -> GridPlan | None:
    if side > WARP and not (_is_small(form) and min(form.extents[along], form.extents[across]) >= side):
        return None
    groups: dict[str, list[StoreForm]] = {along: []}
    for s in form.stores:
        groups.setdefault(across if lies_along(form, s.access, inside) == across else along, []).append(s)
    stores = tuple(
        StorePlan(tuple(found), (), lanes, _crosswise(form, found, inside, lanes, across if lanes == along else along))
        for lanes, found in groups.items()
    )
    handed = [e for group in stores for e in group.crosswise]
    if not handed or sum(side * line_bytes(e.dtype, side) for e in handed) > SHARED_BYTES:
        return None
    outer = by_stride((a for a in axes if a not in (inside, along, across)), form.stores[0].access)
    reason = f"tiles of {side} x {side} elements through shared memory"
    n_blocks = 3 if len(form.loads) <= FEW_LOADS else 1
    plan = GridPlan(
        form, "tile", side, 1, outer, along, inside, across, {}, stores, reason, 0.0, n_blocks=n_blocks, team=THREADS
    )
    return plan if plan.n_units >= PROCESSORS else None


def _is_small(form: Form) -> bool:
    return all(a.item_size <= SMALL_BYTES for a in (*form.loads.values(), *(s.access for s in form.stores)))


def _crosswise(
    form: Form, stores: Sequence[StoreForm], inside: str | None, along: str, across: str
) -> tuple[Expr, ...]:
    """The largest values of which all that is read at places of their own lies along the other axis."""
    lies: dict[Expr, frozenset[str | None]] = {}  # along which axes all lies that depends on both
    for e in form.every:
        own = {lies_along(form, form.loads[e], inside)} if e.op == "load" and {along, across} <= form.free(e) else set()
        lies[e] = frozenset(own).union(*(lies[o] for o in operands_of(e)))

    def is_crosswise(e: Expr) -> bool:
        return lies[e] == {across}

    roots = [r for s in stores for r in s.roots]
    return tuple(filter(is_crosswise, walk(*roots, below=lambda e: () if is_crosswise(e) else operands_of(e))))
