"""What emitted code depends on of the machine it is for; everything else is LLVM's to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llvmlite import ir


@dataclass(frozen=True, eq=False)
class Powers:
    """Instructions for float32 powers of two, with any number of lanes.

    scale    (x, k) -> x * 2**floor(k) rounded once, right where the result overflows or is denormal; NaN where k is
    limited  (x, bound) -> x, where that is larger than the bound, or NaN, the bound with the sign of x
    chosen   (table of 16 numbers, int32 i) -> table[i % 16]
    """

    scale: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]
    limited: Callable[[ir.IRBuilder, ir.Value, float], ir.Value]
    chosen: Callable[[ir.IRBuilder, Sequence[float], ir.Value], ir.Value]


@dataclass(frozen=True, eq=False)
class Abilities:
    """One machine, as the builder toolkit asks about it.

    library           primitive -> C function of float64; that of float32 has an "f" behind it
    has_half          converts float16; without it bits are shuffled instead of calling library functions that not
                      every process has
    masked_bytes      element sizes of which a part of a vector is loaded and stored in one instruction
    has_free_masks    a part of a vector costs as much as a whole one
    has_32_registers  its registers hold 32 vectors, else 16
    fused             the intrinsic of x * y + z; "fmuladd" leaves it to LLVM whether that is rounded once
    calls             intrinsics of LLVM that are functions of the library instead
    is_llvm7          its compiler reads LLVM 7's language (no fneg, no splat), with intrinsics of single numbers alone
    address_space     of what int64 addresses point to
    powers            its instructions for powers of two, if it has such
    eighths           (table of 8 int32, int32 i) -> table[i % 8], if one instruction finds that
    """

    library: Mapping[str, str]
    has_half: bool = True
    masked_bytes: frozenset[int] = frozenset()
    has_free_masks: bool = False
    has_32_registers: bool = False
    calls: frozenset[str] = frozenset()
    is_llvm7: bool = False
    address_space: int = 0
    fused: str = "fmuladd"
    powers: Powers | None = None
    eighths: Callable[[ir.IRBuilder, Sequence[int], ir.Value], ir.Value] | None = None
