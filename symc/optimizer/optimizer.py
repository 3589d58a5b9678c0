"""The base of optimizers: learning rates and weight decays by index, counts of updates, optimizers by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from symc import ndarray
from symc.core.divided import rest_of
from symc.core.errors import ArgumentError, ConflictError, DeprecatedError, UsageError
from symc.ndarray import NDArray
from symc.registry import add_by_name

__getattr__ = rest_of(__name__)  # SGD and its like
Index = Any  # int, or a name
Class = TypeVar("Class", bound=type)


class Optimizer:
    """Base of optimizers: a subclass overrides `create_state` and `update`.

    rescale_grad        factor of every gradient, before clipping
    clip_gradient       limit of the size of a gradient's elements, None for none
    wd, learning_rate   0.01 unless given here or by lr_scheduler, a function of the number of updates
    param_idx2name      names by index, which decide what decays: those that end in _weight or _gamma
    param_dict          Parameters by index, whose lr_mult and wd_mult go before those set here
    multi_precision     float16 weights have a float32 copy that is updated instead
    """

    opt_registry: ClassVar[dict[str, type[Optimizer]]] = {}

    def __init__(
        self,
        rescale_grad: float = 1.0,
        param_idx2name: Mapping[Index, str] | None = None,
        wd: float = 0.0,
        clip_gradient: float | None = None,
        learning_rate: float | None = None,
        lr_scheduler: Any = None,
        sym: Any = None,
        begin_num_update: int = 0,
        multi_precision: bool = False,
        param_dict: Mapping[Index, Any] | None = None,
    ) -> None:
        self.rescale_grad = rescale_grad
        self.lr_scheduler = lr_scheduler
        if lr_scheduler is None and learning_rate is None:
            learning_rate = 0.01
        self.lr = learning_rate
        if lr_scheduler is not None and learning_rate is not None and lr_scheduler.base_lr != learning_rate:
            print(
                UserWarning(
                    "learning rate from ``lr_scheduler`` has been overwritten by ``learning_rate`` in optimizer."
                )
            )
            lr_scheduler.base_lr = learning_rate
        self.wd = wd
        self.lr_mult: dict[Index, float] = {}
        self.wd_mult: dict[Index, float] = {}
        self.begin_num_update = begin_num_update
        self.num_update = begin_num_update
        self._all_index_update_counts: dict[int, dict[Index, int]] = {0: {}}
        self._index_update_count = self._all_index_update_counts[0]
        self.clip_gradient = clip_gradient
        self.multi_precision = multi_precision
        self.aggregate_num = 0
        if not isinstance(param_idx2name or {}, dict):
            raise ConflictError("param_idx2name should be a dict of param indexes to names.")
        self.idx2name = dict(param_idx2name or {})
        self.sym_info = () if sym is None else (sym.attr_dict(), sym.list_arguments())
        self.param_dict = param_dict or {}
        self.allow_np_array = False
        self.set_lr_mult({})
        self.set_wd_mult({})

    # -- by name ------------------------------------------------------------------------------------------------------

    @staticmethod
    def register(klass: Class) -> Class:
        """Makes an optimizer creatable by its name in lower case; replacing another warns."""
        return add_by_name(Optimizer.opt_registry, klass, "optimizer")

    @staticmethod
    def create_optimizer(name: str, **kwargs: Any) -> Optimizer:
        """An optimizer by name; raises ArgumentError for an unknown one."""
        if name.lower() not in Optimizer.opt_registry:
            raise ArgumentError(f"Cannot find optimizer {name}; there are {', '.join(sorted(Optimizer.opt_registry))}")
        return Optimizer.opt_registry[name.lower()](**kwargs)

    # -- what subclasses override -------------------------------------------------------------------------------------

    def create_state(self, index: Index, weight: NDArray) -> Any:
        """What is kept for a weight between updates: None, an array or a tuple of such."""

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        """Updates the weight and its state in place."""
        raise NotImplementedError(f"{type(self).__name__} must override update")

    def create_state_multi_precision(self, index: Index, weight: NDArray) -> Any:
        """`create_state`, for a float16 weight under multi_precision beside its float32 copy: (copy, state)."""
        if self._is_mixed(weight):
            copy = weight.astype(np.float32)
            return copy, self.create_state(index, copy)
        return self.create_state(index, weight)

    def update_multi_precision(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        """`update`, of a float16 weight under multi_precision by its float32 copy."""
        if not (self.multi_precision and weight.dtype == np.float16):
            self.update(index, weight, grad, state)
            return
        copy, state32 = state
        self.update(index, copy, grad.astype(np.float32), state32)
        ndarray.cast(copy, dtype=weight.dtype, out=weight)

    def _is_mixed(self, weight: NDArray) -> bool:
        """Whether a weight needs a float32 copy; warns where it would, without multi_precision."""
        if weight.dtype == np.float16 and not self.multi_precision:
            warnings.warn(
                "Accumulating with float16 in optimizer can lead to poor accuracy or slow convergence. "
                "Consider using multi_precision=True option of the optimizer",
                stacklevel=3,
            )
        return self.multi_precision and weight.dtype == np.float16

    # -- rates --------------------------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The rate now, before any factor."""
        return self.lr if self.lr_scheduler is None else self.lr_scheduler(self.num_update)  # type: ignore[return-value]

    def set_learning_rate(self, lr: float) -> None:
        """Sets the rate; raises UsageError where a schedule decides it."""
        if self.lr_scheduler is not None:
            raise UsageError(
                "LRScheduler of the optimizer has already been defined. Note that set_learning_rate can mutate the "
                "value of the learning rate of the optimizer only when the LRScheduler of the optimizer is undefined."
            )
        self.lr = lr

    def set_lr_scale(self, args_lrscale: Any) -> None:
        """Gone: `set_lr_mult`."""
        raise DeprecatedError("set_lr_scale is deprecated; use set_lr_mult")

    def set_lr_mult(self, args_lr_mult: Mapping[Index, float]) -> None:
        """Factors of the learning rate by index or name, over those that the symbol's attributes give."""
        self.lr_mult = {**self._of_symbol("__lr_mult__"), **args_lr_mult}

    def set_wd_mult(self, args_wd_mult: Mapping[Index, float]) -> None:
        """Factors of the weight decay by index or name; 0 for names known here that are no weights or gammas."""
        undecayed = {n: 0.0 for n in self.idx2name.values() if not n.endswith(self._DECAYED)}
        self.wd_mult = {**undecayed, **self._of_symbol("__wd_mult__"), **args_wd_mult}

    _DECAYED: ClassVar[tuple[str, ...]] = ("_weight", "_gamma")

    def _of_symbol(self, key: str) -> dict[Index, float]:
        if not self.sym_info:
            return {}
        attrs, names = self.sym_info
        return {name: float(attrs[name][key]) for name in names if key in attrs.get(name, {})}

    def _get_lrs(self, indices: Sequence[Index]) -> list[float]:
        lr = self.learning_rate
        return [lr * factor for factor in self._factors(indices, "lr_mult")]

    def _get_wds(self, indices: Sequence[Index]) -> list[float]:
        return [self.wd * factor for factor in self._factors(indices, "wd_mult")]

    def _factors(self, indices: Sequence[Index], which: str) -> list[float]:
        """Of each index: what its Parameter says, or else what was set for it or its name."""
        found, factors = [], getattr(self, which)
        for index in indices:
            parameter = self.param_dict.get(index)
            if parameter is not None:
                found.append(getattr(parameter, which))
            else:
                found.append(factors[index] if index in factors else factors.get(self.idx2name.get(index), 1.0))
        return found

    def _get_lr(self, index: Index) -> float:
        return self._get_lrs([index])[0]

    def _get_wd(self, index: Index) -> float:
        return self._get_wds([index])[0]

    # -- counts -------------------------------------------------------------------------------------------------------

    def _set_current_context(self, device_id: int) -> None:
        """Counts for another device from now on."""
        self._index_update_count = self._all_index_update_counts.setdefault(device_id, {})

    def _update_count(self, index: Index | Sequence[Index]) -> None:
        counts = self._index_update_count
        for each in index if isinstance(index, (list, tuple)) else (index,):
            count = counts[each] = counts.get(each, self.begin_num_update) + 1
            if count > self.num_update:
                self.num_update = count

    def _begin(self, index: Index) -> dict[str, float]:
        """Counts an update; gives the keywords that all update operators share."""
        self._update_count(index)
        return {"lr": self._get_lr(index), "wd": self._get_wd(index), **self._of_gradient()}

    def _of_gradient(self) -> dict[str, float]:
        clip = {"clip_gradient": self.clip_gradient} if self.clip_gradient else {}
        return {"rescale_grad": self.rescale_grad, **clip}

    def _rescaled(self, grad: NDArray) -> NDArray:
        """The gradient times its factor, clipped."""
        return self._clipped(grad * self.rescale_grad)

    def _clipped(self, grad: NDArray) -> NDArray:
        limit = self.clip_gradient
        return grad if limit is None else ndarray.clip(grad, -limit, limit)

    # -- pickling -----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "param_dict"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self.param_dict = {}


register = Optimizer.register
create = Optimizer.create_optimizer


def zeros_like(weight: NDArray) -> NDArray:
    """A state of the weight's shape and dtype, all 0."""
    return ndarray.zeros(weight.shape, weight.context, dtype=weight.dtype)


@register
class Test(Optimizer):
    """Adds the rescaled gradient to the weight; its state is a copy of the weight."""

    def create_state(self, index: Index, weight: NDArray) -> NDArray:
        return ndarray.zeros(weight.shape, weight.context)

    def update(self, index: Index, weight: NDArray, grad: NDArray, state: Any) -> None:
        weight[:] += grad * self.rescale_grad
        state[:] = weight
