"""Optimizer updates of one weight: the mathematics of each, and those in mixed precision.

Source: src/operator/optimizer_op-inl.h and contrib/adamw-inl.h of MXNet 1.9.1; the papers are named with each.
"""

from __future__ import annotations

from symc.ir.op import op, param
from symc.loopir.expr import Expr, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.numbers import number, single

from .rule import Rates, Stepping, Update, clipped, mixed, sign


@op("sgd_update", aliases=("_sparse_sgd_update",))
class SgdUpdate(Update):
    """w - lr * (clip(rates.rescale * g) + wd * w).  MXNet operator sgd_update."""

    parameter_order = ("lr", "wd", "rescale_grad", "clip_gradient")
    lazy_update: bool = param(True, doc="ignored: gradients are dense")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        return ((1 - rates.lr * rates.wd) * weight - rates.lr * self.rescaled(rates, grad),)


@op("sgd_mom_update", aliases=("_sparse_sgd_mom_update",))
class SgdMomUpdate(Update):
    """mom = momentum * mom - lr * (clip(rates.rescale * g) + wd * w); w + mom.  MXNet operator sgd_mom_update."""

    states = ("mom",)
    parameter_order = ("lr", "momentum", "wd", "rescale_grad", "clip_gradient")
    momentum: float = param(0.0, doc="decay of the momentum")
    lazy_update: bool = param(True, doc="ignored: gradients are dense")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        (momentum,) = self.numbers(weight.dtype, "momentum")
        mom = momentum * states[0] - rates.lr * rates.wd * weight - rates.lr * self.rescaled(rates, grad)
        return weight + mom, mom


@op("nag_mom_update")
class NagMomUpdate(Update):
    """Nesterov's accelerated gradient (Sutskever et al., 2013).  MXNet operator nag_mom_update.

    MXNet, when it writes over the weight, decays the momentum by the new weight; here it is always the old one, but for
    `mx.optimizer.NAG`.
    """

    states = ("mom",)
    parameter_order = ("lr", "momentum", "wd", "rescale_grad", "clip_gradient")
    momentum: float = param(0.0, doc="decay of the momentum")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        (momentum,) = self.numbers(weight.dtype, "momentum")
        decayed, g = momentum * states[0], self.rescaled(rates, grad)
        new = weight - decayed + (momentum + 1) * (decayed - rates.lr * (g + rates.wd * weight))
        return new, decayed - rates.lr * (g + rates.wd * self.decaying(weight, new))

    def decaying(self, weight: Expr, new: Expr) -> Expr:
        """The weight by which the momentum decays."""
        return weight


@op("_nag_mom_update_in_place")
class NagMomUpdateInPlace(NagMomUpdate):
    """What nag_mom_update does when it writes over the weight: the momentum decays by the new one."""

    is_internal = True

    def decaying(self, weight: Expr, new: Expr) -> Expr:
        return new


@op("signsgd_update")
class SignSgdUpdate(Update):
    """(1 - lr * wd) * w - lr * sign(g) (Bernstein et al., 2018).  MXNet operator signsgd_update."""

    parameter_order = ("lr", "wd", "rescale_grad", "clip_gradient")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        return ((1 - rates.lr * rates.wd) * weight - rates.lr * sign(grad),)


@op("signum_update")
class SignumUpdate(Update):
    """The sign of the momentum (Bernstein et al., 2018).  MXNet operator signum_update."""

    states = ("mom",)
    parameter_order = ("lr", "momentum", "wd", "rescale_grad", "clip_gradient")
    momentum: float = param(0.0, doc="decay of the momentum")
    wd_lh: float = param(0.0, doc="weight decay outside the momentum (Loshchilov and Hutter)")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        momentum, wd_lh = self.numbers(weight.dtype, "momentum", "wd_lh")
        mom = momentum * states[0] - (1 - momentum) * (rates.wd * weight + self.rescaled(rates, grad))
        return (1 - rates.lr * wd_lh) * weight + rates.lr * sign(mom), mom


@op("adam_update", aliases=("_sparse_adam_update",))
class AdamUpdate(Update):
    """Adam (Kingma and Ba, 2014); its bias correction is part of the given lr.  MXNet operator adam_update."""

    states = ("mean", "var")
    parameter_order = ("lr", "beta1", "beta2", "epsilon", "wd", "rescale_grad", "clip_gradient")
    beta1: float = param(0.9, doc="decay of the mean")
    beta2: float = param(0.999, doc="decay of the variance")
    epsilon: float = param(1e-8, doc="added to the root of the variance")
    lazy_update: bool = param(True, doc="ignored: gradients are dense")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        beta1, beta2, epsilon = self.numbers(weight.dtype, "beta1", "beta2", "epsilon")
        g = self.decayed(rates, weight, grad)
        mean = beta1 * states[0] + (1 - beta1) * g
        var = beta2 * states[1] + (1 - beta2) * g * g
        return weight - rates.lr * mean / (prim("sqrt", var) + epsilon), mean, var


@op("_sparse_adagrad_update")
class AdaGradUpdate(Update):
    """AdaGrad (Duchi et al., 2011), its epsilon under the root.  MXNet operator _sparse_adagrad_update."""

    states = ("history",)
    parameter_order = ("lr", "epsilon", "wd", "rescale_grad", "clip_gradient")
    epsilon: float = param(1e-7, doc="added to the sum of squares")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        (epsilon,) = self.numbers(weight.dtype, "epsilon")
        g = self.rescaled(rates, grad)
        history = states[0] + g * g
        return weight - rates.lr * (g / prim("sqrt", history + epsilon) + rates.wd * weight), history


@op("ftml_update")
class FtmlUpdate(Update):
    """Follow the moving leader (Zheng and Kwok, 2017).  MXNet operator ftml_update."""

    states = ("d", "v", "z")
    parameter_order = ("lr", "beta1", "beta2", "epsilon", "t", "wd", "rescale_grad", "clip_grad")
    beta1: float = param(0.6, low=0, high=1, doc="decay of the mean")
    beta2: float = param(0.999, low=0, high=1, doc="decay of the variance")
    epsilon: float = param(1e-8, doc="added to the root of the variance")
    t: int = param(doc="number of this update, from 1")
    clip_grad: float = param(-1.0, doc="limit of the gradient's size; negative: none")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        dtype = weight.dtype
        beta1, beta2, epsilon, limit = self.numbers(dtype, "beta1", "beta2", "epsilon", "clip_grad")
        left1, left2 = (number(1 - single(beta) ** self.t, dtype) for beta in (self.beta1, self.beta2))
        g = rates.rescale * grad + rates.wd * weight
        g = g if self.clip_grad < 0 else clipped(g, limit)
        v = beta2 * states[1] + (1 - beta2) * g * g
        d = left1 / rates.lr * (prim("sqrt", v / left2) + epsilon)
        z = beta1 * states[2] + (1 - beta1) * g - (d - beta1 * states[0]) * weight
        return -z / d, d, v, z


@op("ftrl_update", aliases=("_sparse_ftrl_update",))
class FtrlUpdate(Update):
    """Follow the regularized leader (McMahan et al., 2013).  MXNet operator ftrl_update."""

    states = ("z", "n")
    parameter_order = ("lr", "lamda1", "beta", "wd", "rescale_grad", "clip_gradient")
    lamda1: float = param(0.01, doc="factor of the absolute values")
    beta: float = param(1.0, doc="slows the first steps")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        lamda1, beta = self.numbers(weight.dtype, "lamda1", "beta")
        g = self.rescaled(rates, grad)
        n = states[1] + g * g
        z = states[0] + g - (prim("sqrt", n) - prim("sqrt", states[1])) * weight / rates.lr
        slope = (beta + prim("sqrt", n)) / rates.lr + rates.wd
        return select(prim("abs", z) > lamda1, (sign(z) * lamda1 - z) / slope, 0.0), z, n


@op("rmsprop_update")
class RmsPropUpdate(Update):
    """RMSProp (Tieleman and Hinton, 2012).  MXNet operator rmsprop_update."""

    states = ("n",)
    parameter_order = ("lr", "gamma1", "epsilon", "wd", "rescale_grad", "clip_gradient")
    gamma1: float = param(0.95, doc="decay of the squares")
    epsilon: float = param(1e-8, doc="added to the squares")
    clip_weights: float = param(-1.0, doc="limit of the weights' size; negative: none")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        gamma1, epsilon = self.numbers(weight.dtype, "gamma1", "epsilon")
        g = self.decayed(rates, weight, grad)
        n = (1 - gamma1) * (g * g) + gamma1 * states[0]
        return self.kept(weight - rates.lr * (g / prim("sqrt", n + epsilon))), n

    def kept(self, weight: Expr) -> Expr:
        """The weight within its limit."""
        return weight if self.clip_weights < 0 else clipped(weight, *self.numbers(weight.dtype, "clip_weights"))


@op("rmspropalex_update")
class RmsPropAlexUpdate(RmsPropUpdate):
    """RMSProp with centred squares and momentum (Graves, 2013).  MXNet operator rmspropalex_update."""

    states = ("n", "g", "delta")
    parameter_order = ("lr", "gamma1", "gamma2", "epsilon", "wd", "rescale_grad", "clip_gradient", "clip_weights")
    gamma2: float = param(0.9, doc="decay of the momentum")

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        gamma1, gamma2, epsilon = self.numbers(weight.dtype, "gamma1", "gamma2", "epsilon")
        grad = self.decayed(rates, weight, grad)
        n = (1 - gamma1) * grad * grad + gamma1 * states[0]
        g = (1 - gamma1) * grad + gamma1 * states[1]
        delta = gamma2 * states[2] - rates.lr * grad / prim("sqrt", n - g * g + epsilon)
        return self.kept(weight + delta), n, g, delta


@op("_adamw_update", aliases=("_contrib_adamw_update",))
class AdamWUpdate(Stepping):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017).  MXNet operator _adamw_update.

    The gradient's factor is an array of one number; where it is 0, infinite or NaN (a loss scale that overflowed), the
    step is skipped.
    """

    states, arrays = ("mean", "var"), ("rescale_grad",)
    parameter_order = ("lr", "beta1", "beta2", "epsilon", "wd", "eta", "clip_gradient")
    lr: float = param(doc="learning rate")
    beta1: float = param(0.9, doc="decay of the mean")
    beta2: float = param(0.999, doc="decay of the variance")
    epsilon: float = param(1e-8, doc="added to the root of the variance")
    wd: float = param(0.0, doc="weight decay")
    eta: float = param(doc="factor of the learning rate and of the weight decay")

    def rates(self, t: Lowering, dtype: str) -> Rates:
        return Rates(*self.numbers(dtype, "lr", "wd"), self.array(t, "rescale_grad", dtype=dtype))

    def step(self, rates: Rates, weight: Expr, grad: Expr, *states: Expr) -> tuple[Expr, ...]:
        beta1, beta2, epsilon, eta = self.numbers(weight.dtype, "beta1", "beta2", "epsilon", "eta")
        g = self.rescaled(rates, grad)
        mean = beta1 * states[0] + (1 - beta1) * g
        var = beta2 * states[1] + (1 - beta2) * g * g
        new = weight - eta * (rates.lr * mean / (prim("sqrt", var) + epsilon) + rates.wd * weight)
        # rescale * 0 is 0 for finite numbers alone
        is_usable = prim("and", prim("eq", rates.rescale * 0, 0.0), prim("ne", rates.rescale, 0.0))
        return tuple(select(is_usable, a, b) for a, b in zip((new, mean, var), (weight, *states)))


MP_SGD = mixed("mp_sgd_update", SgdUpdate)
MP_SGD_MOM = mixed("mp_sgd_mom_update", SgdMomUpdate)
MP_NAG_MOM = mixed("mp_nag_mom_update", NagMomUpdateInPlace)
MP_ADAMW = mixed("_mp_adamw_update", AdamWUpdate, ("_contrib_mp_adamw_update",))
