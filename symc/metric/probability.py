"""Metrics of probabilities, and of losses computed elsewhere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from symc import ndarray
from symc.core.errors import ConflictError
from symc.ndarray import NDArray

from .base import Arrays, EvalMetric, Names, alias, check_label_shapes, register


@register
class Perplexity(EvalMetric):
    """exp of the mean of -log of the probability of the label; labels equal to ignore_label do not count."""

    def __init__(
        self,
        ignore_label: int | None,
        axis: int = -1,
        name: str = "perplexity",
        output_names: Names = None,
        label_names: Names = None,
    ) -> None:
        super().__init__(name, output_names, label_names, ignore_label=ignore_label, has_global_stats=True)
        self.ignore_label = ignore_label
        self.axis = axis

    def update(self, labels: Arrays, preds: Arrays) -> None:
        if len(labels) != len(preds):
            raise ConflictError(f"Perplexity: {len(labels)} labels, {len(preds)} predictions")
        loss, count = 0.0, 0
        for label, pred in zip(labels, preds):
            if label.size * pred.shape[-1] != pred.size:
                raise ConflictError(f"shape mismatch: {label.shape} vs. {pred.shape}")
            wanted = label.as_in_context(pred.context).reshape((label.size,))
            likely = ndarray.pick(pred, wanted.astype(dtype="int32"), axis=self.axis)
            if self.ignore_label is not None:
                ignored = (wanted == self.ignore_label).astype(pred.dtype)
                count -= int(ndarray.sum(ignored).asscalar())
                likely = likely * (1 - ignored) + ignored
            loss -= float(ndarray.sum(ndarray.log(ndarray.maximum(1e-10, likely))).asscalar())
            count += likely.size
        self._add(loss, count)

    def value_of(self, total: Any, count: Any) -> float:
        return math.exp(total / count)


class _OfLabels(EvalMetric):
    """The mean of -log(probability of the label + eps)."""

    def __init__(self, eps: float, name: str, output_names: Names, label_names: Names) -> None:
        super().__init__(name, output_names, label_names, eps=eps, has_global_stats=True)
        self.eps = eps

    def update(self, labels: Arrays, preds: Arrays) -> None:
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            wanted = label.asnumpy().ravel()
            if len(wanted) != pred.shape[0]:
                raise ConflictError(f"{self.name}: {len(wanted)} labels for {pred.shape[0]} predictions")
            likely = pred.asnumpy()[np.arange(len(wanted)), np.int64(wanted)]
            self._add((-np.log(likely + self.eps)).sum(), len(wanted))


@register
@alias("ce")
class CrossEntropy(_OfLabels):
    """The mean of -log(probability of the label + eps)."""

    def __init__(
        self,
        eps: float = 1e-12,
        name: str = "cross-entropy",
        output_names: Names = None,
        label_names: Names = None,
    ) -> None:
        super().__init__(eps, name, output_names, label_names)


@register
@alias("nll_loss")
class NegativeLogLikelihood(_OfLabels):
    """Cross entropy, by another name."""

    def __init__(
        self, eps: float = 1e-12, name: str = "nll-loss", output_names: Names = None, label_names: Names = None
    ) -> None:
        super().__init__(eps, name, output_names, label_names)


@register
class Loss(EvalMetric):
    """The mean of all elements of the predictions, which are losses; labels are not read."""

    def __init__(self, name: str = "loss", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def update(self, _: Any, preds: Any) -> None:
        for pred in [preds] if isinstance(preds, NDArray) else preds:
            self._add(ndarray.sum(pred).asscalar(), pred.size)


@register
class Torch(Loss):
    """Loss, by an old name."""

    def __init__(self, name: str = "torch", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names)


@register
class Caffe(Loss):
    """Loss, by an old name."""

    def __init__(self, name: str = "caffe", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names)
