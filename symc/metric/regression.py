"""Metrics of numbers: how far predictions are from labels, each a mean over batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Arrays, EvalMetric, Names, alias, check_label_shapes, register


class _OfBatches(EvalMetric):
    """The mean over batches of a number for each."""

    def __init__(self, name: str, output_names: Names, label_names: Names) -> None:
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def of_batch(self, difference: np.ndarray) -> Any:
        """The number, from label - prediction."""
        raise NotImplementedError

    def update(self, labels: Arrays, preds: Arrays) -> None:
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            wanted, seen = (x.reshape(-1, 1) if x.ndim == 1 else x for x in (label.asnumpy(), pred.asnumpy()))
            self._add(self.of_batch(wanted - seen), 1)


@register
class MAE(_OfBatches):
    """The mean absolute error."""

    def __init__(self, name: str = "mae", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names)

    def of_batch(self, difference: np.ndarray) -> Any:
        return np.abs(difference).mean()


@register
class MSE(_OfBatches):
    """The mean squared error."""

    def __init__(self, name: str = "mse", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names)

    def of_batch(self, difference: np.ndarray) -> Any:
        return (difference**2.0).mean()


@register
class RMSE(_OfBatches):
    """The mean over batches of the root of the mean squared error."""

    def __init__(self, name: str = "rmse", output_names: Names = None, label_names: Names = None) -> None:
        super().__init__(name, output_names, label_names)

    def of_batch(self, difference: np.ndarray) -> Any:
        return np.sqrt((difference**2.0).mean())


class _Moments:
    """Mean and sum of squared distances from it, of numbers that come in batches."""

    def __init__(self) -> None:
        self.count, self.mean, self.spread = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Takes in a batch, by the update of MXNet."""
        self.count += len(values)
        before = values - self.mean
        self.mean += np.sum(before / self.count)
        self.spread += np.sum(before * (values - self.mean))


@register
@alias("pearsonr")
class PearsonCorrelation(EvalMetric):
    """Pearson's correlation: the mean over batches (average="macro"), or of all examples together ("micro")."""

    def __init__(
        self, name: str = "pearsonr", output_names: Names = None, label_names: Names = None, average: str = "macro"
    ) -> None:
        self.average = average
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def reset(self) -> None:
        super().reset()
        self._labels, self._preds, self._product = _Moments(), _Moments(), 0.0

    def update(self, labels: Arrays, preds: Arrays) -> None:
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            check_label_shapes(label, pred, False, True)
            wanted, seen = (x.asnumpy().ravel().astype(np.float64) for x in (label, pred))
            if self.average == "macro":
                self._add(np.corrcoef(seen, wanted)[0, 1], 1)
                continue
            self._labels.add(wanted)
            self._product += np.sum((wanted - self._labels.mean) * (seen - self._preds.mean))
            self._preds.add(seen)
            self._add(0.0, 1)

    def value_of(self, total: Any, count: Any) -> Any:
        if self.average == "macro":
            return total / count
        n = self._labels.count - 1
        return self._product / (n * np.sqrt(self._preds.spread / n) * np.sqrt(self._labels.spread / n))
