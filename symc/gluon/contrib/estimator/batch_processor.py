"""What an estimator does with one batch; a subclass does something else."""

from __future__ import annotations

from typing import Any

from symc import autograd
from symc.context import Context
from symc.gluon.utils import split_and_load
from symc.ndarray import NDArray

from .stages import Training

__all__ = ["BatchProcessor"]

Arrays = list[NDArray]  # one of each context


class BatchProcessor:
    """Runs the network forward, and backward in training."""

    def _get_data_and_label(self, batch: Any, ctx: list[Context], batch_axis: int = 0) -> tuple[Arrays, Arrays]:
        data, label = (split_and_load(part, ctx_list=ctx, batch_axis=batch_axis) for part in batch[:2])
        return data, label

    def evaluate_batch(
        self, estimator: Training, val_batch: Any, batch_axis: int = 0
    ) -> tuple[Arrays, Arrays, Arrays, Arrays]:
        """Data, labels, outputs and losses of a batch."""
        data, label = self._get_data_and_label(val_batch, estimator.context, batch_axis)
        pred = [estimator.val_net(x) for x in data]
        return data, label, pred, [estimator.val_loss(y_hat, y) for y_hat, y in zip(pred, label)]

    def fit_batch(
        self, estimator: Training, train_batch: Any, batch_axis: int = 0
    ) -> tuple[Arrays, Arrays, Arrays, Arrays]:
        """The same, with gradients; a handler updates the parameters."""
        data, label = self._get_data_and_label(train_batch, estimator.context, batch_axis)
        with autograd.record():
            pred = [estimator.net(x) for x in data]
            loss = [estimator.loss(y_hat, y) for y_hat, y in zip(pred, label)]
        for value in loss:
            value.backward()
        return data, label, pred, loss
