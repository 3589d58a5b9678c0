"""What a program runs on: a backend that makes its kernels, memory for what is its own, a runner for its steps.

`Context.device` gives it. The rest of the run time knows these protocols alone; the CPU's are in `runtime/cpu/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from symc.codegen.backend import Backend
from symc.codegen.kernel import Launch
from symc.codegen.objects import Build
from symc.core.shapes import FullShape
from symc.loopir.callout import Seen

from .operands import Expected, Point
from .program import Loop

StepRow = tuple[int, int, Launch]  # kernel and descriptor, both as `Backend.load` and `Block.address` name them


class LoopRows(NamedTuple):
    """A loop and the rows of its steps."""

    loop: Loop
    rows: Sequence[Row]


class CallRow(NamedTuple):
    """A call-back, by its number among the functions that a run is bound to."""

    number: int


Row = StepRow | LoopRows | CallRow


class Touched(NamedTuple):
    """An array of the caller's that a phase may touch: its number in `bufs`, and what happens to it.

    read      by the phase
    kept      the same, and has not changed since `prepare` has run
    prepared  the same, by `prepare`
    changed   read and written
    filled    written before it is read
    """

    slot: int
    size_bytes: int
    use: Literal["read", "kept", "prepared", "changed", "filled"]


class Block(Protocol):
    """A piece of a device's memory, aligned to 64 bytes; given back when nobody refers to it any more."""

    @property
    def address(self) -> int:
        """Where it begins, as the device's kernels name it."""

    def write(self, data: np.ndarray) -> None:
        """Copies a contiguous array to its beginning."""

    def copy_from(self, other: Any) -> None:
        """Copies a block of the same device and size."""


class Shadow(Protocol):
    """Host memory that stands for an array on a device: the side written last is copied when the other wants it."""

    def seen(self, part: np.ndarray) -> np.ndarray:
        """The contents of a part of the host memory, read-only."""

    def open(self) -> None:
        """Makes the host memory what counts: somebody is about to change it in place."""

    def upload(self, part: np.ndarray, value: np.ndarray) -> bool:
        """Replaces all contents by an array, on the device; False where `part` is less, or the dtype another."""

    def copy(self, part: np.ndarray, source: Any, source_part: np.ndarray) -> bool:
        """Makes a part a copy of another shadow's, on the device; False where that cannot be."""

    def share(self, part: np.ndarray) -> tuple[int, object]:
        """Where a part lies on the device, with its contents there from now on, and what keeps it."""

    def flush(self) -> None:
        """Brings what the host has written to where others read it, if somebody shares it."""

    def wait(self) -> None:
        """Returns when all that was asked of the device is done."""


class Memory(Protocol):
    """Allocates what a program needs beside the caller's arrays: arena, prepared parameters, tables, descriptors."""

    def zeros(self, size_bytes: int) -> Block:
        """A block of zeros of at least this size."""

    def shadow(self, data: np.ndarray) -> Shadow | None:
        """What stands for an array on a device that has a copy; None where kernels see the host's memory."""

    def wait(self) -> None:
        """Returns when all that was asked of the device is done."""

    def seen(self, address: int, shape: FullShape, dtype: str, owner: object) -> Seen:
        """What lies at an address, as kernels name it, for Python to read and write in place.

        It keeps `owner` alive, whose memory it is.
        """


# What a call-back calls, with the addresses of all buffers as kernels have them just then.
Call = Callable[[np.ndarray], None]


class Run(Protocol):
    """The steps of one phase over one table of buffer addresses."""

    def run(self) -> None:
        """Executes the steps in order; returns when all results can be read."""

    def run_profiled(self) -> np.ndarray:
        """The same; begin and end of each kernel, as they stand, in nanoseconds, int64 (n_kernels, 2).

        The end of one in a loop is its first begin and the time of all its rounds.
        """

    def over(self, expected: Expected) -> Point | None:
        """A function of a list of objects: whether it holds what is expected. Then it has run, pointed at its arrays.

        None where that is no less work than to point (`runtime/pointing.py`) and to run.
        """


class Runner(Protocol):
    """Executes steps.

    keeps_parameters   `prepare` is run for programs that have nothing to compute in it, too
    can_pause          call-backs see in the caller's arrays what the steps before them have written
    """

    @property
    def keeps_parameters(self) -> bool: ...

    @property
    def can_pause(self) -> bool: ...

    def steps(self, rows: Iterable[Row], arrays: Sequence[Touched]) -> Any:
        """The steps of a phase in the form that all its runs share; raises ArgumentError for a row that cannot be.

        arrays    of the caller, in host memory: what a device that does not see it must bring and fetch
        """

    def functions(self) -> Mapping[str, Build]:
        """What builds the functions that it is made of, by name; they are compiled, and kept, along with kernels."""

    def bind(self, steps: Any, bufs: np.ndarray, n_threads: int | None, calls: Sequence[Call]) -> Run:
        """A run of `steps` that reads the addresses of its buffers in `bufs` (int64, host memory) whenever it begins.

        n_threads   of the host that may work on it; None: the process's default
        calls       what call-backs call, in the thread that called `run`, after all steps before
        """


@dataclass(frozen=True)
class Device:
    """A backend with the memory and the runner that belong to it."""

    backend: Backend
    memory: Memory
    runner: Runner
