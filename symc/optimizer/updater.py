"""Updater: applies an optimizer to weights by index and keeps their states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc.context import Context
from symc.core.errors import FormatError
from symc.ndarray import NDArray

from . import states as files
from .fused import takes_many
from .optimizer import Index, Optimizer


class Updater:
    """`updater(index, grad, weight)` updates one weight, or lists of them; states are made when first needed."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.states: dict[Index, Any] = {}
        self.states_synced: dict[Index, bool] = {}  # whether a state is known to lie on its weight's context
        self.aggregate_updates = optimizer.aggregate_num > 0

    def __call__(self, index: Any, grad: Any, weight: Any) -> None:
        if not isinstance(index, (list, tuple)):
            index, grad, weight = [index], [grad], [weight]
        indices = [i.decode() if isinstance(i, bytes) else i for i in index]
        if weight:
            self.optimizer._set_current_context(weight[0].context.device_id)
        for each, array in zip(indices, weight):
            if not self.states_synced.get(each):
                self._require_state(each, array)
        most = len(weight) if takes_many(self.optimizer) else self.optimizer.aggregate_num
        if not most:
            for each, array, gradient in zip(indices, weight, grad):
                self.optimizer.update_multi_precision(each, array, gradient, self.states[each])
            return
        groups = _groups(weight, most)
        if len(groups) == 1:
            states = [self.states[each] for each in indices]
            self.optimizer.update_multi_precision(indices, weight, grad, states)
            return
        for some in groups:
            some_indices, weights, grads = ([x[k] for k in some] for x in (indices, weight, grad))
            self.optimizer.update_multi_precision(
                some_indices, weights, grads, [self.states[each] for each in some_indices]
            )

    def _require_state(self, index: Index, weight: NDArray) -> None:
        if index not in self.states:
            self.states[index] = self.optimizer.create_state_multi_precision(index, weight)
        else:
            self.states[index] = self.sync_state_context(self.states[index], weight.context)
        self.states_synced[index] = True

    def sync_state_context(self, state: Any, context: Context) -> Any:
        """A state with its arrays on a context."""
        if isinstance(state, NDArray):
            return state.as_in_context(context)
        if isinstance(state, (tuple, list)):
            return type(state)([self.sync_state_context(each, context) for each in state])
        return state

    def set_states(self, states: bytes) -> None:
        """Takes over what `get_states` gave, and the optimizer if it is in it; raises FormatError for anything else."""
        found = files.loads(states)
        by_index, optimizer = found if isinstance(found, tuple) and len(found) == 2 else (found, self.optimizer)
        if not isinstance(by_index, dict):
            raise FormatError(f"optimizer states: {type(by_index).__name__}, expected a dictionary by weight")
        self.states, self.optimizer = by_index, optimizer
        self.states_synced = dict.fromkeys(self.states, False)

    def get_states(self, dump_optimizer: bool = False) -> bytes:
        """The states, on demand with the optimizer, in MXNet's format (see `states`)."""
        return files.dumps((self.states, self.optimizer) if dump_optimizer else self.states)


def _groups(weights: Sequence[NDArray], most: int) -> list[list[int]]:
    """Positions of weights of one dtype, at most so many together."""
    by_dtype: dict[Any, list[int]] = {}
    for k, weight in enumerate(weights):
        by_dtype.setdefault(weight.dtype, []).append(k)
    return [same[start : start + most] for same in by_dtype.values() for start in range(0, len(same), most)]


def get_updater(optimizer: Optimizer) -> Updater:
    """An updater, the function that `KVStore.set_updater` takes."""
    return Updater(optimizer)
