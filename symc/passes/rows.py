"""Rows: how far reductions along some axes, and elementwise work on what they reduced, stay within one row each.

A softmax, or the mean, the variance and the scaling of a LayerNorm, walk one row several times and need nothing of any
other. As one kernel they read it once: the first walk brings it near, the others find it there.
"""

from __future__ import annotations

from dataclasses import dataclass

from symc.core.shapes import FullShape, size_of
from symc.loopir.expr import Affine, Axis, Expr, free_axes, walk

from .meaning import Meaning

Index = tuple[Affine | Expr, ...]


@dataclass(frozen=True)
class Rows:
    """An index space whose `axes` are walked within a row, while the others tell rows apart."""

    shape: FullShape
    axes: tuple[int, ...]

    @property
    def kept(self) -> FullShape:
        """The shape of one value for each row, with the row's axes left as 1."""
        return tuple(1 if a in self.axes else n for a, n in enumerate(self.shape))

    @property
    def left(self) -> FullShape:
        """The shape of one value for each row, without the row's axes; they must be the last ones."""
        n_outer = len(self.shape) - len(self.axes)
        return self.shape[:n_outer] if self.axes == tuple(range(n_outer, len(self.shape))) else self.kept

    @property
    def n_elements(self) -> int:
        """Of one row."""
        return size_of(tuple(self.shape[a] for a in self.axes))

    def hold(self, shape: FullShape) -> bool:
        """Whether a tensor of that shape has a row, or a value, for each row."""
        return shape in (self.shape, self.kept, self.left)

    def is_within(self, meaning: Meaning, position: int) -> bool:
        """Whether every output element reads an input in its own row only, and there at its own place or everywhere."""
        shape = meaning.in_shapes[position]
        return self.hold(shape) and all(self._is_own(meaning, shape, i) for i in meaning.loads(position))

    def _is_own(self, meaning: Meaning, shape: FullShape, index: Index) -> bool:
        own = meaning.axes if self.hold(meaning.shape) else ()
        for a, component in enumerate(index):
            if not isinstance(component, Affine):
                return False
            is_place = a < len(own) and component == Affine.of(own[a])
            is_only = shape[a] == 1 and not component.terms and component.constant == 0
            is_every = a in self.axes and _whole_axis(component, shape[a]) not in (None, *own)
            if not (is_place or is_only or is_every):
                return False
        return True


def rows_of(meaning: Meaning) -> Rows | None:
    """The rows that the reductions of an operator walk; None where it has none, or they reach into other rows."""
    if meaning.kind != "reduction":
        return None
    for k, shape in enumerate(meaning.in_shapes):
        axes = {
            a
            for index in meaning.loads(k)
            for a, component in enumerate(index)
            if isinstance(component, Affine) and _whole_axis(component, shape[a]) not in (None, *meaning.axes)
        }
        if axes:
            rows = Rows(shape, tuple(sorted(axes)))
            return rows if rows.is_within(meaning, k) and _are_walked_once(rows, meaning) else None
    return None


def _are_walked_once(rows: Rows, meaning: Meaning) -> bool:
    """Whether reductions happen once for each row of more than one element, not for every element of it."""
    if rows.n_elements <= 1 or not rows.hold(meaning.shape):
        return False
    inside = {meaning.axes[a] for a in rows.axes if a < len(meaning.axes) and meaning.axes[a].extent > 1}
    reduces = {e for body in meaning.bodies for e in walk(body) if e.op == "reduce"}
    return not any(free_axes(e) & inside for e in reduces)


def _whole_axis(component: Affine, extent: int) -> Axis | None:
    """The axis that alone makes up an index component and walks all of it."""
    if component.constant or len(component.terms) != 1:
        return None
    ((axis, coefficient),) = component.terms
    return axis if coefficient == 1 and axis.extent == extent else None
