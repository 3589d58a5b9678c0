"""Optimizers whose update is one operator: all weights of a dtype are updated by one program, made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from symc import ndarray
from symc.ndarray import NDArray
from symc.ndarray.updates import update

from .optimizer import Index, Optimizer

Many = Sequence[Any]


class Fused(Optimizer):
    """Base of these: a subclass says which operator, its parameters and, where it is another, the learning rate.

    `update` takes one weight, or lists of them.
    """

    def rule(self, states: Sequence[NDArray]) -> tuple[str, dict[str, Any]]:
        """The operator for a weight with these states, and its parameters but for the rates."""
        raise NotImplementedError(f"{type(self).__name__} must override rule")

    def rates(self, indices: Sequence[Index]) -> tuple[list[float], list[float]]:
        """Learning rates and weight decays, after the updates were counted; asked for weight by weight where MXNet does
        and a subclass has answers of its own."""
        if takes_many(self):
            return self._get_lrs(indices), self._get_wds(indices)
        return [self._get_lr(index) for index in indices], [self._get_wd(index) for index in indices]

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        indices, weights, grads, states = as_lists(index, weight, grad, state)
        self._update_count(index)
        factors = [self.rescale_grad] * len(indices)
        rates = [*zip(*self.rates(indices), factors)]
        arrays = [present(each) for each in states]
        name, params = self.rule(arrays[0])
        clip = {"clip_gradient": self.clip_gradient} if self.clip_gradient else {}
        update(name, {**params, **clip}, weights, grads, arrays, rates)

    def update_multi_precision(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        indices, weights, grads, states = as_lists(index, weight, grad, state)
        if not takes_many(self):
            super().update_multi_precision(index, weight, grad, state)
            return
        if not (self.multi_precision and weights[0].dtype == np.float16):
            self.update(indices, weights, grads, states)
            return
        copies = [copy for copy, _ in states]
        self.update(indices, copies, [g.astype(np.float32) for g in grads], [own for _, own in states])
        for copy, narrow in zip(copies, weights):
            ndarray.cast(copy, dtype=narrow.dtype, out=narrow)


_ASKED = ("update_multi_precision", "_update_count", "_get_lr", "_get_lrs", "_get_wd", "_get_wds")


def takes_many(optimizer: Optimizer) -> bool:
    """Whether any number of weights can be updated at once: not where a subclass of the user's does a part of it."""
    if not isinstance(optimizer, Fused) or type(optimizer).update is not Fused.update:
        return False
    return all(getattr(optimizer, name).__module__.startswith(f"{__package__}.") for name in _ASKED)


def as_lists(index: Any, weight: Any, grad: Any, state: Any) -> tuple[Many, Many, Many, Many]:
    """The four as lists, whether one weight is updated or several."""
    if isinstance(index, (list, tuple)):
        return index, weight, grad, state
    return [index], [weight], [grad], [state]


def present(state: Any) -> list[NDArray]:
    """The arrays of a state."""
    states = state if isinstance(state, (list, tuple)) else (state,)
    return [each for each in states if each is not None]
