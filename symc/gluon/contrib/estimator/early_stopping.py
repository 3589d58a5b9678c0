"""A handler that ends training when a metric gets no better."""

from __future__ import annotations

from typing import Any

from symc.core.errors import ArgumentError
from symc.metric import CompositeEvalMetric, EvalMetric

from .improvement import Improvement
from .stages import EpochEnd, TrainBegin, TrainEnd, Training


class EarlyStoppingHandler(TrainBegin, EpochEnd, TrainEnd):
    """Ends training after `patience` epochs without improvement (see Improvement) over `baseline` or the best so far.

    Raises ArgumentError where `monitor` is no simple metric.
    """

    def __init__(
        self,
        monitor: EvalMetric,
        min_delta: float = 0,
        patience: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
    ) -> None:
        if not isinstance(monitor, EvalMetric):
            raise ArgumentError(
                "Please provide one of the metric objects from estimator.train_metrics and estimator.val_metrics as "
                "monitor."
            )
        if isinstance(monitor, CompositeEvalMetric):
            raise ArgumentError(
                "CompositeEvalMetric is not supported for EarlyStoppingHandler, please specify a simple metric instead."
            )
        self.monitor = monitor
        self.baseline = baseline
        self.patience = patience
        self.wait = 0
        self.stopped_epoch = 0
        self.current_epoch = 0
        self.stop_training = False
        self._improvement = Improvement("EarlyStopping", monitor, mode, min_delta)

    @property
    def best(self) -> float:
        """The best value so far."""
        return self._improvement.best

    def train_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        self.wait = self.stopped_epoch = self.current_epoch = 0
        self.stop_training = False
        self._improvement.reset(self.baseline)

    def epoch_end(self, estimator: Training, *args: Any, **kwargs: Any) -> bool:
        is_better = self._improvement.is_there()
        if is_better:
            self.wait = 0
        elif is_better is False:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped_epoch = self.current_epoch
                self.stop_training = True
        self.current_epoch += 1
        return self.stop_training

    def train_end(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        if self.stopped_epoch > 0:
            estimator.logger.info(
                "[Epoch %d] EarlyStoppingHanlder: early stopping due to %s not improving",
                self.stopped_epoch, self.monitor.get()[0],
            )  # fmt: skip
