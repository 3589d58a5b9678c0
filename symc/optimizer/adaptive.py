"""Optimizers that scale each element by what its gradients were: AdaGrad, AdaDelta, RMSProp, FTRL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc import ndarray
from symc.core.errors import ConflictError
from symc.ndarray import NDArray

from .fused import Fused
from .optimizer import Index, Optimizer, register


def _zeros(weight: NDArray, n: int) -> tuple[NDArray, ...]:
    """States of float32, whatever the weight is, as in MXNet."""
    return tuple(ndarray.zeros(weight.shape, weight.context) for _ in range(n))


@register
class AdaGrad(Fused):
    """Divides by the root of the sum of squares (Duchi et al., 2011); eps stands inside the root."""

    def __init__(self, eps: float = 1e-7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def create_state(self, index: Index, weight: NDArray) -> NDArray:
        return _zeros(weight, 1)[0]

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        return "_sparse_adagrad_update", {"epsilon": self.float_stable_eps}


@register
class GroupAdaGrad(Optimizer):
    """AdaGrad with one sum for each row of the weight, the mean of its squares."""

    def __init__(self, eps: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.float_stable_eps = eps

    def create_state(self, index: Index, weight: NDArray) -> NDArray:
        if weight.ndim != 2:
            raise ConflictError(f"GroupAdaGrad: expected a weight of 2 dimensions, got shape {weight.shape}")
        return ndarray.zeros((weight.shape[0], 1), weight.context)

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        self._update_count(index)
        lr, wd = self._get_lr(index), self._get_wd(index)
        if wd != 0:
            raise ConflictError("Weight decay is not supported for GroupAdaGrad")
        ndarray.contrib.group_adagrad_update(
            weight, grad, state, out=weight, lr=lr, epsilon=self.float_stable_eps, **self._of_gradient()
        )


@register
class RMSProp(Fused):
    """Divides by the root of a running mean of squares (Tieleman and Hinton, 2012); centered as Graves, 2013.

    gamma1    decay of the mean; gamma2    of the momentum, when centered
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        gamma1: float = 0.9,
        gamma2: float = 0.9,
        epsilon: float = 1e-8,
        centered: bool = False,
        clip_weights: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.gamma1 = gamma1
        self.gamma2 = gamma2
        self.centered = centered
        self.epsilon = epsilon
        self.clip_weights = clip_weights

    def create_state(self, index: Index, weight: NDArray) -> tuple[NDArray, ...]:
        return _zeros(weight, 3 if self.centered else 1)

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        params = {"gamma1": self.gamma1, "epsilon": self.epsilon}
        if self.clip_weights:
            params["clip_weights"] = self.clip_weights
        return ("rmspropalex_update", params | {"gamma2": self.gamma2}) if self.centered else ("rmsprop_update", params)


@register
class AdaDelta(Optimizer):
    """Steps as large as the running mean of former ones (Zeiler, 2012); there is no learning rate."""

    def __init__(self, rho: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rho = rho
        self.epsilon = epsilon

    def create_state(self, index: Index, weight: NDArray) -> tuple[NDArray, ...]:
        return _zeros(weight, 2)

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        wd = self._get_wd(index)
        self._update_count(index)
        grad *= self.rescale_grad  # MXNet changes the gradient itself
        grad = self._clipped(grad)
        squares, steps = state
        squares[:] = squares * self.rho + (1.0 - self.rho) * grad * grad
        step = ndarray.sqrt(steps + self.epsilon) / ndarray.sqrt(squares + self.epsilon) * grad
        steps[:] = steps * self.rho + (1.0 - self.rho) * step * step
        weight[:] -= step + wd * weight


@register
class Ftrl(Fused):
    """Follow the regularized leader (McMahan et al., 2013)."""

    def __init__(self, lamda1: float = 0.01, learning_rate: float = 0.1, beta: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lamda1 = lamda1
        self.beta = beta
        self.lr = learning_rate

    def create_state(self, index: Index, weight: NDArray) -> tuple[NDArray, ...]:
        return _zeros(weight, 2)

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        return "ftrl_update", {"lamda1": self.lamda1, "beta": self.beta}
