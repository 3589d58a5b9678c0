"""What a store needs of the processes that train together; `mpi.py` has it from MPI."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Pending(Protocol):
    """Communication that was started. Whoever started it gives it time by `advance`: MPI works inside its calls."""

    def advance(self) -> None:
        """Carries it on without waiting."""

    def wait(self) -> None:
        """Returns when it is complete; raises SymcError where another rank has left, so that it never will be."""


class Communicator(Protocol):
    """The processes (ranks 0 to size - 1). All call the same methods in the same order."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def broadcast(self, data: np.ndarray) -> None:
        """Overwrites a contiguous array by that of rank 0."""

    def start_sum(self, data: np.ndarray) -> Pending:
        """Begins to overwrite an array by the sum over all ranks, the same bits on each."""

    def maximum(self, data: np.ndarray) -> None:
        """Overwrites an array by the maximum over all ranks."""

    def barrier(self) -> None:
        """Waits until all ranks are here."""

    def apart(self) -> Communicator:
        """The same ranks; what is communicated there may be in another order than here."""
