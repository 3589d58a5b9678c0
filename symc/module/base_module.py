"""`BaseModule`: training, scoring and predicting in terms of what every module can do."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc import metric
from symc import ndarray as nd
from symc.core.errors import ArgumentError, ConflictError, ExhaustedError, FormatError
from symc.initializer import Uniform
from symc.io import DataBatch, DataDesc
from symc.model import BatchEndParam
from symc.ndarray import NDArray
from symc.ndarray.serialize import load_named

if TYPE_CHECKING:
    from symc.symbol import Symbol

Params = dict[str, NDArray]
SMALL = Uniform(0.01)  # what parameters are initialised with unless something else is asked for
_PARAMETERS = ("_weight", "_bias", "_gamma", "_beta")  # ends of names that are no inputs


class BaseModule:
    """Base of modules. A subclass gives `forward`, `backward`, `update`, `get_outputs`, `get_params`, ...; from these
    come `fit`, `score` and `predict`.

    A module is bound to shapes (`binded`), then has parameters (`params_initialized`), then an optimizer
    (`optimizer_initialized`).
    """

    _resets_after_epochs = True  # False where an epoch begins with it: data that are shuffled are so once an epoch

    def __init__(self, logger: Any = logging) -> None:
        self.logger = logger
        self.binded = False
        self.for_training = False
        self.inputs_need_grad = False
        self.params_initialized = False
        self.optimizer_initialized = False
        self._symbol: Symbol | None = None

    # What a subclass gives.

    @property
    def data_names(self) -> list[str]:
        """Names of the data."""
        raise _missing(self, "data_names")

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs."""
        raise _missing(self, "output_names")

    @property
    def data_shapes(self) -> list[DataDesc]:
        """What `bind` was told of the data."""
        raise _missing(self, "data_shapes")

    @property
    def label_shapes(self) -> list[DataDesc] | None:
        """What `bind` was told of the labels."""
        raise _missing(self, "label_shapes")

    @property
    def output_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the outputs."""
        raise _missing(self, "output_shapes")

    @property
    def symbol(self) -> Symbol | None:
        """The network, where there is one."""
        return self._symbol

    def get_params(self) -> tuple[Params, Params]:
        """Parameters and auxiliary states by name."""
        raise _missing(self, "get_params")

    def init_params(
        self,
        initializer: Any = SMALL,
        arg_params: Mapping[str, NDArray] | None = None,
        aux_params: Mapping[str, NDArray] | None = None,
        allow_missing: bool = False,
        force_init: bool = False,
        allow_extra: bool = False,
    ) -> None:
        """Gives parameters their first values: those given, else the initializer's."""
        raise _missing(self, "init_params")

    def bind(
        self,
        data_shapes: Any,
        label_shapes: Any = None,
        for_training: bool = True,
        inputs_need_grad: bool = False,
        force_rebind: bool = False,
        shared_module: Any = None,
        grad_req: str = "write",
    ) -> None:
        """Makes executors for these shapes."""
        raise _missing(self, "bind")

    def init_optimizer(
        self,
        kvstore: Any = "local",
        optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),),
        force_init: bool = False,
    ) -> None:
        """Chooses what `update` does."""
        raise _missing(self, "init_optimizer")

    def forward(self, data_batch: Any, is_train: bool | None = None) -> None:
        """Computes the outputs of a batch."""
        raise _missing(self, "forward")

    def backward(self, out_grads: Any = None) -> None:
        """Computes the gradients of the last batch."""
        raise _missing(self, "backward")

    def update(self) -> None:
        """Updates the parameters by their gradients."""
        raise _missing(self, "update")

    def get_outputs(self, merge_multi_context: bool = True) -> list[Any]:
        """The outputs of the last batch; of each context without `merge_multi_context`."""
        raise _missing(self, "get_outputs")

    def get_input_grads(self, merge_multi_context: bool = True) -> list[Any]:
        """The gradients of the data in the last batch."""
        raise _missing(self, "get_input_grads")

    def update_metric(self, eval_metric: Any, labels: Any, pre_sliced: bool = False) -> None:
        """Adds the outputs of the last batch to a metric."""
        raise _missing(self, "update_metric")

    def install_monitor(self, mon: Any) -> None:
        """Has a monitor watch all executors."""
        raise _missing(self, "install_monitor")

    def prepare(self, data_batch: Any, sparse_row_id_fn: Any = None) -> None:
        """Is told of the batch that comes next."""
        if sparse_row_id_fn is not None:
            warnings.warn("sparse_row_id_fn is ignored: storage is dense", stacklevel=2)

    def get_states(self, merge_multi_context: bool = True) -> list[Any]:
        """The values of the inputs that carry states over from batch to batch: here are none."""
        self._require(params=True)
        if merge_multi_context:
            return []
        raise ConflictError(f"{type(self).__name__} has no states")

    def set_states(self, states: Any = None, value: Any = None) -> None:
        """Sets them."""
        self._require(params=True)
        if states or value:
            raise ConflictError(f"{type(self).__name__} has no states")

    # What is made of it.

    def forward_backward(self, data_batch: Any) -> None:
        """One step without the update."""
        self.forward(data_batch, is_train=True)
        self.backward()

    def score(
        self,
        eval_data: Any,
        eval_metric: Any,
        num_batch: int | None = None,
        batch_end_callback: Any = None,
        score_end_callback: Any = None,
        reset: bool = True,
        epoch: int = 0,
        sparse_row_id_fn: Any = None,
    ) -> list[tuple[str, float]]:
        """Names and values of a metric over (the first `num_batch`) batches; samples that only fill one count too."""
        self._require(params=True)
        if reset:
            eval_data.reset()
        eval_metric = _metric(eval_metric)
        eval_metric.reset()
        n_done = 0
        for nbatch, eval_batch in enumerate(eval_data):
            if nbatch == num_batch:
                break
            self.prepare(eval_batch, sparse_row_id_fn=sparse_row_id_fn)
            self.forward(eval_batch, is_train=False)
            self._add_to(eval_metric, eval_batch)
            _call(batch_end_callback, BatchEndParam(epoch, nbatch, eval_metric, locals()))
            n_done += 1
        _call(score_end_callback, BatchEndParam(epoch, n_done, eval_metric, locals()))
        found: list[tuple[str, float]] = eval_metric.get_global_name_value()
        return found

    def iter_predict(
        self, eval_data: Any, num_batch: int | None = None, reset: bool = True, sparse_row_id_fn: Any = None
    ) -> Iterator[tuple[list[NDArray], int, Any]]:
        """For each batch its outputs, without those of samples that only fill it; its number; and itself."""
        self._require(params=True)
        if reset:
            eval_data.reset()
        for nbatch, eval_batch in enumerate(eval_data):
            if nbatch == num_batch:
                break
            self.prepare(eval_batch, sparse_row_id_fn=sparse_row_id_fn)
            self.forward(eval_batch, is_train=False)
            pad = eval_batch.pad or 0
            yield [out[: out.shape[0] - pad] for out in self.get_outputs()], nbatch, eval_batch

    def predict(
        self,
        eval_data: Any,
        num_batch: int | None = None,
        merge_batches: bool = True,
        reset: bool = True,
        always_output_list: bool = False,
        sparse_row_id_fn: Any = None,
    ) -> Any:
        """The outputs for an array or an iterator, joined along axis 0: one array, or a list if there are several.

        Without `merge_batches` a list of each batch's outputs.
        """
        self._require(params=True)
        if isinstance(eval_data, (NDArray, np.ndarray)):
            # MXNet computes this one as in training if the module is bound for it: Dropout drops.
            batch = DataBatch([eval_data if isinstance(eval_data, NDArray) else nd.array(eval_data)])
            self.forward(batch, is_train=False)
            return self.get_outputs()[0]
        given = self.iter_predict(eval_data, num_batch, reset, sparse_row_id_fn)
        batches = [[out.copy() for out in outputs] for outputs, _, _ in given]
        if not batches or not merge_batches:
            return batches
        if len({len(outputs) for outputs in batches}) > 1:
            raise ConflictError(
                "Cannot merge batches, as num of outputs is not the same in mini-batches. Maybe bucketing is used?"
            )
        joined = [nd.concat(*parts, dim=0) for parts in zip(*batches)]
        return joined[0] if len(joined) == 1 and not always_output_list else joined

    def fit(
        self,
        train_data: Any,
        eval_data: Any = None,
        eval_metric: Any = "acc",
        epoch_end_callback: Any = None,
        batch_end_callback: Any = None,
        kvstore: Any = "local",
        optimizer: Any = "sgd",
        optimizer_params: Any = (("learning_rate", 0.01),),
        eval_end_callback: Any = None,
        eval_batch_end_callback: Any = None,
        initializer: Any = SMALL,
        arg_params: Mapping[str, NDArray] | None = None,
        aux_params: Mapping[str, NDArray] | None = None,
        allow_missing: bool = False,
        force_rebind: bool = False,
        force_init: bool = False,
        begin_epoch: int = 0,
        num_epoch: int | None = None,
        validation_metric: Any = None,
        monitor: Any = None,
        sparse_row_id_fn: Any = None,
    ) -> None:
        """Binds, initialises and trains, epochs `begin_epoch` to `num_epoch`, scoring `eval_data` after each."""
        if num_epoch is None:
            raise ConflictError("please specify number of epochs")
        self.bind(train_data.provide_data, train_data.provide_label, for_training=True, force_rebind=force_rebind)
        if monitor is not None:
            self.install_monitor(monitor)
        self.init_params(initializer, arg_params, aux_params, allow_missing, force_init)
        self.init_optimizer(kvstore, optimizer, optimizer_params)
        eval_metric = _metric(eval_metric)
        for epoch in range(begin_epoch, num_epoch):
            start = time.time()
            how = eval_metric, batch_end_callback, monitor, sparse_row_id_fn
            self._log(epoch, "Train", self._epoch(train_data, epoch, *how))
            self.logger.info("Epoch[%d] Time cost=%.3f", epoch, time.time() - start)
            arg_params, aux_params = self.get_params()
            self.set_params(arg_params, aux_params)
            _call(epoch_end_callback, epoch, self.symbol, arg_params, aux_params)
            if eval_data is not None:
                metric = eval_metric if validation_metric is None else validation_metric
                ends = {"score_end_callback": eval_end_callback, "batch_end_callback": eval_batch_end_callback}
                self._log(epoch, "Validation", self.score(eval_data, metric, epoch=epoch, **ends))
            if self._resets_after_epochs:
                train_data.reset()

    def _log(self, epoch: int, kind: str, values: Iterable[tuple[str, float]]) -> None:
        for name, value in values:
            self.logger.info("Epoch[%d] %s-%s=%f", epoch, kind, name, value)

    def _epoch(
        self,
        train_data: Any,
        epoch: int,
        eval_metric: Any,
        batch_end_callback: Any,
        monitor: Any,
        sparse_row_id_fn: Any,
    ) -> list[tuple[str, float]]:
        """Trains on all batches; the metric's values, read before the last batch's callbacks may reset it."""
        eval_metric.reset()
        values: list[tuple[str, float]] = []
        batches = iter(train_data)
        data_batch = next(batches, None)
        if data_batch is None:
            raise ExhaustedError(f"fit: the training data has no batch to begin epoch {epoch} with; reset() it first")
        nbatch = 0
        while data_batch is not None:
            if monitor is not None:
                monitor.tic()
            self.forward_backward(data_batch)
            self.update()
            self._add_to(eval_metric, data_batch)
            next_batch = next(batches, None)  # fetched while nothing waits for it
            if next_batch is not None:
                self.prepare(next_batch, sparse_row_id_fn=sparse_row_id_fn)
            if monitor is not None:
                monitor.toc_print()
            if next_batch is None:
                values = eval_metric.get_global_name_value()
            _call(batch_end_callback, BatchEndParam(epoch, nbatch, eval_metric, locals()))
            data_batch = next_batch
            nbatch += 1
        return values

    def _add_to(self, eval_metric: Any, batch: Any) -> None:
        if isinstance(batch, list):
            self.update_metric(eval_metric, [part.label for part in batch], pre_sliced=True)
        else:
            self.update_metric(eval_metric, batch.label)

    def set_params(
        self,
        arg_params: Mapping[str, NDArray] | None,
        aux_params: Mapping[str, NDArray] | None,
        allow_missing: bool = False,
        force_init: bool = True,
        allow_extra: bool = False,
    ) -> None:
        """Replaces parameters and states."""
        self.init_params(None, arg_params, aux_params, allow_missing, force_init, allow_extra)

    def save_params(self, fname: str) -> None:
        """Writes parameters and states."""
        arg_params, aux_params = self.get_params()
        named = {f"arg:{name}": array for name, array in arg_params.items()}
        nd.save(fname, {**named, **{f"aux:{name}": array for name, array in aux_params.items()}})

    def load_params(self, fname: str) -> None:
        """Reads them; raises FormatError for a name without arg: or aux:, and where there are no names."""
        found: dict[str, Params] = {"arg": {}, "aux": {}}
        for key, array in load_named(fname).items():
            kind, _, name = key.partition(":")
            if kind not in found or not name:
                raise FormatError(f"{fname}: array {key!r}; expected arg:<name> or aux:<name>")
            found[kind][name] = array
        self.set_params(found["arg"], found["aux"])

    def _require(self, bound: bool = True, params: bool = False, optimizer: bool = False) -> None:
        """Raises ConflictError for a step before the ones it needs."""
        if bound and not self.binded:
            raise ConflictError(f"{type(self).__name__}: call bind() first")
        if params and not self.params_initialized:
            raise ConflictError(f"{type(self).__name__}: call init_params() first")
        if optimizer and not self.optimizer_initialized:
            raise ConflictError(f"{type(self).__name__}: call init_optimizer() first")


def _missing(module: BaseModule, method: str) -> NotImplementedError:
    return NotImplementedError(f"{type(module).__name__} must override {method}")


def _metric(given: Any) -> Any:
    return given if isinstance(given, metric.EvalMetric) else metric.create(given)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _call(callbacks: Callable[..., Any] | Sequence[Callable[..., Any]] | None, *args: Any) -> None:
    for callback in _as_list(callbacks) if callbacks is not None else ():
        callback(*args)


def _check_input_names(symbol: Symbol, names: Iterable[str], typename: str, throw: bool) -> None:
    """Raises ArgumentError (or warns) for a name that no argument of the symbol has."""
    args = symbol.list_arguments()
    for name in names:
        if name in args:
            continue
        candidates = "\n\t".join(a for a in args if not a.endswith(_PARAMETERS))
        text = (
            f"\033[91mYou created Module with Module(..., {typename}_names={names}) but input with name '{name}' is "
            f"not found in symbol.list_arguments(). Did you mean one of:\n\t{candidates}\033[0m"
        )
        if throw:
            raise ArgumentError(text)
        warnings.warn(text, stacklevel=3)


def _check_names_match(names: Sequence[str], descs: Sequence[DataDesc], typename: str, throw: bool) -> None:
    """Raises ArgumentError (or warns) where what is provided has other names than the module."""
    if sorted(names) == sorted(d[0] for d in descs):
        return
    text = f"Data provided by {typename}_shapes don't match names specified by {typename}_names ({descs} vs. {names})"
    if throw:
        raise ArgumentError(text)
    warnings.warn(text, stacklevel=3)


def _parse_data_desc(
    data_names: Sequence[str], label_names: Sequence[str], data_shapes: Any, label_shapes: Any
) -> tuple[list[DataDesc], list[DataDesc] | None]:
    """Descriptions of data and labels, from pairs of names and shapes too."""
    data = [d if isinstance(d, DataDesc) else DataDesc(*d) for d in data_shapes]
    _check_names_match(data_names, data, "data", True)
    if label_shapes is None:
        _check_names_match(label_names, [], "label", False)
        return data, None
    labels = [d if isinstance(d, DataDesc) else DataDesc(*d) for d in label_shapes]
    _check_names_match(label_names, labels, "label", False)
    return data, labels
