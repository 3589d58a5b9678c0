"""`mx.monitor`: statistics of what executors compute, every few batches."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from math import sqrt
from typing import TYPE_CHECKING, Any

from symc.core.errors import ConflictError
from symc.ndarray import NDArray

if TYPE_CHECKING:
    from symc.executor import Executor

Statistic = tuple[int, str, str]  # number of the batch, name, value as text


class Monitor:
    """Collects a statistic of every array whose name a pattern matches, in every `interval`-th batch.

    stat_func     NDArray -> NDArray or a list of them; by default the norm over the square root of the size
    sort          whether results are sorted by name
    monitor_all   whether inputs of operators are reported too; of the backward pass, where MXNet reports values of the
                  forward pass again, the gradients that nodes give back are reported in either case
    """

    def __init__(
        self,
        interval: int,
        stat_func: Callable[[NDArray], Any] | None = None,
        pattern: str = ".*",
        sort: bool = False,
        monitor_all: bool = False,
    ) -> None:
        self.interval = interval
        self.stat_func = stat_func or _norm_by_size
        self.re_prog = re.compile(pattern)
        self.sort = sort
        self.monitor_all = monitor_all
        self.activated = False
        self.step = 0
        self.queue: list[tuple[int, str, Any]] = []
        self.exes: list[Executor] = []

    def install(self, exe: Executor) -> None:
        """Watches an executor."""
        exe.set_monitor_callback(self.stat_helper, self.monitor_all)
        self.exes.append(exe)

    def stat_helper(self, name: str, array: NDArray) -> None:
        """Takes the statistic of one array, if it is time."""
        if self.activated and self.re_prog.match(name):
            self.queue.append((self.step, name, self.stat_func(array)))

    def tic(self) -> None:
        """Begins a batch; to be called before forward."""
        self.activated = self.step % self.interval == 0
        if self.activated:
            self.queue = []
        self.step += 1

    def toc(self) -> list[Statistic]:
        """Ends a batch: its statistics, those of the executors' arguments and states too; call it after backward."""
        if not self.activated:
            return []
        for exe in self.exes:
            for name, array in (*exe.arg_dict.items(), *exe.aux_dict.items()):
                self.stat_helper(name, array)
        self.activated = False
        found = sorted(self.queue, key=lambda entry: entry[1]) if self.sort else self.queue
        self.queue = []
        return [(step, name, _text(value)) for step, name, value in found]

    def toc_print(self) -> None:
        """Ends a batch and logs its statistics."""
        for step, name, text in self.toc():
            logging.info("Batch: %7d %-30s %s", step, name, text)


def _norm_by_size(array: NDArray) -> NDArray:
    return array.norm() / sqrt(array.size)


def _text(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, NDArray) for v in values):
        raise ConflictError(f"Monitor: stat_func gave {value!r}, expected an NDArray or a list of them")
    # str, as a format would show every digit of a float32
    return "".join(str(v.asscalar() if v.shape == (1,) else v.asnumpy()) + "\t" for v in values)
