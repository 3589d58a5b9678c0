"""Decides how a form runs: which axes become Python loops, which one the vector lanes, how much is unrolled.

    lane   the vector runs along an outer axis and everything happens inside its body; reductions accumulate lane by
           lane (column sums, softmax over channels of (N, C, H, W), plain elementwise work); what lies together along
           another, short axis is woven from a vector for each element of that (three images as one of three channels)
    row    reductions run along their own axes with the vector on one of them, then the stores (row softmax)
    tile   no reductions; loads contiguous along one axis meet stores contiguous along another: square tiles are
           transposed in registers (layout changes)
    scalar one element at a time

The costs (`cost.py`) only rank the choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from symc.codegen.cpu.target import Target
from symc.codegen.kernel import even
from symc.codegen.nest.form import Form, StoreForm
from symc.codegen.nest.keep import kept_values
from symc.codegen.nest.limits import below_maximum, cancels_factors
from symc.codegen.nest.plan import Kind, NestPlan, StorePlan, by_stride, common_axes
from symc.codegen.nest.slide import slide_of, with_columns_unrolled
from symc.core.dtypes import ITEM_SIZE, compute_dtype
from symc.loopir.expr import Expr, walk

from .cost import DIVISION, REDUCE_OVERHEAD, chained_polynomials, cost_of, operation_cost, total_work, trips, weight_of

MAX_LANES = 32  # of small integers: what is done lane by lane (libm, gather) must not explode
# Elements of simple work, with AVX-512 and with shorter vectors: 4 us, so that handing a chunk out (0.1 us) is little.
MIN_CHUNK_WORK, MIN_CHUNK_WORK_OF_FEWER = 65_536, 16_384
MAX_CHUNKS = 64
SHORT_ROW = 256  # elements: rows of up to 1 KB are walked column block by column block without loss
SHORT_TILE_ROW = 128
MOST_WOVEN = 4  # vectors that are stored element by element in turn: n (n - 1) shuffles
MIN_WINDOW_ROWS = 4  # of a chunk: the rows that windows share are read once, and again by the next chunk
FEW_ROWS = 64
STREAM_BYTES = 1 << 25  # of a result: as large as the last cache of a server's cores, so that little of it would stay
# Elements: hardware follows shorter rows, and four longer ones do not fit L1. Measured on LayerNorm (1024, 768) and
# softmax (1024, 1000), from L3: 138 -> 132 and 328 -> 306 us.
AHEAD_ROW = (256, 2048)
ABREAST = 2  # rows whose walks take turns, where there is an even number: more rows are more code
LONG_ROW = 8192  # elements: beside 2 us of work the start of a body (20 to 50 ns) does not show


def plan_stores(forms: Sequence[Form], target: Target, distance_bytes: int = 0) -> NestPlan:
    """The cheapest way to run the same stores in one of several forms; the first stands for equal ones.

    `distance_bytes`: how much is written before the results are read, 0 where that is not known.

    Bounds keep lanes from the axes that they depend on: no reason to gather along others, far apart in memory.
    """
    plan, *others = (plan_form(form, target) for form in forms)
    fitting = [p for p in others if p.vector is None or p.vector == plan.vector or not _gathers(p.form, p.vector)]
    best = _streaming(min([plan, *fitting], key=lambda p: p.cost), distance_bytes)
    # AVX-512 has one exp for all, see `Powers`.
    if target.vector_bits == 512:
        return best
    best = _side_by_side(_cut_by_columns(best))
    below = below_maximum(best.form)
    return replace(best, below=below, scales=cancels_factors(best.form, below))


def _gathers(form: Form, axis: str) -> bool:
    """Whether lanes along an axis read elements that are no neighbours."""
    return any(a.stride(axis) and not a.is_contiguous(axis) for a in form.loads.values())


def plan_form(form: Form, target: Target) -> NestPlan:
    """The cheapest way to run a form."""
    lanes = lanes_of(form, target)
    if any(s.is_ordered for s in form.stores):
        return _plan_ordered(form, lanes)
    axes = common_axes(form)
    plans = [_lane_plan(form, lanes, axes, v) for v in axes if not form.limited_by(v)]
    if any(set(s.axes) - set(axes) for s in form.stores) or form.reduce_axes:
        plans.append(_row_plan(form, lanes, axes))
    if not plans:
        return _row_plan(form, 1, axes)
    best = min(plans, key=lambda p: p.cost)
    if best.slide and target.vector_bits < 512:
        # A loop costs as much as its taps. With AVX-512, where a pass does twice as much, it was not tried.
        return replace(best, slide=with_columns_unrolled(best.slide, form))
    return _woven_plan(form, lanes, axes, target) or _tile_plan(form, lanes, axes, best) or best


def _cut_by_columns(plan: NestPlan) -> NestPlan:
    """Few rows in blocks of columns, as products of few rows are: a thread finds near what it has computed itself."""
    rows, columns = plan.blocked, plan.vector
    if rows is None or rows == columns or plan.form.extents[rows] > FEW_ROWS:
        return plan
    if total_work(plan.form) < 2 * MIN_CHUNK_WORK_OF_FEWER:  # one chunk
        return plan
    if plan.kind != "lane" or plan.outer or plan.form.reduce_axes or plan.woven or plan.streams:
        return plan
    stores = tuple(replace(group, serial=(rows, *group.serial)) for group in plan.stores)
    return replace(plan, blocked=columns, stores=stores)


def _side_by_side(plan: NestPlan) -> NestPlan:
    """Two vectors where a polynomial waits for another one, longer than a core sees ahead (Zen 3): the gates of an LSTM
    (16, 256) 13.4 -> 10.4 us, log(1 + exp(x)) 8.5 -> 7.4; where none waits they are 0.82 to 1.04 times as fast.
    """
    is_plain = plan.kind == "lane" and plan.unroll == 1 and not (plan.form.reduce_axes or plan.woven)
    return replace(plan, unroll=2) if is_plain and chained_polynomials(plan.form) > 1 else plan


def _streaming(plan: NestPlan, distance_bytes: int) -> NestPlan:
    """The plan, past the caches where results will not be found there: a line is not read before it is written."""
    form, vector = plan.form, plan.vector or plan.stores[0].vector
    is_plain = plan.kind == "lane" and plan.vector is not None and plan.blocked == plan.vector and not form.reduce_axes
    # Each line of a tile is a store of its own: lines that leave the cores that soon must be known to be read late.
    is_late = distance_bytes >= STREAM_BYTES
    is_copy = is_late and plan.kind in ("lane", "row") and _copies_rows(form, vector)
    is_plain |= is_copy or (is_late and plan.kind == "tile")
    if not is_plain or plan.lanes == 1 or not all(_is_far(form, s, vector, distance_bytes) for s in form.stores):
        return plan
    if is_copy:
        plan = _read_in_order(plan, vector)
    return replace(plan, streams=True, reason=f"{plan.reason}, stored past the caches")


def _copies_rows(form: Form, vector: str | None) -> bool:
    """Whether a store copies what is contiguous along `vector`, row by row."""
    store, *others = form.stores
    load = form.loads.get(store.value)
    is_row = vector is not None and load is not None and load.is_contiguous(vector) and not load.computed
    return is_row and not others and len(store.axes) > 1


def _read_in_order(plan: NestPlan, vector: str | None) -> NestPlan:
    """A copy of rows that reads memory from its beginning to its end and writes whole lines wherever they go.

    Measured on 3072 x 768 weights, copied into panels of 48 columns: 370 us; panel by panel 830, through the caches
    1700. One vector at a time, so that no line of three vectors is left to masks.
    """
    form, (store,) = plan.form, plan.form.stores
    first, *rest = by_stride((a for a in store.axes if a != vector), form.loads[store.value])
    stores = (StorePlan(form.stores, tuple(rest), vector),)
    reason = f"rows along {vector} in the order of what is read"
    return NestPlan(form, "row", plan.lanes, 1, (), None, first, None, {}, stores, reason, plan.cost)


def _is_far(form: Form, s: StoreForm, vector: str | None, distance_bytes: int) -> bool:
    """Whether a store writes rows that are no longer in the caches when they are read."""
    is_row = vector is not None and not s.access.computed and s.access.is_contiguous(vector)
    size_bytes = trips(form, s.axes) * s.access.item_size
    return is_row and not s.is_add and max(size_bytes, distance_bytes) >= STREAM_BYTES


def lanes_of(form: Form, target: Target) -> int:
    """As many lanes as the widest stored or computed value allows; index arithmetic does not count."""
    dtypes = {s.access.dtype for s in form.stores}
    seen: set[Expr] = set()
    for store in form.stores:
        stack = [store.value]
        while stack:
            e = stack.pop()
            if e not in seen and e.op != "index":
                seen.add(e)
                dtypes.add(form.loads[e].dtype if e.op == "load" else e.dtype)
                stack.extend(e.args)
    # int64 that is neither stored nor loaded by element is index arithmetic (masks, clamps, random counters).
    kept = {s.access.dtype for s in form.stores}
    kept |= {a.dtype for e, a in form.loads.items() if e in seen and a.linear.coefficients}
    widest = max(ITEM_SIZE[compute_dtype(d)] for d in dtypes if d != "int64" or d in kept)
    return min(MAX_LANES, max(1, target.vector_bits // (8 * widest)))


def _lane_plan(form: Form, lanes: int, axes: tuple[str, ...], vector: str) -> NestPlan:
    cost = cost_of(form, lanes, {vector})
    outer = tuple(a for a in axes if a != vector)
    if not form.reduce_axes and outer and form.extents[vector] <= LONG_ROW:
        return _swept_plan(form, lanes, outer, vector, cost)
    stores = _group(form, {s: (by_stride((a for a in s.axes if a not in axes), s.access), None) for s in form.stores})
    reason = f"lanes along {vector}: {_walks(form, vector)}"
    blocked = vector
    slide = slide_of(form, reversed(outer)) if all(vector in form.free(e) for e in form.reduce_axes) else None
    if slide:
        reason = f"windows along {slide.axis} share columns of {slide.n_taps} taps, {reason}"
        *rest, blocked = [a for a in outer if a != slide.axis] or [slide.axis]
        outer = tuple(rest)
        if blocked != slide.axis:
            stores = tuple(replace(g, serial=(slide.axis, *g.serial)) for g in stores)
    elif form.reduce_axes:
        reason = f"reductions lane by lane, {reason}"
        if outer and form.extents[vector] <= SHORT_ROW:
            outer, blocked = outer[:-1], outer[-1]
    unroll = (4 if weight_of(form) <= 6 else 2) if form.reduce_axes else _elementwise_parts(form)
    vectors = {e: None if vector in form.free(e) else v for e, v in _row_vectors(form, lanes).items()}
    plan = NestPlan(form, "lane", lanes, unroll, outer, vector, blocked, None, vectors, stores, reason, cost)
    return replace(plan, slide=slide)


def _swept_plan(form: Form, lanes: int, outer: tuple[str, ...], vector: str, cost: float) -> NestPlan:
    """Elementwise work on short rows: a loop over rows inside the body, so that its start is paid once a block.

    Where something costly (a square root for BatchNorm) or a short row is the same in all rows, the lanes run
    outside and the rows inside, else the rows are streamed one after the other.
    """

    def saved(sweep: str) -> float:
        return sum(operation_cost(e) for e in form.every if e.op not in ("load", "index") and sweep not in form.free(e))

    sweep = max(reversed(outer), key=lambda a: min(saved(a), 1.0) if form.extents[a] >= 4 else -1.0)
    outer = tuple(a for a in outer if a != sweep)
    if form.extents[vector] <= SHORT_ROW or saved(sweep) - _saved_by_scalars(form, vector, sweep) >= DIVISION:
        stores = (StorePlan(form.stores, (), None),)
        reason = f"lanes along {vector} ({_walks(form, vector)}), rows {sweep} inside"
        unroll = 4 if weight_of(form) <= 3 else 2
        return NestPlan(form, "lane", lanes, unroll, outer, vector, sweep, None, {}, stores, reason, cost)
    stores = (StorePlan(form.stores, (), vector),)
    reason = f"rows {sweep}, lanes along {vector} inside: {_walks(form, vector)}"
    unroll = 2 if weight_of(form) <= 2 else 1
    return NestPlan(form, "row", lanes, unroll, outer, None, sweep, None, {}, stores, reason, cost)


def _elementwise_parts(form: Form) -> int:
    """Vectors of a pass without reductions. A float16 is converted by two instructions of 7 cycles each, and again
    behind each operator: measured on sigmoid(x * w + b) * tanh(y) + z, 10.1 -> 8.9 us for 10,000 elements.
    """
    accesses = (*form.loads.values(), *(s.access for s in form.stores))
    if any(a.dtype == "float16" for a in accesses):
        return 4
    return 2 if weight_of(form) <= 2 else 1


def _saved_by_scalars(form: Form, vector: str, sweep: str) -> float:
    """Work that is the same in all rows and all lanes: done once in any order of the loops."""
    return sum(
        operation_cost(e) for e in form.every if e.op not in ("load", "index") and not form.free(e) & {vector, sweep}
    )


def _row_plan(form: Form, lanes: int, axes: tuple[str, ...]) -> NestPlan:
    vectors = _row_vectors(form, lanes)
    loops: dict[StoreForm, tuple[tuple[str, ...], str | None]] = {}
    for s in form.stores:
        rest = tuple(a for a in s.axes if a not in axes)
        best = min(rest, key=lambda a: cost_of(form, lanes, {a}), default=None)
        loops[s] = (by_stride((a for a in rest if a != best), s.access), best)
    used = {v for v in vectors.values() if v} | {v for _, v in loops.values() if v}
    cost = cost_of(form, lanes, used)
    for e, v in vectors.items():
        lines = trips(form, form.free(e)) * trips(form, (a for a in form.reduce_axes[e] if a != v))
        cost += lines * REDUCE_OVERHEAD / lanes
    kind: Kind = "row" if used else "scalar"
    reason = "each reduction along its own axes, then the stores" if form.reduce_axes else "no axis to vectorise"
    walks = _walks_of(form, vectors, loops) if used else {}
    kept = kept_values(form, frozenset(axes), walks, operation_cost)
    if kept:
        reason += f", {', '.join(next(iter(k.values.values())).op for k in kept)} kept between them"
    unroll = 4 if weight_of(form) <= 3 else 2
    outer, blocked = (axes[:-1], axes[-1]) if axes else (axes, None)
    rewalked = _rewalked(form, vectors) if used and blocked is not None else []
    shortest, longest = AHEAD_ROW
    is_near = 0 < max(rewalked, default=0) <= longest
    n_rows = form.extents[blocked] if blocked else 1
    abreast = ABREAST if is_near and n_rows % ABREAST == 0 else 1
    return NestPlan(
        form, kind, lanes if used else 1, unroll, outer, None, blocked, None, vectors, _group(form, loops), reason,
        cost, kept, is_near and min(rewalked) >= shortest, abreast,
    )  # fmt: skip


def _rewalked(form: Form, vectors: Mapping[Expr, str | None]) -> list[int]:
    """The lengths of rows that are walked for a reduction once another one is known."""
    behind = [e for e in vectors if any(x.op == "reduce" for x in walk(e.args[0]))]
    return [trips(form, form.reduce_axes[e]) for e in behind]


def _walks_of(
    form: Form, vectors: Mapping[Expr, str | None], loops: Mapping[StoreForm, tuple[tuple[str, ...], str | None]]
) -> dict[str, list[Expr]]:
    """What is evaluated for every element of a row, by the axis of the walk; rows of one axis, all of one extent."""
    walks: dict[str, list[Expr]] = {}
    for e, axis in vectors.items():
        if axis is not None and len(form.reduce_axes[e]) == len(e.args) == 1:  # bounds leave out a part of the row
            walks.setdefault(axis, []).append(e.args[0])
    for s, (serial, axis) in loops.items():
        if axis is not None and not serial:
            walks.setdefault(axis, []).extend(s.roots)
    return walks if len({form.extents[axis] for axis in walks}) == 1 else {}


def _plan_ordered(form: Form, lanes: int) -> NestPlan:
    """Iterations may write one element: only axes that tell elements apart leave the order the store asks for."""
    (store,) = form.stores
    free = [a for a in store.axes if a in store.private]
    vector = min(free, key=lambda a: cost_of(form, lanes, {a}), default=None)
    outer = tuple(a for a in free if a != vector)
    serial = tuple(a for a in store.axes if a not in store.private)
    stores = (StorePlan(form.stores, serial, None),)
    reason = f"elements may be written twice: {', '.join(serial)} in order"
    unroll = 4 if weight_of(form) <= 3 else 1
    kind: Kind = "lane" if vector else "scalar"
    return NestPlan(form, kind, lanes if vector else 1, unroll, outer, vector, vector, None, {}, stores, reason, 0.0)


def _tile_plan(form: Form, lanes: int, axes: tuple[str, ...], best: NestPlan) -> NestPlan | None:
    """A transposing plan where loads and stores disagree about the contiguous axis."""
    if form.reduce_axes or lanes < 2 or any(a.computed for a in form.loads.values()):
        return None
    for v in axes:
        if not all(s.access.is_contiguous(v) and not s.access.computed for s in form.stores):
            continue
        strided = [a for a in form.loads.values() if a.stride(v) and not a.is_contiguous(v)]
        for w in axes:
            if w == v or not strided or not all(a.is_contiguous(w) for a in strided):
                continue
            if 2 * form.extents[v] < lanes or 2 * form.extents[w] < lanes:
                continue
            outer = by_stride((a for a in axes if a not in (v, w)), strided[0])
            reason = f"{lanes} x {lanes} tiles: loads contiguous along {w}, stores along {v}"
            # Measured on (32, 64, 56, 56): tiles follow the rows that are read, unless these are short (3.2 against
            # 8.6 ms to channels last, 3.5 against 4.8 ms back).
            blocked = w if form.extents[w] <= SHORT_TILE_ROW else v
            # Memory is read in its order: of a weight (O, C, taps), all channels of as many outputs as a tile has.
            inside = tuple(a for a in outer if 0 < abs(strided[0].stride(a)) < abs(strided[0].stride(v)))
            if inside:
                outer, blocked = tuple(a for a in outer if a not in inside), v
                reason += f", {', '.join(inside)} inside"
            stores = (StorePlan(form.stores, inside, None),)
            return NestPlan(form, "tile", lanes, 1, outer, v, blocked, w, {}, stores, reason, best.cost)
    return None


def _woven_plan(form: Form, lanes: int, axes: tuple[str, ...], target: Target) -> NestPlan | None:
    """Lanes along one axis that are stored with all their neighbours along a short one: three images as one of three
    channels. What is read may lie at computed places that are the same for all lanes. (With AVX-512 not measured.)
    """
    computed = [e for a in form.loads.values() for _, e in a.computed]
    if form.reduce_axes or lanes < 2 or (computed and target.vector_bits == 512):
        return None
    if any(set(s.axes) != set(axes) for s in form.stores):
        return None
    for v in axes:
        loads = [a for a in form.loads.values() if a.stride(v)]
        if 2 * form.extents[v] < lanes or not all(a.is_contiguous(v) for a in loads):
            continue
        if any(v in form.free(e) for e in computed):
            continue
        for w in axes:
            n = form.extents[w]
            if w == v or not 2 <= n <= MOST_WOVEN or not all(_is_woven(s, v, w, n) for s in form.stores):
                continue
            plan = _lane_plan(form, lanes, tuple(a for a in axes if a != w), v)
            reason = f"lanes along {v}, {n} elements along {w} stored together"
            stores = (StorePlan(form.stores, (), plan.stores[0].vector),)
            return replace(plan, stores=stores, cross=w, woven=n, unroll=1, reason=reason)
    return None


def _is_woven(s: StoreForm, lanes: str, cross: str, extent: int) -> bool:
    """Whether a step along the lanes passes over just the elements along `cross`."""
    is_plain = not s.is_add and not s.access.computed
    return is_plain and s.access.is_contiguous(cross) and s.access.stride(lanes) == extent * s.access.item_size


def _row_vectors(form: Form, lanes: int) -> dict[Expr, str | None]:
    """For every reduction the axis of its own along which its body is cheapest."""
    found: dict[Expr, str | None] = {}
    for e, axes in form.reduce_axes.items():
        found[e] = min(axes, key=lambda a: cost_of(form, lanes, {a}, walk(e.args[0])), default=None)
    return found


def _group(form: Form, loops: dict[StoreForm, tuple[tuple[str, ...], str | None]]) -> tuple[StorePlan, ...]:
    """Stores with equal loops together, in their order."""
    groups: dict[tuple, list[StoreForm]] = {}
    for store, key in loops.items():
        groups.setdefault(key, []).append(store)
    return tuple(StorePlan(tuple(stores), *key) for key, stores in groups.items())


def _walks(form: Form, axis: str) -> str:
    """How the accesses step along an axis, in words."""
    accesses = [*form.loads.values(), *(s.access for s in form.stores)]
    near = sum(a.is_contiguous(axis) for a in accesses)
    same = sum(a.stride(axis) == 0 for a in accesses)
    return f"{near} accesses contiguous, {same} broadcast, {len(accesses) - near - same} strided"


def split(plan: NestPlan, step: int, target: Target) -> tuple[int, int, int]:
    """(elements of the vector axis in a block, number of blocks, number of chunks), from the amount of work only."""
    form = plan.form
    n_outer = trips(form, plan.outer)
    shuffles = total_work(form) if plan.woven else 0  # about as many as all else there is to do
    least = MIN_CHUNK_WORK if target.vector_bits == 512 else MIN_CHUNK_WORK_OF_FEWER
    wanted = even(max(1, min(MAX_CHUNKS, int((total_work(form) + shuffles) // least))))
    if plan.blocked is None:
        return 1, 1, min(wanted, n_outer)
    extent = form.extents[plan.blocked]
    if plan.slide:
        wanted = min(wanted, max(1, n_outer * extent // MIN_WINDOW_ROWS))
    if plan.kind != "tile" and plan.blocked != plan.vector:
        step = plan.abreast
    n_blocks = 1 if n_outer >= wanted else math.ceil(wanted / n_outer)
    block = max(step, math.ceil(extent / n_blocks / step) * step)
    n_blocks = math.ceil(extent / block)
    return block, n_blocks, min(wanted, n_outer * n_blocks)
