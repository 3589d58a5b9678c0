"""A penalty attached to an activation: IdentityAttachKLSparseReg."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.shapes import unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, check_rank, op, param
from symc.loopir.tensor import Lowering
from symc.ops.rules.numbers import single
from symc.ops.rules.terms import Term


@op("IdentityAttachKLSparseReg")
class IdentityAttachKLSparseReg(Op):
    """data itself; its gradient gains penalty * d KL(target || average) for the average activation of each unit.

    data (N, C), between 0 and 1; moving_avg (C,) follows the batch's averages on the way back.  Source: MXNet operator
    IdentityAttachKLSparseReg (Hinton, A Practical Guide to Training Restricted Boltzmann Machines, 2010).
    """

    aux = ("moving_avg",)

    sparseness_target: float = param(0.1, low=0, high=1, doc="wanted average activation")
    penalty: float = param(0.001, doc="factor of the penalty")
    momentum: float = param(0.9, low=0, high=1, doc="how much of the moving average stays")

    def initial_attrs(self, input_name: str) -> dict[str, str]:
        return {"__init__": '["zero", {}]'} if input_name == "moving_avg" else {}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(ins[0], outs[0])
        check_rank(data, 2, 2, f"{self.name}: data")
        if data is None:
            return ins, outs
        return [data, unify(ins[1], (data[1],))], [data]

    def lower(self, t: Lowering) -> None:
        t.map(lambda *i: t.ins[0](*i))

    def average(self, g: GraphBuilder, x: Sequence[Value]) -> Term:
        """The moving average after this batch."""
        keep = single(self.momentum)
        return Term(g, x[1]) * keep + Term(g, x[0])("mean", axis=0) * (1 - keep)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None, None]
        average, target = self.average(g, x), single(self.sparseness_target)
        slope = ((1 - target) / (1 - average) - target / average) * single(self.penalty)
        return [(Term(g, dy[0]) + slope.reshape((1, *slope.shape))).value, None]

    def update_aux(self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value]) -> dict[str, Value]:
        return {"moving_avg": self.average(g, x).value}
