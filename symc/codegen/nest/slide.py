"""Windows that overlap share their columns: what one window has combined under a tap, the next has in registers.

A column is what a reduction combines under one tap of an axis along which the windows move. For a sum over 3 x 3 taps,
stride 1, moving along w (reduced axes k and m):

    for w:
        column[2] = sum over k of x[h + k, w + 2]
        y[h, w] = column[0] + column[1] + column[2]
        column = column[1:]

So an element takes 3 loads instead of 9. Columns are combined in the order of their taps, whoever computed them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

from symc.loopir.expr import Expr, walk
from symc.loopir.work import flops_of

from .form import Form

MAX_TAPS = 8  # columns are held in registers


@dataclass(frozen=True, eq=False)
class Slide:
    """Reductions whose windows move `step` taps of one reduced axis at each position of an axis; it may be negative.

    `unrolled` has the other reduced axes, with their extents, where a column is combined without a loop.
    """

    axis: str
    tap: str
    n_taps: int
    step: int
    reduces: tuple[Expr, ...]
    unrolled: tuple[tuple[str, int], ...] = ()

    @property
    def fresh(self) -> range:
        """The taps whose columns a window does not share with the one before it."""
        return range(self.n_taps - self.step, self.n_taps) if self.step > 0 else range(-self.step)

    @property
    def shared(self) -> range:
        """The other taps."""
        return range(self.n_taps - self.step) if self.step > 0 else range(-self.step, self.n_taps)

    def passed_on(self, columns: list) -> list:
        """Of all columns of a window those that the next one shares."""
        return columns[self.step :] if self.step > 0 else columns[: self.step]

    def flops_saved(self, form: Form) -> int:
        """The arithmetic that sharing saves: what lies under shared taps is neither computed nor added up again."""
        others = prod(form.extents[a] for a in form.reduce_axes[self.reduces[0]] if a != self.tap)
        saved = sum(flops_of(e) * (others - 1) * _size(form, form.free(e)) for e in self.reduces)
        for e in dict.fromkeys(x for r in self.reduces for x in walk(r.args[0])):
            if self.tap in form.free(e):
                saved += flops_of(e) * _size(form, form.free(e) - {self.tap})
        return saved * len(self.shared)


def with_columns_unrolled(slide: Slide, form: Form) -> Slide:
    """The same without loops over columns of a few taps."""
    others = [(a, form.extents[a]) for a in form.reduce_axes[slide.reduces[0]] if a != slide.tap]
    is_short = 1 < prod(extent for _, extent in others) <= MAX_TAPS
    return replace(slide, unrolled=tuple(others)) if is_short else slide


def _size(form: Form, axes: Iterable[str]) -> int:
    return prod(form.extents[a] for a in axes)


def slide_of(form: Form, axes: Iterable[str]) -> Slide | None:
    """How windows overlap along the first possible one of the axes; all reductions must slide alike."""
    reduces = tuple(form.reduce_axes)
    if not reduces or any(e.args[1:] != reduces[0].args[1:] for e in reduces):
        return None
    if any(x.op == "reduce" for e in reduces for x in walk(e.args[0])):
        return None
    taps = form.reduce_axes[reduces[0]]
    if any(set(form.reduce_axes[e]) != set(taps) for e in reduces):
        return None
    for axis in axes:
        for tap in taps:
            step = _step(form, reduces, axis, tap)
            if step and abs(step) < form.extents[tap] <= MAX_TAPS:
                others = (b for b in reduces[0].args[1:] if b.data.name != tap)
                if not any(axis in form.free(b) for b in others):
                    return Slide(axis, tap, form.extents[tap], step, reduces)
    return None


def _step(form: Form, reduces: Iterable[Expr], axis: str, tap: str) -> int | None:
    """How many taps make one position: bodies depend on both through position * step + tap alone."""
    steps = set()
    for e in dict.fromkeys(x for r in reduces for x in walk(r.args[0]) if x.op in ("load", "index")):
        linear = form.loads[e].linear if e.op == "load" else form.indices[e]
        along, across = linear.coefficients.get(axis, 0), linear.coefficients.get(tap, 0)
        if across and along % across == 0:
            steps.add(along // across)
        elif across or along:
            return None
    return steps.pop() if len(steps) == 1 else None
