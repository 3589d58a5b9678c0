"""Adam and its kin: running means of gradients and of their squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from symc import ndarray
from symc.ndarray import NDArray

from .fused import Fused
from .optimizer import Index, Optimizer, register, zeros_like


class _Means(Optimizer):
    """Keeps the running means of the gradient and of its square (or its size), decayed by beta1 and beta2."""

    def __init__(self, learning_rate: float, beta1: float, beta2: float, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.beta1 = beta1
        self.beta2 = beta2

    def create_state(self, index: Index, weight: NDArray) -> tuple[NDArray, ...]:
        return zeros_like(weight), zeros_like(weight)


@register
class Adam(_Means, Fused):
    """weight -= lr * mean / (sqrt(mean of squares) + epsilon), both unbiased (Kingma and Ba, 2014)."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        lazy_update: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, **kwargs)
        self.epsilon = epsilon
        self.lazy_update = lazy_update

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        return "adam_update", {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}

    def rates(self, indices: Sequence[Index]) -> tuple[list[float], list[float]]:
        lrs, wds = super().rates(indices)
        counts = [self._index_update_count[index] for index in indices]
        bias = [math.sqrt(1.0 - self.beta2**t) / (1.0 - self.beta1**t) for t in counts]
        return [lr * factor for lr, factor in zip(lrs, bias)], wds


@register
class Adamax(_Means):
    """Adam with the largest gradient, decayed, instead of the mean of squares."""

    def __init__(self, learning_rate: float = 0.002, beta1: float = 0.9, beta2: float = 0.999, **kwargs: Any) -> None:
        super().__init__(learning_rate, beta1, beta2, **kwargs)

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        self._update_count(index)
        lr = self._get_lr(index) / (1.0 - self.beta1 ** self._index_update_count[index])
        grad = self._clipped(grad * self.rescale_grad + self._get_wd(index) * weight)
        mean, largest = state
        mean[:] = mean * self.beta1 + (1.0 - self.beta1) * grad
        largest[:] = ndarray.maximum(self.beta2 * largest, ndarray.abs(grad))
        weight[:] -= lr * mean / largest


@register
class Nadam(_Means):
    """Adam with Nesterov's momentum (Dozat, 2016)."""

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        schedule_decay: float = 0.004,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, **kwargs)
        self.epsilon = epsilon
        self.schedule_decay = schedule_decay
        self.m_schedule = 1.0  # the product of the momenta so far, of all weights together, as in MXNet

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        self._update_count(index)
        lr, t = self._get_lr(index), self._index_update_count[index]
        grad = self._clipped(grad * self.rescale_grad + self._get_wd(index) * weight)
        now, then = (self.beta1 * (1.0 - 0.5 * pow(0.96, k * self.schedule_decay)) for k in (t, t + 1))
        self.m_schedule = self.m_schedule * now
        mean, squares = state
        mean[:] = mean * self.beta1 + (1.0 - self.beta1) * grad
        squares[:] = squares * self.beta2 + (1.0 - self.beta2) * grad * grad
        ahead = (1.0 - now) * (grad / (1.0 - self.m_schedule)) + then * (mean / (1.0 - self.m_schedule * then))
        root = ndarray.sqrt(squares / (1.0 - pow(self.beta2, t)))
        weight[:] -= lr * ahead / (root + self.epsilon)


@register
class FTML(Optimizer):
    """Follow the moving leader (Zheng and Kwok, 2017)."""

    def __init__(self, beta1: float = 0.6, beta2: float = 0.999, epsilon: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon

    def create_state(self, index: Index, weight: NDArray) -> tuple[NDArray, ...]:
        return zeros_like(weight), zeros_like(weight), zeros_like(weight)

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        kwargs = self._begin(index)
        if "clip_gradient" in kwargs:
            kwargs["clip_grad"] = kwargs.pop("clip_gradient")
        betas = {"beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}
        t = self._index_update_count[index]
        ndarray.ftml_update(weight, grad, *state, out=weight, t=t, **betas, **kwargs)
