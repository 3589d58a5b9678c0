"""What multiplies in a tile: threads, the tensor cores of a warp, or those of four warps together."""

from __future__ import annotations

from llvmlite import ir

from .arithmetic import Arithmetic, Fma, Steps, TensorCores, Transposed
from .tile import Tile
from .warpgroups import Warpgroups


def arithmetic_of(b: ir.IRBuilder, tile: Tile, left: Steps, right: Steps) -> Arithmetic:
    """The arithmetic of a tile whose operands lie so."""
    if tile.by_group:
        return Warpgroups(b, tile, left, right)
    if tile.kind == "fma":
        return Fma(b, tile, left, right)
    is_transposed = tile.kind == "float16" and left[0] != 1
    return (Transposed if is_transposed else TensorCores)(b, tile, left, right)
