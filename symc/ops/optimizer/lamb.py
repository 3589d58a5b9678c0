"""LAMB in two phases, its norms between them (You et al., Large Batch Optimization for Deep Learning, 2019).

Source: src/operator/optimizer_op-inl.h of MXNet 1.9.1.
"""

from __future__ import annotations

from symc.ir.op import DTypes, op, param
from symc.loopir.expr import Expr, cast, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.numbers import number, single

from .rule import Updating, clipped, mixed_dtypes


@op("lamb_update_phase1")
class LambPhase1(Updating):
    """The direction of the step: Adam's, with weight decay added.  MXNet operator lamb_update_phase1."""

    states = ("mean", "var")
    parameter_order = (
        "beta1", "beta2", "epsilon", "t", "bias_correction", "wd", "rescale_grad", "clip_gradient",
    )  # fmt: skip
    beta1: float = param(0.9, doc="decay of the mean")
    beta2: float = param(0.999, doc="decay of the variance")
    epsilon: float = param(1e-6, doc="added to the root of the variance")
    t: int = param(doc="number of this update, from 1")
    bias_correction: bool = param(True, doc="whether mean and variance are divided by 1 - beta ** t")
    wd: float = param(doc="weight decay")
    rescale_grad: float = param(1.0, doc="factor of the gradient")
    clip_gradient: float = param(-1.0, doc="limit of the gradient's size; negative: none")

    def update(self, t: Lowering, *operands: Expr) -> tuple[Expr, ...]:
        weight, grad, mean, var = operands
        dtype = weight.dtype
        beta1, beta2, epsilon, wd, rescale = self.numbers(dtype, "beta1", "beta2", "epsilon", "wd", "rescale_grad")
        g = rescale * grad
        g = g if self.clip_gradient < 0 else clipped(g, *self.numbers(dtype, "clip_gradient"))
        mean = beta1 * mean + (1 - beta1) * g
        var = beta2 * var + (1 - beta2) * g * g
        if not self.bias_correction:
            return mean / (prim("sqrt", var) + epsilon) + wd * weight, mean, var
        left1, left2 = (number(1 - single(beta) ** self.t, dtype) for beta in (self.beta1, self.beta2))
        return mean / left1 / (prim("sqrt", var / left2) + epsilon) + wd * weight, mean, var


@op("mp_lamb_update_phase1")
class MpLambPhase1(LambPhase1):
    """The direction in float32, from a float32 copy of the weight.  MXNet operator mp_lamb_update_phase1."""

    trailing = ("weight32",)  # the second phase writes it

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return mixed_dtypes(self, ins, outs, narrow=("weight", "grad"))

    def update(self, t: Lowering, *operands: Expr) -> tuple[Expr, ...]:
        _, grad, mean, var, master = operands
        return super().update(t, master, cast(grad, master.dtype), mean, var)


@op("lamb_update_phase2")
class LambPhase2(Updating):
    """weight - lr * r1 / r2 * g, r1 and r2 the norms of weight and direction.  MXNet operator lamb_update_phase2.

    r1 is kept within the bounds (negative: none); the ratio is 1 where a norm is 0.
    """

    leading, arrays = ("weight", "g"), ("r1", "r2")
    parameter_order = ("lr", "lower_bound", "upper_bound")
    lr: float = param(doc="learning rate")
    lower_bound: float = param(-1.0, doc="least norm of the weight; negative: none")
    upper_bound: float = param(-1.0, doc="greatest norm of the weight; negative: none")

    def update(self, t: Lowering, *operands: Expr) -> tuple[Expr, ...]:
        weight, g = operands
        dtype = weight.dtype
        lr, lower, upper = self.numbers(dtype, "lr", "lower_bound", "upper_bound")
        r1, r2 = (self.array(t, name, dtype=dtype) for name in ("r1", "r2"))
        r1 = r1 if self.lower_bound < 0 else prim("maximum", r1, lower)
        r1 = r1 if self.upper_bound < 0 else prim("minimum", r1, upper)
        has_norms = prim("and", prim("ne", r1, 0.0), prim("ne", r2, 0.0))
        return (weight - lr * select(has_norms, r1 / r2, number(1.0, dtype)) * g,)


@op("mp_lamb_update_phase2")
class MpLambPhase2(LambPhase2):
    """The step on a float32 copy of the weight.  MXNet operator mp_lamb_update_phase2."""

    arguments = ("weight", "g", "r1", "r2", "weight32")
    states = ("weight32",)

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return mixed_dtypes(self, ins, outs, narrow=("weight", "output"))

    def update(self, t: Lowering, *operands: Expr) -> tuple[Expr, ...]:
        weight, g, master = operands
        (new,) = super().update(t, master, g)
        return cast(new, weight.dtype), new
