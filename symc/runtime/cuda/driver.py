"""What the run time asks of one GPU: memory, copies, code, launches.

Everything happens in the order in which it was asked for. Launches may still be running when their call returns;
`copy_out` and `synchronise` wait for them. An address is a number that means nothing to the host.

Kernel arguments are as a C function has them: an `int` is a 64-bit pointer or integer, `np.int32` and `np.float32` are
four bytes, each aligned to its own size. symc's own kernels take two pointers to int64, the descriptor and the table of
buffer addresses, both in device memory: nothing about a launch changes from run to run, so a graph is made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from symc.codegen.cuda.image import KernelImage

Dim3 = tuple[int, int, int]
Argument = int | np.int32 | np.float32


class Properties(NamedTuple):
    """What a GPU is."""

    name: str
    capability: tuple[int, int]  # (9, 0)
    n_processors: int
    total_bytes: int
    max_shared_bytes: int  # of one block, static and dynamic together


class Launch(NamedTuple):
    """One launch of a loaded kernel; `shared_bytes` of dynamic shared memory beside the static ones of its image."""

    kernel: int
    grid: Dim3
    block: Dim3
    shared_bytes: int
    arguments: tuple[Argument, ...]


class Graph(Protocol):
    """Launches that one call starts, each after the one before it."""

    def launch(self) -> None:
        """Starts all of them."""


class Driver(Protocol):
    """One GPU. What its driver refuses is a DeviceError; a lack of memory an AllocationError.

    stream   the number that other libraries know the order of all that happens by
    """

    @property
    def stream(self) -> int: ...

    def properties(self) -> Properties:
        """What the GPU is."""

    def memory_info(self) -> tuple[int, int]:
        """(free, total) bytes."""

    def allocate(self, size_bytes: int) -> int:
        """The address of new memory, aligned to 256 bytes, of undefined contents; at least one byte."""

    def holds(self, address: int) -> bool:
        """Whether an address, of whomever's memory, is on this GPU."""

    def follow(self, stream: int) -> None:
        """Lets what is asked for from now on begin after all that another library has asked of its stream."""

    def free(self, address: int) -> None:
        """Gives back what `allocate` gave, after all that was asked for before."""

    def clear(self, address: int, size_bytes: int) -> None:
        """Fills memory with zeros."""

    def copy_in(self, address: int, data: np.ndarray) -> None:
        """Copies a C-contiguous array to the device; the array may be changed as soon as the call returns."""

    def copy_out(self, data: np.ndarray, address: int) -> None:
        """Fills a C-contiguous array from the device, with all before complete."""

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """Copies within the device; the ranges must not overlap."""

    def load(self, image: KernelImage) -> int:
        """A handle of the kernel."""

    def unload(self, kernel: int) -> None:
        """Gives a handle back."""

    def launch(self, launch: Launch) -> None:
        """Starts one kernel."""

    def graph(self, launches: Sequence[Launch]) -> Graph:
        """Launches as one, to be started again and again."""

    def synchronise(self) -> None:
        """Waits for all that was asked for; raises DeviceError where a kernel failed."""
