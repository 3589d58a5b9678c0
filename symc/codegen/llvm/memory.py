"""Loads and stores of n elements: contiguous, by a stride, or at computed places; whole or only the first `count`.

Nothing outside the named elements is ever touched: a partial access is masked where the machine can mask, else it
goes element by element.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.core.dtypes import ITEM_SIZE, compute_dtype

from .emit import cast
from .lanes import I8, I32, I64, Lanes, declare, scalar_type, suffix_of
from .loops import loop, minimum

POINTER = ir.PointerType()


def stored_type(v: Lanes, dtype: str) -> ir.Type:
    """How one element lies in memory: bool is a byte, float16 a half."""
    return {"bool": I8, "float16": v.half_type}.get(dtype) or scalar_type(dtype)


def widen(v: Lanes, raw: ir.Value, dtype: str, wanted: str) -> ir.Value:
    """Stored elements as values of type `wanted`."""
    if dtype == "bool":
        raw = v.b.icmp_unsigned("!=", raw, v.bits(0, 8))
    elif dtype == "float16":
        raw = v.half_to_float(raw)
    return cast(v, raw, compute_dtype(dtype), wanted)


def narrow(v: Lanes, value: ir.Value, dtype: str, stored: str) -> ir.Value:
    """Values of type `dtype` as they are stored."""
    if stored == "float16":
        return v.float_to_half(cast(v, value, dtype, "float32" if dtype != "float64" else dtype))
    value = cast(v, value, dtype, stored)
    return v.b.zext(value, v.of(I8)) if stored == "bool" else value


class Memory:
    """Element access at integer addresses for vectors of `v.n` lanes; `vector_bits` tells what can be masked."""

    def __init__(self, v: Lanes, vector_bits: int) -> None:
        self.v, self.b, self.vector_bits = v, v.b, vector_bits

    def can_mask(self, dtype: str) -> bool:
        """Whether part of a vector can be loaded and stored in one instruction."""
        # AVX-512 masks all sizes, AVX2 only 4 and 8 bytes; elsewhere LLVM would build a branch per lane.
        return self.vector_bits == 512 or (self.vector_bits == 256 and ITEM_SIZE[dtype] in (4, 8))

    def _pointer(self, address: ir.Value, type_: ir.Type) -> ir.Value:
        return self.b.inttoptr(address, type_.as_pointer())

    def load_one(self, address: ir.Value, dtype: str) -> ir.Value:
        type_ = stored_type(self.v, dtype)
        return self.b.load(self._pointer(address, type_), align=ITEM_SIZE[dtype])

    def store_one(self, value: ir.Value, address: ir.Value, dtype: str) -> None:
        self.b.store(value, self._pointer(address, value.type), align=ITEM_SIZE[dtype])

    def load_row(self, address: ir.Value, dtype: str, count: ir.Value | None, mask: ir.Value | None) -> ir.Value:
        """n neighbours; with `count`, the first ones (the rest is 0 or a repeated element)."""
        type_ = self.v.of(stored_type(self.v, dtype))
        if count is None:
            return self.b.load(self._pointer(address, type_), align=ITEM_SIZE[dtype])
        if not self.can_mask(dtype):
            return self.gather(address, I64(ITEM_SIZE[dtype]), (), dtype, count)
        assert mask is not None
        name = f"llvm.masked.load.{suffix_of(type_)}.p0"
        function = declare(self.b.module, name, type_, [POINTER, I32, mask.type, type_])
        return self.b.call(
            function, [self.b.inttoptr(address, POINTER), I32(ITEM_SIZE[dtype]), mask, ir.Constant(type_, None)]
        )

    def store_row(
        self, value: ir.Value, address: ir.Value, dtype: str, count: ir.Value | None, mask: ir.Value | None
    ) -> None:
        """n neighbours; with `count`, the first ones."""
        if count is None:
            self.b.store(value, self._pointer(address, value.type), align=ITEM_SIZE[dtype])
        elif not self.can_mask(dtype):
            self.scatter(value, address, I64(ITEM_SIZE[dtype]), (), dtype, count)
        else:
            assert mask is not None
            name = f"llvm.masked.store.{suffix_of(value.type)}.p0"
            function = declare(self.b.module, name, ir.VoidType(), [value.type, POINTER, I32, mask.type])
            self.b.call(function, [value, self.b.inttoptr(address, POINTER), I32(ITEM_SIZE[dtype]), mask])

    def gather(
        self,
        address: ir.Value,
        step: ir.Value | None,
        offsets: Sequence[tuple[ir.Value, ir.Value]],
        dtype: str,
        count: ir.Value | None,
    ) -> ir.Value:
        """Lane l from address + l * step + sum(stride * index[l]); lanes past `count` repeat the last one."""
        b, scalars = self.b, []
        for lane in range(self.v.n):
            at: ir.Value = I64(lane)
            if count is not None and lane:
                at = minimum(b, at, b.sub(count, I64(1)))
            scalars.append(self.load_one(self._element(address, at, step, offsets), dtype))
        return self.v.pack(scalars)

    def scatter(
        self,
        value: ir.Value,
        address: ir.Value,
        step: ir.Value | None,
        offsets: Sequence[tuple[ir.Value, ir.Value]],
        dtype: str,
        count: ir.Value | None,
    ) -> None:
        """The reverse of `gather`; lanes past `count` are not stored."""
        b = self.b
        if count is None:
            for lane in range(self.v.n):
                place = self._element(address, I64(lane), step, offsets)
                self.store_one(self.v.extract(value, lane), place, dtype)
            return

        def one(lane: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            place = self._element(address, lane, step, offsets)
            self.store_one(b.extract_element(value, lane), place, dtype)
            return nothing

        loop(b, I64(0), count, 1, [], one)

    def _element(
        self, address: ir.Value, lane: ir.Value, step: ir.Value | None, offsets: Sequence[tuple[ir.Value, ir.Value]]
    ) -> ir.Value:
        b = self.b
        if step is not None:
            address = b.add(address, b.mul(lane, step))
        for stride, index in offsets:
            address = b.add(address, b.mul(stride, b.extract_element(index, lane)))
        return address
