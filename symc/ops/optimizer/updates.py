"""Optimizer updates: the new weight from weight, gradient and states, which every run overwrites.

Hyperparameters are read by the kernel at run time, so that a changing learning rate compiles nothing.
Source: src/operator/optimizer_op-inl.h of MXNet 1.9.1; the papers are named with each.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from symc.ir.op import Op, op, param
from symc.loopir.expr import Expr, IndexLike, cast, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.numbers import number, single


def clipped(x: Expr, limit: Expr) -> Expr:
    """x kept within -limit .. limit."""
    return prim("maximum", prim("minimum", x, limit), -limit)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1."""
    return cast(x > 0, x.dtype) - cast(x < 0, x.dtype)


@dataclass(frozen=True, kw_only=True)
class Update(Op):
    """weight, gradient and states of one shape; gives the new weight and overwrites the states."""

    arguments = ("weight", "grad")
    is_differentiable = False
    states: ClassVar[tuple[str, ...]] = ()
    results = ("output",)

    lr: float = param(doc="learning rate")
    wd: float = param(0.0, doc="weight decay")
    rescale_grad: float = param(1.0, doc="factor of the gradient")
    clip_gradient: float = param(-1.0, doc="limit of the gradient's size; negative: none")

    def n_visible(self) -> int:
        return 1

    def updated_by_every_run(self) -> dict[str, int]:
        return {name: k + 1 for k, name in enumerate(self.states)}

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        """The new weight and states."""
        raise NotImplementedError

    def lower(self, t: Lowering) -> None:
        def result(k: int, *i: IndexLike) -> Expr:
            return self.step(*(x(*i) for x in t.ins))[k]

        for k in range(1 + len(self.states)):
            t.map(partial(result, k), output=k)

    def numbers(self, dtype: str, *names: str) -> list[Expr]:
        """Parameters as numbers the kernel reads, rounded to float32 as MXNet keeps them."""
        return [number(single(getattr(self, name)), dtype) for name in names]

    def clip(self, grad: Expr) -> Expr:
        """The gradient kept within its limit."""
        return grad if self.clip_gradient < 0 else clipped(grad, *self.numbers(grad.dtype, "clip_gradient"))

    def decayed(self, weight: Expr, grad: Expr) -> Expr:
        """The rescaled gradient with weight decay, clipped together."""
        rescale, wd = self.numbers(weight.dtype, "rescale_grad", "wd")
        return self.clip(rescale * grad + wd * weight)

    def rescaled(self, grad: Expr) -> Expr:
        """The rescaled gradient, clipped; weight decay comes later."""
        return self.clip(self.numbers(grad.dtype, "rescale_grad")[0] * grad)


@op("sgd_update")
class SgdUpdate(Update):
    """w - lr * (clip(rescale * g) + wd * w).  MXNet operator sgd_update."""

    parameter_order = ("lr", "wd", "rescale_grad", "clip_gradient")
    lazy_update: bool = param(True, doc="ignored: gradients are dense")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, wd = self.numbers(weight.dtype, "lr", "wd")
        return ((1 - lr * wd) * weight - lr * self.rescaled(grad),)


@op("sgd_mom_update")
class SgdMomUpdate(Update):
    """mom = momentum * mom - lr * (clip(rescale * g) + wd * w); w + mom.  MXNet operator sgd_mom_update."""

    arguments, states, results = ("weight", "grad", "mom"), ("mom",), ("output", "mom")
    parameter_order = ("lr", "momentum", "wd", "rescale_grad", "clip_gradient")
    momentum: float = param(0.0, doc="decay of the momentum")
    lazy_update: bool = param(True, doc="ignored: gradients are dense")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, wd, momentum = self.numbers(weight.dtype, "lr", "wd", "momentum")
        mom = momentum * states[0] - lr * wd * weight - lr * self.rescaled(grad)
        return weight + mom, mom


@op("nag_mom_update")
class NagMomUpdate(Update):
    """Nesterov's accelerated gradient (Sutskever et al., 2013).  MXNet operator nag_mom_update.

    MXNet, when it writes over the weight, decays the momentum by the new weight; here it is always the old one.
    """

    arguments, states, results = ("weight", "grad", "mom"), ("mom",), ("output", "mom")
    parameter_order = ("lr", "momentum", "wd", "rescale_grad", "clip_gradient")
    momentum: float = param(0.0, doc="decay of the momentum")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, wd, momentum = self.numbers(weight.dtype, "lr", "wd", "momentum")
        decayed = momentum * states[0]
        mom = decayed - lr * (self.rescaled(grad) + wd * weight)
        return weight - decayed + (momentum + 1) * mom, mom


@op("signsgd_update")
class SignSgdUpdate(Update):
    """(1 - lr * wd) * w - lr * sign(g) (Bernstein et al., 2018).  MXNet operator signsgd_update."""

    parameter_order = ("lr", "wd", "rescale_grad", "clip_gradient")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, wd = self.numbers(weight.dtype, "lr", "wd")
        return ((1 - lr * wd) * weight - lr * sign(grad),)


@op("signum_update")
class SignumUpdate(Update):
    """The sign of the momentum (Bernstein et al., 2018).  MXNet operator signum_update."""

    arguments, states, results = ("weight", "grad", "mom"), ("mom",), ("output", "mom")
    parameter_order = ("lr", "momentum", "wd", "rescale_grad", "clip_gradient")
    momentum: float = param(0.0, doc="decay of the momentum")
    wd_lh: float = param(0.0, doc="weight decay outside the momentum (Loshchilov and Hutter)")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, wd, momentum, wd_lh = self.numbers(weight.dtype, "lr", "wd", "momentum", "wd_lh")
        mom = momentum * states[0] - (1 - momentum) * (wd * weight + self.rescaled(grad))
        return (1 - lr * wd_lh) * weight + lr * sign(mom), mom


@op("adam_update")
class AdamUpdate(Update):
    """Adam (Kingma and Ba, 2014); its bias correction is part of the given lr.  MXNet operator adam_update."""

    arguments, states, results = ("weight", "grad", "mean", "var"), ("mean", "var"), ("output", "mean", "var")
    parameter_order = ("lr", "beta1", "beta2", "epsilon", "wd", "rescale_grad", "clip_gradient")
    beta1: float = param(0.9, doc="decay of the mean")
    beta2: float = param(0.999, doc="decay of the variance")
    epsilon: float = param(1e-8, doc="added to the root of the variance")
    lazy_update: bool = param(True, doc="ignored: gradients are dense")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, beta1, beta2, epsilon = self.numbers(weight.dtype, "lr", "beta1", "beta2", "epsilon")
        g = self.decayed(weight, grad)
        mean = beta1 * states[0] + (1 - beta1) * g
        var = beta2 * states[1] + (1 - beta2) * g * g
        return weight - lr * mean / (prim("sqrt", var) + epsilon), mean, var


@op("ftml_update")
class FtmlUpdate(Update):
    """Follow the moving leader (Zheng and Kwok, 2017).  MXNet operator ftml_update."""

    arguments, states, results = ("weight", "grad", "d", "v", "z"), ("d", "v", "z"), ("output", "d", "v", "z")
    parameter_order = ("lr", "beta1", "beta2", "epsilon", "t", "wd", "rescale_grad", "clip_grad")
    beta1: float = param(0.6, low=0, high=1, doc="decay of the mean")
    beta2: float = param(0.999, low=0, high=1, doc="decay of the variance")
    epsilon: float = param(1e-8, doc="added to the root of the variance")
    t: int = param(doc="number of this update, from 1")
    clip_grad: float = param(-1.0, doc="limit of the gradient's size; negative: none")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        dtype = weight.dtype
        lr, beta1, beta2, epsilon, rescale, wd, limit = self.numbers(
            dtype, "lr", "beta1", "beta2", "epsilon", "rescale_grad", "wd", "clip_grad"
        )
        left1, left2 = (number(1 - single(beta) ** self.t, dtype) for beta in (self.beta1, self.beta2))
        g = rescale * grad + wd * weight
        g = g if self.clip_grad < 0 else clipped(g, limit)
        v = beta2 * states[1] + (1 - beta2) * g * g
        d = left1 / lr * (prim("sqrt", v / left2) + epsilon)
        z = beta1 * states[2] + (1 - beta1) * g - (d - beta1 * states[0]) * weight
        return -z / d, d, v, z


@op("ftrl_update")
class FtrlUpdate(Update):
    """Follow the regularized leader (McMahan et al., 2013).  MXNet operator ftrl_update."""

    arguments, states, results = ("weight", "grad", "z", "n"), ("z", "n"), ("output", "z", "n")
    parameter_order = ("lr", "lamda1", "beta", "wd", "rescale_grad", "clip_gradient")
    lamda1: float = param(0.01, doc="factor of the absolute values")
    beta: float = param(1.0, doc="slows the first steps")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, wd, lamda1, beta = self.numbers(weight.dtype, "lr", "wd", "lamda1", "beta")
        g = self.rescaled(grad)
        n = states[1] + g * g
        z = states[0] + g - (prim("sqrt", n) - prim("sqrt", states[1])) * weight / lr
        slope = (beta + prim("sqrt", n)) / lr + wd
        return select(prim("abs", z) > lamda1, (sign(z) * lamda1 - z) / slope, 0.0), z, n


@op("rmsprop_update")
class RmsPropUpdate(Update):
    """RMSProp (Tieleman and Hinton, 2012).  MXNet operator rmsprop_update."""

    arguments, states, results = ("weight", "grad", "n"), ("n",), ("output", "n")
    parameter_order = ("lr", "gamma1", "epsilon", "wd", "rescale_grad", "clip_gradient")
    gamma1: float = param(0.95, doc="decay of the squares")
    epsilon: float = param(1e-8, doc="added to the squares")
    clip_weights: float = param(-1.0, doc="limit of the weights' size; negative: none")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, gamma1, epsilon = self.numbers(weight.dtype, "lr", "gamma1", "epsilon")
        g = self.decayed(weight, grad)
        n = (1 - gamma1) * (g * g) + gamma1 * states[0]
        return self.kept(weight - lr * (g / prim("sqrt", n + epsilon))), n

    def kept(self, weight: Expr) -> Expr:
        """The weight within its limit."""
        return weight if self.clip_weights < 0 else clipped(weight, *self.numbers(weight.dtype, "clip_weights"))


@op("rmspropalex_update")
class RmsPropAlexUpdate(RmsPropUpdate):
    """RMSProp with centred squares and momentum (Graves, 2013).  MXNet operator rmspropalex_update."""

    arguments = ("weight", "grad", "n", "g", "delta")
    states, results = ("n", "g", "delta"), ("output", "n", "g", "delta")
    parameter_order = ("lr", "gamma1", "gamma2", "epsilon", "wd", "rescale_grad", "clip_gradient", "clip_weights")
    gamma2: float = param(0.9, doc="decay of the momentum")

    def step(self, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lr, gamma1, gamma2, epsilon = self.numbers(weight.dtype, "lr", "gamma1", "gamma2", "epsilon")
        grad = self.decayed(weight, grad)
        n = (1 - gamma1) * grad * grad + gamma1 * states[0]
        g = (1 - gamma1) * grad + gamma1 * states[1]
        delta = gamma2 * states[2] - lr * grad / prim("sqrt", n - g * g + epsilon)
        return self.kept(weight + delta), n, g, delta
