"""PTX's types by name: bits, and the NumPy dtype that holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Type:
    """One type.

    kind    "u", "s", "b" (bits), "f", "bf" (bfloat16, held as its bits) or "p" (predicate)
    bits    of one element
    parts   elements packed into one register: 2 in `f16x2`
    """

    name: str
    kind: str
    bits: int
    dtype: np.dtype[Any]
    parts: int = 1

    @property
    def size_bytes(self) -> int:
        """Of the whole value in memory."""
        return self.bits // 8 * self.parts

    @property
    def is_float(self) -> bool:
        """Whether arithmetic rounds."""
        return self.kind in ("f", "bf")


def _types() -> dict[str, Type]:
    found = [Type("pred", "p", 8, np.dtype(bool))]
    for bits in (8, 16, 32, 64):
        found += [Type(f"{k}{bits}", k, bits, np.dtype(f"u{bits // 8}")) for k in "ub"]
        found.append(Type(f"s{bits}", "s", bits, np.dtype(f"i{bits // 8}")))
    found += [Type(f"f{bits}", "f", bits, np.dtype(f"f{bits // 8}")) for bits in (16, 32, 64)]
    found += [
        Type("f16x2", "f", 16, np.dtype("f2"), 2),
        Type("bf16", "bf", 16, np.dtype("u2")),
        Type("bf16x2", "bf", 16, np.dtype("u2"), 2),
        Type("tf32", "b", 32, np.dtype("u4")),
    ]
    return {t.name: t for t in found}


TYPES = _types()


def unsigned(bits: int) -> Type:
    """The type of a register's bits."""
    return TYPES[f"u{bits}"]
