"""What a store applies to the keys of an SVRGModule: an optimizer to parameters, and full gradients as they are."""

from __future__ import annotations

from typing import Any

from symc import optimizer as opt
from symc.ndarray import NDArray
from symc.optimizer import Optimizer

FULL = "_full"  # the end of the name of a parameter's gradient over all data


@opt.register
class _AssignmentOptimizer(Optimizer):
    """The weight becomes the gradient."""

    def update(self, index: Any, weight: NDArray, grad: NDArray, state: Any) -> None:
        weight[:] = grad


@opt.register
class _SVRGOptimizer(Optimizer):
    """Another optimizer for parameters; what is named `<parameter>_full` is assigned.

    default_optimizer   an instance, or a name, to which the further arguments go as well
    """

    def __init__(self, default_optimizer: str | Optimizer, **kwargs: Any) -> None:
        super().__init__(**{name: value for name, value in kwargs.items() if name in OF_ALL})
        is_name = isinstance(default_optimizer, str)
        self.default_opt = opt.create(default_optimizer, **kwargs) if is_name else default_optimizer
        self.aux_opt = _AssignmentOptimizer()

    def create_state(self, index: Any, weight: NDArray) -> Any:
        return self._chosen(index).create_state(index, weight)

    def update(self, index: Any, weight: NDArray, grad: NDArray, state: Any) -> None:
        self._chosen(index).update(index, weight, grad, state)

    def _chosen(self, index: Any) -> Optimizer:
        name = self.idx2name.get(index, index)
        return self.aux_opt if str(name).endswith(FULL) else self.default_opt


OF_ALL = (
    "rescale_grad", "param_idx2name", "wd", "clip_gradient", "learning_rate", "lr_scheduler", "sym", "begin_num_update",
    "multi_precision", "param_dict",
)  # fmt: skip
