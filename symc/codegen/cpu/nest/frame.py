"""Where a nest's body stands: the loops around it, the place of every access, and how leaves are read there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from symc.codegen.llvm.abilities import Abilities
from symc.codegen.llvm.emit import Emitter
from symc.codegen.llvm.lanes import F32, F64, I64, Lanes
from symc.codegen.llvm.memory import Elements, widen
from symc.codegen.nest.form import Access
from symc.codegen.nest.layout import Key, Layout
from symc.codegen.nest.plan import Plan
from symc.loopir.expr import Expr


@dataclass
class Scope:
    """A place in the loops: which axes are bound, where every access stands, and what is already computed.

    A vector scope works on `parts` vectors at once (one emitter each); `count` limits the lanes of the last one.
    """

    emitters: list[Emitter]
    bound: frozenset[str]
    address: dict[Key, ir.Value]  # of lane 0 of part 0: byte address of an access, number of an index value
    lane: str | None = None
    count: ir.Value | None = None
    mask: ir.Value | None = None
    outside: Scope | None = None

    @property
    def n_lanes(self) -> int:
        return self.emitters[0].lanes.n

    @property
    def known(self) -> dict[Expr, ir.Value]:
        return self.emitters[0].known


class Frame:
    """Reads the descriptor, opens scopes, and supplies the leaves of expressions in them."""

    def __init__(
        self, builder: ir.IRBuilder, plan: Plan, layout: Layout, abilities: Abilities, desc: ir.Value, bufs: ir.Value
    ) -> None:
        self.b, self.plan, self.form, self.layout = builder, plan, plan.form, layout
        self.desc, self.bufs = desc, bufs
        self.scalar = Lanes(builder, 1, abilities)
        self.vector = self.scalar.resized(plan.lanes)
        self.steps: dict[tuple[Key, str], ir.Value] = {}
        self.computed_strides: dict[tuple[Key, int], ir.Value] = {}
        self.targets = dict(enumerate(plan.form.stores))
        self.block = I64(0), I64(0)
        self.extent = {axis: self._word(("extent", axis)) for axis in layout.axes}

    # ---- the descriptor

    def _word(self, key: tuple, further: int = 0) -> ir.Value:
        return self.b.load(self.b.gep(self.desc, [I64(self.layout.at[key] + further)]))

    def _access_of(self, key: Key) -> Access:
        return self.targets[key].access if isinstance(key, int) else self.form.loads[key]

    def enter_kernel(self, outer: Sequence[ir.Value]) -> Scope:
        """The scope inside the Python loops: addresses, strides and parameters are read from the descriptor."""
        b = self.b
        scope = Scope([], frozenset(), {})
        self.known_scalars: dict[Expr, ir.Value] = {}
        for word in self.layout.at:
            if word[0] == "base":
                key = word[1]
                if isinstance(key, Expr) and key.op == "index":
                    scope.address[key] = self._word(word)
                else:
                    slot = b.load(b.gep(self.bufs, [self._word(word)]))
                    scope.address[key] = b.add(slot, self._word(word, 1))
            elif word[0] == "step":
                self.steps[word[1], word[2]] = self._word(word)
            elif word[0] == "computed":
                self.computed_strides[word[1], word[2]] = self._word(word)
            elif word[0] == "param":
                self.known_scalars[word[1]] = self._parameter(word[1], self._word(word))
        for key, axis in self.layout.contiguous:
            self.steps[key, axis] = I64(self._access_of(key).item_size)
        scope.emitters = [self._emitter(scope, 0, self.scalar, dict(self.known_scalars))]
        for axis, index in zip(self.plan.outer, outer):
            scope = self._bind(scope, axis, index)
        return scope

    def _parameter(self, e: Expr, word: ir.Value) -> ir.Value:
        if e.dtype == "float64":
            return self.b.bitcast(word, F64)
        if e.dtype in ("float32", "float16"):
            return self.b.fptrunc(self.b.bitcast(word, F64), F32)
        type_ = self.scalar.type(e.dtype)
        return word if type_ == I64 else self.b.trunc(word, type_)

    # ---- scopes

    def _emitter(self, scope: Scope, part: int, lanes: Lanes, known: dict[Expr, ir.Value]) -> Emitter:
        return Emitter(lanes, lambda e: self._leaf(scope, part, e), known)

    def _moved(self, scope: Scope, axis: str, index: ir.Value) -> dict[Key, ir.Value]:
        """Every address after a step along an axis."""
        moved = dict(scope.address)
        for key, address in scope.address.items():
            step = self.steps.get((key, axis))
            if step is not None:
                moved[key] = self.b.add(address, self.b.mul(index, step))
        return moved

    def _bind(self, scope: Scope, axis: str, index: ir.Value) -> Scope:
        """Inside a serial loop: same lanes, one more axis bound."""
        inner = Scope(
            [], scope.bound | {axis}, self._moved(scope, axis, index), scope.lane, scope.count, scope.mask, scope
        )
        inner.emitters = [self._emitter(inner, k, e.lanes, dict(e.known)) for k, e in enumerate(scope.emitters)]
        return inner

    def _bind_lanes(
        self, scope: Scope, axis: str, index: ir.Value, parts: int, splats: dict[Expr, ir.Value], count: ir.Value | None
    ) -> Scope:
        """Inside a vector loop: lane l of part p stands for axis = index + p * lanes + l."""
        inner = Scope([], scope.bound | {axis}, self._moved(scope, axis, index), axis, count, None, scope)
        if count is not None:
            inner.mask = self.vector.first(count)
        inner.emitters = [self._emitter(inner, part, self.vector, dict(splats)) for part in range(parts)]
        return inner

    # ---- leaves

    def _leaf(self, scope: Scope, part: int, e: Expr) -> ir.Value:
        v = scope.emitters[part].lanes
        if e.op == "load":
            return self._load(scope, part, v, e)
        if e.op == "index":
            return self._index(scope, part, v, e)
        raise AssertionError(f"{e.op} must be known before it is used: {e}")

    def _index(self, scope: Scope, part: int, v: Lanes, e: Expr) -> ir.Value:
        step = self.steps.get((e, scope.lane)) if scope.lane else None
        first = v.splat(scope.address[e])
        if step is None:
            return first
        places = self.b.add(v.iota(), v.bits(part * v.n, 64))
        return self.b.add(first, self.b.mul(places, v.splat(step)))

    def _place(self, scope: Scope, part: int, key: Key, access: Access) -> tuple[ir.Value, ir.Value | None, list]:
        """Address of lane 0, step along the lanes (None: none), and (stride, index vector) that vary by lane."""
        b, address = self.b, scope.address[key]
        step = self.steps.get((key, scope.lane)) if scope.lane else None
        if step is not None and part:
            address = b.add(address, b.mul(I64(part * scope.n_lanes), step))
        varying = []
        for k, (_, index) in enumerate(access.computed):
            stride = self.computed_strides[key, k]
            if scope.lane and scope.lane in self.form.free(index):
                varying.append((stride, scope.emitters[part].value(index)))
            else:
                address = b.add(address, b.mul(stride, self._scalar(scope, part, index)))
        return address, step, varying

    def _scalar(self, scope: Scope, part: int, e: Expr) -> ir.Value:
        """The value of an expression that is the same in all lanes."""
        at: Scope | None = scope
        while at is not None:
            if at.n_lanes == 1 and e in at.known:
                return at.known[e]
            at = at.outside
        emitter = scope.emitters[part]
        value = emitter.value(e)
        return emitter.lanes.extract(value, 0)

    def _is_row(self, scope: Scope, key: Key, varying: list) -> bool:
        return not varying and (key, scope.lane) in self.layout.contiguous

    def _load(self, scope: Scope, part: int, v: Lanes, e: Expr) -> ir.Value:
        access = self.form.loads[e]
        address, step, varying = self._place(scope, part, e, access)
        if step is None and not varying:
            raw = Elements(self.scalar, access.dtype).load_one(address)
            return v.splat(widen(self.scalar, raw, access.dtype, e.dtype))
        memory = Elements(v, access.dtype)
        if self._is_row(scope, e, varying):
            raw = memory.load_row(address, scope.count, scope.mask)
        else:
            raw = memory.gather(address, step, varying, scope.count)
        return widen(v, raw, access.dtype, e.dtype)
