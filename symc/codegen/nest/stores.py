"""Stores of one iteration of a nest."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.llvm.emit import primitive
from symc.codegen.llvm.lanes import I32, I64, Lanes
from symc.codegen.llvm.loops import minimum
from symc.codegen.llvm.memory import Elements, narrow, widen
from symc.core.dtypes import compute_dtype

from .form import StoreForm
from .places import Places, Scope


def store(places: Places, scopes: Sequence[Scope], stores: Sequence[StoreForm]) -> None:
    """First all values, then all writes."""
    values = [(scope, s, [emitter.value(s.value) for emitter in scope.emitters]) for scope in scopes for s in stores]
    for scope, s, parts in values:
        for part, value in enumerate(parts):
            _store_one(places, scope, part, s, value)


def store_woven(places: Places, scopes: Sequence[Scope], stores: Sequence[StoreForm]) -> None:
    """The stores of neighbours along an axis, a scope for each, of which they write all: n lanes of each in turn.

    With three scopes the values a0 a1 .., b0 b1 .., c0 c1 .. become rows of a0 b0 c0 a1 b1 c1 ..
    """
    parts = range(len(scopes[0].emitters))
    values = [[[scope.emitters[part].value(s.value) for scope in scopes] for part in parts] for s in stores]
    for s, of_parts in zip(stores, values):
        for part, columns in enumerate(of_parts):
            v, dtype = scopes[0].emitters[part].lanes, s.access.dtype
            memory = Elements(v, dtype)
            address, _, _ = places.at(scopes[0], part, places.form.stores.index(s))
            rows = _woven(v, [narrow(v, value, s.value.dtype, dtype) for value in columns])
            for k, row in enumerate(rows):
                _store_part(memory, row, v.b.add(address, I64(k * memory.vector_bytes)), scopes, k)


def _store_part(memory: Elements, row: ir.Value, at: ir.Value, scopes: Sequence[Scope], number: int) -> None:
    """Row `number` of woven values, or as much of it as the lanes of the scopes fill."""
    b, v, count = memory.b, memory.v, scopes[0].count
    if count is None:
        memory.store(row, at)
        return
    left = b.sub(b.mul(count, I64(len(scopes))), I64(number * v.n))
    memory.store_row(row, at, minimum(b, left, I64(v.n)), v.below(left))


def _woven(v: Lanes, columns: Sequence[ir.Value]) -> list[ir.Value]:
    """before: a0 a1 a2 a3, b0 b1 b2 b3        after: a0 b0 a1 b1, a2 b2 a3 b3"""
    n, rows = v.n, []
    for first in range(0, n * len(columns), n):
        wanted = [divmod(first + lane, len(columns)) for lane in range(n)]
        row = columns[0]
        for number, column in enumerate(columns[1:], 1):
            # The first shuffle puts two columns in place, each further one adds its own to what is there.
            kept = [place for place, _ in wanted] if number == 1 else range(n)
            lanes = [n + place if which == number else kept[lane] for lane, (place, which) in enumerate(wanted)]
            row = v.b.shuffle_vector(row, column, ir.Constant(ir.VectorType(I32, n), [I32(lane) for lane in lanes]))
        rows.append(row)
    return rows


def _store_one(places: Places, scope: Scope, part: int, s: StoreForm, value: ir.Value) -> None:
    v, dtype = scope.emitters[part].lanes, s.access.dtype
    key, memory = places.form.stores.index(s), Elements(v, dtype)
    address, step, varying = places.at(scope, part, key)
    is_row = places.is_row(scope, key, varying)
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
    elif is_row and places.streams and scope.count is None:
        memory.stream(raw_value, address)
    elif is_row:
        memory.store_row(raw_value, address, scope.count, scope.mask)
    else:
        memory.scatter(raw_value, address, step, varying, scope.count)
