"""Work that Python does: where a program needs it, its run comes back to Python and goes on afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symc.core.shapes import FullShape

from .kernel import LoopKernel, Template
from .routine import Routine


@dataclass(frozen=True)
class Seen:
    """An operand as Python sees it.

    array    the program's memory, or an array of the host that stands for memory on a device
    memory   of the device (see runtime.device.Memory); None where no device is
    shadow   keeps both the same where `array` only stands for it, else None (see runtime.device.Shadow)
    """

    array: np.ndarray
    memory: Any = None
    shadow: Any = None


# Takes inputs, results to fill, and of each result whether anything reads it.
Callee = Callable[[Sequence[Seen], Sequence[Seen], Sequence[bool]], None]


@dataclass(frozen=True)
class CallOut(Routine):
    """A Python function with its parameters. It may write to those inputs that are states."""

    node: str

    def opened(self, kept: dict[str, Any]) -> Callee:
        """The function for one run at a time; what it keeps from call to call goes into `kept`."""
        raise NotImplementedError

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        self.opened({})([*map(Seen, ins)], [*map(Seen, outs)], [True] * len(outs))

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        """Nobody knows."""
        return 0


def callout_of(kernel: LoopKernel) -> CallOut | None:
    """The call that a kernel is, if it is one."""
    return kernel.routine if isinstance(kernel, Template) and isinstance(kernel.routine, CallOut) else None
