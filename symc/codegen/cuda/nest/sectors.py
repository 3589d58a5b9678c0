"""How much memory warps ask for: it comes in sectors of 32 bytes, whatever part of one they need.

Threads that read one element of each of 32 rows ask for 32 sectors, 1024 bytes instead of 128. Counted are the sectors
of some warps, evenly spread over all. What several warps read is counted once: L1 keeps it. Threads that walk an axis
(a reduction's) find in L1 what they or others of their block have brought.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from symc.codegen.cuda.launch import WARP
from symc.codegen.nest.form import Access, Form

from .grid import GridPlan

SECTOR_BYTES = 32
N_SAMPLES = 16  # groups of threads that are looked at
WALKED = 64  # steps of a thread's own loops among which sectors are found again


def lies_along(form: Form, access: Access, inside: str | None = None) -> str | None:
    """The longest axis along which neighbours in memory are read or written: elements, or all that lie `inside`."""
    n_bytes = access.item_size
    if inside and abs(access.stride(inside)) == n_bytes:
        n_bytes *= form.extents[inside]
    near = [a for a, step in access.linear.coefficients.items() if abs(step) == n_bytes]
    return None if access.computed else max(near, key=lambda a: form.extents[a], default=None)


def moved_bytes(plan: GridPlan) -> int:
    """Bytes of all sectors that a launch asks for; of several loads of one buffer those of the worst."""
    read: dict[str, int] = {}
    for access in (*plan.form.loads.values(), *(s.access for s in plan.form.stores if s.is_add)):
        read[access.buffer] = max(read.get(access.buffer, 0), _moved(plan, access, plan.blocked))
    return sum(read.values()) + sum(_moved(plan, s.access) for s in plan.form.stores)


def _moved(plan: GridPlan, access: Access, inside: str | None = None) -> int:
    """Of one access; what it reads along `inside` is in L1 after the first time."""
    axes = [a for a in plan.form.extents if access.stride(a)]
    if plan.is_shared:
        lane = _lane_of(plan, access)
        order, again = [*(a for a in axes if a not in (lane, inside)), lane], [a for a in axes if a == inside]
        return _sectors(plan.form, access, order, WARP, WARP, again) * SECTOR_BYTES
    order = [a for a in (*plan.outer, *plan.cut) if a in axes]
    walked = [a for a in axes if a not in order]
    n_lanes = plan.n_threads if walked else WARP * plan.lanes
    return _sectors(plan.form, access, order, plan.lanes, n_lanes, walked) * SECTOR_BYTES


def _lane_of(plan: GridPlan, access: Access) -> str | None:
    """The axis along which a warp of a block that works together goes through an access."""
    shared = [*plan.cut, *plan.row_vectors.values(), *(g.vector for g in plan.stores)]
    near = lies_along(plan.form, access, plan.blocked)
    return near if near in shared else next((a for a in shared if a and access.stride(a)), None)


def _sectors(
    form: Form, access: Access, order: Sequence[str | None], together: int, n_lanes: int, walked: Sequence[str]
) -> int:
    """How many sectors groups of `n_lanes` elements ask for, one group after the other along axes in their order; of
    the last axis `together` elements are never parted."""
    extents = [form.extents.get(a or "", 1) for a in order]
    whole = [*extents[:-1], -(-extents[-1] // together) * together] if order else []
    n_elements = math.prod(whole)
    n_groups = -(-n_elements // n_lanes)
    groups = np.unique(np.linspace(0, n_groups - 1, N_SAMPLES).astype(np.int64))
    number = groups[:, None] * n_lanes + np.arange(n_lanes)
    exists, left = number < n_elements, number
    place = np.full(number.shape, access.linear.constant)
    for axis, extent, size in reversed([*zip(order, extents, whole)]):
        left, index = np.divmod(left, size)
        exists &= index < extent
        place += index * access.stride(axis or "")
    steps, n_walks = _walk(form, access, walked)
    sectors = (place[..., None] + steps) // SECTOR_BYTES
    n_found = sum(len(np.unique(of_group[there])) for of_group, there in zip(sectors, exists))
    return round(n_found / len(groups) * n_groups * n_walks)


def _walk(form: Form, access: Access, axes: Sequence[str]) -> tuple[np.ndarray, int]:
    """The places that a thread goes through before it finds nothing again in L1, and how often it does so."""
    steps, n_walks = np.zeros(1, np.int64), 1
    for axis in sorted(axes, key=lambda a: abs(access.stride(a))):
        n = max(1, min(form.extents[axis], WALKED // len(steps)))
        steps = np.add.outer(steps, np.arange(n) * access.stride(axis)).ravel()
        n_walks *= -(-form.extents[axis] // n)
    return steps, n_walks
