"""Stores of one iteration of a nest."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.llvm.emit import primitive
from symc.codegen.llvm.memory import Elements, narrow, widen
from symc.core.dtypes import compute_dtype

from .form import StoreForm
from .places import Places, Scope


def store(places: Places, scope: Scope, stores: Sequence[StoreForm]) -> None:
    """First all values, then all writes."""
    values = [[emitter.value(s.value) for emitter in scope.emitters] for s in stores]
    for s, parts in zip(stores, values):
        for part, value in enumerate(parts):
            _store_one(places, scope, part, s, value)


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
