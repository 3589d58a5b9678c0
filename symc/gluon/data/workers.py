"""Processes that make batches of a dataset: each has a pipe of its own, so that none can hold up the others' end.

Python's pool has one pipe for all, with a lock: a pool that is ended while large results wait in it never ends.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from multiprocessing.connection import Connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from symc.core.errors import SymcError
from symc.core.locks import new_lock

from .batches import Batchify, batch_of


class Workers:
    """`n` processes that inherit a dataset now, by a fork."""

    def __init__(self, n: int, dataset: Any) -> None:
        self.all = [_Worker(dataset) for _ in range(n)]

    def submit(self, numbers: Sequence[int], batchify: Batchify) -> Future[Any]:
        """What `batchify` makes of samples, in time, by the worker that has least to do."""
        return min(self.all, key=lambda worker: len(worker.pending)).submit(numbers, batchify)

    def end(self) -> None:
        """Ends them, whatever they are doing."""
        for worker in self.all:
            worker.process.kill()


class _Worker:
    """One process; a thread reads what it sends."""

    def __init__(self, dataset: Any) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, dataset, os.getpid()), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns of forks beside threads; symc holds its locks over one (core/undisturbed.py).
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()
        self.pending: deque[Future[Any]] = deque()  # in the order in which their results will come
        self._lock = new_lock()
        # The thread must not hold this object: when nobody else does, the process is ended.
        reader = threading.Thread(target=_read, args=(self.connection, self.pending, self.process), daemon=True)
        reader.start()

    def submit(self, numbers: Sequence[int], batchify: Batchify) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            self.pending.append(future)
            try:
                self.connection.send((list(numbers), batchify))
            except OSError:
                _tell(future, self.process)
            except BaseException:  # batchify cannot be sent
                self.pending.pop()
                raise
        return future


def _read(connection: Connection, pending: deque[Future[Any]], process: Any) -> None:
    """Hands out results until the process ends."""
    while True:
        try:
            is_result, found = _received(connection)
        except (EOFError, OSError):
            break
        future = pending.popleft()
        if is_result:
            future.set_result(found)
        else:
            future.set_exception(found)
    process.join()
    while pending:
        _tell(pending.popleft(), process)


def _tell(future: Future[Any], process: Any) -> None:
    """Tells who waits that the worker has ended, unless that has been told already."""
    process.join()
    with contextlib.suppress(InvalidStateError):
        future.set_exception(
            SymcError(f"DataLoader: a worker ended with exit code {process.exitcode} before its batch was made")
        )


def _serve(connection: Connection, dataset: Any, parent: int) -> None:
    """A worker's life. Ctrl-C is for the parent, whose end is its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    while True:
        numbers, batchify = connection.recv()
        try:
            answer = True, batch_of(numbers, batchify, dataset)
        except Exception as error:  # comes out where the batch is asked for
            answer = False, ExceptionWithTraceback(error, error.__traceback__)
        try:
            _send(connection, answer)
        except Exception as error:  # nothing of it has been sent: it cannot be pickled
            why = f"DataLoader: a worker cannot send {type(answer[1]).__name__}: {error}"
            _send(connection, (False, SymcError(why)))


def _send(connection: Connection, answer: Any) -> None:
    """Sends an object; the memory of its arrays goes as it is, behind the rest."""
    stream, buffers = io.BytesIO(), []
    ForkingPickler(stream, pickle.HIGHEST_PROTOCOL, True, buffers.append).dump(answer)  # type: ignore[call-arg]
    memories = [buffer.raw() for buffer in buffers]
    connection.send(([memory.nbytes for memory in memories], stream.getvalue()))
    for memory in memories:
        while memory.nbytes:
            memory = memory[os.write(connection.fileno(), memory) :]


def _received(connection: Connection) -> Any:
    """What `_send` sends; raises EOFError where that is cut off."""
    sizes, stream = connection.recv()
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        memory = memoryview(buffer)
        while memory.nbytes:
            n = os.readv(connection.fileno(), [memory])
            if not n:
                raise EOFError
            memory = memory[n:]
    return pickle.loads(stream, buffers=buffers)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
