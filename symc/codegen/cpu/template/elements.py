"""Typed access to memory by address, for functions that numba compiles."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from symc.codegen.llvm.intrinsic import intrinsic
from symc.core.dtypes import ITEM_SIZE

_FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


def elements(dtype: str) -> Any:
    """An intrinsic `address -> pointer`, to be indexed: `elements("int32")(address)[i]`.

    bool is read as uint8; float16 has no arithmetic in numba, so its bits must be read as int16.
    """
    element = _FLOATS.get(dtype) or ir.IntType(8 * ITEM_SIZE[dtype])

    @intrinsic(result="uint8*" if dtype == "bool" else f"{dtype}*")
    def typed(b: Any, address: Any) -> Any:
        return b.inttoptr(address, element.as_pointer())

    return typed
