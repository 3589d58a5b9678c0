"""Layers that machines may multiply in less than float32."""

from __future__ import annotations

from symc.core.dtypes import BFLOAT16
from symc.ir.op import DTypes, Op


class Layer(Op):
    """An operator of one dtype whose data and weight, its first two inputs, may be bfloat16 in place of float32."""

    takes_bfloat16 = True

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        if BFLOAT16 not in ins:
            return super().infer_dtype(ins, outs)
        return [BFLOAT16, BFLOAT16, *["float32"] * (len(ins) - 2)], ["float32"]
