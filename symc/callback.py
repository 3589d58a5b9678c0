"""`mx.callback`: what training calls after batches (with a `BatchEndParam`) and after epochs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .model import save_checkpoint

if TYPE_CHECKING:
    from symc.ndarray import NDArray
    from symc.symbol import Symbol


def do_checkpoint(prefix: str, period: int = 1) -> Callable[..., None]:
    """After every `period` epochs: symbol and parameters, numbered by how many epochs are done."""
    period = max(1, int(period))

    def at_epoch_end(iter_no: int, symbol: Symbol, arg: Mapping[str, NDArray], aux: Mapping[str, NDArray]) -> None:
        if (iter_no + 1) % period == 0:
            save_checkpoint(prefix, iter_no + 1, symbol, arg, aux)

    return at_epoch_end


def module_checkpoint(
    mod: Any, prefix: str, period: int = 1, save_optimizer_states: bool = False
) -> Callable[..., None]:
    """After every `period` epochs: the checkpoint of a module."""
    period = max(1, int(period))

    def at_epoch_end(iter_no: int, *_: Any) -> None:
        if (iter_no + 1) % period == 0:
            mod.save_checkpoint(prefix, iter_no + 1, save_optimizer_states)

    return at_epoch_end


def log_train_metric(period: int, auto_reset: bool = False) -> Callable[[Any], None]:
    """After every `period` batches: the training metric in the log."""

    def at_batch_end(param: Any) -> None:
        if param.nbatch % period or param.eval_metric is None:
            return
        for name, value in param.eval_metric.get_name_value():
            logging.info("Iter[%d] Batch[%d] Train-%s=%f", param.epoch, param.nbatch, name, value)
        if auto_reset:
            param.eval_metric.reset_local()

    return at_batch_end


class Speedometer:
    """After every `frequent` batches: samples a second and the training metric, which `auto_reset` then resets.

    The first call of an epoch starts the clock.
    """

    def __init__(self, batch_size: int, frequent: int = 50, auto_reset: bool = True) -> None:
        self.batch_size = batch_size
        self.frequent = frequent
        self.auto_reset = auto_reset
        self.init = False  # whether the clock runs
        self.tic = 0.0
        self.last_count = 0

    def __call__(self, param: Any) -> None:
        count = param.nbatch
        if self.last_count > count:  # another epoch
            self.init = False
        self.last_count = count
        if not self.init:
            self.init = True
            self.tic = time.time()
            return
        if count % self.frequent == 0:
            spent = time.time() - self.tic
            speed = self.frequent * self.batch_size / spent if spent else math.inf
            self._log(param, count, speed)
            self.tic = time.time()

    def _log(self, param: Any, count: int, speed: float) -> None:
        if param.eval_metric is None:
            logging.info("Iter[%d] Batch [%d]\tSpeed: %.2f samples/sec", param.epoch, count, speed)
            return
        values = "".join(f"\t{name}={value:f}" for name, value in param.eval_metric.get_name_value())
        first = count - self.frequent if self.auto_reset else 0
        if self.auto_reset:
            param.eval_metric.reset_local()
        logging.info("Epoch[%d] Batch [%d-%d]\tSpeed: %.2f samples/sec%s", param.epoch, first, count, speed, values)


class ProgressBar:
    """After every batch: a bar of `length` characters for how many of `total` batches are done."""

    def __init__(self, total: int, length: int = 80) -> None:
        self.total = total
        self.bar_len = length

    def __call__(self, param: Any) -> None:
        done = param.nbatch / self.total
        n_filled = round(self.bar_len * done)
        logging.info("[%s] %s%%\r", "=" * n_filled + "-" * (self.bar_len - n_filled), math.ceil(100 * done))


class LogValidationMetricsCallback:
    """After a validation: its metric in the log."""

    def __call__(self, param: Any) -> None:
        if param.eval_metric is None:
            return
        for name, value in param.eval_metric.get_name_value():
            logging.info("Epoch[%d] Validation-%s=%f", param.epoch, name, value)
