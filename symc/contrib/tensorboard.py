"""`mx.contrib.tensorboard`: metrics of a training as curves, through whatever package writes TensorBoard's files."""

from __future__ import annotations

import importlib
from typing import Any

from symc.core.errors import SymcError

WRITERS = (
    "mxboard",
    "tensorboardX",
    "torch.utils.tensorboard",
)  # have a SummaryWriter; first choice first


class LogMetricsCallback:
    """Writes the metrics of every call, as a batch or evaluation callback of `fit`, by the epoch.

    prefix   put before the names of metrics
    Raises SymcError where none of the packages is installed.
    """

    def __init__(self, logging_dir: str, prefix: str | None = None) -> None:
        self.prefix = prefix
        self.summary_writer = _writer()(logging_dir)

    def __call__(self, param: Any) -> None:
        """Writes what a BatchEndParam has measured."""
        if param.eval_metric is None:
            return
        for name, value in param.eval_metric.get_name_value():
            full = name if self.prefix is None else f"{self.prefix}-{name}"
            self.summary_writer.add_scalar(full, value, global_step=param.epoch)


def _writer() -> Any:
    for module in WRITERS:
        try:
            return importlib.import_module(module).SummaryWriter
        except ImportError:
            continue
    raise SymcError(f"LogMetricsCallback needs one of {', '.join(WRITERS)}: pip install tensorboardX")
