"""What CPUs can do that emitted code depends on, and libm, which every process has."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from symc.codegen.llvm.abilities import Abilities, Powers
from symc.codegen.llvm.lanes import F32, I16, I32, declare

from .target import Target

LIBM = {
    "cbrt": "cbrt", "exp": "exp", "expm1": "expm1", "log": "log", "log1p": "log1p", "log2": "log2", "log10": "log10",
    "pow": "pow", "hypot": "hypot", "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "erf": "erf", "gamma": "tgamma", "gammaln": "lgamma", "mod": "fmod",
}  # fmt: skip

# AVX-512 masks all sizes, AVX2 only 4 and 8 bytes; elsewhere LLVM would build a branch per lane.
_MASKED_BYTES = {512: frozenset({1, 2, 4, 8}), 256: frozenset({4, 8})}

_FLOATS = ir.VectorType(F32, 16)
_ALL, _ROUND_AS_ELSEWHERE = I16(-1), I32(4)
_SMALLER_MAGNITUDE = I32(2)  # of vrangeps: with the sign of the first; of a number and NaN it gives the number


def _scaled(b: ir.IRBuilder, x: ir.Value, k: ir.Value) -> ir.Value:
    wide = _wide(b, x)
    operands = [wide, _wide(b, k), wide, _ALL, _ROUND_AS_ELSEWHERE]
    return _like(b, x, _call(b, "mask.scalef.ps.512", operands))


def _limited(b: ir.IRBuilder, x: ir.Value, bound: float) -> ir.Value:
    wide, limit = _wide(b, x), ir.Constant(_FLOATS, [F32(bound)] * 16)
    operands = [wide, limit, _SMALLER_MAGNITUDE, wide, _ALL, _ROUND_AS_ELSEWHERE]
    return _like(b, x, _call(b, "mask.range.ps.512", operands))


def _chosen(b: ir.IRBuilder, table: Sequence[float], i: ir.Value) -> ir.Value:
    return _like(b, i, _call(b, "permvar.sf.512", [ir.Constant(_FLOATS, [F32(x) for x in table]), _wide(b, i)]))


def _call(b: ir.IRBuilder, name: str, operands: Sequence[ir.Value]) -> ir.Value:
    """An instruction of AVX-512 that gives 16 float32."""
    return b.call(declare(b.module, f"llvm.x86.avx512.{name}", _FLOATS, [o.type for o in operands]), operands)


def _eighth(b: ir.IRBuilder, table: Sequence[int], i: ir.Value) -> ir.Value:
    """For 8 lanes at most."""
    ints = ir.VectorType(I32, 8)
    function = declare(b.module, "llvm.x86.avx2.permd", ints, [ints, ints])
    return _like(b, i, b.call(function, [ir.Constant(ints, [I32(x) for x in table]), _wide(b, i, 8)]))


def _wide(b: ir.IRBuilder, x: ir.Value, n: int = 16) -> ir.Value:
    """The lanes of x, n at most, as the first of n."""
    if not isinstance(x.type, ir.VectorType):
        return b.insert_element(ir.Constant(ir.VectorType(x.type, n), ir.Undefined), x, I32(0))
    return _first(b, x, n)


def _like(b: ir.IRBuilder, x: ir.Value, wide: ir.Value) -> ir.Value:
    """As many lanes of a wide value as x has."""
    if not isinstance(x.type, ir.VectorType):
        return b.extract_element(wide, I32(0))
    return _first(b, wide, x.type.count)


def _first(b: ir.IRBuilder, x: ir.Value, n: int) -> ir.Value:
    """n lanes, of which the first are those of x, the others anything."""
    if x.type.count == n:
        return x
    blank = ir.Constant(x.type, ir.Undefined)
    lanes = [I32(min(k, x.type.count)) for k in range(n)]
    return b.shuffle_vector(x, blank, ir.Constant(ir.VectorType(I32, n), lanes))


_POWERS = Powers(_scaled, _limited, _chosen)
# Of AVX-512, and of CPUs without it, for code that holds no float16 and chooses its masks itself.
SINGLE_AND_DOUBLE = {True: Abilities(LIBM, has_32_registers=True, powers=_POWERS), False: Abilities(LIBM)}


def abilities_of(target: Target) -> Abilities:
    """What a CPU with vectors of that width can do."""
    return Abilities(
        LIBM,
        has_half=target.vector_bits > 128,  # F16C came with AVX: a target of 128 bits is taken to lack it
        masked_bytes=_MASKED_BYTES.get(target.vector_bits, frozenset()),
        has_free_masks=target.vector_bits == 512,  # a masked AVX2 store takes 12 cycles
        has_32_registers=target.has_32_registers,
        powers=_POWERS if target.vector_bits == 512 else None,
        eighths=_eighth if target.vector_bits == 256 else None,
    )
