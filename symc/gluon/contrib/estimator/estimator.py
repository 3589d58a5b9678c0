"""Trains and evaluates a network over data loaders."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from symc.context import Context, cpu
from symc.core.errors import ArgumentError, ConflictError, SymcError
from symc.gluon.block import Block
from symc.gluon.data import DataLoader
from symc.gluon.loss import Loss
from symc.gluon.trainer import Trainer
from symc.initializer import Initializer
from symc.metric import EvalMetric
from symc.metric import Loss as LossMetric

from .batch_processor import BatchProcessor
from .event_handler import GradientUpdateHandler, LoggingHandler, MetricHandler, StoppingHandler, ValidationHandler
from .metrics import Metrics, checked_metrics, require_known, suggested_metric
from .stages import (
    BatchBegin,
    BatchEnd,
    EpochBegin,
    EpochEnd,
    EventHandler,
    TrainBegin,
    TrainEnd,
    checked_handlers,
)

__all__ = ["Estimator"]

STAGES = (TrainBegin, EpochBegin, BatchBegin, BatchEnd, EpochEnd, TrainEnd)
Handlers = EventHandler | Sequence[EventHandler] | None


class Estimator:
    """A network with its loss, metrics and trainer, and a loop over batches.

    train_metrics, val_metrics   None: the accuracy for a SoftmaxCrossEntropyLoss, and the loss
    initializer                  for what of the network is not initialized
    trainer                      None: SGD with a rate of 0.001, with a warning
    context                      a context or several, which share the batches; None: the host
    val_net, val_loss            None: those of training
    batch_processor              what is done with a batch, with `fit_batch` and `evaluate_batch`
    Raises ArgumentError for what is none of these.
    """

    def __init__(
        self,
        net: Block,
        loss: Loss,
        train_metrics: Metrics = None,
        val_metrics: Metrics = None,
        initializer: Initializer | None = None,
        trainer: Trainer | None = None,
        context: Context | list[Context] | None = None,
        val_net: Block | None = None,
        val_loss: Loss | None = None,
        batch_processor: Any = None,
    ) -> None:
        self.net = net
        self.loss = _checked_loss(loss)
        self._train_metrics = self._named("training", checked_metrics(train_metrics) or self._default_metrics())
        given = checked_metrics(val_metrics) or [copy.deepcopy(metric) for metric in self._train_metrics]
        self._val_metrics = self._named("validation", given)
        self.val_loss = self.loss if val_loss is None else _checked_loss(val_loss)
        self.val_net = net if val_net is None else val_net
        self.logger = logging.Logger(name="Estimator", level=logging.INFO)
        self.logger.addHandler(logging.StreamHandler(sys.stdout))
        self.context = _checked_contexts(context)
        self._initialize(initializer)
        self.trainer = self._checked_trainer(trainer)
        self.batch_processor = _checked_processor(batch_processor)
        self.max_epoch: int | None = None
        self.max_batch: int | None = None
        self.batch_axis = 0

    @property
    def train_metrics(self) -> list[EvalMetric]:
        """What training updates; their names begin with "training"."""
        return self._train_metrics

    @property
    def val_metrics(self) -> list[EvalMetric]:
        """What validation updates; their names begin with "validation"."""
        return self._val_metrics

    def _default_metrics(self) -> list[EvalMetric]:
        suggested = suggested_metric(self.loss)
        own = LossMetric(self.loss.name.rstrip("1234567890"))
        return [own] if suggested is None else [suggested, own]

    @staticmethod
    def _named(use: str, metrics: list[EvalMetric]) -> list[EvalMetric]:
        for metric in metrics:
            metric.name = f"{use} {metric.name.removeprefix('training ')}"
        return metrics

    def _initialize(self, initializer: Initializer | None) -> None:
        if not self._is_initialized():
            self.net.initialize(*([] if initializer is None else [initializer]), ctx=self.context)
        elif initializer is not None:
            warnings.warn(
                "Network already fully initialized, skipping initialization. You don't need to pass initializer if you "
                "already initialized your net. You can use net.initialize(init=your_initializer, force_reinit=True) to "
                "force re-initialize.",
                stacklevel=3,
            )

    def _is_initialized(self) -> bool:
        try:
            for parameter in self.net.collect_params().values():
                parameter.list_ctx()
        except SymcError:
            return False
        return True

    def _checked_trainer(self, trainer: Trainer | None) -> Trainer:
        if trainer is None:
            warnings.warn("No trainer specified, default SGD optimizer with learning rate 0.001 is used.", stacklevel=3)
            return Trainer(self.net.collect_params(), "sgd", {"learning_rate": 0.001})
        if not isinstance(trainer, Trainer):
            raise ArgumentError(f"Trainer must be a Gluon Trainer instance, got: {trainer}")
        return trainer

    def evaluate(self, val_data: DataLoader, batch_axis: int = 0, event_handlers: Handlers = None) -> None:
        """Updates the validation metrics over a data loader."""
        _require_loader(val_data)
        for metric in self.val_metrics:
            metric.reset()
        handlers = self._with_defaults(
            event_handlers,
            {
                MetricHandler: lambda: MetricHandler(metrics=self.val_metrics),
                LoggingHandler: lambda: LoggingHandler(metrics=self.val_metrics),
            },
            self.val_metrics,
        )
        _, epoch_begin, batch_begin, batch_end, epoch_end, _ = self._categorize_handlers(handlers)
        self._call(epoch_begin, "epoch_begin")
        for batch in val_data:
            self._call(batch_begin, "batch_begin", batch=batch)
            _, label, pred, loss = self.batch_processor.evaluate_batch(self, batch, batch_axis)
            self._call(batch_end, "batch_end", batch=batch, pred=pred, label=label, loss=loss)
        self._call(epoch_end, "epoch_end")

    def fit(
        self,
        train_data: DataLoader,
        val_data: DataLoader | None = None,
        epochs: int | None = None,
        event_handlers: Handlers = None,
        batches: int | None = None,
        batch_axis: int = 0,
    ) -> None:
        """Trains for so many epochs, or so many batches; raises ArgumentError for both or neither."""
        _require_loader(train_data)
        if (not epochs) == (not batches):
            raise ArgumentError(
                "Fit only support exactly one type of iteration, train by number of epochs or number of batches. "
                "Please specify one and only one of: epochs or batches."
            )
        self.max_epoch, self.max_batch, self.batch_axis = epochs, batches, batch_axis
        handlers = self._prepare_default_handlers(val_data, event_handlers)
        train_begin, epoch_begin, batch_begin, batch_end, epoch_end, train_end = self._categorize_handlers(handlers)
        self._call(train_begin, "train_begin")
        is_over = False
        while not is_over:
            self._call(epoch_begin, "epoch_begin")
            for batch in train_data:
                self._call(batch_begin, "batch_begin", batch=batch)
                _, label, pred, loss = self.batch_processor.fit_batch(self, batch, batch_axis)
                if self._call(batch_end, "batch_end", batch=batch, pred=pred, label=label, loss=loss):
                    break
            is_over = self._call(epoch_end, "epoch_end")
        self._call(train_end, "train_end")

    def _prepare_default_handlers(self, val_data: DataLoader | None, event_handlers: Handlers) -> list[EventHandler]:
        defaults: dict[type, Callable[[], EventHandler]] = {
            GradientUpdateHandler: GradientUpdateHandler,
            MetricHandler: lambda: MetricHandler(metrics=self.train_metrics),
        }
        if val_data:
            defaults[ValidationHandler] = lambda: ValidationHandler(val_data=val_data, eval_fn=self.evaluate)
        defaults[LoggingHandler] = lambda: LoggingHandler(metrics=self.train_metrics)
        stopping = StoppingHandler(self.max_epoch, self.max_batch)
        return self._with_defaults(event_handlers, defaults, [*self.train_metrics, *self.val_metrics], stopping)

    @staticmethod
    def _with_defaults(
        given: Handlers,
        defaults: dict[type, Callable[[], EventHandler]],
        known: Sequence[EvalMetric],
        *always: EventHandler,
    ) -> list[EventHandler]:
        """The handlers in the order of their priorities, with a default of each kind that is not among the given."""
        own = checked_handlers(given)
        added = [make() for kind, make in defaults.items() if not any(isinstance(handler, kind) for handler in own)]
        handlers = [*own, *always, *added]
        if own and (always or added):
            for handler in handlers:
                require_known(handler, known)
        return sorted(handlers, key=lambda handler: getattr(handler, "priority", 0))

    @staticmethod
    def _categorize_handlers(event_handlers: Sequence[EventHandler]) -> list[list[EventHandler]]:
        """The handlers of each stage."""
        return [[handler for handler in event_handlers if isinstance(handler, stage)] for stage in STAGES]

    def _call(self, handlers: Sequence[EventHandler], method: str, **kwargs: Any) -> bool:
        """Calls all; whether one of them wants to stop."""
        said = [getattr(handler, method)(self, **kwargs) for handler in handlers]
        return any(said)


def _checked_loss(loss: Loss) -> Loss:
    if not isinstance(loss, Loss):
        raise ArgumentError(f"loss must be a Loss, refer to gluon.loss.Loss: {loss}")
    return loss


def _checked_contexts(context: Context | list[Context] | None) -> list[Context]:
    """A list of contexts; raises ConflictError where one has no device."""
    if context is None or context == []:
        return [cpu()]
    contexts = [context] if isinstance(context, Context) else context
    if not isinstance(contexts, list) or not all(isinstance(c, Context) for c in contexts):
        raise ArgumentError(f"context must be a Context or a list of Context, for example mx.cpu(), got: {context}")
    for found in contexts:
        try:
            found.require_device()
        except SymcError as error:
            raise ConflictError(f"{found} is not available: {error}") from None
    return contexts


def _checked_processor(processor: Any) -> Any:
    if processor is None:
        return BatchProcessor()
    if not all(callable(getattr(processor, method, None)) for method in ("fit_batch", "evaluate_batch")):
        raise ArgumentError("Customized Batch Processor must contain fit_batch() and evaluate_batch() methods")
    return processor


def _require_loader(data: DataLoader) -> None:
    if not isinstance(data, DataLoader):
        raise ArgumentError(
            "Estimator only support input as Gluon DataLoader. Alternatively, you can transform your DataIter or any "
            f"NDArray into Gluon DataLoader. Refer to gluon.data.DataLoader; got {type(data).__name__}"
        )
