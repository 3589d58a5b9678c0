"""What one step of a register tile multiplies: an element of each row, or a word of several at once, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from symc.codegen.cpu.target import Target
from symc.core.dtypes import BFLOAT16, BYTES, sum_dtype

PER_WORD = {"int8": 4, "uint8": 4, "int16": 2, BFLOAT16: 2}  # elements of a word
# That are there by words.
KINDS = {
    "int8": ("forward",),
    "uint8": ("forward",),
    "int16": ("forward",),
    BFLOAT16: ("forward", "data_gradient"),
}
_DOTS = {"int8": "vpdpbusd", "uint8": "vpdpbusd", "int16": "pmaddwd", BFLOAT16: "vdpbf16ps"}


@dataclass(frozen=True)
class Products:
    """Rows of a dtype times weights of the same dtype or, of bytes, int8.

    n_together  elements of a row that one step takes
    has_dot     whether the machine multiplies and adds up a word at once: four bytes (VNNI), two int16 (pmaddwd), two
                bfloat16
    """

    dtype: str
    n_together: int = 1
    has_dot: bool = False

    def __str__(self) -> str:
        if self.n_together == 1:
            return self.dtype
        return f"{self.dtype} by {_DOTS[self.dtype] if self.has_dot else 'int32'}"

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
    if dtype not in PER_WORD:
        return Products(dtype)
    has_dot = dtype == BFLOAT16 or (multiplies_bytes(target) if dtype in BYTES else _is_x86(target))
    return Products(dtype, PER_WORD[dtype], has_dot)


def multiplies_bytes(target: Target) -> bool:
    """Whether a machine adds up products of words of bytes in int32."""
    wanted = {512: "+avx512vnni", 256: "+avxvnni"}.get(target.vector_bits)
    return wanted in target.features.split(",")


def widens_bytes(target: Target) -> bool:
    """Whether bytes are multiplied as int16, which lie in memory as such: pmaddwd takes them from there.

    Bytes that become int16 in registers take as many instructions more as the products themselves.
    """
    return _is_x86(target) and not multiplies_bytes(target)


def _is_x86(target: Target) -> bool:
    return target.triple.startswith("x86_64")


def multiplies_bfloat16(target: Target) -> bool:
    """Whether a machine adds up products of pairs of bfloat16 in float32."""
    return target.vector_bits == 512 and "+avx512bf16" in target.features.split(",")
