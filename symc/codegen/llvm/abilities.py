"""What emitted code depends on of the machine it is for; everything else is LLVM's to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Abilities:
    """One machine, as the builder toolkit asks about it.

    library         primitive -> C function of float64; that of float32 has an "f" behind it
    has_half        converts float16; without it bits are shuffled instead of calling library functions that not
                    every process has
    masked_bytes    element sizes of which a part of a vector is loaded and stored in one instruction
    has_free_masks  a part of a vector costs as much as a whole one
    """

    library: Mapping[str, str]
    has_half: bool = True
    masked_bytes: frozenset[int] = frozenset()
    has_free_masks: bool = False
