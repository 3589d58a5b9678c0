"""`BucketingModule`: networks for inputs of several lengths, which share their parameters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symc.context import Context
from symc.core.errors import ConflictError
from symc.core.replacing import writing
from symc.io import DataDesc
from symc.model import load_params
from symc.name import NameManager
from symc.ndarray import NDArray

from .base_module import SMALL, BaseModule, Params, _check_input_names
from .module import Module

if TYPE_CHECKING:
    from symc.symbol import Symbol

Generated = tuple["Symbol", Sequence[str], Sequence[str]]


class BucketingModule(BaseModule):
    """A module for each key of a bucket; a batch's `bucket_key` says which of them it is for.

    sym_gen               bucket key -> (symbol, data names, label names); asked when a bucket is first seen
    default_bucket_key    the bucket whose module holds the parameters, of all others too: the largest

    The rest is as for Module.
    """

    def __init__(
        self,
        sym_gen: Callable[[Any], Generated],
        default_bucket_key: Any = None,
        logger: Any = logging,
        context: Context | Sequence[Context] | None = None,
        work_load_list: Sequence[float] | None = None,
        fixed_param_names: Sequence[str] | None = None,
        state_names: Sequence[str] | None = None,
        group2ctxs: Any = None,
        compression_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(logger)
        if default_bucket_key is None:
            raise ConflictError("BucketingModule: default_bucket_key must be given")
        self._sym_gen = sym_gen
        self._default_bucket_key = default_bucket_key
        self._options: dict[str, Any] = {
            "logger": logger,
            "context": context,
            "work_load_list": work_load_list,
            "fixed_param_names": fixed_param_names,
            "state_names": state_names,
            "group2ctxs": group2ctxs,
            "compression_params": compression_params,
        }
        symbol, data_names, label_names = self._call_sym_gen(default_bucket_key)
        _check_input_names(symbol, data_names or (), "data", True)
        _check_input_names(symbol, label_names or (), "label", False)
        _check_input_names(symbol, state_names or (), "state", True)
        _check_input_names(symbol, fixed_param_names or (), "fixed_param", True)
        self._buckets: dict[Any, Module] = {}
        self._curr_module: Module | None = None
        self._curr_bucket_key: Any = None
        self._grad_req: Any = "write"
        self._monitor: Any = None
        self._loaded: tuple[Params, Params] | None = None

    def _call_sym_gen(self, *args: Any, **kwargs: Any) -> Generated:
        """What sym_gen gives, with automatic names that begin anew."""
        with NameManager():
            return self._sym_gen(*args, **kwargs)

    def _module(self, bucket_key: Any) -> Module:
        symbol, data_names, label_names = self._call_sym_gen(bucket_key)
        return Module(symbol, data_names, label_names, **self._options)

    @property
    def _current(self) -> Module:
        self._require()
        assert self._curr_module is not None
        return self._curr_module

    @property
    def symbol(self) -> Symbol | None:
        return self._current.symbol

    @property
    def data_names(self) -> list[str]:
        if self._curr_module is not None:
            return self._curr_module.data_names
        return list(self._call_sym_gen(self._default_bucket_key)[1])

    @property
    def output_names(self) -> list[str]:
        if self._curr_module is not None:
            return self._curr_module.output_names
        return self._call_sym_gen(self._default_bucket_key)[0].list_outputs()

    @property
    def data_shapes(self) -> list[DataDesc]:
        return self._current.data_shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        return self._current.label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return self._current.output_shapes

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
        """Binds the default bucket to these shapes."""
        if shared_module is not None:
            raise ConflictError("shared_module for BucketingModule is not supported")
        kept = self.get_params() if self.params_initialized and self.binded else None
        if force_rebind:
            self._reset_bind()
        if self.binded:
            self.logger.warning("Already bound, ignoring bind()")
            return
        self.for_training = for_training
        self.inputs_need_grad = inputs_need_grad
        self._grad_req = grad_req
        module = self._module(self._default_bucket_key)
        module.bind(data_shapes, label_shapes, for_training, inputs_need_grad, grad_req=grad_req)
        self._buckets[self._default_bucket_key] = self._curr_module = module
        self._curr_bucket_key = self._default_bucket_key
        self.binded = True
        kept = kept or self._loaded
        if kept is not None:
            self.set_params(*kept)

    def _reset_bind(self) -> None:
        self.binded = False
        self._buckets = {}
        self._curr_module = self._curr_bucket_key = None

    def switch_bucket(self, bucket_key: Any, data_shapes: Any, label_shapes: Any = None) -> None:
        """Goes to the module of a bucket, which is made and bound when it is first needed."""
        self._require()
        if bucket_key not in self._buckets:
            module = self._module(bucket_key)
            module.bind(
                data_shapes,
                label_shapes,
                self._current.for_training,
                self._current.inputs_need_grad,
                shared_module=self._buckets[self._default_bucket_key],
                grad_req=self._grad_req,
            )
            if self._monitor is not None:
                module.install_monitor(self._monitor)
            self._buckets[bucket_key] = module
        self._curr_module, self._curr_bucket_key = self._buckets[bucket_key], bucket_key

    def get_params(self) -> tuple[Params, Params]:
        self._require(params=True)
        # Every bucket's steps change the same arrays.
        self._current._params_dirty = self._current._params_dirty or any(
            module._params_dirty for module in self._buckets.values()
        )
        return self._current.get_params()

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
        self._current.init_params(initializer, arg_params, aux_params, allow_missing, force_init, allow_extra)
        self.params_initialized = True

    def set_params(
        self,
        arg_params: Mapping[str, NDArray] | None,
        aux_params: Mapping[str, NDArray] | None,
        allow_missing: bool = False,
        force_init: bool = True,
        allow_extra: bool = False,
    ) -> None:
        if not allow_missing:
            self.init_params(None, arg_params, aux_params, allow_missing, force_init, allow_extra)
            return
        if self.params_initialized and not force_init:
            warnings.warn("Parameters already initialized and force_init=False. set_params call ignored.", stacklevel=2)
            return
        self._current.set_params(arg_params, aux_params, allow_missing, force_init, allow_extra)
        self.params_initialized = True

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
        self._current.init_optimizer(kvstore, optimizer, optimizer_params, force_init)
        for module in self._buckets.values():
            if module is not self._current:
                module.borrow_optimizer(self._current)
        self.optimizer_initialized = True

    def prepare(self, data_batch: Any, sparse_row_id_fn: Any = None) -> None:
        """Makes the module of the next batch's bucket; the current one stays."""
        self._require(params=True)
        key = self._curr_bucket_key
        module = self._current
        self._switch_to(data_batch)
        self._current.prepare(data_batch, sparse_row_id_fn=sparse_row_id_fn)
        self._curr_module, self._curr_bucket_key = module, key

    def _switch_to(self, batch: Any) -> None:
        if batch.bucket_key is None or batch.provide_data is None:
            raise ConflictError("BucketingModule: a batch must have bucket_key, provide_data and provide_label")
        self.switch_bucket(batch.bucket_key, batch.provide_data, batch.provide_label)

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        self._require(params=True)
        self._switch_to(data_batch)
        self._current.forward(data_batch, is_train=is_train)

    def backward(self, out_grads: Any = None) -> None:
        self._require(params=True)
        self._current.backward(out_grads)

    def update(self) -> None:
        self._require(params=True, optimizer=True)
        if not self._current.optimizer_initialized:
            self._current.borrow_optimizer(self._buckets[self._default_bucket_key])
        self._current.update()

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        return self._current.get_outputs(merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        return self._current.get_input_grads(merge_multi_context)

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        return self._current.get_states(merge_multi_context)

    def set_states(self, states: Any = None, value: Any = None) -> None:
        self._current.set_states(states, value)

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        self._current.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon: Any) -> None:
        self._require()
        self._monitor = mon
        for module in self._buckets.values():
            module.install_monitor(mon)

    def save_checkpoint(self, prefix: str, epoch: int, remove_amp_cast: bool = False) -> None:
        """Writes `<prefix>-<key>-symbol.json` for each bucket, the keys to `<prefix>.buckets`, and the parameters."""
        self._require(params=True)
        for key, module in self._buckets.items():
            assert module.symbol is not None
            module.symbol.save(f"{prefix}-{key}-symbol.json", remove_amp_cast=remove_amp_cast)
        self.save_params(f"{prefix}-{epoch:04d}.params")
        with writing(f"{prefix}.buckets") as file:
            file.writelines(f"{key}\n".encode() for key in self._buckets)

    @staticmethod
    def load(
        prefix: str, epoch: int, sym_gen: Any = None, default_bucket_key: Any = None, **kwargs: Any
    ) -> BucketingModule:
        """A module with the parameters of a checkpoint; they are taken over when it is bound."""
        args, auxs = load_params(prefix, epoch)
        return BucketingModule.load_dict(None, sym_gen, default_bucket_key, args, auxs, **kwargs)

    @staticmethod
    def load_dict(
        sym_dict: Mapping[Any, Symbol] | None = None,
        sym_gen: Any = None,
        default_bucket_key: Any = None,
        arg_params: Mapping[str, NDArray] | None = None,
        aux_params: Mapping[str, NDArray] | None = None,
        **kwargs: Any,
    ) -> BucketingModule:
        """The same from parameters; `sym_dict` is not looked at, as in MXNet."""
        if sym_gen is None:
            raise ConflictError("sym_gen is required for loading BucketingModule")
        module = BucketingModule(sym_gen, default_bucket_key, **kwargs)
        module._loaded = dict(arg_params or {}), dict(aux_params or {})
        return module
