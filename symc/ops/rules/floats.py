"""Operators that compute in real numbers alone."""

from __future__ import annotations

from symc.core.dtypes import FLOATS
from symc.core.errors import DTypeError
from symc.ir.op import DTypes, Op


class FloatData(Op):
    """An operator of one dtype, which is a float's."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        ins, outs = super().infer_dtype(ins, outs)
        if ins[0] is not None and ins[0] not in FLOATS:
            raise DTypeError(f"{self.name} only supports floating point data ({', '.join(FLOATS)}), got {ins[0]}")
        return ins, outs
