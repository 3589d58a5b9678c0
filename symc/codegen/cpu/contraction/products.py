"""What one step of a register tile multiplies: an element of each row, or a word of several at once, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from symc.codegen.cpu.target import Target
from symc.core.dtypes import BFLOAT16, sum_dtype

BYTES = ("int8", "uint8")
PER_WORD = {"int8": 4, "uint8": 4, BFLOAT16: 2}  # elements of a word
KINDS = {"int8": ("forward",), "uint8": ("forward",), BFLOAT16: ("forward", "data_gradient")}  # that are there by words


@dataclass(frozen=True)
class Products:
    """Rows of a dtype times weights of the same dtype or, of bytes, int8.

    n_together  elements of a row that one step takes
    has_dot     whether the machine multiplies and adds up words of bytes at once (VNNI), or pairs of bfloat16
    has_pairs   whether it does so with pairs of int16 (pmaddwd)
    """

    dtype: str
    n_together: int = 1
    has_dot: bool = False
    has_pairs: bool = False

    def __str__(self) -> str:
        if self.n_together == 1:
            return self.dtype
        if self.dtype == BFLOAT16:
            return f"{self.dtype} by vdpbf16ps"
        return f"{self.dtype} by {'vpdpbusd' if self.has_dot else 'pmaddwd' if self.has_pairs else 'int32'}"

    @property
    def sums(self) -> str:
        """The dtype of the sums, and of what is loaded in one piece."""
        return sum_dtype(self.dtype)

    @property
    def is_shifted(self) -> bool:
        """Whether rows are taken 128 too high, because VNNI's left operand is unsigned."""
        return self.has_dot and self.dtype == "int8"

    @property
    def n_more(self) -> int:
        """Rows of sums besides those of the tile: what the shift adds to each column."""
        return int(self.is_shifted)


def products_of(dtype: str, target: Target) -> Products:
    """How a machine multiplies rows of a dtype."""
    if dtype == BFLOAT16:
        return Products(dtype, PER_WORD[dtype], has_dot=True)
    if dtype not in BYTES:
        return Products(dtype)
    wanted = {512: "+avx512vnni", 256: "+avxvnni"}.get(target.vector_bits)
    return Products(dtype, PER_WORD[dtype], wanted in target.features.split(","), target.triple.startswith("x86_64"))


def multiplies_bfloat16(target: Target) -> bool:
    """Whether a machine adds up products of pairs of bfloat16 in float32."""
    return target.vector_bits == 512 and "+avx512bf16" in target.features.split(",")
