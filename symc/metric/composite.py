"""Metrics from other things: several metrics as one, and functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from symc import registry
from symc.core.errors import ArgumentError
from symc.ndarray import NDArray

from .base import Arrays, EvalMetric, Names, alias, check_label_shapes, register

_by_name = registry.get_create_func(EvalMetric, "metric")


def create(metric: Any, *args: Any, **kwargs: Any) -> EvalMetric:
    """A metric by name, from a function, from a list of these (all as one), or as it is."""
    if isinstance(metric, list):
        composite = CompositeEvalMetric()
        for each in metric:
            composite.add(create(each, *args, **kwargs))
        return composite
    if callable(metric):
        return CustomMetric(metric, *args, **kwargs)
    return _by_name(metric, *args, **kwargs)


@register
@alias("composite")
class CompositeEvalMetric(EvalMetric):
    """Several metrics, updated together; their names and values come as lists."""

    def __init__(
        self,
        metrics: Sequence[Any] | None = None,
        name: str = "composite",
        output_names: Names = None,
        label_names: Names = None,
    ) -> None:
        self.metrics: list[EvalMetric] = []
        super().__init__(name, output_names, label_names, has_global_stats=True)
        self.metrics += [create(metric) for metric in metrics or ()]

    def add(self, metric: Any) -> None:
        """Puts another metric at the end."""
        self.metrics.append(create(metric))

    def get_metric(self, index: int) -> EvalMetric:
        """One of them; raises ArgumentError where there is none of this number."""
        if index >= len(self.metrics):
            raise ArgumentError(f"Metric index {index} is out of range 0 and {len(self.metrics)}")
        return self.metrics[index]

    def update_dict(self, labels: Mapping[str, NDArray], preds: Mapping[str, NDArray]) -> None:  # type: ignore[override]
        """Updates each by the arrays that have names; of those this one wants, what each wants."""
        if self.label_names is not None:
            labels = {name: x for name, x in labels.items() if name in self.label_names}
        if self.output_names is not None:
            preds = {name: x for name, x in preds.items() if name in self.output_names}
        for metric in self.metrics:
            metric.update_dict(labels, preds)

    def update(self, labels: Arrays, preds: Arrays) -> None:
        for metric in self.metrics:
            metric.update(labels, preds)

    def reset(self) -> None:
        for metric in self.metrics:
            metric.reset()

    def reset_local(self) -> None:
        for metric in self.metrics:
            metric.reset_local()

    def get(self) -> tuple[list[str], list[Any]]:
        return self._all([metric.get() for metric in self.metrics])

    def get_global(self) -> tuple[list[str], list[Any]]:
        return self._all([metric.get_global() for metric in self.metrics])

    @staticmethod
    def _all(found: Sequence[tuple[Any, Any]]) -> tuple[list[str], list[Any]]:
        """Names and values in one list each; a composite among them gives several."""
        listed = [tuple(x if isinstance(x, list) else [x] for x in pair) for pair in found]
        return [n for names, _ in listed for n in names], [v for _, values in listed for v in values]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "metrics": [metric.get_config() for metric in self.metrics]}


@register
class CustomMetric(EvalMetric):
    """What a function of NumPy's label and prediction gives: a number for the batch, or (sum, count).

    allow_extra_outputs    whether there may be more predictions than labels
    """

    def __init__(
        self,
        feval: Callable,
        name: str | None = None,
        allow_extra_outputs: bool = False,
        output_names: Names = None,
        label_names: Names = None,
    ) -> None:
        if name is None:
            name = f"custom({feval.__name__})" if "<" in feval.__name__ else feval.__name__
        super().__init__(
            name,
            output_names,
            label_names,
            feval=feval,
            allow_extra_outputs=allow_extra_outputs,
            has_global_stats=True,
        )
        self._feval = feval
        self._allow_extra_outputs = allow_extra_outputs

    def update(self, labels: Arrays, preds: Arrays) -> None:
        if not self._allow_extra_outputs:
            labels, preds = check_label_shapes(labels, preds, True)
        for label, pred in zip(labels, preds):
            value = self._feval(label.asnumpy(), pred.asnumpy())
            self._add(*(value if isinstance(value, tuple) else (value, 1)))

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("CustomMetric cannot be serialized")


def np(numpy_feval: Callable, name: str | None = None, allow_extra_outputs: bool = False) -> CustomMetric:
    """A metric from a function of NumPy arrays: label, prediction."""
    return CustomMetric(numpy_feval, name, allow_extra_outputs)
