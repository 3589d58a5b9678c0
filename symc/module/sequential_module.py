"""`SequentialModule`: modules one after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import copy
from typing import Any

from symc.core.errors import ConflictError
from symc.io import DataDesc
from symc.ndarray import NDArray

from .base_module import SMALL, BaseModule, Params


class SequentialModule(BaseModule):
    """Modules each of which reads the outputs of the one before.

    `add(module, take_labels=True)` for one that is given the labels; `auto_wiring=True` for one whose data are named
    otherwise than those outputs.
    """

    META_TAKE_LABELS = "take_labels"
    META_AUTO_WIRING = "auto_wiring"

    def __init__(self, logger: Any = logging) -> None:
        super().__init__(logger)
        self._modules: list[Any] = []
        self._metas: list[dict[str, Any]] = []
        self._label_shapes: Any = None

    def add(self, module: Any, **kwargs: Any) -> SequentialModule:
        """Appends a module; gives itself, so that calls can follow one another."""
        for key in kwargs:
            if key not in (self.META_TAKE_LABELS, self.META_AUTO_WIRING):
                raise ConflictError(f'Unknown meta "{key}", a typo?')
        self._modules.append(module)
        self._metas.append(kwargs)
        self.binded = self.params_initialized = self.optimizer_initialized = False
        return self

    @property
    def data_names(self) -> list[str]:
        return self._modules[0].data_names if self._modules else []

    @property
    def output_names(self) -> list[str]:
        return self._modules[-1].output_names if self._modules else []

    @property
    def data_shapes(self) -> list[DataDesc]:
        self._require()
        shapes: list[DataDesc] = self._modules[0].data_shapes
        return shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        self._require()
        shapes: list[DataDesc] | None = self._label_shapes
        return shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        self._require()
        shapes: list[tuple[str, tuple[int, ...]]] = self._modules[-1].output_shapes
        return shapes

    def get_params(self) -> tuple[Params, Params]:
        self._require(params=True)
        args: Params = {}
        aux: Params = {}
        for module in self._modules:
            for target, found in zip((args, aux), module.get_params()):
                target.update(found)
        return args, aux

    def init_params(
        self,
        initializer: Any = SMALL,
        arg_params: Mapping[str, NDArray] | None = None,
        aux_params: Mapping[str, NDArray] | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        if self.params_initialized and not force_init:
            return
        self._require()
        owners: dict[str, int] = {}
        for k, module in enumerate(self._modules):
            module.init_params(initializer, arg_params, aux_params, allow_missing, force_init, allow_extra)
            for name in (*module.get_params()[0], *module.get_params()[1]):
                if name in owners:
                    raise ConflictError(f"Duplicated parameter names: {name} in layers {owners[name]} and {k}")
                owners[name] = k
        self.params_initialized = True

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
        if inputs_need_grad and not for_training:
            raise ConflictError("inputs_need_grad asks for gradients: bind for_training")
        if shared_module is not None:
            raise ConflictError("Shared module is not supported")
        if not self._modules:
            raise ConflictError("Attempting to bind an empty SequentialModule")
        self.for_training, self.inputs_need_grad = for_training, inputs_need_grad
        self._label_shapes = label_shapes if any(m.get(self.META_TAKE_LABELS) for m in self._metas) else None
        given = data_shapes
        for k, (module, meta) in enumerate(zip(self._modules, self._metas)):
            if meta.get(self.META_AUTO_WIRING):
                names = module.data_names
                if len(names) != len(given):
                    raise ConflictError(f"layer {k} reads {len(names)} arrays, the one before gives {len(given)}")
                given = [(name, shape) for name, (_, shape) in zip(names, given)]
            module.bind(
                given,
                label_shapes if meta.get(self.META_TAKE_LABELS) else None,
                for_training,
                for_training and (inputs_need_grad or k > 0),
                force_rebind,
                None,
                grad_req,
            )
            given = module.output_shapes
        self.binded = True

    def init_optimizer(
        self,
        kvstore: Any = "local",
        optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        self._require(params=True)
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        for module in self._modules:
            module.init_optimizer(kvstore, optimizer, optimizer_params, force_init)
        self.optimizer_initialized = True

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        self._require(params=True)
        given, described = data_batch.data, getattr(data_batch, "provide_data", None)
        for module, meta in zip(self._modules, self._metas):
            if meta.get(self.META_AUTO_WIRING) and described is not None:
                described = [DataDesc(name, desc[1]) for name, desc in zip(module.data_names, described)]
            module.forward(self._batch_of(meta, data_batch, given, described), is_train=is_train)
            if module is not self._modules[-1]:
                given = module.get_outputs()
                described = [DataDesc(name, a.shape, a.dtype) for name, a in zip(module.output_names, given)]

    def _batch_of(self, meta: Mapping[str, Any], batch: Any, data: Any, described: Any) -> Any:
        """A batch for one of the modules: its own data, all else (bucket, numbers of examples) as it was given."""
        made = copy(batch)
        made.data = data
        if hasattr(batch, "provide_data"):
            made.provide_data = described
        if hasattr(batch, "provide_label") and not meta.get(self.META_TAKE_LABELS):
            made.provide_label = None  # shapes that the module was not bound to
        return made

    def backward(self, out_grads: Any = None) -> None:
        self._require(params=True)
        for k in reversed(range(len(self._modules))):
            self._modules[k].backward(out_grads)
            if k:
                out_grads = self._modules[k].get_input_grads()

    def update(self) -> None:
        self._require(params=True, optimizer=True)
        for module in self._modules:
            module.update()

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        self._require(params=True)
        outputs: list[Any] = self._modules[-1].get_outputs(merge_multi_context)
        return outputs

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        self._require(params=True)
        if not self.inputs_need_grad:
            raise ConflictError("SequentialModule: the data have no gradients; bind with inputs_need_grad=True")
        grads: list[Any] = self._modules[0].get_input_grads(merge_multi_context)
        return grads

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        self._require(params=True)
        for module, meta in zip(self._modules, self._metas):
            if meta.get(self.META_TAKE_LABELS):
                module.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon: Any) -> None:
        self._require()
        for module in self._modules:
            module.install_monitor(mon)
