"""Stores that share loops, in a canonical form: every access is a table of byte strides per loop axis.

AxisLoop axes are renamed by position, so equal reductions become the same expression. Axes of extent 1 disappear, and
two axes that every access walks like one become one: a sum over a dense (2, 3, 4) tensor is a loop over 24.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from symc.core.dtypes import ITEM_SIZE
from symc.core.lazy import lazy
from symc.loopir.expr import Affine, Expr, operands_of, walk
from symc.loopir.kernel import Buffer, Store
from symc.loopir.rename import renamed

from .bounds import bounded

# Partial sums are restarted after this many additions, twice nested: the error of a sum of 1e6 stays near 1e-6.
SUM_BLOCK = 128


@dataclass(frozen=True, eq=False)
class Linear:
    """constant + sum(coefficients[axis] * axis); no coefficient is zero."""

    coefficients: Mapping[str, int]
    constant: int


@dataclass(frozen=True, eq=False)
class Access:
    """The byte position of one element: `linear` from the buffer's start plus stride * value of computed components."""

    buffer: str
    dtype: str  # as stored
    linear: Linear
    computed: tuple[tuple[int, Expr], ...] = ()

    @property
    def item_size(self) -> int:
        return ITEM_SIZE[self.dtype]

    def stride(self, axis: str) -> int:
        return self.linear.coefficients.get(axis, 0)

    def is_contiguous(self, axis: str) -> bool:
        """Whether a step along an axis leads to the next element."""
        return self.stride(axis) == self.item_size


@dataclass(frozen=True, eq=False)
class StoreForm:
    """One store: where to, what, over which axes; `private` axes alone decide which element is written."""

    access: Access
    value: Expr
    axes: tuple[str, ...]
    is_add: bool
    private: frozenset[str]

    @property
    def is_ordered(self) -> bool:
        """Whether two iterations may write one element, so that their order matters."""
        return not set(self.axes) <= self.private

    @property
    def roots(self) -> tuple[Expr, ...]:
        """Everything the store evaluates: the value and the computed parts of its target."""
        return (self.value, *(e for _, e in self.access.computed))


@dataclass(frozen=True, eq=False)
class Form:
    """A group of stores with the tables of everything in their expressions that depends on axes."""

    stores: tuple[StoreForm, ...]
    extents: Mapping[str, int]
    loads: Mapping[Expr, Access]
    indices: Mapping[Expr, Linear]
    reduce_axes: Mapping[Expr, tuple[str, ...]]
    _free: dict[Expr, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def free(self, root: Expr) -> frozenset[str]:
        """The axes an expression depends on and does not bind itself."""
        if root not in self._free:
            for e in walk(root, below=lambda e: [a for a in operands_of(e) if a not in self._free]):
                self._free[e] = self._free_of(e)
        return self._free[root]

    def _free_of(self, e: Expr) -> frozenset[str]:
        found: frozenset[str] = frozenset().union(*(self._free[a] for a in operands_of(e)))
        if e.op == "load":
            return found | set(self.loads[e].linear.coefficients)
        if e.op == "index":
            return frozenset(self.indices[e].coefficients)
        return found - set(self.reduce_axes[e]) if e.op == "reduce" else found

    def access(self, key: Expr | int) -> Access:
        """Of a load, or of a store by its number."""
        return self.stores[key].access if isinstance(key, int) else self.loads[key]

    @property
    def roots(self) -> tuple[Expr, ...]:
        return tuple(r for s in self.stores for r in s.roots)

    @lazy
    def every(self) -> tuple[Expr, ...]:
        """All distinct expressions, operands first."""
        return tuple(dict.fromkeys(e for r in self.roots for e in walk(r)))

    def is_short(self, reduce: Expr, shared: str | None = None, n_sums: int = 1) -> bool:
        """Whether no sum is so long that it has to be cut to keep what is small; `n_sums` share one of its axes."""
        limits = {shared: SUM_BLOCK * n_sums}
        return all(self.extents[a] <= limits.get(a, SUM_BLOCK) for a in self.reduce_axes[reduce])

    @lazy
    def bounded(self) -> frozenset[str]:
        """Reduced axes that are not always walked from end to end."""
        return frozenset(e.data.name for e in self.every if e.op == "bound")

    def limited_by(self, axis: str) -> bool:
        """Whether the bounds of some reduction depend on an axis."""
        return any(axis in self.free(e) for e in self.every if e.op == "bound")

    def linears(self) -> list[Linear]:
        """Every access and index value."""
        return [
            *(a.linear for a in self.loads.values()),
            *(s.access.linear for s in self.stores),
            *self.indices.values(),
        ]


def forms_of(stores: Sequence[Store], buffers: Mapping[str, Buffer]) -> list[Form]:
    """The ways to walk stores: as they are and, where that differs, with conditions as bounds of reductions."""
    within = [bounded(s) for s in stores]
    return [form_of(stores, buffers), *([form_of(within, buffers)] if within != list(stores) else [])]


def form_of(stores: Sequence[Store], buffers: Mapping[str, Buffer]) -> Form:
    """The canonical form of stores that will share a kernel."""
    canonical = renamed(stores)
    forms = tuple(
        StoreForm(
            _access(buffers[s.buffer], s.index),
            s.value,
            tuple(a.name for a in s.axes),
            s.mode == "add",
            private_axes(s),
        )
        for s in canonical
    )
    every = dict.fromkeys(e for f in forms for r in f.roots for e in walk(r))
    extents = {a.name: a.extent for s in canonical for a in s.axes}
    for e in every:
        if e.op == "reduce":
            extents.update({a.name: a.extent for a in e.data[1]})
    form = Form(
        forms, extents,
        {e: _access(buffers[e.data[0]], e.data[1]) for e in every if e.op == "load"},
        {e: _linear(e.data, 1) for e in every if e.op == "index"},
        {e: tuple(a.name for a in e.data[1]) for e in every if e.op == "reduce"},
    )  # fmt: skip
    return _merge_axes(_without_axes(form, {name for name, extent in extents.items() if extent == 1}, {}))


def _linear(index: Affine, scale: int) -> Linear:
    return Linear({a.name: c * scale for a, c in index.terms}, index.constant * scale)


def _access(buffer: Buffer, index: Sequence[Affine | Expr]) -> Access:
    size = ITEM_SIZE[buffer.dtype]
    total = Affine((), buffer.offset)
    computed = []
    for component, stride in zip(index, buffer.strides):
        if isinstance(component, Expr):
            computed.append((stride * size, component))
        else:
            total = total + component * stride
    return Access(buffer.name, buffer.dtype, _linear(total, size), tuple(computed))


def private_axes(store: Store) -> frozenset[str]:
    """Axes whose different values never write the same element, whatever the other axes do.

    True of all axes of an index component that is a mixed radix number (2 * i + j with j < 2, but not i + j).
    """
    private: set[str] = set()
    for component in store.index:
        if isinstance(component, Expr):
            continue
        reach = 0
        for axis, coefficient in sorted(component.terms, key=lambda t: abs(t[1])):
            if axis.extent > 1 and abs(coefficient) <= reach:
                break
            reach += abs(coefficient) * (axis.extent - 1)
        else:
            private |= {a.name for a in component.axes()}
    return frozenset(private)


def _merge_axes(form: Form) -> Form:
    """before: for i<2, j<3: y[3*i + j] = x[3*i + j]      after: for j<6: y[j] = x[j]"""
    merged = True
    while merged:
        merged = False
        for outer, inner in _neighbours(form):
            if all(
                c.coefficients.get(outer, 0) == c.coefficients.get(inner, 0) * form.extents[inner]
                for c in form.linears()
            ):
                product = form.extents[outer] * form.extents[inner]
                form = _without_axes(form, {outer}, {inner: product})
                merged = True
                break
    return form


def _neighbours(form: Form) -> list[tuple[str, str]]:
    """Pairs of axes that the same stores and reductions loop over; ordered stores keep the order of their axes."""
    pairs = []
    groups = [s.axes for s in form.stores] + list(form.reduce_axes.values())
    ordered = [s for s in form.stores if s.is_ordered]
    for outer in form.extents:
        for inner in form.extents:
            if outer == inner or any((outer in g) != (inner in g) for g in groups):
                continue
            if form.bounded & {outer, inner}:
                continue
            if all(_are_adjacent(s, outer, inner) for s in ordered):
                pairs.append((outer, inner))
    return pairs


def _are_adjacent(store: StoreForm, outer: str, inner: str) -> bool:
    axes, private = store.axes, store.private
    if outer not in axes:
        return True
    return axes.index(inner) == axes.index(outer) + 1 and (outer in private) == (inner in private)


def _without_axes(form: Form, gone: set[str], extents: Mapping[str, int]) -> Form:
    """The form with the axes `gone` removed everywhere and some extents replaced."""

    def linear(old: Linear) -> Linear:
        return Linear({a: s for a, s in old.coefficients.items() if a not in gone}, old.constant)

    def access(old: Access) -> Access:
        return Access(old.buffer, old.dtype, linear(old.linear), old.computed)

    def left(axes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(a for a in axes if a not in gone)

    return Form(
        tuple(StoreForm(access(s.access), s.value, left(s.axes), s.is_add, s.private) for s in form.stores),
        {a: extents.get(a, e) for a, e in form.extents.items() if a not in gone},
        {e: access(a) for e, a in form.loads.items()},
        {e: linear(i) for e, i in form.indices.items()},
        {e: left(axes) for e, axes in form.reduce_axes.items()},
    )
