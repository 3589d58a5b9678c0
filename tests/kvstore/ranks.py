"""Ranks that are threads of this process: a communicator without MPI."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import Any

import numpy as np

TIMEOUT_S = 60


class Board:
    """What the ranks have given to each communication, by its number."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.given: dict[tuple, dict[int, np.ndarray]] = {}
        self.changed = threading.Condition()

    def give(self, number: tuple, rank: int, data: np.ndarray) -> None:
        with self.changed:
            self.given.setdefault(number, {})[rank] = data.copy()
            self.changed.notify_all()

    def all(self, number: tuple) -> list[np.ndarray]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.given[number]) == self.size, TIMEOUT_S), "a rank is missing"
            return [self.given[number][k] for k in range(self.size)]


class Exchange:
    """Something given to the board, whose result comes when all ranks have given theirs."""

    def __init__(self, board: Board, number: tuple, data: np.ndarray, combine: Callable[[Any], np.ndarray]) -> None:
        self.board, self.number, self.data, self.combine = board, number, data, combine
        self.n_advanced = 0

    def advance(self) -> None:
        self.n_advanced += 1

    def wait(self) -> None:
        self.data[...] = self.combine(self.board.all(self.number))


class ThreadCommunicator:
    """A `Communicator` among threads that share a board."""

    def __init__(self, board: Board, rank: int, group: tuple = ()) -> None:
        self.board, self.rank, self.size, self.group = board, rank, board.size, group
        self.n_started = self.n_groups = 0

    def _start(self, data: np.ndarray, combine: Callable[[Any], np.ndarray]) -> Exchange:
        self.n_started += 1
        number = (*self.group, self.n_started)
        self.board.give(number, self.rank, data)
        return Exchange(self.board, number, data, combine)

    def broadcast(self, data: np.ndarray) -> None:
        self._start(data, lambda given: given[0]).wait()

    def start_sum(self, data: np.ndarray) -> Exchange:
        return self._start(data, lambda given: reduce(np.add, given))

    def maximum(self, data: np.ndarray) -> None:
        self._start(data, lambda given: reduce(np.maximum, given)).wait()

    def barrier(self) -> None:
        self._start(np.zeros(1), lambda given: given[0]).wait()

    def apart(self) -> ThreadCommunicator:
        self.n_groups += 1
        return ThreadCommunicator(self.board, self.rank, (*self.group, f"group {self.n_groups}"))


def on_ranks(size: int, work: Callable[[ThreadCommunicator], Any]) -> list[Any]:
    """What `work` gives on each rank; raises what the first of them raises."""
    board = Board(size)
    with ThreadPoolExecutor(size) as pool:
        return [f.result() for f in [pool.submit(work, ThreadCommunicator(board, k)) for k in range(size)]]
