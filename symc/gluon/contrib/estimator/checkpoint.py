"""A handler that saves parameters and the trainer's states, and goes on from what it saved."""

from __future__ import annotations

import os
import re
from typing import Any

from symc.core.errors import ArgumentError, ConflictError
from symc.metric import EvalMetric

from .improvement import Improvement
from .stages import BatchEnd, EpochEnd, TrainBegin, Training


class CheckpointHandler(TrainBegin, BatchEnd, EpochEnd):
    """Saves `<prefix>-epoch<E>batch<B>.params` and `.states` every so many epochs or batches, and once the symbol.

    monitor, save_best, mode   also saves `<prefix>-best` whenever this metric improves (see Improvement)
    verbose                    1 logs what is saved
    max_checkpoints            how many are kept; the oldest are removed
    resume_from_checkpoint     loads the newest first; the numbers given to `fit` then count from its beginning
    Raises ArgumentError where `save_best` has no metric, ConflictError where training goes by epochs and files by
    batches, or the other way round, when resumed.
    """

    def __init__(
        self,
        model_dir: str,
        model_prefix: str = "model",
        monitor: EvalMetric | None = None,
        verbose: int = 0,
        save_best: bool = False,
        mode: str = "auto",
        epoch_period: int | None = 1,
        batch_period: int | None = None,
        max_checkpoints: int = 5,
        resume_from_checkpoint: bool = False,
    ) -> None:
        os.makedirs(model_dir, exist_ok=True)
        if save_best and not isinstance(monitor, EvalMetric):
            raise ArgumentError(
                "To save best model only, please provide one of the metric objects from estimator.train_metrics and "
                "estimator.val_metrics as monitor."
            )
        self.model_dir = model_dir
        self.model_prefix = model_prefix
        self.monitor = monitor
        self.verbose = verbose
        self.save_best = save_best
        self.epoch_period = epoch_period
        self.batch_period = batch_period
        self.max_checkpoints = max_checkpoints
        self.resume_from_checkpoint = resume_from_checkpoint
        self.current_batch = 0
        self.current_epoch = 0
        self.saved_checkpoints: list[str] = []
        self.trained_epoch = self.trained_batch = -1  # of the checkpoint that was resumed
        self._improvement = Improvement("ModelCheckpoint", monitor, mode) if save_best and monitor else None

    def train_begin(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        self.current_epoch = self.current_batch = 0
        if self._improvement is not None:
            self._improvement.reset()
        if not self.resume_from_checkpoint:
            return
        of_batches = estimator.max_batch is not None
        if bool(self.batch_period) != of_batches or bool(self.epoch_period) == of_batches:
            raise ConflictError(
                "To use resume from checkpoint, you must only specify the same type of period you used for training. "
                "For example, if you are training based on number of epochs, you must save only based on epochs, and "
                "set batch_period to None."
            )
        self._resume(estimator)

    def batch_end(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        if self.current_batch == 0:
            self._save_symbol(estimator)
        if self.batch_period and (self.current_batch + 1) % self.batch_period == 0:
            self._save_checkpoint(estimator)
        self.current_batch += 1

    def epoch_end(self, estimator: Training, *args: Any, **kwargs: Any) -> None:
        if self.epoch_period and (self.current_epoch + 1) % self.epoch_period == 0:
            self._save_checkpoint(estimator)
        self.current_epoch += 1

    def _path(self, name: str) -> str:
        return os.path.join(self.model_dir, name)

    def _save_checkpoint(self, estimator: Training) -> None:
        epoch, batch = self.current_epoch, self.current_batch
        if self.resume_from_checkpoint:
            epoch += self.trained_epoch + 1
            batch += self.trained_batch + (0 if estimator.max_epoch else 1)  # an epoch's end has counted its batch
        prefix = f"{self.model_prefix}-epoch{epoch}batch{batch}"
        self._save(estimator, prefix)
        self.saved_checkpoints.append(prefix)
        if len(self.saved_checkpoints) > self.max_checkpoints:
            self._remove(self.saved_checkpoints.pop(0))
        where = f"[Epoch {self.current_epoch}] CheckpointHandler:"
        self._tell(
            estimator,
            f"{where} trained total {self.current_batch + 1} batches, saving model at {self.model_dir} with prefix: "
            f"{prefix}",
        )
        if self._improvement is None:
            return
        before = self._improvement.best
        is_better = self._improvement.is_there()
        if is_better is None:
            return
        name = self._improvement.monitor.get()[0]
        if not is_better:
            self._tell(estimator, f"{where} {name} did not improve from {before:.5f}, skipping updating best model")
            return
        prefix = f"{self.model_prefix}-best"
        self._save(estimator, prefix)
        self._tell(
            estimator,
            f"{where} {name} improved from {before:.5f} to {self._improvement.best:.5f}, updating best model at "
            f"{self.model_dir} with prefix: {prefix}",
        )

    def _tell(self, estimator: Training, line: str) -> None:
        if self.verbose > 0:
            estimator.logger.info(line)

    def _save(self, estimator: Training, prefix: str) -> None:
        estimator.net.save_parameters(self._path(f"{prefix}.params"))
        estimator.trainer.save_states(self._path(f"{prefix}.states"))

    def _remove(self, prefix: str) -> None:
        for suffix in (".params", ".states"):
            if os.path.exists(self._path(prefix + suffix)):
                os.remove(self._path(prefix + suffix))

    def _save_symbol(self, estimator: Training) -> None:
        path = self._path(f"{self.model_prefix}-symbol.json")
        graph = getattr(estimator.net, "_cached_graph", None)
        if graph:
            graph[1].save(path)
            return
        estimator.logger.info(
            "Model architecture(symbol file) is not saved, please use HybridBlock to construct your model, and call "
            "net.hybridize() before passing to Estimator in order to save model architecture as %s.",
            path,
        )

    def _resume(self, estimator: Training) -> None:
        """Loads the newest checkpoint; raises ArgumentError where it is already as far as training should get."""
        pattern = re.compile(re.escape(self.model_prefix) + r"-epoch(\d+)batch(\d+)\.params")
        matches = (pattern.fullmatch(name) for name in os.listdir(self.model_dir))
        found = sorted((int(m[1]), int(m[2])) for m in matches if m is not None)
        unit, wanted = ("batch", estimator.max_batch) if estimator.max_batch else ("epoch", estimator.max_epoch)
        units = "batches" if unit == "batch" else "epochs"
        assert wanted is not None
        if not found:
            self.trained_epoch = self.trained_batch = -1
            estimator.logger.info(f"CheckpointHandler: No checkpoint found, training from scratch for {wanted} {units}")
            return
        self.saved_checkpoints = [f"{self.model_prefix}-epoch{e}batch{b}" for e, b in found]
        self.trained_epoch, self.trained_batch = found[-1]
        trained = self.trained_batch if unit == "batch" else self.trained_epoch
        if trained >= wanted - 1:
            raise ArgumentError(
                f"Found checkpoint with maximum number of {unit} {trained + 1} reached, please specify "
                "resume_from_checkpoint=False (default value) if you want to train from scratch."
            )
        left = wanted - trained - 1
        setattr(estimator, f"max_{unit}", left)
        newest = self._path(self.saved_checkpoints[-1])
        estimator.net.load_parameters(f"{newest}.params", ctx=estimator.context)
        estimator.trainer.load_states(f"{newest}.states")
        estimator.logger.warning(
            f"CheckpointHandler: Checkpoint resumed from epoch {self.trained_epoch} batch {self.trained_batch}, "
            f"continue to train for {left} {units} "
        )
