"""`Module`: a symbol with parameters and an optimizer, trained by symbols' executors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symc import kvstore as kvs
from symc import ndarray as nd
from symc import optimizer as opt
from symc.context import Context, current_context
from symc.core.errors import ConflictError, ShapeError, SymcError
from symc.core.reading import contents
from symc.core.replacing import replacing
from symc.initializer import InitDesc
from symc.io import DataDesc
from symc.model import initialize_kvstore, load_checkpoint, update_params, update_params_on_kvstore
from symc.ndarray import NDArray

from .base_module import SMALL, BaseModule, Params, _as_list, _check_input_names, _parse_data_desc
from .batches import described, joined
from .executor_group import DataParallelExecutorGroup

if TYPE_CHECKING:
    from symc.symbol import Symbol


class MissingParameterError(SymcError, RuntimeError):
    """Parameters were given, but not this one."""


class Module(BaseModule):
    """A module of one symbol.

    data_names, label_names   inputs; all other arguments but the states are parameters
    context                   one, or a list whose members share each batch, in proportion to work_load_list
    fixed_param_names         parameters that are not trained
    state_names               arguments that carry values over from batch to batch
    """

    def __init__(
        self,
        symbol: Symbol,
        data_names: Sequence[str] | None = ("data",),
        label_names: Sequence[str] | None = ("softmax_label",),
        logger: Any = logging,
        context: Context | Sequence[Context] | None = None,
        work_load_list: Sequence[float] | None = None,
        fixed_param_names: Sequence[str] | None = None,
        state_names: Sequence[str] | None = None,
        group2ctxs: Any = None,
        compression_params: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(logger)
        if compression_params:
            raise SymcError("gradient compression is not supported; leave compression_params out")
        self._context: list[Context] = _as_list(current_context() if context is None else context)
        self._work_load_list = list(work_load_list or [1] * len(self._context))
        if len(self._work_load_list) != len(self._context):
            raise ConflictError(f"{len(self._work_load_list)} work loads for {len(self._context)} contexts")
        self._symbol: Symbol = symbol
        self._data_names, self._label_names = list(data_names or ()), list(label_names or ())
        self._state_names, self._fixed_param_names = list(state_names or ()), list(fixed_param_names or ())
        _check_input_names(symbol, self._data_names, "data", True)
        _check_input_names(symbol, self._label_names, "label", False)
        _check_input_names(symbol, self._state_names, "state", True)
        _check_input_names(symbol, self._fixed_param_names, "fixed_param", True)
        inputs = {*self._data_names, *self._label_names, *self._state_names}
        self._param_names = [name for name in symbol.list_arguments() if name not in inputs]
        self._aux_names = symbol.list_auxiliary_states()
        self._output_names = symbol.list_outputs()
        self._group2ctxs = group2ctxs
        self._grad_req: Any = None
        self._arg_params: Params | None = None
        self._aux_params: Params | None = None
        self._params_dirty = False  # whether the executors have newer ones
        self._optimizer: Any = None
        self._kvstore: Any = None
        self._update_on_kvstore: bool | None = None
        self._updater: Any = None
        self._preload_opt_states: str | None = None
        self._exec_group: DataParallelExecutorGroup | None = None
        self._data_shapes: list[DataDesc] | None = None
        self._label_shapes: list[DataDesc] | None = None

    @staticmethod
    def load(prefix: str, epoch: int, load_optimizer_states: bool = False, **kwargs: Any) -> Module:
        """A module from a checkpoint, on demand with the states of its optimizer; kwargs as for Module."""
        symbol, args, auxs = load_checkpoint(prefix, epoch)
        module = Module(symbol, **kwargs)
        module._arg_params, module._aux_params = args, auxs
        module.params_initialized = True
        if load_optimizer_states:
            module._preload_opt_states = f"{prefix}-{epoch:04d}.states"
        return module

    def save_checkpoint(
        self, prefix: str, epoch: int, save_optimizer_states: bool = False, remove_amp_cast: bool = True
    ) -> None:
        """Writes `<prefix>-symbol.json`, `<prefix>-<epoch as 4 digits>.params` and on demand the same `.states`."""
        self._symbol.save(f"{prefix}-symbol.json", remove_amp_cast=remove_amp_cast)
        path = f"{prefix}-{epoch:04d}.params"
        self.save_params(path)
        logging.info('Saved checkpoint to "%s"', path)
        if save_optimizer_states:
            path = f"{prefix}-{epoch:04d}.states"
            self.save_optimizer_states(path)
            logging.info('Saved optimizer state to "%s"', path)

    @property
    def _total_exec_bytes(self) -> int:
        """See DataParallelExecutorGroup."""
        return self._group._total_exec_bytes

    @property
    def data_names(self) -> list[str]:
        return self._data_names

    @property
    def label_names(self) -> list[str]:
        """Names of the labels."""
        return self._label_names

    @property
    def output_names(self) -> list[str]:
        return self._output_names

    @property
    def data_shapes(self) -> list[DataDesc]:
        self._require()
        assert self._data_shapes is not None
        return self._data_shapes

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        self._require()
        return self._label_shapes

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        return self._group.get_output_shapes()

    @property
    def _group(self) -> DataParallelExecutorGroup:
        self._require()
        assert self._exec_group is not None
        return self._exec_group

    # Parameters.

    def get_params(self) -> tuple[Params, Params]:
        self._require(bound=False, params=True)  # `load` has them before there are shapes
        if self._params_dirty:
            self._sync_params_from_devices()
        return self._own_params()

    def _own_params(self) -> tuple[Params, Params]:
        """Parameters and states apart from the executors' copies; zeros until something else is known."""
        if self._arg_params is None or self._aux_params is None:
            self._arg_params = _zeros_like(self._param_names, self._group.param_arrays)
            self._aux_params = _zeros_like(self._aux_names, self._group.aux_arrays)
        return self._arg_params, self._aux_params

    def _sync_params_from_devices(self) -> None:
        """Fetches parameters from the executors, or from a store that updates them."""
        own = self._own_params()
        self._group.get_params(*own)
        if self._kvstore and self._update_on_kvstore:
            for name, array in own[0].items():
                if name in self._trained:
                    self._kvstore.pull(name, array)
        self._params_dirty = False

    @property
    def _trained(self) -> list[str]:
        """The parameters with a gradient."""
        return [name for name, grads in zip(self._param_names, self._group.grad_arrays) if grads[0] is not None]

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
            warnings.warn(
                "Parameters already initialized and force_init=False. init_params call ignored.", stacklevel=2
            )
            return
        self._require()
        attributes, own = self._symbol.attr_dict(), self._own_params()
        for arrays, given in zip(own, (arg_params, aux_params)):
            for name, array in sorted(arrays.items()):
                if given is not None and name in given:
                    if given[name].shape != array.shape:
                        raise ShapeError(f"parameter {name} has shape {given[name].shape}, expected {array.shape}")
                    if given[name] is not array:
                        array[:] = given[name]
                    continue
                if given is not None and not allow_missing:
                    raise MissingParameterError(f"{name} is not presented; allow_missing=True initialises it")
                if initializer is not None:
                    initializer(InitDesc(name, attributes.get(name)), array)
        self.params_initialized = True
        self._params_dirty = False
        self._group.set_params(*own)

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
        self._group.set_params(arg_params or {}, aux_params or {}, allow_extra=allow_extra)
        self._own_params()
        self._params_dirty = True
        self.params_initialized = True

    # Shapes.

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
        if force_rebind:
            if self.binded and self.params_initialized and self._params_dirty:
                self._sync_params_from_devices()
            self._reset_bind()
        if self.binded:
            self.logger.warning("Already bound, ignoring bind()")
            return
        if inputs_need_grad and not for_training:
            raise ConflictError("inputs_need_grad asks for gradients: bind for_training")
        self._data_shapes, self._label_shapes = _parse_data_desc(
            self._data_names, self._label_names, data_shapes, label_shapes
        )
        if shared_module is not None:
            shared_module._require(params=True)
        self.for_training = for_training
        self.inputs_need_grad = inputs_need_grad
        self._grad_req = grad_req
        self._exec_group = self._new_group(None if shared_module is None else shared_module._exec_group)
        self.binded = True
        if shared_module is not None:
            self.params_initialized = True
            self._arg_params, self._aux_params = shared_module._arg_params, shared_module._aux_params
            if shared_module.optimizer_initialized:
                self.borrow_optimizer(shared_module)
        elif self.params_initialized:
            self._exec_group.set_params(*self._own_params())

    def _new_group(self, shared_group: DataParallelExecutorGroup | None) -> DataParallelExecutorGroup:
        """Executors for the shapes that are bound now."""
        assert self._data_shapes is not None
        return DataParallelExecutorGroup(
            self._symbol,
            self._context,
            self._work_load_list,
            self._data_shapes,
            self._label_shapes,
            self._param_names,
            self.for_training,
            self.inputs_need_grad,
            shared_group=shared_group,
            logger=self.logger,
            fixed_param_names=self._fixed_param_names,
            grad_req=self._grad_req,
            state_names=self._state_names,
            group2ctxs=self._group2ctxs,
        )

    def _reset_bind(self) -> None:
        self.binded = False
        self._exec_group = None
        self._data_shapes = self._label_shapes = None

    def reshape(self, data_shapes: Any, label_shapes: Any = None) -> None:
        """Binds to other shapes, keeping parameters and gradients; what fails leaves the former ones."""
        shapes = _parse_data_desc(self._data_names, self._label_names, data_shapes, label_shapes)
        before = self._group.execs
        self._group.reshape(*shapes)
        self._data_shapes, self._label_shapes = shapes
        for old, new in zip(before, self._group.execs):
            if old._monitor is not None:
                new.set_monitor_callback(old._monitor.callback, old._monitor.is_all)

    # Steps.

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        self._require(params=True)
        whole = joined(data_batch) if isinstance(data_batch, list) else data_batch
        assert self._data_shapes is not None
        others = described(whole, self._data_shapes, self._label_shapes)
        if others is not None:
            self.reshape(*others)
        self._group.forward(
            whole.data, getattr(whole, "label", None), self.for_training if is_train is None else is_train
        )

    def backward(self, out_grads: Any = None) -> None:
        self._require(params=True)
        self._group.backward(out_grads)

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        self._require(params=True)
        return self._group.get_outputs(merge_multi_context)

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        self._require(params=True)
        if not self.inputs_need_grad:
            raise ConflictError("Module: the data have no gradients; bind with inputs_need_grad=True")
        return self._group.get_input_grads(merge_multi_context)

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        self._require(params=True)
        return self._group.get_states(merge_multi_context)

    def set_states(self, states: Any = None, value: Any = None) -> None:
        self._require(params=True)
        self._group.set_states(states, value)

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        self._group.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon: Any) -> None:
        self._group.install_monitor(mon)

    # The optimizer.

    def init_optimizer(
        self,
        kvstore: Any = "local",
        optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        self._require(params=True)
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring...")
            return
        arg_params, _ = self.get_params()
        store, on_store = kvs.create_for(kvstore, len(self._context), arg_params)
        self._optimizer = self._made(optimizer, optimizer_params, store, on_store)
        self._kvstore, self._update_on_kvstore, self._updater = store, on_store, None
        if store is not None:
            if on_store:
                store.set_optimizer(self._optimizer)
            initialize_kvstore(store, self._group.param_arrays, arg_params, self._param_names, on_store)
        if not on_store:
            self._updater = opt.get_updater(self._optimizer)
        self.optimizer_initialized = True
        if self._preload_opt_states is not None:
            self.load_optimizer_states(self._preload_opt_states)
            self._preload_opt_states = None

    def _made(self, optimizer: Any, params: Any, store: Any, on_store: bool) -> Any:
        n = 1 if on_store else len(self._context)
        names = {k * n + m: name for k, name in enumerate(self._param_names) for m in range(n)}
        n_workers = store.num_workers if store is not None else 1
        rescale = 1.0 / (self._group.batch_size * n_workers)
        if isinstance(optimizer, str):
            return opt.create(
                optimizer,
                **{"rescale_grad": rescale, **dict(params)},
                sym=self._symbol,
                param_idx2name=names,
            )
        if not isinstance(optimizer, opt.Optimizer):
            raise ConflictError(f"optimizer must be a name or an Optimizer, got {type(optimizer).__name__}")
        if optimizer.rescale_grad != rescale:
            warnings.warn(
                "Optimizer created manually outside Module but rescale_grad is not normalized to 1.0/batch_size/"
                f"num_workers ({optimizer.rescale_grad} vs. {rescale}). Is this intended?",
                stacklevel=3,
            )
        if not optimizer.idx2name:
            optimizer.idx2name = names
        return optimizer

    def borrow_optimizer(self, shared_module: Any) -> None:
        """Updates with the optimizer of another module."""
        shared_module._require(optimizer=True)
        for name in ("_optimizer", "_kvstore", "_update_on_kvstore", "_updater"):
            setattr(self, name, getattr(shared_module, name))
        self.optimizer_initialized = True

    def update(self) -> None:
        self._require(params=True, optimizer=True)
        self._params_dirty = True
        arrays = self._group.param_arrays, self._group.grad_arrays
        if self._update_on_kvstore:
            update_params_on_kvstore(*arrays, self._kvstore, self._param_names)
        else:
            update_params(*arrays, self._updater, len(self._context), self._kvstore, self._param_names)

    def save_optimizer_states(self, fname: str) -> None:
        """Writes the states of the optimizer."""
        self._require(optimizer=True)
        if self._update_on_kvstore:
            self._kvstore.save_optimizer_states(fname)
            return
        with replacing(Path(fname)) as unfinished:
            unfinished.write_bytes(self._updater.get_states())

    def load_optimizer_states(self, fname: str) -> None:
        """Reads them."""
        self._require(optimizer=True)
        if self._update_on_kvstore:
            self._kvstore.load_optimizer_states(fname)
            return
        self._updater.set_states(contents(fname))


def _zeros_like(names: Sequence[str], blocks: Sequence[Sequence[NDArray]]) -> Params:
    return {name: nd.zeros(block[0].shape, dtype=block[0].dtype) for name, block in zip(names, blocks)}
