"""How threads share the elements of a row, and what of it they keep in registers between their walks.

A thread takes `lanes` neighbours, the next thread the next ones; behind those of the last thread the next round begins.
Where a thread has few rounds, all of them are emitted one behind the other, and what several walks over the row read
(softmax: for the maximum, the sum and the stores) is read once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from symc.codegen.cuda.h200 import BUSY_WARPS, PROCESSORS
from symc.codegen.cuda.launch import WARP
from symc.codegen.nest.form import Access, Form
from symc.codegen.nest.keep import Kept, Keys, walked
from symc.codegen.nest.plan import StorePlan
from symc.core.dtypes import ITEM_SIZE
from symc.loopir.expr import Expr

LINE_BYTES, SECTOR_BYTES, REGISTER_BYTES = 16, 32, 4  # what a thread reads at once; what memory gives at least
MOST_LANES, BYTE_LANES = 8, 4
LEAST_THREADS, MOST_THREADS = 4, 512  # of a row; 1024 would have 64 registers each, too few beside 20 for a row
MOST_ROUNDS, ROUNDS_OF_MOST = 8, 16  # longer rows get more threads, as long as there are any
KEPT = 32  # registers of a thread for a row
ENOUGH_THREADS = PROCESSORS * BUSY_WARPS * WARP  # of all rows: more threads for each would not be faster
WORTH = frozenset("div sqrt rsqrt exp expm1 log log1p log2 log10 pow sin cos tanh sigmoid erf".split())  # keeping

Walks = Mapping[str, Sequence[Expr]]  # along which axis -> what is evaluated at each element


@dataclass(frozen=True, eq=False)
class Share:
    """The part of a row that is one thread's.

    n_threads  of a row
    rounds     of each thread, of which the last alone may lie behind the row's end; 0: as many as there are, in a loop
    kept       what walks find where an earlier one has left it
    """

    n_threads: int
    lanes: int
    rounds: int = 0
    kept: tuple[Kept, ...] = ()


def share_of(form: Form, outer: Sequence[str], shared: Mapping[Expr, str], stores: Sequence[StorePlan]) -> Share | None:
    """What each thread has of rows that all lie in registers; None where they are too long, or no rows."""
    walks = _walks(form, shared, stores)
    extents = {form.extents[a] for a in walks}
    is_row = all(form.reduce_axes[e] == (axis,) for e, axis in shared.items()) and not any(s.serial for s in stores)
    if not is_row or len(extents) != 1 or set(shared) != set(form.reduce_axes) or form.bounded:
        return None
    (length,) = extents
    n_rows = math.prod(form.extents[a] for a in outer)
    kept, lanes = _kept(form, frozenset(outer), walks), lanes_of(form, walks)
    alive = max(1, _most_alive(form, walks, kept))
    least = SECTOR_BYTES // REGISTER_BYTES // lanes
    found = _rounds(length // lanes, n_rows, max(LEAST_THREADS, least), lanes * alive)
    return found and Share(found[0], lanes, found[1], kept)


def registers_of(values: Iterable[Expr]) -> int:
    """That values of one element take."""
    return sum(max(1, ITEM_SIZE[e.dtype] // REGISTER_BYTES) for e in values)


def lanes_of(form: Form, axes: Collection[str]) -> int:
    """Neighbours of which the widest are 16 bytes, or 8, if all that is accessed along the axes lies at multiples."""
    accesses = [*form.loads.values(), *(s.access for s in form.stores)]
    along = [a for a in accesses if any(a.stride(x) for x in axes) or _is_scattered(form, a, axes)]
    widest = max((a.item_size for a in along), default=4)
    n = BYTE_LANES if widest == 1 else min(MOST_LANES, LINE_BYTES // widest)
    if form.bounded.intersection(axes):
        return 1

    def fits(n: int) -> bool:
        is_even = all(form.extents[a] % n == 0 for a in axes)
        return is_even and all(_lies_at_multiples(form, a, axes, n) for a in along)

    return next((k for k in (n, n // 2) if k > 1 and fits(k)), 1)


def _is_scattered(form: Form, access: Access, axes: Collection[str]) -> bool:
    return any(not form.free(index).isdisjoint(axes) for _, index in access.computed)


def _lies_at_multiples(form: Form, access: Access, axes: Collection[str], n: int) -> bool:
    steps = [step for axis, step in access.linear.coefficients.items() if axis not in axes]
    others = [access.linear.constant, *steps, *(stride for stride, _ in access.computed)]
    is_contiguous = all(access.stride(a) in (0, access.item_size) for a in axes)
    is_even = all(step % (n * access.item_size) == 0 for step in others)
    return is_contiguous and is_even and not _is_scattered(form, access, axes)


def _walks(form: Form, shared: Mapping[Expr, str], stores: Sequence[StorePlan]) -> dict[str, list[Expr]]:
    """In the order in which they take place."""
    walks: dict[str, list[Expr]] = {}
    for e in form.every:
        if e in shared:
            walks.setdefault(shared[e], []).append(e.args[0])
    for group in stores:
        if group.vector is not None:
            walks.setdefault(group.vector, []).extend(r for s in group.stores for r in s.roots)
    return walks


def _kept(form: Form, outer: frozenset[str], walks: Walks) -> tuple[Kept, ...]:
    """What several walks read, or compute at some cost."""
    keys = Keys(form)
    found: dict[Hashable, dict[str, Expr]] = {}
    for axis, roots in walks.items():
        for e in walked(form, axis, roots):
            if (e.op == "load" or e.op in WORTH) and form.free(e) <= outer | {axis}:
                found.setdefault(keys.of(e, axis), {}).setdefault(axis, e)
    return tuple(Kept(values) for values in found.values() if len(values) > 1)


def _most_alive(form: Form, walks: Walks, kept: Sequence[Kept]) -> int:
    """The most registers for an element between two walks: for what a later one reads."""
    left: set[Kept] = set()
    read: list[set[Kept]] = []
    behind: list[set[Kept]] = []
    for axis, roots in walks.items():
        here = {k.values[axis]: k for k in kept if axis in k.values}
        found = walked(form, axis, roots, known={e for e, k in here.items() if k in left})
        touched = {here[e] for e in found if e in here}
        read.append(touched & left)
        left = left | touched
        behind.append(left)
    alive = [there & set().union(*read[k + 1 :]) for k, there in enumerate(behind)]
    return max((registers_of(next(iter(k.values.values())) for k in found) for found in alive), default=0)


def _rounds(n_vectors: int, n_rows: int, least: int, kept: int) -> tuple[int, int] | None:
    """(threads, rounds): the fewest threads that keep a GPU busy, with all rows together, or the most that help.

    least  threads, which read all of a sector together
    kept   registers for what a thread keeps of a round
    """
    found, n_threads = None, least
    while n_threads <= MOST_THREADS:
        rounds = -(-n_vectors // n_threads)
        most = ROUNDS_OF_MOST if n_threads == MOST_THREADS else MOST_ROUNDS
        if rounds <= most and rounds * kept <= KEPT:
            found = n_threads, rounds
            if rounds == 1 or n_rows * n_threads >= ENOUGH_THREADS:
                break
        n_threads *= 2
    return found
