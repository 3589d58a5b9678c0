"""Decides how a form runs: what is a unit of work, and whether one thread or a whole block computes it.

thread  a thread computes all stores at one index of the axes they share, with its reductions; neighbours in memory
        belong to neighbouring threads (elementwise work, column sums, windows)
row     the threads of a warp or of a block share the longest reduced axis, and then the axes of the stores that lie
        along it (row softmax, norms, means; rows.py)
tile    the threads of a block share a square of two axes, of which some accesses lie along the one, others along the
        other (copies between memory orders; crosswise.py)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from symc.codegen.cuda.h200 import PROCESSORS
from symc.codegen.cuda.launch import WARP
from symc.codegen.nest.form import Form
from symc.codegen.nest.plan import StorePlan, by_stride, common_axes
from symc.loopir.expr import Expr, walk

from .crosswise import tile_plan
from .grid import GridPlan
from .rows import Share, lanes_of, share_of
from .sectors import moved_bytes

SHORT_ROW = 15  # elements that one thread adds up as fast as a warp does
ENOUGH_THREADS = 1 << 15  # that keep a GPU busy: with so many columns each may add up its own
ROWS_OF = ((128, 32), (1024, 128), (1 << 14, 256))  # (longest row, threads of its block)
LONG_ROW_THREADS, LANES_OF_BLOCK = 1024, 2048  # of more lanes each thread has too few registers for the next ones
SMALL_BLOCK = 128  # threads of several short rows: with one warp, a processor would hold half as many
LANES, ITEM_BYTES = 4, 4  # of a vector
MUCH = 1 << 16  # elements: with fewer, threads of 4 would leave processors without work
WASTE = 1.5  # so many times the bytes take longer than a barrier for each tile


def plan_stores(forms: Sequence[Form]) -> GridPlan:
    """How to run stores; the last of equal forms has bounds for conditions, so that threads walk only what counts."""
    form = forms[-1]
    if any(s.is_ordered for s in form.stores):
        return _plan_ordered(form)
    axes = common_axes(form)
    shared = _shared_axes(form)
    rows, length = _size(form, axes), max((_size(form, form.reduce_axes[e]) for e in shared), default=0)
    if length > SHORT_ROW and (rows < ENOUGH_THREADS or _is_along(form, shared, axes)):
        return _row_plan(form, axes, shared, length)
    if _is_vector(form, axes):
        return _vector_plan(form, axes)
    reason = "a thread for each element" if not form.reduce_axes else "a thread for each reduction"
    plan, tiles = _thread_plan(form, axes, reason), tile_plan(form, axes)
    return tiles if tiles and moved_bytes(plan) > WASTE * moved_bytes(tiles) else plan


def _thread_plan(form: Form, axes: tuple[str, ...], reason: str) -> GridPlan:
    groups: dict[tuple[str, ...], list] = {}
    for s in form.stores:
        groups.setdefault(by_stride((a for a in s.axes if a not in axes), s.access), []).append(s)
    stores = tuple(StorePlan(tuple(found), serial, None) for serial, found in groups.items())
    return GridPlan(form, "scalar", 1, 1, axes, None, None, None, dict.fromkeys(form.reduce_axes), stores, reason, 0.0)


def _vector_plan(form: Form, axes: tuple[str, ...]) -> GridPlan:
    *outer, along = axes
    stores = (StorePlan(form.stores, (), None),)
    reason = f"a thread for {LANES} neighbours"
    return GridPlan(form, "lane", LANES, 1, tuple(outer), along, None, None, {}, stores, reason, 0.0)


def _is_vector(form: Form, axes: tuple[str, ...]) -> bool:
    """Whether all that a thread reads and writes along the last axis is one element, or neighbours of 4 bytes."""
    if form.reduce_axes or not axes or _size(form, axes) < MUCH or any(set(s.axes) != set(axes) for s in form.stores):
        return False
    accesses = [*form.loads.values(), *(s.access for s in form.stores)]
    if any(a.computed or a.item_size != ITEM_BYTES or a.stride(axes[-1]) not in (0, ITEM_BYTES) for a in accesses):
        return False
    return form.extents[axes[-1]] >= LANES and all(s.access.stride(axes[-1]) for s in form.stores)


def _plan_ordered(form: Form) -> GridPlan:
    """Stores whose order matters keep it: threads differ in axes that alone decide what is written."""
    private = frozenset.intersection(*(s.private for s in form.stores))
    axes = tuple(a for a in form.stores[0].axes if a in private and all(a in s.axes for s in form.stores))
    stores = tuple(StorePlan((s,), tuple(a for a in s.axes if a not in axes), None) for s in form.stores)
    reason = "a thread for each element that is written, its additions in order"
    return GridPlan(form, "scalar", 1, 1, axes, None, None, None, dict.fromkeys(form.reduce_axes), stores, reason, 0.0)


def _row_plan(form: Form, axes: tuple[str, ...], shared: dict[Expr, str], length: int) -> GridPlan:
    groups: dict[tuple[tuple[str, ...], str | None], list] = {}
    for s in form.stores:
        rest = [a for a in s.axes if a not in axes]
        along = min(rest, key=lambda a: (abs(s.access.stride(a)) or math.inf, -form.extents[a]), default=None)
        serial = by_stride((a for a in rest if a != along), s.access)
        groups.setdefault((serial, along), []).append(s)
    stores = tuple(StorePlan(tuple(found), serial, along) for (serial, along), found in groups.items())
    vectors = {e: shared.get(e) for e in form.reduce_axes}
    share = share_of(form, axes, shared, stores) or _endless(form, axes, shared, stores, length)
    team = share.n_threads
    small = SMALL_BLOCK if _size(form, axes) * team >= SMALL_BLOCK * PROCESSORS else WARP
    n_threads = team if team > WARP else small  # teams that wait at a block's barriers have it for themselves
    reason = f"{team} threads share each reduction of up to {length} elements"
    reason += f", {share.lanes} neighbours at once" * (share.lanes > 1) + ", and read them once" * bool(share.kept)
    return GridPlan(
        form, "row", share.lanes, 1, axes, None, None, None, vectors, stores, reason, 0.0, share.kept,
        n_threads=n_threads, team=team, rounds=share.rounds,
    )  # fmt: skip


def _endless(
    form: Form, axes: tuple[str, ...], shared: dict[Expr, str], stores: Sequence[StorePlan], length: int
) -> Share:
    """Shares of rows that are walked anew for each reduction and the stores."""
    n_threads = next((threads for longest, threads in ROWS_OF if length <= longest), LONG_ROW_THREADS)
    if _size(form, axes) <= PROCESSORS:  # a block each, which only its own threads keep busy: all of a row at once
        while n_threads < LONG_ROW_THREADS and n_threads * LANES < length:
            n_threads *= 2
    walked = {*shared.values(), *(s.vector for s in stores if s.vector)}
    lanes = lanes_of(form, walked)
    fewer = min(n_threads, LANES_OF_BLOCK // lanes)
    return Share(fewer, lanes) if all(form.extents[a] >= lanes * fewer for a in walked) else Share(n_threads, 1)


def _shared_axes(form: Form) -> dict[Expr, str]:
    """The axis that threads share of each reduction that stands in no other one: of small steps, if it is long."""
    reduced = {a for axes in form.reduce_axes.values() for a in axes}
    found = {}
    for e, axes in form.reduce_axes.items():
        if not axes or form.free(e) & reduced:
            continue
        loads = [form.loads[x] for x in walk(e.args[0]) if x.op == "load"]
        near = [a for a in axes if any(0 < abs(x.stride(a)) <= x.item_size for x in loads)]
        long = max(axes, key=lambda a: form.extents[a])
        found[e] = next((a for a in near if form.extents[a] >= WARP), long)
    return found


def _is_along(form: Form, shared: dict[Expr, str], axes: tuple[str, ...]) -> bool:
    """Whether neighbouring threads read neighbours if they share the reduced axes, but not if each has its own unit."""
    for e, axis in shared.items():
        loads = [form.loads[x] for x in walk(e.args[0]) if x.op == "load"]
        if any(abs(x.stride(axis)) == x.item_size for x in loads):
            return not axes or not any(abs(x.stride(axes[-1])) == x.item_size for x in loads)
    return False


def _size(form: Form, axes: Iterable[str]) -> int:
    return math.prod(form.extents[a] for a in axes)
