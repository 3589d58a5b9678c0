"""Operators that compute in real numbers alone."""

from __future__ import annotations

from symc.core.dtypes import FLOATS
from symc.core.errors import DTypeError
from symc.ir.op import DTypes, Op


def require_float(rule: Op, dtype: str | None) -> None:
    """Raises DTypeError for a known dtype that is no float's."""
    if dtype is not None and dtype not in FLOATS:
        raise DTypeError(f"{rule.name} only supports floating point data ({', '.join(FLOATS)}), got {dtype}")


class FloatData(Op):
    """An operator of one dtype, which is a float's."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        ins, outs = super().infer_dtype(ins, outs)
        require_float(self, ins[0])
        return ins, outs
