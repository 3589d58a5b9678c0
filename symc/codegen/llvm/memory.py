"""Loads and stores of n elements: contiguous, by a stride, or at computed places; whole or only the first `count`.

A place is an int64 address or a pointer to bytes; offsets and strides are numbers of bytes. Nothing outside the named
elements is ever touched: a partial access is masked where the machine can mask, else it goes element by element.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.core.dtypes import BFLOAT16, ITEM_SIZE, compute_dtype

from .emit import cast
from .lanes import I8, I16, I32, I64, Lanes, declare, scalar_type, suffix_of
from .loops import loop, minimum

POINTER = ir.PointerType()
LINE_BYTES = 64
PREFETCH_L1, PREFETCH_L2 = 3, 2  # llvm.prefetch: the cache level to fill
Offsets = Sequence[tuple[ir.Value, ir.Value]]  # (stride, index of each lane)


def fence(b: ir.IRBuilder) -> None:
    """Makes what was stored past the caches seen by other threads."""
    b.fence("seq_cst")


def stored_type(v: Lanes, dtype: str) -> ir.Type:
    """How one element lies in memory: bool is a byte, float16 a half, bfloat16 its bits."""
    return {"bool": I8, "float16": v.half_type, BFLOAT16: I16}.get(dtype) or scalar_type(dtype)


def widen(v: Lanes, raw: ir.Value, dtype: str, wanted: str) -> ir.Value:
    """Stored elements as values of type `wanted`."""
    if dtype == "bool":
        raw = v.b.icmp_unsigned("!=", raw, v.bits(0, 8))
    elif dtype == "float16":
        raw = v.half_to_float(raw)
    elif dtype == BFLOAT16:
        raw = v.bfloat16_to_float(raw)
    return cast(v, raw, compute_dtype(dtype), wanted)


def narrow(v: Lanes, value: ir.Value, dtype: str, stored: str) -> ir.Value:
    """Values of type `dtype` as they are stored."""
    if stored == "float16":
        return v.float_to_half(cast(v, value, dtype, "float32" if dtype != "float64" else dtype))
    if stored == BFLOAT16:
        return v.float_to_bfloat16(cast(v, value, dtype, "float32"))
    value = cast(v, value, dtype, stored)
    return v.b.zext(value, v.of(I8)) if stored == "bool" else value


class Elements:
    """Elements of one dtype in memory, as they are stored, `v.n` at a time."""

    def __init__(self, v: Lanes, dtype: str) -> None:
        self.v, self.b, self.dtype = v, v.b, dtype
        self.element = stored_type(v, dtype)
        self.item_bytes = ITEM_SIZE[dtype]
        self.vector_bytes = v.n * self.item_bytes
        self.row_align = self.vector_bytes if v.is_aligned else self.item_bytes
        self.can_mask = self.item_bytes in v.abilities.masked_bytes

    # constants

    def number(self, value: float) -> ir.Constant:
        """A number in all lanes."""
        number = int(value) if isinstance(self.element, ir.IntType) else value
        return self.v.splat_const(ir.Constant(self.element, number))

    @property
    def zero(self) -> ir.Constant:
        return self.number(0.0)

    # places

    def pointer(self, place: ir.Value) -> ir.Value:
        """A place as a pointer to bytes."""
        return self._typed(place, I8.as_pointer())

    def at(self, pointer: ir.Value, offset: int | ir.Value) -> ir.Value:
        """A pointer to bytes moved by `offset` bytes."""
        if isinstance(offset, int):
            if offset == 0:
                return pointer
            offset = I64(offset)
        return self.b.gep(pointer, [offset])

    def load_word(self, pointer: ir.Value, index: int) -> ir.Value:
        """Word `index` of an int64 array."""
        return self._load(self.at(pointer, 8 * index), I64, 8)

    def load_int32(self, pointer: ir.Value, index: int) -> ir.Value:
        """Element `index` of an int32 array, as int64."""
        return self.b.sext(self._load(self.at(pointer, 4 * index), I32, 4), I64)

    def prefetch(self, pointer: ir.Value, level: int = PREFETCH_L1, is_written: bool = False) -> None:
        """Asks for the cache line of an address that may not even exist."""
        flags = [I32(flag) for flag in (int(is_written), level, 1)]  # to read or to write, level, data
        prefetch = declare(self.b.module, "llvm.prefetch.p0", ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        self.b.call(prefetch, [pointer, *flags])

    def _typed(self, place: ir.Value, type_: ir.Type) -> ir.Value:
        if isinstance(place.type, ir.PointerType):
            return self.b.bitcast(place, type_)
        space = self.v.abilities.address_space
        return self.b.inttoptr(place, type_.pointee.as_pointer(space) if space else type_)

    def _load(self, place: ir.Value, type_: ir.Type, align: int) -> ir.Value:
        return self.b.load(self._typed(place, type_.as_pointer()), align=align)

    # neighbours

    def load(self, place: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """n neighbours; lanes outside `mask` are not read and give 0."""
        type_ = self.v.of(self.element)
        if mask is None and self._passes_in_words:
            words = self.v.resized(self.v.n // 2)
            return self._of_words(words, self._load(place, words.of(I32), self.row_align))
        if mask is None:
            return self._load(place, type_, self.row_align)
        name = f"llvm.masked.load.{suffix_of(type_)}.p0"
        function = declare(self.b.module, name, type_, [POINTER, I32, mask.type, type_])
        return self.b.call(
            function, [self._typed(place, POINTER), I32(self.item_bytes), mask, ir.Constant(type_, None)]
        )

    def store(self, value: ir.Value, place: ir.Value, mask: ir.Value | None = None) -> None:
        """Writes n neighbours; lanes outside `mask` are left alone."""
        if mask is None:
            value = self._in_words(value) if self._passes_in_words else value
            self.b.store(value, self._typed(place, value.type.as_pointer()), align=self.row_align)
            return
        name = f"llvm.masked.store.{suffix_of(value.type)}.p0"
        function = declare(self.b.module, name, ir.VoidType(), [value.type, POINTER, I32, mask.type])
        self.b.call(function, [value, self._typed(place, POINTER), I32(self.item_bytes), mask])

    @property
    def _passes_in_words(self) -> bool:
        """LLVM 7 reads vectors of half as float numbers of 16 bits that are none, or one by one."""
        return self.v.abilities.is_llvm7 and self.item_bytes == 2 and self.v.n > 1 and self.v.is_aligned

    def _of_words(self, words: Lanes, found: ir.Value) -> ir.Value:
        """Elements of 2 bytes from words of two."""
        b, elements = self.b, []
        for k in range(words.n):
            word = words.extract(found, k)
            elements += [b.trunc(word, I16), b.trunc(b.lshr(word, I32(16)), I16)]
        return self.v.pack([e if e.type == self.element else b.bitcast(e, self.element) for e in elements])

    def _in_words(self, value: ir.Value) -> ir.Value:
        """The reverse."""
        b, elements = self.b, [self.v.extract(value, k) for k in range(self.v.n)]
        wide = [b.zext(e if e.type == I16 else b.bitcast(e, I16), I32) for e in elements]
        pairs = zip(wide[::2], wide[1::2])
        return self.v.resized(self.v.n // 2).pack([b.or_(low, b.shl(high, I32(16))) for low, high in pairs])

    def stream(self, value: ir.Value, place: ir.Value) -> None:
        """Writes n neighbours at a boundary of their size past the caches; a fence makes them seen by other threads."""
        stored = self.b.store(value, self._typed(place, value.type.as_pointer()), align=self.stream_bytes)
        stored.set_metadata("nontemporal", self.b.module.add_metadata([I32(1)]))

    @property
    def stream_bytes(self) -> int:
        """The boundary that `stream` needs."""
        return min(self.vector_bytes, LINE_BYTES)

    def load_row(self, place: ir.Value, count: ir.Value | None, mask: ir.Value | None) -> ir.Value:
        """n neighbours; with `count`, which `mask` stands for, the first ones (the rest is 0 or a repeated element)."""
        if count is None or self.can_mask:
            return self.load(place, mask)
        return self.gather(place, I64(self.item_bytes), (), count)

    def store_row(self, value: ir.Value, place: ir.Value, count: ir.Value | None, mask: ir.Value | None) -> None:
        """n neighbours; with `count`, which `mask` stands for, the first ones."""
        if count is None or self.can_mask:
            self.store(value, place, mask)
        else:
            self.scatter(value, place, I64(self.item_bytes), (), count)

    # single elements

    def load_one(self, place: ir.Value) -> ir.Value:
        return self._load(place, self.element, self.item_bytes)

    def store_one(self, value: ir.Value, place: ir.Value) -> None:
        self.b.store(value, self._typed(place, value.type.as_pointer()), align=self.item_bytes)

    def broadcast(self, place: ir.Value) -> ir.Value:
        """One element in all lanes."""
        return self.v.splat(self.load_one(place))

    def gather(self, address: ir.Value, step: ir.Value | None, offsets: Offsets, count: ir.Value | None) -> ir.Value:
        """Lane l from address + l * step + sum(stride * index[l]); lanes past `count` repeat the last one."""
        b, scalars = self.b, []
        for lane in range(self.v.n):
            at: ir.Value = I64(lane)
            if count is not None and lane:
                at = minimum(b, at, b.sub(count, I64(1)))
            scalars.append(self.load_one(self._place(address, at, step, offsets)))
        return self.v.pack(scalars)

    def scatter(
        self, value: ir.Value, address: ir.Value, step: ir.Value | None, offsets: Offsets, count: ir.Value | None
    ) -> None:
        """The reverse of `gather`; lanes past `count` are not stored."""
        b = self.b
        if count is None:
            for lane in range(self.v.n):
                place = self._place(address, I64(lane), step, offsets)
                self.store_one(self.v.extract(value, lane), place)
            return

        def one(lane: ir.Value, nothing: list[ir.Value]) -> list[ir.Value]:
            place = self._place(address, lane, step, offsets)
            self.store_one(self._lane(value, lane), place)
            return nothing

        loop(b, I64(0), count, [], one)

    def _place(self, address: ir.Value, lane: ir.Value, step: ir.Value | None, offsets: Offsets) -> ir.Value:
        b = self.b
        if step is not None:
            address = b.add(address, b.mul(lane, step))
        for stride, index in offsets:
            address = b.add(address, b.mul(stride, self._lane(index, lane)))
        return address

    def _lane(self, x: ir.Value, lane: ir.Value) -> ir.Value:
        return x if self.v.n == 1 else self.b.extract_element(x, lane)
