"""Work that Python does: where a program needs it, its run comes back to Python and goes on afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from symc.core.shapes import FullShape

from .kernel import LoopKernel, Template
from .routine import Routine

# Takes inputs, results to fill, and of each result whether anything reads it; the arrays are the program's memory.
Callee = Callable[[Sequence[np.ndarray], Sequence[np.ndarray], Sequence[bool]], None]


@dataclass(frozen=True)
class CallOut(Routine):
    """A Python function with its parameters. It may write to those inputs that are states."""

    node: str

    def opened(self, kept: dict[str, Any]) -> Callee:
        """The function for one run at a time; what it keeps from call to call goes into `kept`."""
        raise NotImplementedError

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        self.opened({})(ins, outs, [True] * len(outs))

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        """Nobody knows."""
        return 0


def callout_of(kernel: LoopKernel) -> CallOut | None:
    """The call that a kernel is, if it is one."""
    return kernel.routine if isinstance(kernel, Template) and isinstance(kernel.routine, CallOut) else None
