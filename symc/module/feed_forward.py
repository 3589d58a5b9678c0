"""`FeedForward` (`mx.model.FeedForward`), MXNet's first interface for training: from arrays to arrays of NumPy."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from symc import ndarray as nd
from symc.callback import LogValidationMetricsCallback
from symc.context import Context, cpu
from symc.core.errors import ArgumentError, ArgumentTypeError, ConflictError
from symc.io import DataIter, NDArrayIter
from symc.model import BatchEndParam, load_checkpoint, save_checkpoint
from symc.ndarray import NDArray

from .base_module import SMALL, _call, _metric
from .module import Module

if TYPE_CHECKING:
    from symc.metric import EvalMetric
    from symc.symbol import Symbol

_LOGGED = LogValidationMetricsCallback()


class FeedForward:
    """A symbol with parameters, trained by a Module that is made for the data.

    ctx                  a context or a list of them
    numpy_batch_size     samples of a batch, where arrays are given instead of iterators
    epoch_size           batches of an epoch; None: as many as the data have
    arg_params           parameters to begin with; others are initialised
    allow_extra_params   whether there may be more of them than the symbol has
    **kwargs             parameters of the optimizer
    """

    def __init__(
        self,
        symbol: Symbol,
        ctx: Context | Sequence[Context] | None = None,
        num_epoch: int | None = None,
        epoch_size: int | None = None,
        optimizer: Any = "sgd",
        initializer: Any = SMALL,
        numpy_batch_size: int = 128,
        arg_params: Mapping[str, NDArray] | None = None,
        aux_params: Mapping[str, NDArray] | None = None,
        allow_extra_params: bool = False,
        begin_epoch: int = 0,
        **kwargs: Any,
    ) -> None:
        warnings.warn(
            "\033[91mmxnet.model.FeedForward has been deprecated. Please use mxnet.mod.Module instead.\033[0m",
            DeprecationWarning,
            stacklevel=2,
        )
        self.symbol = symbol
        self.ctx = [cpu()] if ctx is None else list(ctx) if isinstance(ctx, (list, tuple)) else [ctx]
        self.num_epoch = num_epoch
        self.epoch_size = epoch_size
        self.optimizer = optimizer
        self.initializer = initializer
        self.numpy_batch_size = numpy_batch_size
        self.arg_params = None if arg_params is None else dict(arg_params)
        self.aux_params = None if aux_params is None else dict(aux_params)
        self.allow_extra_params = allow_extra_params
        self.begin_epoch = begin_epoch
        self.kwargs = kwargs

    @staticmethod
    def create(
        symbol: Symbol,
        X: Any,
        y: Any = None,
        ctx: Context | Sequence[Context] | None = None,
        num_epoch: int | None = None,
        epoch_size: int | None = None,
        optimizer: Any = "sgd",
        initializer: Any = SMALL,
        eval_data: Any = None,
        eval_metric: Any = "acc",
        epoch_end_callback: Any = None,
        batch_end_callback: Any = None,
        kvstore: Any = "local",
        logger: Any = None,
        work_load_list: Sequence[float] | None = None,
        eval_end_callback: Any = _LOGGED,
        eval_batch_end_callback: Any = None,
        **kwargs: Any,
    ) -> FeedForward:
        """A trained model."""
        model = FeedForward(symbol, ctx, num_epoch, epoch_size, optimizer, initializer, **kwargs)
        model.fit(
            X, y, eval_data, eval_metric, epoch_end_callback, batch_end_callback, kvstore, logger, work_load_list,
            None, eval_end_callback, eval_batch_end_callback,
        )  # fmt: skip
        return model

    @staticmethod
    def load(prefix: str, epoch: int, ctx: Context | Sequence[Context] | None = None, **kwargs: Any) -> FeedForward:
        """A model from a checkpoint."""
        symbol, args, auxs = load_checkpoint(prefix, epoch)
        return FeedForward(symbol, ctx, arg_params=args, aux_params=auxs, begin_epoch=epoch, **kwargs)

    def save(self, prefix: str, epoch: int | None = None, remove_amp_cast: bool = True) -> None:
        """Writes a checkpoint, by default numbered by `num_epoch`."""
        number = self.num_epoch if epoch is None else epoch
        if number is None:
            raise ConflictError("FeedForward.save: neither epoch nor num_epoch is given")
        save_checkpoint(prefix, number, self.symbol, *self._parameters(), remove_amp_cast=remove_amp_cast)

    def _parameters(self) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
        if self.arg_params is None:
            raise ConflictError("FeedForward: there are no parameters; call fit() first, or give arg_params")
        return self.arg_params, self.aux_params or {}

    def fit(
        self,
        X: Any,
        y: Any = None,
        eval_data: Any = None,
        eval_metric: Any = "acc",
        epoch_end_callback: Any = None,
        batch_end_callback: Any = None,
        kvstore: Any = "local",
        logger: Any = None,
        work_load_list: Sequence[float] | None = None,
        monitor: Any = None,
        eval_end_callback: Any = _LOGGED,
        eval_batch_end_callback: Any = None,
    ) -> None:
        """Trains on arrays or an iterator; `eval_data` is an iterator or a pair of arrays.

        Older than `Module.fit`: callbacks count batches from 1, and metrics are logged by callbacks alone.
        """
        if self.num_epoch is None:
            raise ConflictError("please specify number of epochs")
        logger = logger or logging
        data = self._iterator(X, y, is_train=True)
        module = self._module(data, logger, work_load_list)
        self._require_fitting(module)
        evaluated = None if eval_data is None else self._evaluated(eval_data)
        logger.info("Start training with %s", module._context)
        module.bind(data.provide_data, data.provide_label)
        if monitor is not None:
            module.install_monitor(monitor)
        module.init_params(self.initializer, self.arg_params, self.aux_params, allow_missing=True)
        module.init_optimizer(kvstore, self.optimizer, self.kwargs)
        metric = _metric(eval_metric)
        data.reset()
        for epoch in range(self.begin_epoch, self.num_epoch):
            start = time.time()
            self._epoch(module, data, epoch, metric, batch_end_callback, monitor)
            logger.info("Epoch[%d] Time cost=%.3f", epoch, time.time() - start)
            self.arg_params, self.aux_params = module.get_params()
            _call(epoch_end_callback, epoch, self.symbol, self.arg_params, self.aux_params)
            if evaluated is not None:
                module.score(evaluated, metric, None, eval_batch_end_callback, eval_end_callback, epoch=epoch)

    def _epoch(
        self, module: Module, data: Any, epoch: int, metric: EvalMetric, batch_end_callback: Any, monitor: Any
    ) -> None:
        """Trains on all batches, or on `epoch_size` of them, wherever in the data they are."""
        metric.reset()
        nbatch, before = 0, -1
        while nbatch != before:
            before = nbatch
            for batch in data:
                if monitor is not None:
                    monitor.tic()
                module.forward_backward(batch)
                module.update()
                if monitor is not None:
                    monitor.toc_print()
                module.update_metric(metric, batch.label)
                nbatch += 1
                _call(batch_end_callback, BatchEndParam(epoch, nbatch, metric, locals()))
                if nbatch == self.epoch_size:
                    return
            module.logger.info("Epoch[%d] Resetting Data Iterator", epoch)
            data.reset()
            if self.epoch_size is None:
                return
        raise ConflictError("FeedForward.fit: the data have no batches, not even after their reset()")

    def predict(self, X: Any, num_batch: int | None = None, return_data: bool = False, reset: bool = True) -> Any:
        """The outputs as NumPy arrays, one or a list; with `return_data` also the data and the labels."""
        found: list[list[np.ndarray]] = []
        given: list[list[np.ndarray]] = []
        data = self._iterator(X, None, is_train=False)
        whole = self._ready(data).iter_predict(data, None, reset)
        for outputs, _, batch in islice(whole, num_batch):  # no batch beyond them is fetched
            n = outputs[0].shape[0]
            found.append([out.asnumpy() for out in outputs])
            given.append([a.asnumpy()[:n] for a in (*batch.data, *(batch.label or ()))])
        results = [np.concatenate(parts) for parts in zip(*found)]
        result = results[0] if len(results) == 1 else results
        if not return_data:
            return result
        arrays = [np.concatenate(parts) for parts in zip(*given)]
        n_data = len(data.provide_data)
        parts = (arrays[:n_data], arrays[n_data:])
        return result, *(part[0] if len(part) == 1 else part for part in parts)

    def score(
        self,
        X: Any,
        eval_metric: Any = "acc",
        num_batch: int | None = None,
        batch_end_callback: Any = None,
        reset: bool = True,
    ) -> Any:
        """The value of a metric over an iterator with labels."""
        data = self._iterator(X, None, is_train=False)
        values = [v for _, v in self._ready(data).score(data, eval_metric, num_batch, batch_end_callback, reset=reset)]
        return values[0] if len(values) == 1 else values

    def _ready(self, data: Any) -> Module:
        """A module that predicts, with the parameters."""
        args, aux = self._parameters()
        module = self._module(data, logging, None)
        self._require_fitting(module)
        module.bind(data.provide_data, data.provide_label or None, for_training=False)
        module.init_params(None, args, aux)
        return module

    def _module(self, data: Any, logger: Any, work_load_list: Sequence[float] | None) -> Module:
        known = self.symbol.list_arguments()
        labels = [d[0] for d in data.provide_label or ()] or [n for n in known if n.endswith("label")]
        return Module(
            self.symbol,
            [d[0] for d in data.provide_data],
            [name for name in labels if name in known],
            logger,
            self.ctx,
            work_load_list,
        )

    def _require_fitting(self, module: Module) -> None:
        known = {*module._param_names, *module._aux_names}
        extra = sorted({*(self.arg_params or ()), *(self.aux_params or ())} - known)
        if extra and not self.allow_extra_params:
            raise ArgumentError(
                f'Find name "{extra[0]}" that is not in the arguments; allow_extra_params=True ignores it'
            )

    def _evaluated(self, data: Any) -> Any:
        if not isinstance(data, (tuple, list)):
            return self._iterator(data, None, is_train=False)
        if len(data) != 2:
            raise ArgumentTypeError(f"FeedForward: eval_data is an iterator or (data, label), got {len(data)} things")
        return self._iterator(*data, is_train=True)  # shuffled and cut off, too, as in MXNet

    def _iterator(self, X: Any, y: Any, is_train: bool) -> Any:
        """An iterator, or one over arrays: shuffled where it trains."""
        if isinstance(X, DataIter) or not isinstance(X, (np.ndarray, NDArray, list)):
            return X
        if y is None and is_train:
            raise ArgumentError("y must be specified when X is numpy.ndarray")
        data = X if isinstance(X, NDArray) else nd.array(X)
        label = np.zeros(data.shape[0]) if y is None else np.asarray(y.asnumpy() if isinstance(y, NDArray) else y)
        if len(label) != data.shape[0]:
            raise ArgumentError(f"FeedForward: {data.shape[0]} samples and {len(label)} labels")
        handle = "roll_over" if is_train else "pad"
        size = min(data.shape[0], self.numpy_batch_size)
        return NDArrayIter(
            data, label.ravel() if label.ndim == 2 and label.shape[1] == 1 else label, size, is_train, handle
        )
