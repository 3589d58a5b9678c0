"""What CPUs can do that emitted code depends on, and libm, which every process has."""

from __future__ import annotations

from llvmlite import ir

from symc.codegen.llvm.abilities import Abilities
from symc.codegen.llvm.lanes import I32, declare

from .target import Target

LIBM = {
    "cbrt": "cbrt", "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "log2": "log2", "log10": "log10",
    "pow": "pow", "hypot": "hypot", "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "erf": "erf", "gamma": "tgamma", "gammaln": "lgamma", "mod": "fmod",
}  # fmt: skip

# AVX-512 masks all sizes, AVX2 only 4 and 8 bytes; elsewhere LLVM would build a branch per lane.
_MASKED_BYTES = {512: frozenset({1, 2, 4, 8}), 256: frozenset({4, 8})}
SINGLE_AND_DOUBLE = Abilities(LIBM)  # for code that holds no float16 and chooses its masks itself


def _scalef(b: ir.IRBuilder, x: ir.Value, k: ir.Value) -> ir.Value:
    """AVX-512's vscalefps: rounds once, and is right where the result overflows or is denormal."""
    n = x.type.count
    mask = ir.IntType(max(8, n))
    operands = [x, k, x, mask((1 << n) - 1), *([I32(4)] if n == 16 else [])]  # 4: round as everywhere else
    types = [a.type for a in operands]
    return b.call(declare(b.module, f"llvm.x86.avx512.mask.scalef.ps.{32 * n}", x.type, types), operands)


def abilities_of(target: Target) -> Abilities:
    """What a CPU with vectors of that width can do."""
    return Abilities(
        LIBM,
        has_half=target.vector_bits > 128,  # F16C came with AVX: a target of 128 bits is taken to lack it
        masked_bytes=_MASKED_BYTES.get(target.vector_bits, frozenset()),
        has_free_masks=target.vector_bits == 512,  # a masked AVX2 store takes 12 cycles
        scale=dict.fromkeys((4, 8, 16), _scalef) if target.vector_bits == 512 else {},
    )
