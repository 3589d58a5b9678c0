"""Rates by layer: LARS, and AdaGrad by row.

Sources: src/operator/contrib/multi_lars-inl.h and contrib/optimizer_op-inl.h of MXNet 1.9.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.shapes import Shape
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.elementwise import Elementwise
from symc.ops.rules.numbers import number, single
from symc.ops.rules.shapes import unify_all
from symc.ops.rules.terms import Term


@op("multi_lars")
class MultiLars(Elementwise):
    """lr * eta * |w| / (|g| * rescale_grad + wd * |w| + eps) for each layer, lr where a norm is 0.

    The norms come as sums of squares (You et al., Large Batch Training of Convolutional Networks, 2017).
    MXNet operator multi_lars.
    """

    arguments = ("lrs", "weights_sum_sq", "grads_sum_sq", "wds")
    eta: float = param(doc="factor of the rates")
    eps: float = param(doc="added to the divisor")
    rescale_grad: float = param(1.0, doc="factor of the gradients")

    def lower(self, t: Lowering) -> None:
        def rate(*i: IndexLike) -> Expr:
            lr, weight, grad, wd = (x(*i) for x in t.ins)
            eta, eps, rescale = (number(single(n), lr.dtype) for n in (self.eta, self.eps, self.rescale_grad))
            w_norm = prim("sqrt", weight)
            scaled = lr * eta * w_norm / (prim("sqrt", grad) * rescale + wd * w_norm + eps)
            return select(prim("and", w_norm > 0, grad > 0), scaled, lr)

        t.map(rate)


@op("_contrib_group_adagrad_update")
class GroupAdaGradUpdate(Op):
    """history += mean over a row of g * g; weight - lr * g / (sqrt(history) + epsilon): AdaGrad with a rate a row.

    history has the shape (rows, 1).  MXNet operator _contrib_group_adagrad_update.
    """

    arguments = ("weight", "grad", "history")
    results = ("output", "history")
    lr: float = param(doc="learning rate")
    rescale_grad: float = param(1.0, doc="factor of the gradient")
    clip_gradient: float = param(-1.0, doc="limit of the gradient's size; negative: none")
    epsilon: float = param(1e-5, doc="added to the root of the history")

    def n_visible(self) -> int:
        return 1

    def updated_by_every_run(self) -> dict[str, int]:
        return {"history": 1}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        weight = unify_all([ins[0], ins[1], outs[0]])
        by_row: Shape | None = None if weight is None else (weight[0], *[1] * (len(weight) - 1))
        history = unify_all([ins[2], outs[1], by_row])
        return [weight, weight, history], [weight, history]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype([*ins, *outs])
        return [dtype] * 3, [dtype] * 2

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        weight, grad, history = (Term(g, v) for v in x)
        grad = grad * single(self.rescale_grad)
        if self.clip_gradient >= 0:
            grad = grad("clip", a_min=-self.clip_gradient, a_max=self.clip_gradient)
        rows = tuple(range(1, len(weight.shape)))
        history = history + (grad * grad)("mean", axis=rows, keepdims=True)
        return [(weight - grad * single(self.lr) / (history("sqrt") + single(self.epsilon))).value, history.value]
