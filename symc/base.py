"""`symc.base` as MXNet has it: the error root and a few names scripts import from there."""

from .core.errors import MXNetError, SymcError

string_types = (str,)
numeric_types = (float, int)

__all__ = ["MXNetError", "SymcError", "numeric_types", "string_types"]
