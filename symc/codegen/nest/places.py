"""Places in the loops of a nest: which axes are bound there, where every access stands, and how leaves are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llvmlite import ir

from symc.codegen.llvm.emit import Emitter
from symc.codegen.llvm.lanes import I8, I64, Lanes
from symc.codegen.llvm.memory import Elements, widen
from symc.core.dtypes import ITEM_SIZE
from symc.loopir.expr import Expr, walk

from .form import Form
from .keep import KEPT_BYTES, Kept, Row
from .layout import Addressed, Key, WordLayout
from .words import Words


@dataclass
class Scope:
    """A place in the loops: which axes are bound, where every access stands, and what is already computed.

    A vector scope works on `parts` vectors at once (one emitter each); `count` limits the lanes of the last one.
    `uniform` computes there, once, what is the same in all lanes. `left` has what walks have left in their rows.
    """

    emitters: list[Emitter]
    bound: frozenset[str]
    address: dict[Addressed, ir.Value]  # of lane 0 of part 0: byte address of an access, number of an index value
    lane: str | None = None
    count: ir.Value | None = None
    mask: ir.Value | None = None
    uniform: Emitter | None = None
    left: set[Expr] = field(default_factory=set)

    @property
    def n_lanes(self) -> int:
        return self.emitters[0].lanes.n

    @property
    def known(self) -> dict[Expr, ir.Value]:
        return self.emitters[0].known


class Places:
    """Opens scopes, and supplies the leaves of expressions in them."""

    def __init__(
        self, scalar: Lanes, form: Form, layout: WordLayout, words: Words, below: Mapping[Expr, bool] | None = None
    ) -> None:
        self.b, self.scalar, self.form, self.layout, self.words = scalar.b, scalar, form, layout, words
        self._below = below or {}
        self.streams = False  # whether whole vectors are stored past the caches
        self._kept: list[Row] = []

    def can_stream(self, scope: Scope, v: Lanes, axis: str, start: ir.Value, others: Sequence[str] = ()) -> ir.Value:
        """Whether all stores along an axis begin at boundaries of vectors, and none overwrites what is read.

        So they do wherever steps along `others` lead.
        """
        b, can = self.b, ir.Constant(ir.IntType(1), 1)
        for k, s in enumerate(self.form.stores):
            first = b.add(scope.address[k], b.mul(start, self.words.step[k, axis]))
            for other in others:
                first = b.or_(first, self.words.step.get((k, other), I64(0)))
            beyond = b.and_(first, I64(Elements(v, s.access.dtype).stream_bytes - 1))
            can = b.and_(can, b.icmp_signed("==", beyond, I64(0)))
            for e in self.form.loads:
                can = b.and_(can, b.icmp_signed("!=", scope.address[k], scope.address[e]))
        return can

    # ---- rows that are kept

    def reserve(self, kept: Kept, n_rows: int) -> None:
        """Stack memory for rows abreast; the last vector may reach behind their ends."""
        with self.b.goto_entry_block():
            memory = self.b.alloca(I8, I64(n_rows * KEPT_BYTES))
        memory.align = 64
        for axis, e in kept.values.items():
            row = Row(e)
            self.words.address[row] = self.b.ptrtoint(memory, I64)
            self.words.step[row, axis] = I64(ITEM_SIZE[kept.dtype])
            self._kept.append(row)

    def keep(self, scope: Scope, part: int, e: Expr) -> None:
        """Leaves a value in its row."""
        v = scope.emitters[part].lanes
        Elements(v, e.dtype).store(scope.emitters[part].value(e), self._kept_at(scope, part, e))

    def recall(self, scope: Scope, part: int, e: Expr) -> ir.Value:
        """A value that another walk left in its row."""
        return Elements(scope.emitters[part].lanes, e.dtype).load(self._kept_at(scope, part, e))

    def _kept_at(self, scope: Scope, part: int, e: Expr) -> ir.Value:
        return self.b.add(scope.address[Row(e)], I64(part * scope.n_lanes * ITEM_SIZE[e.dtype]))

    # ---- scopes

    def enter(self, axes: Sequence[str], indices: Sequence[ir.Value]) -> Scope:
        """The outermost scope of a unit of work: its axes are bound from outside."""
        scope = Scope([], frozenset(), dict(self.words.address))
        scope.emitters = [self._emitter(scope, 0, self.scalar, dict(self.words.parameters))]
        for axis, index in zip(axes, indices):
            scope = self.bind(scope, axis, index)
        return scope

    def bind(self, scope: Scope, axis: str, index: ir.Value) -> Scope:
        """Inside a serial loop: same lanes, one more axis bound."""
        inner = Scope([], scope.bound | {axis}, self._moved(scope, axis, index), scope.lane, scope.count, scope.mask)
        inner.left = scope.left
        if scope.uniform:
            inner.uniform = self._uniform(inner, scope.uniform)
        inner.emitters = [self._emitter(inner, k, e.lanes, dict(e.known)) for k, e in enumerate(scope.emitters)]
        return inner

    def row(self, scope: Scope, axis: str, first: ir.Value, number: int) -> Scope:
        """One of several rows abreast, with memory of its own for what is kept."""
        inner = self.bind(scope, axis, self.b.add(first, I64(number)))
        inner.left = set()
        for kept in self._kept:
            inner.address[kept] = self.b.add(inner.address[kept], I64(number * KEPT_BYTES))
        return inner

    def beside(self, inner: Scope, row: Scope, other: Scope) -> Scope:
        """The place in another row that corresponds to a place inside of `row`."""
        moved = {k: self.b.add(at, self.b.sub(other.address[k], row.address[k])) for k, at in inner.address.items()}
        there = Scope([], inner.bound, moved, inner.lane, inner.count, inner.mask, left=other.left)
        there.uniform = self._uniform(there, other.emitters[0]) if inner.uniform else None
        for part, emitter in enumerate(inner.emitters):
            known = {e: emitter.lanes.splat(value) for e, value in other.known.items() if e.op != "const"}
            there.emitters.append(self._emitter(there, part, emitter.lanes, known))
        return there

    def bind_lanes(
        self,
        scope: Scope,
        axis: str,
        index: ir.Value,
        v: Lanes,
        parts: int,
        known: Mapping[Expr, ir.Value],
        count: ir.Value | None,
    ) -> Scope:
        """Inside a vector loop: lane l of part p stands for axis = index + p * v.n + l."""
        inner = Scope([], scope.bound | {axis}, self._moved(scope, axis, index), axis, count, left=scope.left)
        inner.uniform = self._uniform(inner, scope.emitters[0])
        if count is not None:
            inner.mask = v.first(count)
        inner.emitters = [self._emitter(inner, part, v, dict(known)) for part in range(parts)]
        return inner

    def _emitter(self, scope: Scope, part: int, lanes: Lanes, known: dict[Expr, ir.Value]) -> Emitter:
        return Emitter(lanes, lambda e: self._leaf(scope, part, e, lanes), known, self._below)

    def _uniform(self, scope: Scope, around: Emitter) -> Emitter:
        return Emitter(self.scalar, lambda e: self._leaf(scope, 0, e, self.scalar), dict(around.known), self._below)

    def _moved(self, scope: Scope, axis: str, index: ir.Value) -> dict[Addressed, ir.Value]:
        """Every address after a step along an axis."""
        moved = dict(scope.address)
        for key, address in scope.address.items():
            step = self.words.step.get((key, axis))
            if step is not None:
                moved[key] = self.b.add(address, self.b.mul(index, step))
        return moved

    # ---- accesses

    def at(self, scope: Scope, part: int, key: Key) -> tuple[ir.Value, ir.Value | None, list]:
        """Address of lane 0, step along the lanes (None: none), and (stride, index vector) that vary by lane."""
        b, address = self.b, scope.address[key]
        step = self.words.step.get((key, scope.lane)) if scope.lane else None
        if step is not None and part:
            address = b.add(address, b.mul(I64(part * scope.n_lanes), step))
        varying = []
        for k, (_, index) in enumerate(self.form.access(key).computed):
            stride = self.words.computed[key, k]
            if scope.lane and scope.lane in self.form.free(index):
                varying.append((stride, scope.emitters[part].value(index)))
            else:
                address = b.add(address, b.mul(stride, self.uniform_value(scope, index)))
        return address, step, varying

    def is_row(self, scope: Scope, key: Key, varying: list) -> bool:
        """Whether neighbouring lanes are neighbours in memory."""
        return not varying and (key, scope.lane) in self.layout.contiguous

    def uniform_value(self, scope: Scope, e: Expr) -> ir.Value:
        """The value of an expression that is the same in all lanes, as a scalar."""
        return (scope.uniform or scope.emitters[0]).value(e)

    def _leaf(self, scope: Scope, part: int, e: Expr, v: Lanes) -> ir.Value:
        """A load or an index value in the lanes of a scope, or of its uniform emitter."""
        if e.op == "load":
            return self._load(scope, part, v, e)
        if e.op == "index":
            return self._index(scope, part, v, e)
        raise AssertionError(f"{e.op} must be known before it is used: {e}")

    def _index(self, scope: Scope, part: int, v: Lanes, e: Expr) -> ir.Value:
        step = self.words.step.get((e, scope.lane)) if scope.lane else None
        first = v.splat(scope.address[e])
        if step is None:
            return first
        places = self.b.add(v.iota(), v.bits(part * v.n, 64))
        return self.b.add(first, self.b.mul(places, v.splat(step)))

    def _load(self, scope: Scope, part: int, v: Lanes, e: Expr) -> ir.Value:
        access = self.form.loads[e]
        address, step, varying = self.at(scope, part, e)
        if step is None and not varying:
            raw = Elements(self.scalar, access.dtype).load_one(address)
            return v.splat(widen(self.scalar, raw, access.dtype, e.dtype))
        memory = Elements(v, access.dtype)
        if self.is_row(scope, e, varying):
            raw = memory.load_row(address, scope.count, scope.mask)
        else:
            raw = memory.gather(address, step, varying, scope.count)
        return widen(v, raw, access.dtype, e.dtype)


def splats(scope: Scope, v: Lanes, roots: Sequence[Expr]) -> dict[Expr, ir.Value]:
    """What is known as scalars, in every lane; only what the roots mention."""
    used = {e for r in roots for e in walk(r)}
    return {e: v.splat(value) for e, value in scope.known.items() if e in used and e.op != "const"}
