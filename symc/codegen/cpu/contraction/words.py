"""Emits products of words, of rows and of columns of weights: four bytes of neighbours, two int16 or two bfloat16.

VNNI's vpdpbusd multiplies the bytes of two words and adds all four products to an int32 sum. Its left operand is
unsigned: int8 rows are taken 128 too high, and one more row, of 128 everywhere, sums up what that adds to each column.
pmaddwd multiplies pairs of int16, and a second instruction adds both products to a sum. Elsewhere all become int32.

vdpbf16ps adds both products of two words to a float32 sum: the second one first, each addition rounded to nearest even,
and denormals are zeros whatever the CPU is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir

from symc.codegen.llvm.lanes import I8, I16, I32, Lanes, declare
from symc.core.dtypes import BFLOAT16

from .products import Products

SHIFT = 0x80808080 - 2**32  # 128 in each byte
_PAIRS = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}  # by lanes


class _BFloat(ir.Type):  # type: ignore[misc]  # llvmlite has no annotations
    """LLVM's bfloat, which llvmlite has no class for."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)

    def __str__(self) -> str:
        return "bfloat"


def shift_of(v: Lanes) -> Any:
    """128 for each byte, to be added by xor.

    LLVM must not know the constant: it would xor a word before it goes into all lanes, which takes two instructions
    more than an xor with a word of memory in all lanes.
    """
    kind = v.of(I32)
    hidden = ir.InlineAsm(ir.FunctionType(kind, [kind]), "", "=v,0")
    return v.b.call(hidden, [v.bits(SHIFT)])


def add_words(v: Lanes, products: Products, total: Any, row: Any, column: Any) -> Any:
    """total + the sum of the products of each word."""
    if products.dtype == BFLOAT16:
        kind = ir.VectorType(_BFloat(), products.n_together * v.n)
        function = declare(v.b.module, f"llvm.x86.avx512bf16.dpbf16ps.{32 * v.n}", total.type, [total.type, kind, kind])
        return v.b.call(function, [total, v.b.bitcast(column, kind), v.b.bitcast(row, kind)])
    if products.dtype == "int16" and products.has_dot and v.n in _PAIRS:
        kind = ir.VectorType(I16, products.n_together * v.n)
        function = declare(v.b.module, f"llvm.x86.{_PAIRS[v.n]}", total.type, [kind, kind])
        return v.b.add(total, v.b.call(function, [v.b.bitcast(row, kind), v.b.bitcast(column, kind)]))
    if products.dtype != "int16" and products.has_dot:
        kinds = [total.type, *[ir.VectorType(I8, products.n_together * v.n)] * 2]
        function = declare(v.b.module, f"llvm.x86.avx512.vpdpbusd.{32 * v.n}", total.type, kinds)
        return v.b.call(function, [total, v.b.bitcast(row, kinds[1]), v.b.bitcast(column, kinds[2])])
    n, is_signed = products.n_together, products.dtype != "uint8"
    for x, w in zip(_parts(v, row, n, is_signed), _parts(v, column, n, True)):
        total = v.b.add(total, v.b.mul(x, w))
    return total


def _parts(v: Lanes, words: Any, n: int, is_signed: bool) -> Iterator[Any]:
    """The n integers of each word in 32 bits, the first one of all words, then the next ones."""
    n_bits = 32 // n
    for k in range(n):
        top = v.b.shl(words, v.bits(n_bits * (n - 1 - k)))
        yield (v.b.ashr if is_signed else v.b.lshr)(top, v.bits(32 - n_bits))
