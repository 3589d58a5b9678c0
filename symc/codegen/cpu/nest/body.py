"""Prints the body of a nest as LLVM IR: the work of one outer iteration, on one block of the vector axis.

Every expression is evaluated in the outermost loop that binds its axes, so no invariant is left in a loop. Two ways
to reduce: in vector surroundings lane by lane, in scalar surroundings with the lanes along one of the reduced axes.

A load always happens before the stores of the same iteration, and a reduction is complete before the stores it is
used by: an output may therefore share memory with an input that is read at exactly the stored index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from llvmlite import ir

from symc.codegen.cpu.emit import VectorEmitter, primitive
from symc.codegen.cpu.lanes import F32, F64, I32, I64, Lanes
from symc.codegen.cpu.nest.form import Access, StoreForm
from symc.codegen.cpu.nest.layout import Key, Layout
from symc.codegen.cpu.nest.loops import Values, loop, minimum
from symc.codegen.cpu.nest.memory import Memory, narrow, widen
from symc.codegen.cpu.nest.plan import Plan, StorePlan
from symc.core.dtypes import compute_dtype
from symc.loopir.expr import Expr, walk
from symc.loopir.prims import COMBINERS

# Partial sums are restarted after this many additions, twice nested: the error of a sum of 1e6 stays near 1e-6.
SUM_BLOCK = 128


@dataclass
class Scope:
    """A place in the loops: which axes are bound, where every access stands, and what is already computed.

    A vector scope works on `parts` vectors at once (one emitter each); `count` limits the lanes of the last one.
    """

    emitters: list[VectorEmitter]
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


class Body:
    """Emits one call of a plan's body at the end of `builder`'s block."""

    def __init__(self, builder: ir.IRBuilder, plan: Plan, layout: Layout, vector_bits: int, desc: ir.Value,
                 bufs: ir.Value) -> None:
        self.b, self.plan, self.form, self.layout = builder, plan, plan.form, layout
        self.vector_bits, self.desc, self.bufs = vector_bits, desc, bufs
        # F16C came with AVX: a target of 128 bits is taken to lack it.
        self.has_half = vector_bits > 128
        self.scalar = Lanes(builder, 1, self.has_half)
        self.vector = Lanes(builder, plan.lanes, self.has_half)
        self.steps: dict[tuple[Key, str], ir.Value] = {}
        self.targets = {k: s for k, s in enumerate(plan.form.stores)}
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
                self.steps[word[1], word[2]] = self._word(word)
            elif word[0] == "param":
                self.known_scalars[word[1]] = self._parameter(word[1], self._word(word))
        for key, axis in self.layout.contiguous:
            self.steps[key, axis] = I64(self._access_of(key).item_size)
        scope.emitters = [self._emitter(scope, 0, 1, dict(self.known_scalars))]
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

    def _emitter(self, scope: Scope, part: int, lanes: int, known: dict[Expr, ir.Value]) -> VectorEmitter:
        emitter = VectorEmitter(self.b, lanes, lambda e: self._leaf(scope, part, e), self.has_half)
        emitter.known = known
        return emitter

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
        inner = Scope([], scope.bound | {axis}, self._moved(scope, axis, index), scope.lane, scope.count, scope.mask,
                      scope)
        inner.emitters = [self._emitter(inner, k, scope.n_lanes, dict(e.known)) for k, e in enumerate(scope.emitters)]
        return inner

    def _bind_lanes(self, scope: Scope, axis: str, index: ir.Value, parts: int, splats: dict[Expr, ir.Value],
                    count: ir.Value | None) -> Scope:
        """Inside a vector loop: lane l of part p stands for axis = index + p * lanes + l."""
        n = self.plan.lanes
        inner = Scope([], scope.bound | {axis}, self._moved(scope, axis, index), axis, count, None, scope)
        if count is not None:
            v = self.vector
            inner.mask = self.b.icmp_unsigned("<", v.iota(I32), v.splat(self.b.trunc(count, I32)))
        inner.emitters = [self._emitter(inner, part, n, dict(splats)) for part in range(parts)]
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
            stride = self.steps[key, k]
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
            one, scalar = self.scalar, Memory(self.scalar, self.vector_bits)
            return v.splat(widen(one, scalar.load_one(address, access.dtype), access.dtype, e.dtype))
        memory = Memory(v, self.vector_bits)
        if self._is_row(scope, e, varying):
            raw = memory.load_row(address, access.dtype, scope.count, scope.mask)
        else:
            raw = memory.gather(address, step, varying, access.dtype, scope.count)
        return widen(v, raw, access.dtype, e.dtype)

    # ---- evaluation

    def prepare(self, scope: Scope, roots: Sequence[Expr]) -> None:
        """Evaluates every sub-expression whose axes are bound here."""
        order = list(dict.fromkeys(e for r in roots for e in walk(r)))
        for e in order:
            if e.op in ("const", "param") or e in scope.known or not self.form.free(e) <= scope.bound:
                continue
            if e.op == "reduce":
                self._reduce(scope, self._together(scope, e, order))
            else:
                for emitter in scope.emitters:
                    emitter.value(e)

    def _together(self, scope: Scope, first: Expr, order: Sequence[Expr]) -> list[Expr]:
        """The reductions over the same axes that can be computed in the same loops as `first`."""
        found = []
        for e in order:
            if e.op != "reduce" or e in scope.known or not self.form.free(e) <= scope.bound:
                continue
            needed = (x for x in walk(e.args[0]) if x.op == "reduce" and self.form.free(x) <= scope.bound)
            if set(self.form.reduce_axes[e]) == set(self.form.reduce_axes[first]) and all(x in scope.known for x in needed):
                found.append(e)
        return found

    def _reduce(self, scope: Scope, reduces: list[Expr]) -> None:
        vector = self.plan.row_vectors.get(reduces[0])
        if scope.n_lanes == 1 and self.plan.lanes > 1 and vector:
            totals = self._reduce_along_row(scope, reduces, vector)
        else:
            totals = self._reduce_by_lane(scope, reduces)
        for k, e in enumerate(reduces):
            for part, emitter in enumerate(scope.emitters):
                emitter.known[e] = totals[k * len(scope.emitters) + part]

    def _reduce_by_lane(self, scope: Scope, reduces: list[Expr]) -> Values:
        """Serial loops over the reduced axes; a total per reduction and part."""
        bodies = [e.args[0] for e in reduces]
        v, parts = scope.emitters[0].lanes, range(len(scope.emitters))
        neutral = [_neutral(v, e) for e in reduces for _ in parts]
        axes = self._widest_first(self.form.reduce_axes[reduces[0]], bodies)

        def add_element(inner: Scope, totals: Values) -> Values:
            values = [emitter.value(body) for body in bodies for emitter in inner.emitters]
            return self._combine_all(v, reduces, totals, values)

        def combine(x: Values, y: Values) -> Values:
            return self._combine_all(v, reduces, x, y)

        def add_line(around: Scope, totals: Values) -> Values:
            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                return self._serial(around, axes[-1], first, stop, bodies, neutral, add_element)

            return combine(totals, self._cascade(self.extent[axes[-1]], 1, neutral, combine, add_block))

        if not axes:
            self.prepare(scope, bodies)
            return add_element(scope, neutral)
        return self._serial_nest(scope, axes[:-1], bodies, neutral, add_line)

    def _reduce_along_row(self, scope: Scope, reduces: list[Expr], vector: str) -> Values:
        """Lanes along one reduced axis: independent vector accumulators, combined in a fixed order at the end."""
        bodies = [e.args[0] for e in reduces]
        v, parts = self.vector, self.plan.unroll
        neutral = [_neutral(v, e) for e in reduces]
        others = [a for a in self.form.reduce_axes[reduces[0]] if a != vector]

        def combine(x: Values, y: Values) -> Values:
            return self._combine_all(v, reduces, x, y)

        def add_vectors(inner: Scope, sums: Values) -> Values:
            """`sums` holds `parts` accumulators per reduction; a scope of fewer parts uses the first ones."""
            self.prepare(inner, bodies)
            sums = list(sums)
            for k, e in enumerate(reduces):
                for part, emitter in enumerate(inner.emitters):
                    value = emitter.value(bodies[k])
                    if inner.mask is not None:
                        value = self.b.select(inner.mask, value, neutral[k])
                    sums[k * parts + part] = _combine(v, e, sums[k * parts + part], value)
            return sums

        def add_line(around: Scope, totals: Values) -> Values:
            def add_block(first: ir.Value, stop: ir.Value) -> Values:
                start = [n for n in neutral for _ in range(parts)]
                sums = self._lanes(around, vector, first, stop, parts, bodies, start, add_vectors)
                return [_tree(v, e, sums[k * parts : (k + 1) * parts]) for k, e in enumerate(reduces)]

            return combine(totals, self._cascade(self.extent[vector], parts * v.n, neutral, combine, add_block))

        totals = self._serial_nest(scope, self._widest_first(others, bodies), bodies, neutral, add_line)
        return [_across_lanes(v, e, total) for e, total in zip(reduces, totals)]

    def _cascade(self, extent: ir.Value, step: int, neutral: Values, combine: Callable[[Values, Values], Values],
                 add_block: Callable[[ir.Value, ir.Value], Values]) -> Values:
        """Blocks of SUM_BLOCK steps into groups of SUM_BLOCK blocks into the total."""

        def level(first: ir.Value, stop: ir.Value, sizes: tuple[int, ...]) -> Values:
            if not sizes:
                return add_block(first, stop)

            def once(at: ir.Value, totals: Values) -> Values:
                end = minimum(self.b, self.b.add(at, I64(sizes[0])), stop)
                return combine(totals, level(at, end, sizes[1:]))

            return loop(self.b, first, stop, sizes[0], neutral, once)

        return level(I64(0), extent, (SUM_BLOCK**2 * step, SUM_BLOCK * step))

    def _widest_first(self, axes: Sequence[str], bodies: Sequence[Expr]) -> list[str]:
        """Loop order: the axis of the smallest steps innermost."""
        loads = [self.form.loads[e] for body in bodies for e in walk(body) if e.op == "load"]
        return sorted(axes, key=lambda a: -max((abs(x.stride(a)) for x in loads), default=0))

    def _combine_all(self, v: Lanes, reduces: list[Expr], left: Values, right: Values) -> Values:
        parts = len(left) // len(reduces)
        return [_combine(v, reduces[k // parts], x, y) for k, (x, y) in enumerate(zip(left, right))]

    # ---- loops

    def _range(self, axis: str) -> tuple[ir.Value, ir.Value]:
        """All of an axis, or this unit's block of it."""
        return self.block if axis == self.plan.blocked else (I64(0), self.extent[axis])

    def _serial(self, scope: Scope, axis: str, start: ir.Value, stop: ir.Value, roots: Sequence[Expr], carried: Values,
                body: Callable[[Scope, Values], Values]) -> Values:
        def once(index: ir.Value, values: Values) -> Values:
            inner = self._bind(scope, axis, index)
            self.prepare(inner, roots)
            return body(inner, values)

        return loop(self.b, start, stop, 1, carried, once)

    def _serial_nest(self, scope: Scope, axes: Sequence[str], roots: Sequence[Expr], carried: Values,
                     body: Callable[[Scope, Values], Values]) -> Values:
        """Serial loops over whole axes, outermost first."""
        if not axes:
            return body(scope, carried)
        return self._serial(scope, axes[0], *self._range(axes[0]), roots, carried,
                            lambda inner, values: self._serial_nest(inner, axes[1:], roots, values, body))

    def _lanes(self, scope: Scope, axis: str, start: ir.Value, stop: ir.Value, parts: int, roots: Sequence[Expr],
               carried: Values, body: Callable[[Scope, Values], Values]) -> Values:
        """A vector loop: `parts` vectors a pass, then single ones, the last one partial."""
        b, n = self.b, self.plan.lanes
        v = self.vector
        splats = self._splats(scope, v, roots)

        def pass_of(parts: int, is_partial: bool) -> Callable[[ir.Value, Values], Values]:
            def once(index: ir.Value, values: Values) -> Values:
                count = minimum(b, b.sub(stop, index), I64(n)) if is_partial else None
                inner = self._bind_lanes(scope, axis, index, parts, splats, count)
                self.prepare(inner, roots)
                return body(inner, values)

            return once

        # A masked vector costs as much as a whole one with AVX-512, but a masked AVX2 store 12 cycles.
        sizes = [parts] if parts == 1 or self.vector_bits == 512 else [parts, 1]
        for size in sizes:
            whole = b.and_(b.sub(stop, start), I64(-size * n))
            middle = b.add(start, whole)
            carried = loop(b, start, middle, size * n, carried, pass_of(size, is_partial=False))
            start = middle
        return loop(b, start, stop, n, carried, pass_of(1, is_partial=True))

    def _splats(self, scope: Scope, v: Lanes, roots: Sequence[Expr]) -> dict[Expr, ir.Value]:
        """What is known as scalars, in every lane; only what the roots mention."""
        used = {e for r in roots for e in walk(r)}
        return {e: v.splat(value) for e, value in scope.known.items() if e in used and e.op != "const"}

    # ---- stores

    def run(self, outer: Sequence[ir.Value], low: ir.Value, high: ir.Value) -> None:
        """The whole body; `low` to `high` is the block of the blocked axis."""
        scope = self.enter_kernel(outer)
        self.block = low, high
        roots = self.form.roots
        self.prepare(scope, roots)
        if self.plan.vector is None:
            self._store_all(scope)
            return

        def once(inner: Scope, nothing: Values) -> Values:
            self._store_all(inner)
            return nothing

        self._lanes(scope, self.plan.vector, *self._range(self.plan.vector), self.plan.unroll, roots, [], once)

    def _store_all(self, scope: Scope) -> None:
        for group in self.plan.stores:
            self._store_group(scope, group)

    def _store_group(self, scope: Scope, group: StorePlan) -> None:
        roots = [r for s in group.stores for r in s.roots]

        def finish(inner: Scope, nothing: Values) -> Values:
            self.store(inner, group.stores)
            return nothing

        def innermost(around: Scope, nothing: Values) -> Values:
            if group.vector is None or self.plan.lanes == 1:
                return finish(around, nothing)
            parts = min(2, self.plan.unroll) if self.plan.kind == "row" else 1
            return self._lanes(around, group.vector, I64(0), self.extent[group.vector], parts, roots, [], finish)

        axes = list(group.serial)
        if group.vector is not None and self.plan.lanes == 1:
            axes.append(group.vector)
        self._serial_nest(scope, axes, roots, [], innermost)

    def store(self, scope: Scope, stores: Sequence[StoreForm]) -> None:
        """Stores of one iteration: first all values, then all writes."""
        values = [[emitter.value(s.value) for emitter in scope.emitters] for s in stores]
        for s, parts in zip(stores, values):
            key = next(k for k, t in self.targets.items() if t is s)
            for part, value in enumerate(parts):
                self._store_one(scope, part, key, s, value)

    def _store_one(self, scope: Scope, part: int, key: int, s: StoreForm, value: ir.Value) -> None:
        v, dtype = scope.emitters[part].lanes, s.access.dtype
        memory = Memory(v, self.vector_bits)
        address, step, varying = self._place(scope, part, key, s.access)
        is_row = self._is_row(scope, key, varying)
        if s.is_add:
            raw = (memory.load_one(address, dtype) if v.n == 1 else
                   memory.load_row(address, dtype, scope.count, scope.mask) if is_row else
                   memory.gather(address, step, varying, dtype, scope.count))
            kind = compute_dtype(dtype)
            rounded = widen(v, narrow(v, value, s.value.dtype, dtype), dtype, kind)
            value = primitive(v, "add", kind, [widen(v, raw, dtype, kind), rounded], [kind, kind])
            raw_value = narrow(v, value, kind, dtype)
        else:
            raw_value = narrow(v, value, s.value.dtype, dtype)
        if v.n == 1:
            memory.store_one(raw_value, address, dtype)
        elif is_row:
            memory.store_row(raw_value, address, dtype, scope.count, scope.mask)
        else:
            memory.scatter(raw_value, address, step, varying, dtype, scope.count)


def _combine(v: Lanes, reduce: Expr, x: ir.Value, y: ir.Value) -> ir.Value:
    return primitive(v, COMBINERS[reduce.data[0]][0], reduce.dtype, [x, y], [reduce.dtype] * 2)


def _neutral(v: Lanes, reduce: Expr) -> ir.Value:
    combiner = reduce.data[0]
    if reduce.dtype == "bool":
        return v.const(combiner in ("min", "prod"), "bool")
    value = COMBINERS[combiner][1](np.dtype(reduce.dtype))
    return v.const(float(value) if reduce.dtype.startswith("float") else int(value), reduce.dtype)


def _tree(v: Lanes, reduce: Expr, values: Values) -> ir.Value:
    """All values combined pairwise, always in the same order."""
    while len(values) > 1:
        paired = [_combine(v, reduce, x, y) for x, y in zip(values[::2], values[1::2])]
        values = paired + values[len(paired) * 2 :]
    return values[0]


def _across_lanes(v: Lanes, reduce: Expr, x: ir.Value) -> ir.Value:
    """The lanes of one vector combined: upper half with lower half until one is left."""
    n, b = v.n, v.b
    while n > 1:
        half = Lanes(b, n // 2)
        blank = ir.Constant(x.type, ir.Undefined)
        parts = []
        for first in (0, n // 2):
            mask = ir.Constant(ir.VectorType(I32, n // 2), [I32(first + k) for k in range(n // 2)])
            part = b.shuffle_vector(x, blank, mask)
            parts.append(part if n > 2 else b.extract_element(part, I32(0)))
        x, n = _combine(half, reduce, *parts), n // 2
    return x
