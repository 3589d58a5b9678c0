"""Optimizers whose rates follow the norms of each layer's weight and gradient: LARS and LAMB."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from symc import ndarray
from symc.ndarray import NDArray

from .adam import _Means
from .fused import as_lists, present
from .optimizer import Index, Optimizer, register
from .sgd import AGGREGATION, _Momentum

UNSCALED = ("gamma", "beta", "bias")  # ends of the names of parameters that LARS gives the plain rate


class _Layerwise(Optimizer):
    """An optimizer that updates any number of weights by one operator, float16 ones by their float32 copies."""

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        self._update_all(*as_lists(index, weight, grad, state), is_mixed=False)

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        indices, weights, grads, states = as_lists(index, weight, grad, state)
        is_mixed = self.multi_precision and weights[0].dtype == np.float16
        self._update_all(indices, weights, grads, states, is_mixed)

    def _update_all(
        self,
        indices: Sequence[Index],
        weights: Sequence[NDArray],
        grads: Sequence[NDArray],
        states: Any,
        is_mixed: bool,
    ) -> None:
        """Updates all weights; `is_mixed`: their states hold float32 copies."""
        raise NotImplementedError(f"{type(self).__name__} must override _update_all")


@register
class LARS(_Layerwise, _Momentum):
    """SGD whose rate is that of the layer: eta * |weight| / (|grad| + wd * |weight| + eps) (You et al., 2017).

    momentum_correction    scales the momentum when the rate changes
    """

    _DECAYED: ClassVar[tuple[str, ...]] = ("_weight",)

    def __init__(
        self,
        momentum: float = 0.0,
        lazy_update: bool = True,
        eta: float = 0.001,
        eps: float = 0,
        momentum_correction: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.momentum_correction = momentum_correction
        self.lazy_update = lazy_update
        self.aggregate_num = int(os.getenv(AGGREGATION, "4"))
        self.eta = eta
        self.eps = eps
        self.skip = 0
        self.last_lr: float | None = None
        self.cur_lr: float | None = None

    def _get_lrs(self, indices: Sequence[Index]) -> list[float]:
        lr = self.learning_rate
        self.last_lr = lr if self.cur_lr is None else self.cur_lr
        self.cur_lr = lr
        return [lr * factor for factor in self._factors(indices, "lr_mult")]

    def _momentum(self) -> dict[str, float]:
        if self.momentum <= 0:
            return {}
        is_corrected = self.momentum_correction and self.last_lr
        return {"momentum": self.momentum * (self.cur_lr / self.last_lr) if is_corrected else self.momentum}  # type: ignore[operator]

    def _update_all(
        self,
        indices: Sequence[Index],
        weights: Sequence[NDArray],
        grads: Sequence[NDArray],
        states: Any,
        is_mixed: bool,
    ) -> None:
        self._update_count(indices)
        place = weights[0].context
        names = [self.idx2name.get(index, str(index)) for index in indices]
        order = sorted(range(len(names)), key=lambda k: names[k].endswith(UNSCALED))  # those scaled come first
        n_scaled = sum(not name.endswith(UNSCALED) for name in names)
        all_lrs, all_wds = self._get_lrs(indices), self._get_wds(indices)
        lrs = ndarray.array([all_lrs[k] for k in order], ctx=place)
        wds = ndarray.array([all_wds[k] for k in order], ctx=place)
        weights, grads, states = ([x[k] for k in order] for x in (weights, grads, states))
        if n_scaled:
            squares = [ndarray.multi_sum_sq(*x[:n_scaled], num_arrays=n_scaled) for x in (weights, grads)]
            lrs[:n_scaled] = ndarray.multi_lars(
                lrs[:n_scaled], *squares, wds[:n_scaled], eta=self.eta, eps=self.eps, rescale_grad=self.rescale_grad
            )
        name = (
            "preloaded_multi_" + ("mp_" if is_mixed else "") + ("sgd_mom" if self.momentum > 0 else "sgd") + "_update"
        )
        inputs = [x for parts in zip(weights, grads, states) for x in (*parts[:2], *present(parts[2]))]
        getattr(ndarray, name)(
            *inputs, lrs, wds, out=weights, num_weights=len(weights), **self._momentum(), **self._of_gradient()
        )


@register
class LAMB(_Layerwise, _Means):
    """Adam whose step has the norm of the layer's weight (You et al., 2019); several weights by one operator.

    lower_bound, upper_bound    limits of that norm
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-6,
        lower_bound: float | None = None,
        upper_bound: float | None = None,
        bias_correction: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, **kwargs)
        self.epsilon = epsilon
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        self.bias_correction = bias_correction
        self.aggregate_num = max(1, min(45, int(os.getenv(AGGREGATION, "45"))))

    def _update_all(
        self,
        indices: Sequence[Index],
        weights: Sequence[NDArray],
        grads: Sequence[NDArray],
        states: Any,
        is_mixed: bool,
    ) -> None:
        counts, lrs, wds = [], [], []
        for index in indices:
            self._update_count(index)
            counts.append(self._index_update_count[index])
            lrs.append(self._get_lr(index))
            wds.append(self._get_wd(index))
        means = [state[1] if is_mixed else state for state in states]
        copies = [[state[0]] if is_mixed else [] for state in states]
        function = ndarray._internal._multi_mp_lamb_update if is_mixed else ndarray._internal._multi_lamb_update
        function(
            *[x for parts in zip(weights, grads, means, copies) for x in (*parts[:2], *parts[2], *parts[3])],
            out=list(weights),
            num_tensors=len(weights),
            step_count=counts,
            learning_rates=lrs,
            wds=wds,
            beta1=self.beta1,
            beta2=self.beta2,
            epsilon=self.epsilon,
            bias_correction=self.bias_correction,
            **self._of_gradient(),
            **self._bounds(),
        )

    def _bounds(self) -> dict[str, float]:
        bounds = {"lower_bound": self.lower_bound, "upper_bound": self.upper_bound}
        return {name: bound for name, bound in bounds.items() if bound}
