"""Metrics of decisions: how many are right, and how well they correlate with the labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from symc import ndarray
from symc.core.errors import ArgumentError, ConflictError
from symc.ndarray import NDArray

from .base import Arrays, EvalMetric, Names, alias, check_label_shapes, register


@register
@alias("acc")
class Accuracy(EvalMetric):
    """The share of predictions, the largest along `axis` unless they have the label's shape, that are the label."""

    def __init__(
        self, axis: int = 1, name: str = "accuracy", output_names: Names = None, label_names: Names = None
    ) -> None:
        super().__init__(name, output_names, label_names, axis=axis, has_global_stats=True)
        self.axis = axis

    def update(self, labels: Arrays, preds: Arrays) -> None:
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            decided = pred if pred.shape == label.shape else ndarray.argmax(pred, axis=self.axis)
            seen, wanted = (x.asnumpy().astype("int32").ravel() for x in (decided, label))
            check_label_shapes(wanted, seen)
            self._add((seen == wanted).sum(), len(seen))


@register
@alias("top_k_accuracy", "top_k_acc")
class TopKAccuracy(EvalMetric):
    """The share of labels among the top_k largest predictions."""

    def __init__(
        self, top_k: int = 1, name: str = "top_k_accuracy", output_names: Names = None, label_names: Names = None
    ) -> None:
        super().__init__(name, output_names, label_names, top_k=top_k, has_global_stats=True)
        if top_k <= 1:
            raise ConflictError("Please use Accuracy if top_k is no more than 1")
        self.top_k = top_k
        self.name += f"_{top_k}"

    def update(self, labels: Arrays, preds: Arrays) -> None:
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            if pred.ndim > 2:
                raise ConflictError(f"Predictions should be no more than 2 dims, got shape {pred.shape}")
            wanted = label.asnumpy().astype("int32")
            ordered = np.argpartition(pred.asnumpy().astype("float32"), -self.top_k)
            check_label_shapes(wanted, ordered)
            if pred.ndim == 1:  # MXNet compares the order itself, and keeps no global sum
                self.sum_metric += (ordered == wanted.ravel()).sum()
                self.num_inst += len(ordered)
                self.global_num_inst += len(ordered)
            else:
                self._add((ordered[:, -self.top_k :] == wanted.reshape(-1, 1)).sum(), len(ordered))


@dataclass
class Confusion:
    """Counts of decisions between two classes."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    @property
    def n_examples(self) -> int:
        """All of them."""
        return self.true_positives + self.false_positives + self.false_negatives + self.true_negatives

    def count(self, who: str, label: NDArray, pred: NDArray) -> None:
        """Adds a batch: labels 0 and 1, predictions (N, 2). Raises ArgumentError for more classes."""
        wanted, seen = label.asnumpy().astype("int32"), np.argmax(pred.asnumpy(), axis=1)
        check_label_shapes(wanted, seen)
        if len(np.unique(wanted)) > 2:
            raise ArgumentError(f"{who} currently only supports binary classification.")
        is_wanted, is_seen = wanted == 1, seen == 1
        self.true_positives += int((is_seen & is_wanted).sum())
        self.false_positives += int((is_seen & ~is_wanted).sum())
        self.false_negatives += int((~is_seen & is_wanted).sum())
        self.true_negatives += int((~is_seen & ~is_wanted).sum())

    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where there is none."""
        precision, recall = (
            self.true_positives / n if n else 0.0
            for n in (self.true_positives + self.false_positives, self.true_positives + self.false_negatives)
        )
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def matthews(self) -> float:
        """Matthews' correlation coefficient; sums that are 0 are left out of the divisor."""
        tp, fp, fn, tn = self.true_positives, self.false_positives, self.false_negatives, self.true_negatives
        divisor = math.prod(n for n in (tp + fp, tp + fn, tn + fp, tn + fn) if n)
        return (tp * tn - fp * fn) / math.sqrt(divisor) if self.n_examples else 0.0


class _Binary(EvalMetric):
    """A metric of two classes: the mean over batches (average="macro"), or over all examples together ("micro")."""

    def __init__(
        self, name: str, output_names: Names = None, label_names: Names = None, average: str = "macro"
    ) -> None:
        self.average = average
        super().__init__(name, output_names, label_names, has_global_stats=True)

    def score(self, counts: Confusion) -> float:
        """The metric of counts."""
        raise NotImplementedError

    def update(self, labels: Arrays, preds: Arrays) -> None:
        labels, preds = check_label_shapes(labels, preds, True)
        is_macro = self.average == "macro"
        for label, pred in zip(labels, preds):
            for counts in (self._local, self._global):
                counts.count(type(self).__name__, label, pred)
        if is_macro:
            self._add(self.score(self._local), 1)
            self._local, self._global = Confusion(), Confusion()
            return
        self.num_inst, self.global_num_inst = self._local.n_examples, self._global.n_examples
        self.sum_metric = self.score(self._local) * self.num_inst
        self.global_sum_metric = self.score(self._global) * self.global_num_inst

    def reset(self) -> None:
        super().reset()
        self._local, self._global = Confusion(), Confusion()

    def reset_local(self) -> None:
        super().reset_local()
        self._local = Confusion()


@register
class F1(_Binary):
    """The harmonic mean of precision and recall of class 1."""

    def __init__(
        self, name: str = "f1", output_names: Names = None, label_names: Names = None, average: str = "macro"
    ) -> None:
        super().__init__(name, output_names, label_names, average)

    def score(self, counts: Confusion) -> float:
        return counts.f1()


@register
class MCC(_Binary):
    """Matthews' correlation coefficient of two classes."""

    def __init__(
        self, name: str = "mcc", output_names: Names = None, label_names: Names = None, average: str = "macro"
    ) -> None:
        super().__init__(name, output_names, label_names, average)

    def score(self, counts: Confusion) -> float:
        return counts.matthews()


@register
class PCC(EvalMetric):
    """Pearson's correlation of decisions and labels of any number of classes: Matthews' coefficient for two."""

    def __init__(
        self,
        name: str = "pcc",
        output_names: Names = None,
        label_names: Names = None,
        has_global_stats: bool = True,
    ) -> None:
        self.k = 2  # classes seen so far
        super().__init__(name, output_names, label_names, has_global_stats=has_global_stats)

    def update(self, labels: Arrays, preds: Arrays) -> None:
        labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            wanted, seen = label.asnumpy().astype("int32"), pred.asnumpy()
            seen = (seen.astype("int32") if seen.shape == wanted.shape else seen.argmax(axis=1)).ravel()
            wanted = wanted.ravel()  # labels (N, 1) are those of N predictions, too
            check_label_shapes(wanted, seen, shape=True)
            self._grow(max(seen.max(), wanted.max()) + 1)
            for counts in (self.lcm, self.gcm):
                np.add.at(counts, (seen, wanted), 1)
        self.num_inst += 1
        self.global_num_inst += 1

    def _grow(self, n_classes: int) -> None:
        more = max(n_classes - self.k, 0)
        self.lcm, self.gcm = (np.pad(counts, ((0, more), (0, more))) for counts in (self.lcm, self.gcm))
        self.k += more

    @staticmethod
    def _correlation(counts: np.ndarray) -> float:
        n, of_seen, of_wanted = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
        spread = np.sum(of_seen * (n - of_seen)) * np.sum(of_wanted * (n - of_wanted))
        return float("nan") if spread == 0 else np.sum(counts.diagonal() * n - of_seen * of_wanted) / spread**0.5

    @property
    def sum_metric(self) -> float:  # type: ignore[override]
        """The correlation times the number of batches, by which `get` divides."""
        return self._correlation(self.lcm) * self.num_inst

    @property
    def global_sum_metric(self) -> float:  # type: ignore[override]
        """The same since the last `reset`."""
        return self._correlation(self.gcm) * self.global_num_inst

    def reset(self) -> None:
        self.global_num_inst = 0.0
        self.gcm = np.zeros((self.k, self.k))
        self.reset_local()

    def reset_local(self) -> None:
        self.num_inst = 0.0
        self.lcm = np.zeros((self.k, self.k))
