"""Stochastic gradient descent and its kin: with momentum, Nesterov's, of the sign, for large batches, with noise."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from symc import ndarray, random
from symc.ndarray import NDArray

from .fused import Fused
from .optimizer import Index, Optimizer, register, zeros_like

AGGREGATION = "MXNET_OPTIMIZER_AGGREGATION_SIZE"


class _Momentum(Fused):
    """An optimizer with a momentum, None where that is 0; mixed states are (momentum, float32 copy)."""

    momentum: float

    def create_state(self, index: Index, weight: NDArray) -> NDArray | None:
        return zeros_like(weight) if self.momentum != 0.0 else None

    def create_state_multi_precision(self, index: Index, weight: NDArray) -> Any:
        if not self._is_mixed(weight):
            return self.create_state(index, weight)
        copy = weight.astype(np.float32)
        return self.create_state(index, copy), copy

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """What updaters call; the operators know of float32 copies. As in MXNet no `update` of a subclass is asked."""
        if type(self).update is not Fused.update:
            warnings.warn(
                f"{type(self).__name__}.update is not called in training: SGD and NAG step in update_multi_precision, "
                "as in MXNet; override that",
                stacklevel=3,
            )
        Fused.update(self, index, weight, grad, state)

    def _momentum(self) -> dict[str, float]:
        return {"momentum": self.momentum} if self.momentum > 0 else {}

    def _is_copied(self, states: Sequence[NDArray]) -> bool:
        """Whether the last of the states is a float32 copy of the weight."""
        return self.multi_precision and len(states) > (self.momentum != 0.0)


@register
class SGD(_Momentum):
    """mom = momentum * mom - lr * (grad + wd * weight); weight += mom.

    lazy_update    accepted as in MXNet
    """

    def __init__(self, momentum: float = 0.0, lazy_update: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.lazy_update = lazy_update
        self.aggregate_num = int(os.getenv(AGGREGATION, "4"))

    def rates(self, indices: Sequence[Index]) -> tuple[list[float], list[float]]:
        return self._get_lrs(indices), self._get_wds(indices)

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        mixed = "mp_" if self._is_copied(states) else ""
        return (f"{mixed}sgd_mom_update", self._momentum()) if self.momentum > 0 else (f"{mixed}sgd_update", {})


@register
class ccSGD(SGD):
    """SGD, by its old name."""


@register
class NAG(_Momentum):
    """SGD with Nesterov's momentum."""

    def __init__(self, momentum: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        if self.momentum <= 0:
            return ("mp_sgd_update" if self._is_copied(states) else "sgd_update"), {}
        return ("mp_nag_mom_update" if self._is_copied(states) else "_nag_mom_update_in_place"), self._momentum()


@register
class Signum(_Momentum):
    """SGD by the sign of the gradient, or of its momentum (Bernstein et al., 2018).

    wd_lh    weight decay outside the momentum
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9, wd_lh: float = 0.0, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum
        self.wd_lh = wd_lh

    create_state_multi_precision = Optimizer.create_state_multi_precision
    update_multi_precision = Fused.update_multi_precision

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        if not states:
            return "signsgd_update", {}
        return "signum_update", self._momentum() | ({"wd_lh": self.wd_lh} if self.wd_lh else {})


@register
class SGLD(Optimizer):
    """Half a step of SGD plus normal noise of deviation sqrt(lr) (Welling and Teh, 2011)."""

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        weight[:] += -lr / 2 * (self._rescaled(grad) + wd * weight)
        weight[:] += random.normal(0, math.sqrt(lr), shape=weight.shape, dtype=weight.dtype, ctx=weight.context)


@register
class DCASGD(Optimizer):
    """SGD with compensation of delayed gradients (Zheng et al., 2017); states are (momentum, previous weight)."""

    def __init__(self, momentum: float = 0.0, lamda: float = 0.04, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.weight_previous: dict[Index, NDArray] = {}
        self.lamda = lamda

    def create_state(self, index: Index, weight: NDArray) -> tuple[NDArray | None, NDArray]:
        return (None if self.momentum == 0.0 else zeros_like(weight)), weight.copy()

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        grad = self._rescaled(grad)
        momentum, previous = state
        step = -lr * (grad + wd * weight + self.lamda * grad * grad * (weight - previous))
        if momentum is not None:
            momentum[:] = momentum * self.momentum + step
            step = momentum
        previous[:] = weight
        weight[:] += step


@register
class LBSGD(_Momentum):
    """SGD for large batches: gradients of `batch_scale` updates are summed, the rate grows during the warm-up.

    warmup_strategy    "linear", "power2" or "sqrt" growth up to batch_scale, or "lars": by the norms of the weight
    """

    def __init__(
        self,
        momentum: float = 0.0,
        multi_precision: bool = False,
        warmup_strategy: str = "linear",
        warmup_epochs: int = 5,
        batch_scale: float = 1,
        updates_per_epoch: int = 32,
        begin_epoch: int = 0,
        num_epochs: int = 60,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        logging.info("Running Large-Batch SGD Algorithm")
        logging.info(
            "(Batch_scale=%f, warmup_epochs=%d, warmup_strategy=%s, updates_per_epoch=%d)",
            batch_scale,
            warmup_epochs,
            warmup_strategy,
            updates_per_epoch,
        )
        self.momentum = momentum
        self.multi_precision = multi_precision
        self.warmup_strategy = warmup_strategy
        self.warmup_epochs = warmup_epochs
        self.batch_scale = batch_scale
        self.updates_per_epoch = updates_per_epoch
        self.init_updates = begin_epoch * updates_per_epoch
        self.num_epochs = num_epochs
        self.lbmult = 1
        self.cumgrads: dict[Index, dict[str, Any]] = {}
        self.adaptive = False
        self.admult = 1

    create_state_multi_precision = Optimizer.create_state_multi_precision
    update_multi_precision = Optimizer.update_multi_precision

    def _growth(self, n_updates: int) -> float:
        n_warmup = self.warmup_epochs * self.updates_per_epoch
        most = float(self.batch_scale)
        if n_updates >= n_warmup:
            return most
        share = n_updates / n_warmup if n_warmup > 1 else 0.0
        powers = {"linear": share, "power2": share**2, "sqrt": math.sqrt(share)}
        return 1.0 + (most - 1) * powers.get(self.warmup_strategy, 0.0)

    def _lars(self, weight: NDArray, grad: NDArray, wd: float) -> float:
        weight2, grad2 = (float((x * x).asnumpy().sum()) for x in (weight, grad))
        return min(max(math.sqrt(weight2 / (grad2 + wd * weight2 + 1e-18)), 0.01), 100)

    def _summed(self, index: Index, grad: NDArray) -> tuple[NDArray, int]:
        """The gradients since the last step, and how many updates there were."""
        before = self.cumgrads.get(index)
        if before is None or before["num_cums"] <= 0:
            total, count = grad, self.init_updates + 1
        else:
            total, count = before["cum_grad"] + grad, before["num_cums"] + 1
        self.cumgrads[index] = {"cum_grad": total, "num_cums": count}
        return total, count

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        lr, wd = self._get_lr(index), self._get_wd(index)
        self._update_count(index)
        total, count = self._summed(index, grad)
        if count % self.batch_scale != 0:
            return
        grad = total / self.batch_scale
        growth = self._lars(weight, grad, wd) if self.warmup_strategy == "lars" else self._growth(count)
        rates = {"lr": lr * growth, "wd": wd, **self._of_gradient()}
        if state is None:
            ndarray.sgd_update(weight, grad, out=weight, **rates)
        else:
            ndarray.sgd_mom_update(weight, grad, state, out=weight, **self._momentum(), **rates)
        self.cumgrads[index]["cum_grad"] = 0
