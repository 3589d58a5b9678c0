"""`symc.base` as MXNet has it: the error root and a few names scripts import from there."""

import numpy as np

from symc.core.errors import MXNetError, SymcError

string_types = (str,)
numeric_types = (float, int, np.generic)
integer_types = (int, np.int32, np.int64)
mx_real_t = np.float32

__all__ = ["MXNetError", "SymcError", "integer_types", "mx_real_t", "numeric_types", "string_types"]


def __getattr__(name: str) -> object:
    if name in ("NotImplementedForSymbol", "_Null"):
        from symc.symbol import functions, operators

        return getattr(operators if name == "NotImplementedForSymbol" else functions, name)
    raise AttributeError(f"module 'symc.base' has no attribute '{name}'")
