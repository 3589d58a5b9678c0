"""Explicit SIMD on an llvmlite builder: one element type, one vector width, byte offsets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from symc.core.dtypes import ITEM_SIZE

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
ELEMENTS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}
SUFFIX = {"float32": "f32", "float64": "f64"}
PREFETCH_L1, PREFETCH_L2 = 3, 2  # llvm.prefetch: the cache level to fill


def i64(value: int) -> ir.Constant:
    return ir.Constant(I64, value)


@dataclass(frozen=True)
class Simd:
    """Vectors of `lanes` elements of `dtype`; every address is an `i8*` and every offset a number of bytes."""

    builder: Any
    dtype: str
    lanes: int

    @property
    def element(self) -> ir.Type:
        return ELEMENTS[self.dtype]

    @property
    def vector(self) -> ir.VectorType:
        return ir.VectorType(self.element, self.lanes)

    @property
    def item_bytes(self) -> int:
        return ITEM_SIZE[self.dtype]

    @property
    def vector_bytes(self) -> int:
        return self.lanes * self.item_bytes

    @property
    def zero(self) -> ir.Constant:
        return self.number(0.0)

    def number(self, value: float) -> ir.Constant:
        """A number in all lanes."""
        return ir.Constant(self.vector, [ir.Constant(self.element, value)] * self.lanes)

    def pointer(self, address: Any) -> Any:
        """An `i8*` from an integer address or any pointer."""
        target = I8.as_pointer()
        if isinstance(address.type, ir.PointerType):
            return self.builder.bitcast(address, target)
        return self.builder.inttoptr(address, target)

    def at(self, pointer: Any, offset: Any) -> Any:
        """`pointer` moved by `offset` bytes (an integer or a value)."""
        if isinstance(offset, int):
            if offset == 0:
                return pointer
            offset = i64(offset)
        return self.builder.gep(pointer, [offset])

    def load_word(self, pointer: Any, index: int) -> Any:
        """Word `index` of an int64 array."""
        return self._typed_load(self.at(pointer, 8 * index), I64, 8)

    def load_int32(self, pointer: Any, index: int) -> Any:
        """Element `index` of an int32 array, as int64."""
        return self.builder.sext(self._typed_load(self.at(pointer, 4 * index), I32, 4), I64)

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """One vector; lanes outside `mask` are not read and give 0."""
        if mask is None:
            return self._typed_load(pointer, self.vector, self.item_bytes)
        typed = self.builder.bitcast(pointer, self.vector.as_pointer())
        name = f"llvm.masked.load.v{self.lanes}{SUFFIX[self.dtype]}.p0"
        load = self._function(name, self.vector, [typed.type, I32, mask.type, self.vector])
        return self.builder.call(load, [typed, ir.Constant(I32, self.item_bytes), mask, self.zero])

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        """Writes one vector; lanes outside `mask` are left alone."""
        typed = self.builder.bitcast(pointer, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, typed, align=self.item_bytes)
            return
        name = f"llvm.masked.store.v{self.lanes}{SUFFIX[self.dtype]}.p0"
        store = self._function(name, ir.VoidType(), [self.vector, typed.type, I32, mask.type])
        self.builder.call(store, [value, typed, ir.Constant(I32, self.item_bytes), mask])

    def broadcast(self, pointer: Any) -> Any:
        """One element copied to all lanes."""
        return self.splat(self._typed_load(pointer, self.element, self.item_bytes))

    def splat(self, scalar: Any) -> Any:
        kind = ir.VectorType(scalar.type, self.lanes)
        first = self.builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
        every = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), every)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, fused where the target can (llvm.fma would call libm where it cannot)."""
        name = f"llvm.fmuladd.v{self.lanes}{SUFFIX[self.dtype]}"
        return self.builder.call(self._function(name, self.vector, [self.vector] * 3), [a, b, c])

    def prefetch(self, pointer: Any, level: int = PREFETCH_L1) -> None:
        """Asks for the cache line of an address that may not even exist."""
        flags = [ir.Constant(I32, flag) for flag in (0, level, 1)]  # to read, level, data
        prefetch = self._function("llvm.prefetch.p0", ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        self.builder.call(prefetch, [pointer, *flags])

    def first_lanes(self, count: Any) -> Any:
        """A mask of the lanes below `count` (int64, may be negative or beyond the vector)."""
        numbers = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", numbers, self.splat(count))

    def _typed_load(self, pointer: Any, kind: ir.Type, align: int) -> Any:
        return self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()), align=align)

    def _function(self, name: str, result: ir.Type, arguments: list[ir.Type]) -> Any:
        found = self.builder.module.globals.get(name)
        return found or ir.Function(self.builder.module, ir.FunctionType(result, arguments), name)


def counted_loop(
    builder: Any,
    count: Any,
    carried: list[Any],
    body: Callable[[Any, list[Any]], list[Any]],
    at_least_once: bool = False,
) -> list[Any]:
    """for i in range(count): carried = body(i, carried); gives the final values of `carried`.

    `at_least_once` promises count >= 1 and saves the first test.
    """
    function, before = builder.function, builder.block
    loop, done = function.append_basic_block("loop"), function.append_basic_block("done")
    if at_least_once:
        builder.branch(loop)
    else:
        builder.cbranch(builder.icmp_signed(">", count, i64(0)), loop, done)
    builder.position_at_end(loop)
    index = builder.phi(I64)
    index.add_incoming(i64(0), before)
    values = [builder.phi(value.type) for value in carried]
    for phi, value in zip(values, carried):
        phi.add_incoming(value, before)
    results = body(index, values)
    following = builder.add(index, i64(1))
    end = builder.block
    for phi, value in zip([index, *values], [following, *results]):
        phi.add_incoming(value, end)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    if at_least_once:
        return results
    final = [builder.phi(value.type) for value in carried]
    for phi, initial, result in zip(final, carried, results):
        phi.add_incoming(initial, before)
        phi.add_incoming(result, end)
    return final


def smaller(builder: Any, x: Any, y: Any) -> Any:
    """The smaller of two signed integers."""
    return builder.select(builder.icmp_signed("<", x, y), x, y)
