"""What emitted code depends on of the machine it is for; everything else is LLVM's to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llvmlite import ir

Scale = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


@dataclass(frozen=True, eq=False)
class Abilities:
    """One machine, as the builder toolkit asks about it.

    library         primitive -> C function of float64; that of float32 has an "f" behind it
    has_half        converts float16; without it bits are shuffled instead of calling library functions that not
                    every process has
    masked_bytes    element sizes of which a part of a vector is loaded and stored in one instruction
    has_free_masks  a part of a vector costs as much as a whole one
    fused           the intrinsic of x * y + z; "fmuladd" leaves it to LLVM whether that is rounded once
    calls           intrinsics of LLVM that are functions of the library instead
    has_fneg        its LLVM has an instruction that turns a sign
    scale           (float32 x, whole k) -> x * 2**k rounded once, for the numbers of lanes that have an instruction
    """

    library: Mapping[str, str]
    has_half: bool = True
    masked_bytes: frozenset[int] = frozenset()
    has_free_masks: bool = False
    calls: frozenset[str] = frozenset()
    has_fneg: bool = True
    fused: str = "fmuladd"
    scale: Mapping[int, Scale] = field(default_factory=dict)
