"""Prints the body of a nest as LLVM IR: the work of one outer iteration, on one block of the blocked axis.

A load always happens before the stores of the same iteration, and a reduction is complete before the stores it is
used by: an output may therefore share memory with an input that is read at exactly the stored index.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.llvm.emit import primitive
from symc.codegen.llvm.loops import Values
from symc.codegen.llvm.memory import Elements, narrow, widen
from symc.codegen.nest.form import StoreForm
from symc.codegen.nest.plan import StorePlan
from symc.core.dtypes import compute_dtype

from .evaluate import Evaluator
from .frame import Scope


class Body(Evaluator):
    """Emits one call of a plan's body at the end of `builder`'s block."""

    def run(self, outer: Sequence[ir.Value], low: ir.Value, high: ir.Value) -> None:
        """The whole body; `low` to `high` is the block of the blocked axis."""
        scope = self.enter_kernel(outer)
        self.block = low, high
        roots = self.form.roots
        self.prepare(scope, roots)
        if self.plan.vector is None:
            self._sweep(scope, [])
            return

        self._lanes(scope, self.plan.vector, *self._range(self.plan.vector), self.plan.unroll, roots, [], self._sweep)

    def _sweep(self, scope: Scope, nothing: Values) -> Values:
        """All stores, in a loop over the blocked axis when that is not the one of the lanes."""
        if self.plan.blocked in (None, self.plan.vector):
            return self._store_all(scope, nothing)
        return self._serial(scope, self.plan.blocked, *self.block, self.form.roots, nothing, self._store_all)

    def _store_all(self, scope: Scope, nothing: Values) -> Values:
        for group in self.plan.stores:
            self._store_group(scope, group)
        return nothing

    def _store_group(self, scope: Scope, group: StorePlan) -> None:
        roots = [r for s in group.stores for r in s.roots]

        def finish(inner: Scope, nothing: Values) -> Values:
            self.store(inner, group.stores)
            return nothing

        def innermost(around: Scope, nothing: Values) -> Values:
            if group.vector is None or self.plan.lanes == 1:
                return finish(around, nothing)
            parts = min(2, self.plan.unroll)
            return self._lanes(around, group.vector, *self._range(group.vector), parts, roots, [], finish)

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
        memory = Elements(v, dtype)
        address, step, varying = self._place(scope, part, key, s.access)
        is_row = self._is_row(scope, key, varying)
        if s.is_add:
            raw = (
                memory.load_one(address)
                if v.n == 1
                else memory.load_row(address, scope.count, scope.mask)
                if is_row
                else memory.gather(address, step, varying, scope.count)
            )
            kind = compute_dtype(dtype)
            rounded = widen(v, narrow(v, value, s.value.dtype, dtype), dtype, kind)
            value = primitive(v, "add", kind, [widen(v, raw, dtype, kind), rounded], [kind, kind])
            raw_value = narrow(v, value, kind, dtype)
        else:
            raw_value = narrow(v, value, s.value.dtype, dtype)
        if v.n == 1:
            memory.store_one(raw_value, address)
        elif is_row:
            memory.store_row(raw_value, address, scope.count, scope.mask)
        else:
            memory.scatter(raw_value, address, step, varying, scope.count)
