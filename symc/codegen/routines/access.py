"""How compiled bodies reach their operands: what `Compiler` asks of every device whose compiler is numba's."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from symc.codegen.llvm.intrinsic import intrinsic
from symc.core.dtypes import ITEM_SIZE

_FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


def elements(dtype: str) -> Any:
    """An intrinsic `address -> pointer`."""
    element = _FLOATS.get(dtype) or ir.IntType(8 * ITEM_SIZE[dtype])

    @intrinsic(result="uint8*" if dtype == "bool" else f"{dtype}*")
    def typed(b: Any, address: Any) -> Any:
        return b.inttoptr(address, element.as_pointer())

    return typed


def floats() -> Any:
    """An intrinsic `desc -> pointer to float64`."""

    @intrinsic(result="float64*")
    def read(b: Any, desc: Any) -> Any:
        return b.bitcast(desc, ir.DoubleType().as_pointer())

    return read
