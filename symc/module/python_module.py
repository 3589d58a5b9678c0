"""`PythonModule`, `PythonLossModule`: modules without parameters, written in Python."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symc import ndarray as nd
from symc.core.errors import ConflictError
from symc.io import DataDesc
from symc.ndarray import NDArray

from .base_module import SMALL, BaseModule, Params


class PythonModule(BaseModule):
    """Base of modules without parameters; a subclass gives `forward`, `backward`, `get_outputs`, `get_input_grads` and
    `_compute_output_shapes`."""

    def __init__(
        self,
        data_names: Sequence[str],
        label_names: Sequence[str] | None,
        output_names: Sequence[str],
        logger: Any = logging,
    ) -> None:
        super().__init__(logger)
        self._data_names = list(data_names)
        self._label_names = None if label_names is None else list(label_names)
        self._output_names = list(output_names)
        self._data_shapes: Any = None
        self._label_shapes: Any = None
        self._output_shapes: Any = None

    @property
    def data_names(self) -> list[str]:
        return self._data_names

    @property
    def output_names(self) -> list[str]:
        return self._output_names

    @property
    def data_shapes(self) -> list[DataDesc]:
        shapes: list[DataDesc] = self._data_shapes
        return shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        shapes: list[DataDesc] | None = self._label_shapes
        return shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        shapes: list[tuple[str, tuple[int, ...]]] = self._output_shapes
        return shapes

    def get_params(self) -> tuple[Params, Params]:
        """None of either."""
        return {}, {}

    def init_params(
        self,
        initializer: Any = SMALL,
        arg_params: Mapping[str, NDArray] | None = None,
        aux_params: Mapping[str, NDArray] | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """There is nothing to initialise."""
        self.params_initialized = True

    def update(self) -> None:
        """There is nothing to update."""

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Adds the outputs to a metric, if the module has labels."""
        if self._label_shapes is None:
            return
        if pre_sliced:
            raise ConflictError("PythonModule does not support presliced labels")
        eval_metric.update(labels, self.get_outputs())

    def bind(
        self,
        data_shapes: Any,
        label_shapes: Any = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: Any = None,
        grad_req: Any = "write",
    ) -> None:
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        if grad_req != "write":
            raise ConflictError("Python module only support write gradient")
        self.for_training, self.inputs_need_grad = for_training, inputs_need_grad
        for kind, names, shapes in (
            ("data", self._data_names, data_shapes),
            ("label", self._label_names, label_shapes),
        ):
            if shapes is not None and names != [s[0] for s in shapes]:
                raise ConflictError(f"{kind}_shapes {shapes} are not of {names}")
        self._data_shapes, self._label_shapes = data_shapes, label_shapes
        self._output_shapes = self._compute_output_shapes()
        self.binded = True

    def _compute_output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the outputs, from those of data and labels."""
        raise NotImplementedError(f"{type(self).__name__} must override _compute_output_shapes")

    def init_optimizer(
        self,
        kvstore: Any = "local",
        optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        """There is nothing to optimise."""
        self.optimizer_initialized = True


class PythonLossModule(PythonModule):
    """A loss of one array: forward hands the scores on, backward gives `grad_func(scores, labels)`."""

    def __init__(
        self,
        name: str = "pyloss",
        data_names: Sequence[str] = ("data",),
        label_names: Sequence[str] = ("softmax_label",),
        logger: Any = logging,
        grad_func: Callable[[NDArray, NDArray], Any] | None = None,
    ) -> None:
        super().__init__(data_names, label_names, [f"{name}_output"], logger)
        if len(data_names) != 1 or len(label_names) != 1:
            raise ConflictError(f"PythonLossModule has one array and one label, got {data_names} and {label_names}")
        if grad_func is not None and not callable(grad_func):
            raise ConflictError(f"grad_func must be a function of scores and labels, got {grad_func!r}")
        self._name = name
        self._scores: NDArray | None = None
        self._labels: NDArray | None = None
        self._scores_grad: NDArray | None = None
        self._grad_func = grad_func

    def _compute_output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return [(f"{self._name}_output", self._data_shapes[0][1])]

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        self._scores = data_batch.data[0]
        if self.for_training if is_train is None else is_train:
            self._labels = data_batch.label[0]

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        return [self._scores]

    def backward(self, out_grads: Any = None) -> None:
        if out_grads is not None:
            raise ConflictError("For a loss module, out_grads should be None")
        if not self.for_training:
            raise ConflictError("re-bind with for_training=True to run backward")
        self._backward_impl()

    def _backward_impl(self) -> None:
        """Computes the gradient of the scores; may be overridden instead of giving grad_func."""
        if self._grad_func is None:
            raise NotImplementedError(f"{type(self).__name__}: give grad_func or override _backward_impl")
        assert self._scores is not None and self._labels is not None
        grad = self._grad_func(self._scores, self._labels)
        self._scores_grad = grad if isinstance(grad, NDArray) else nd.array(grad)

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        return [self._scores_grad]

    def install_monitor(self, mon: Any) -> None:
        """There is no executor to watch."""
