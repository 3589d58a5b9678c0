"""numba intrinsics that give typed access to memory by address. Importing this file imports numba."""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic


def elements(dtype: str) -> Any:
    """An intrinsic `address -> pointer`, to be indexed: `elements("int32")(address)[i]`.

    bool is read as uint8; float16 has no arithmetic in numba, so its bits must be read as int16.
    """
    pointer = types.CPointer(getattr(types, "uint8" if dtype == "bool" else dtype))

    @intrinsic
    def typed(typing: Any, address: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(pointer))

        return pointer(types.int64), emit

    return typed
