"""A handler that logs how training goes."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

from symc.core.errors import ArgumentError

from .metrics import Metrics, checked_metrics
from .stages import BatchBegin, BatchEnd, EpochBegin, EpochEnd, TrainBegin, TrainEnd, Training


class LoggingHandler(TrainBegin, TrainEnd, EpochBegin, EpochEnd, BatchBegin, BatchEnd):
    """Logs metrics after every epoch or every `log_interval` batches, after all other handlers.

    Raises ArgumentError for an interval that is neither a number nor "epoch".
    """

    def __init__(
        self, log_interval: int | Literal["epoch"] = "epoch", metrics: Metrics = None, priority: float = math.inf
    ) -> None:
        if not isinstance(log_interval, int) and log_interval != "epoch":
            raise ArgumentError(f"log_interval must be either an integer or string 'epoch', got {log_interval!r}")
        self.metrics = checked_metrics(metrics)
        self.priority = priority
        self.log_interval = log_interval
        self.current_epoch = 0
        self.batch_index = 0
        self.processed_samples = 0
        self.log_interval_time = 0.0

    def train_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        self.train_start = time.time()
        trainer = estimator.trainer
        estimator.logger.info(
            "Training begin: using optimizer %s with current learning rate %.4f ",
            type(trainer.optimizer).__name__, trainer.learning_rate,
        )  # fmt: skip
        if estimator.max_epoch:
            estimator.logger.info("Train for %d epochs.", estimator.max_epoch)
        else:
            estimator.logger.info("Train for %d batches.", estimator.max_batch)
        self.current_epoch = self.batch_index = self.processed_samples = 0
        self.log_interval_time = 0.0

    def train_end(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        took_s = time.time() - self.train_start
        self._log(estimator, f"Train finished using total {int(took_s)}s with {self.current_epoch} epochs. ")

    def batch_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        self.batch_start = time.time()

    def batch_end(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        if isinstance(self.log_interval, int):
            self.log_interval_time += time.time() - self.batch_start
            self.processed_samples += kwargs["batch"][0].shape[0]
            if self.batch_index % self.log_interval == 0:
                place = f"[Epoch {self.current_epoch}][Batch {self.batch_index}][Samples {self.processed_samples}]"
                self._log(estimator, f"{place} time/interval: {self.log_interval_time:.3f}s ")
                self.log_interval_time = 0.0
        self.batch_index += 1

    def epoch_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        self.epoch_start = time.time()
        if any("training" in metric.name for metric in self.metrics):
            rate = estimator.trainer.learning_rate
            estimator.logger.info("[Epoch %d] Begin, current learning rate: %.4f", self.current_epoch, rate)
        else:
            estimator.logger.info("Validation Begin")

    def epoch_end(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        self._log(estimator, f"[Epoch {self.current_epoch}] Finished in {time.time() - self.epoch_start:.3f}s, ")
        self.current_epoch += 1
        self.batch_index = 0

    def _log(self, estimator: Training, front: str) -> None:
        """A line that ends with all metrics."""
        values = ", ".join("{}: {:.4f}".format(*metric.get()) for metric in self.metrics)
        estimator.logger.info((front + values).rstrip(", "))
