"""What is worth keeping between two walks over one row: values that several of them would compute anew.

A softmax sums exp(x - max) along a row and divides the same exponentials by the sum: the walk that sums them leaves
them in memory near the core, and the walk that stores reads them there. A LayerNorm of float16 leaves its row widened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from symc.core.dtypes import ITEM_SIZE, is_float
from symc.loopir.expr import Expr, operands_of

from .form import Form, Linear

ROW_BYTES = 1 << 16  # of one kept row, at most
KEPT_BYTES = ROW_BYTES + 512  # its memory: the last vector may reach behind the row
WORTH = 1.0  # of a division: what costs less is computed again
FEW_WALKS = 2  # widen a float16 each for itself: a conversion takes less than keeping its result


@dataclass(frozen=True)
class Row:
    """The place of a kept value, which a load has besides the place that it reads."""

    value: Expr


@dataclass(frozen=True, eq=False)
class Kept:
    """One value for each element of a row: its expression in every walk, by the axis that the walk goes along."""

    values: Mapping[str, Expr]

    @property
    def dtype(self) -> str:
        return next(iter(self.values.values())).dtype


def kept_values(
    form: Form, outer: frozenset[str], walks: Mapping[str, Sequence[Expr]], cost: Callable[[Expr], float]
) -> tuple[Kept, ...]:
    """What the walks of a row share and what is not cheap; `outer` axes tell rows apart, `walks` has the roots of each
    walk by its axis."""
    keys = Keys(form)
    found: dict[Hashable, dict[str, Expr]] = {}
    for axis, roots in walks.items():
        for e in walked(form, axis, roots):
            if form.free(e) <= outer | {axis}:  # one value for the whole time that a row is walked
                found.setdefault(keys.of(e, axis), {}).setdefault(axis, e)
    shared = [values for values in found.values() if len(values) > 1]
    kept: list[Kept] = []
    for values in sorted(shared, key=lambda values: -_total(form, values, cost)):
        axis, e = next(iter(values.items()))
        fits = is_float(e.dtype) and form.extents[axis] * ITEM_SIZE[e.dtype] <= ROW_BYTES
        is_worth = _total(form, values, cost) >= WORTH or (_is_widened(form, e) and len(values) > FEW_WALKS)
        if fits and is_worth and not any(_is_inside(form, values, k) for k in kept):
            kept.append(Kept(values))
    return tuple(kept)


def _total(form: Form, values: Mapping[str, Expr], cost: Callable[[Expr], float]) -> float:
    """Work to compute a value once for each element."""
    axis, e = next(iter(values.items()))
    return sum(cost(x) for x in walked(form, axis, [e]) if x.op not in ("load", "index"))


def _is_widened(form: Form, e: Expr) -> bool:
    return e.op == "load" and form.loads[e].dtype == "float16"


def _is_inside(form: Form, values: Mapping[str, Expr], larger: Kept) -> bool:
    return any(axis in larger.values and e in walked(form, axis, [larger.values[axis]]) for axis, e in values.items())


def walked(form: Form, axis: str, roots: Iterable[Expr], known: Collection[Expr] = ()) -> dict[Expr, None]:
    """What a walk along an axis evaluates for every element: nothing that is the same for the whole row, nor what only
    the `known` need."""
    found: dict[Expr, None] = {}
    stack = list(roots)
    while stack:
        e = stack.pop()
        if e not in found and axis in form.free(e):
            found[e] = None
            stack += () if e in known else operands_of(e)
    return found


class Keys:
    """Equal keys for expressions that are equal when their walks go along the same axis."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.known: dict[tuple[Expr, str], int] = {}
        self.numbers: dict[Hashable, int] = {}

    def of(self, root: Expr, axis: str) -> int:
        stack = [root]
        while stack:
            e = stack[-1]
            below = [x for x in self._below(e, axis) if (x, axis) not in self.known]
            stack += below
            if not below:
                self.known[stack.pop(), axis] = self.numbers.setdefault(self._key(e, axis), len(self.numbers))
        return self.known[root, axis]

    def _below(self, e: Expr, axis: str) -> tuple[Expr, ...]:
        return operands_of(e) if axis in self.form.free(e) else ()

    def _key(self, e: Expr, axis: str) -> Hashable:
        if axis not in self.form.free(e):
            return e
        operands = tuple(self.known[x, axis] for x in operands_of(e))
        if e.op == "index":
            return e.op, _linear_key(self.form.indices[e], axis)
        if e.op != "load":
            return e.op, e.data, e.dtype, operands
        access = self.form.loads[e]
        strides = tuple(stride for stride, _ in access.computed)
        return e.op, access.buffer, access.dtype, e.dtype, _linear_key(access.linear, axis), strides, operands


def _linear_key(linear: Linear, axis: str) -> Hashable:
    return linear.constant, frozenset(("" if a == axis else a, c) for a, c in linear.coefficients.items())
