"""Whether a metric has become better than it ever was."""

from __future__ import annotations

import math
import warnings

from symc.metric import EvalMetric


class Improvement:
    """Compares a metric with its best value so far.

    mode       "max" or "min" says what is better; "auto", and any other with a warning, takes "max", as MXNet does
               whatever the metric
    min_delta  by how much it has to be better
    """

    def __init__(self, what: str, monitor: EvalMetric, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            warnings.warn(f"{what} mode {mode} is unknown, fallback to auto mode.", RuntimeWarning, stacklevel=3)
        if mode not in ("min", "max"):
            warnings.warn(
                f"`greater` operator will be used to determine if {monitor.get()[0]} has improved. Please specify "
                "`mode='min'` to use the `less` operator. Specify `mode='max' to disable this warning.`",
                stacklevel=3,
            )
        self.monitor = monitor
        self._sign = -1.0 if mode == "min" else 1.0
        self._min_delta = min_delta
        self.reset()

    def reset(self, baseline: float | None = None) -> None:
        """Begins anew, with something to be better than."""
        self.best = -self._sign * math.inf if baseline is None else baseline

    def is_there(self) -> bool | None:
        """Whether the metric is better than before, which is then the best; None when it was not updated."""
        name, value = self.monitor.get()
        if math.isnan(value):
            warnings.warn(
                f"{name} is not updated, make sure you pass one of the metric objects from estimator.train_metrics and "
                "estimator.val_metrics as monitor.",
                RuntimeWarning,
                stacklevel=3,
            )
            return None
        if self._sign * (value - self.best) <= self._min_delta:
            return False
        self.best = value
        return True
