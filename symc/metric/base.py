"""The base of metrics: sums over batches, since the last `reset_local` and since the last `reset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symc import registry
from symc.core.errors import ArgumentError
from symc.ndarray import NDArray

Arrays = Sequence[NDArray]
Names = Sequence[str] | None


def check_label_shapes(labels: Any, preds: Any, wrap: bool = False, shape: bool = False) -> tuple[Any, Any]:
    """Labels and predictions, which must be as many, or of one shape; `wrap` puts single arrays into lists.

    Raises ArgumentError.
    """
    of_labels, of_preds = (labels.shape, preds.shape) if shape else (len(labels), len(preds))
    if of_labels != of_preds:
        raise ArgumentError(f"Shape of labels {of_labels} does not match shape of predictions {of_preds}")
    if wrap:
        labels, preds = ([x] if isinstance(x, NDArray) else x for x in (labels, preds))
    return labels, preds


class EvalMetric:
    """Base of metrics: a subclass overrides `update(labels, preds)` and adds what a batch gives to the sums.

    output_names, label_names    which arrays `update_dict` takes; all by default
    has_global_stats             (keyword) whether `update` keeps the sums that `get_global` reads
    Further keywords are what `get_config` tells.
    """

    def __init__(self, name: str, output_names: Names = None, label_names: Names = None, **kwargs: Any) -> None:
        self.name = str(name)
        self.output_names = output_names
        self.label_names = label_names
        self._has_global_stats = kwargs.pop("has_global_stats", False)
        self._kwargs = kwargs
        self.reset()

    def __str__(self) -> str:
        return f"EvalMetric: {dict(self.get_name_value())}"

    def get_config(self) -> dict[str, Any]:
        """What makes an equal metric: arguments by name, the class under "metric"."""
        return {
            **self._kwargs,
            "metric": type(self).__name__,
            "name": self.name,
            "output_names": self.output_names,
            "label_names": self.label_names,
        }

    def update_dict(self, label: Mapping[str, NDArray], pred: Mapping[str, NDArray]) -> None:
        """Adds a batch whose arrays have names."""
        preds = list(pred.values()) if self.output_names is None else [pred[name] for name in self.output_names]
        labels = list(label.values()) if self.label_names is None else [label[name] for name in self.label_names]
        self.update(labels, preds)

    def update(self, labels: Arrays, preds: Arrays) -> None:
        """Adds a batch; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must override update")

    def _add(self, total: Any, count: Any) -> None:
        """Adds to both sums."""
        self.sum_metric += total
        self.global_sum_metric += total
        self.num_inst += count
        self.global_num_inst += count

    def reset(self) -> None:
        """Forgets all batches."""
        self.global_num_inst: Any = 0
        self.global_sum_metric: Any = np.float64(0)
        EvalMetric.reset_local(self)  # no subclass's, as in MXNet

    def reset_local(self) -> None:
        """Begins the sums that `get` reads anew."""
        self.num_inst: Any = 0
        self.sum_metric: Any = np.float64(0)  # NumPy 2 would add a float32 to a number of Python's in float32

    def value_of(self, total: Any, count: Any) -> Any:
        """The metric from its sums, of one batch at least."""
        return total / count

    def get(self) -> tuple[Any, Any]:
        """Name and value since the last `reset_local`."""
        return self.name, self._value(self.sum_metric, self.num_inst)

    def get_global(self) -> tuple[Any, Any]:
        """Name and value since the last `reset`."""
        if not self._has_global_stats:
            return self.get()
        return self.name, self._value(self.global_sum_metric, self.global_num_inst)

    def _value(self, total: Any, count: Any) -> Any:
        """`value_of`; a number of NumPy's becomes one of Python's, which prints as MXNet's NumPy did."""
        value = self.value_of(total, count) if count else float("nan")
        return float(value) if isinstance(value, np.floating) else value

    def get_name_value(self) -> list[tuple[str, Any]]:
        """`get` as a list of pairs."""
        return _pairs(*self.get())

    def get_global_name_value(self) -> list[tuple[str, Any]]:
        """`get_global` as a list of pairs."""
        return _pairs(*self.get_global()) if self._has_global_stats else self.get_name_value()


def _pairs(names: Any, values: Any) -> list[tuple[str, Any]]:
    return list(zip(*(x if isinstance(x, list) else [x] for x in (names, values))))


register = registry.get_register_func(EvalMetric, "metric")
alias = registry.get_alias_func(EvalMetric, "metric")
