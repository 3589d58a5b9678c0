"""How much a kernel does: arithmetic operations and bytes moved, from its loops; an estimate that reports divide by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from symc.core.dtypes import FLOATS, ITEM_SIZE
from symc.core.shapes import size_of

from .expr import Affine, Axis, Expr, operands_of, walk
from .kernel import ACCUMULATOR, LoopKernel, Store, buffer_of, loads_of
from .prims import PRIMS


@dataclass(frozen=True)
class Work:
    """flops counts arithmetic on floating-point numbers, every primitive as one; size_bytes counts every buffer read
    and every element written once.
    """

    flops: int
    size_bytes: int

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.size_bytes + other.size_bytes)

    def __sub__(self, other: Work) -> Work:
        return Work(self.flops - other.flops, self.size_bytes - other.size_bytes)

    def __mul__(self, times: int) -> Work:
        return Work(self.flops * times, self.size_bytes * times)

    def part(self, begin: int, end: int, of: int) -> Work:
        """The work of steps `begin` to `end` of `of` equal ones; parts without gaps add up to the whole."""
        return Work(*(n * end // of - n * begin // of for n in (self.flops, self.size_bytes)))


NO_WORK = Work(0, 0)


def work_of(kernel: LoopKernel) -> Work:
    """The work of one call of a kernel."""
    flops = operations(kernel.stores) + kernel.work_flops
    read = {e.data[0] for s in kernel.stores for e in loads_of(s.value)} - {ACCUMULATOR} | set(kernel.operands)
    size_bytes = sum(buffer_of(kernel, name).size_bytes for name in (*read, *kernel.written))
    size_bytes += sum(_iterations(s.axes) * ITEM_SIZE[buffer_of(kernel, s.buffer).dtype] for s in kernel.stores)
    return Work(flops, size_bytes)


def flops_of(e: Expr) -> int:
    """1 for arithmetic on floating-point numbers; what compares, chooses or counts positions is none."""
    is_arithmetic = e.op == "reduce" or (e.op in PRIMS and PRIMS[e.op].result != "choice")
    return int(is_arithmetic and e.dtype in FLOATS)


def operations(stores: Sequence[Store], cost: Callable[[Expr], int] = flops_of) -> int:
    """Operations evaluated: each distinct sub-expression once for all values of the axes it depends on.

    cost   of a reduction, for each element, or a primitive

    The maximum inside a softmax of (N, C) thus counts N * C, although N * C elements use it.  The finished sum of a
    contraction depends on all axes of its store.
    """
    n = 0
    free: dict[Expr, frozenset[Axis]] = {}
    for store in stores:
        for e in walk(store.value):
            if e in free:
                continue
            found = frozenset().union(*(free[o] for o in operands_of(e)), _own_axes(e, store))
            if e.op == "reduce" or e.op in PRIMS:
                n += _iterations(found) * cost(e)
            if e.op == "reduce":
                found -= set(e.data[1])
            free[e] = found
    return n


def _own_axes(e: Expr, store: Store) -> frozenset[Axis]:
    """The axes that an expression names itself."""
    if e.op == "load" and e.data[0] == ACCUMULATOR:
        return frozenset(store.axes)
    parts = e.data[1] if e.op == "load" else (e.data,) if e.op == "index" else ()
    return frozenset(axis for part in parts if isinstance(part, Affine) for axis in part.axes())


def _iterations(axes: Sequence[Axis] | frozenset[Axis]) -> int:
    return size_of(tuple(a.extent for a in axes))
