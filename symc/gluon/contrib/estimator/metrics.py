"""The metrics of an estimator: lists of them, and who may refer to which."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from symc.core.errors import ArgumentError
from symc.gluon.loss import Loss, SoftmaxCrossEntropyLoss
from symc.metric import Accuracy, CompositeEvalMetric, EvalMetric

Metrics = EvalMetric | Sequence[EvalMetric] | None


def checked_metrics(metrics: Metrics) -> list[EvalMetric]:
    """A list of metrics, composite ones taken apart; raises ArgumentError for anything else."""
    if isinstance(metrics, CompositeEvalMetric):
        return [part for metric in metrics.metrics for part in checked_metrics(metric)]
    if isinstance(metrics, EvalMetric):
        return [metrics]
    found = list(metrics or [])
    if not all(isinstance(metric, EvalMetric) for metric in found):
        raise ArgumentError(f"metrics must be a Metric or a list of Metric, got: {metrics}")
    return found


def require_known(handler: object, known: Collection[EvalMetric]) -> None:
    """Raises ArgumentError where an attribute of a handler, named after metrics, has one not of the estimator's."""
    for name in (n for n in dir(handler) if "metric" in n):
        found = getattr(handler, name)
        for metric in found if isinstance(found, list) else [found]:
            if metric and metric not in known:
                raise ArgumentError(
                    f"Event handler {type(handler).__name__} refers to a metric instance {metric} outside of the known "
                    "training and validation metrics. Please use the metrics from estimator.train_metrics and "
                    "estimator.val_metrics instead."
                )


def suggested_metric(loss: Loss) -> EvalMetric | None:
    """What to measure beside a loss."""
    return Accuracy() if isinstance(loss, SoftmaxCrossEntropyLoss) else None
