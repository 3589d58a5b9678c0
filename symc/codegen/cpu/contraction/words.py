"""Emits products of words: four bytes of neighbouring channels, or two bfloat16, of rows as of columns of weights.

VNNI's vpdpbusd multiplies the bytes of two words and adds all four products to an int32 sum. Its left operand is
unsigned: int8 rows are taken 128 too high, and one more row, of 128 everywhere, sums up what that adds to each column.
Elsewhere bytes become int16, whose products pmaddwd adds up in pairs, or int32.

vdpbf16ps adds both products of two words to a float32 sum: the second one first, each addition rounded to nearest even,
and denormals are zeros whatever the CPU is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir

from symc.codegen.llvm.lanes import I8, I32, Lanes, declare
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
    if products.has_dot:
        kinds = [total.type, *[ir.VectorType(I8, products.n_together * v.n)] * 2]
        function = declare(v.b.module, f"llvm.x86.avx512.vpdpbusd.{32 * v.n}", total.type, kinds)
        return v.b.call(function, [total, v.b.bitcast(row, kinds[1]), v.b.bitcast(column, kinds[2])])
    is_signed, has_pairs = products.dtype == "int8", products.has_pairs and v.n in _PAIRS
    n_bits = 16 if has_pairs else 32
    for x, w in zip(_parts(v, row, n_bits, is_signed), _parts(v, column, n_bits, True)):
        product = v.b.mul(x, w) if not has_pairs else _pairs(v, x, w)
        total = v.b.add(total, product)
    return total


def _pairs(v: Lanes, x: Any, w: Any) -> Any:
    return v.b.call(declare(v.b.module, f"llvm.x86.{_PAIRS[v.n]}", v.of(I32), [x.type, w.type]), [x, w])


def _parts(v: Lanes, words: Any, n_bits: int, is_signed: bool) -> Iterator[Any]:
    """The bytes of words as integers of 16 or 32 bits: the first of each such piece, then the next ones."""
    b, pieces = v.b, v.resized(v.n * 32 // n_bits)
    whole = b.bitcast(words, pieces.of(ir.IntType(n_bits)))
    for byte in range(n_bits // 8):
        top = b.shl(whole, pieces.bits(n_bits - 8 - 8 * byte, n_bits))
        yield (b.ashr if is_signed else b.lshr)(top, pieces.bits(n_bits - 8, n_bits))
