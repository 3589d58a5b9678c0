"""What ran when: spans that operators and programs add while somebody watches (`mx.profiler`)."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

OPERATOR, CUSTOM = "operator", "Custom Operator"
MOST_SPANS = 1_000_000  # kept; the oldest are dropped


class Span(NamedTuple):
    """Something that took a while."""

    category: str
    name: str
    begin_ns: int  # of time.monotonic_ns
    end_ns: int
    thread: int


class Steps(NamedTuple):
    """A run of a program: the times of its kernels, int64 (n, 2), and what gives their names when they are wanted."""

    names: Callable[[], Sequence[str]]
    times_ns: Sequence[Sequence[int]]
    thread: int


class _Inside(threading.local):
    """Of the running thread: whether an operator is being timed, and the Python operators that are at work."""

    operator = False
    custom: tuple[list[int | str], ...] = ()


class Timeline:
    """Collects spans while `is_on`; who does work looks at that first."""

    def __init__(self) -> None:
        self.is_on = False
        self._found: deque[Span | Steps] = deque(maxlen=MOST_SPANS)
        self._inside = _Inside()

    @property
    def wants_steps(self) -> bool:
        """Whether a program that runs now shall time its kernels: not those of an operator that is timed as a whole."""
        return self.is_on and not self._inside.operator

    def add(self, category: str, name: str, begin_ns: int, end_ns: int) -> None:
        """Adds a span of this thread."""
        self._found.append(Span(category, name, begin_ns, end_ns, threading.get_ident()))

    def add_steps(self, names: Callable[[], Sequence[str]], times_ns: Sequence[Sequence[int]]) -> None:
        """Adds the kernels of a run."""
        self._found.append(Steps(names, times_ns, threading.get_ident()))

    @contextmanager
    def operator(self, name: str) -> Iterator[None]:
        """Times one operator as a whole; inside an operator written in Python it is told apart by that one's name."""
        if not self.is_on or self._inside.operator:
            yield
            return
        self._inside.operator = True
        begin_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self._inside.operator = False
            end_ns = time.monotonic_ns()
            if self._inside.custom:
                owner = self._inside.custom[-1]
                owner[1] += end_ns - begin_ns  # type: ignore[operator]
                self.add(CUSTOM, f"{owner[0]}::{name}", begin_ns, end_ns)
            else:
                self.add(OPERATOR, name, begin_ns, end_ns)

    @contextmanager
    def custom(self, name: str) -> Iterator[None]:
        """Times what an operator written in Python does without the operators that it calls."""
        if not self.is_on:
            yield
            return
        owner: list[int | str] = [name, 0]
        before = self._inside.operator, self._inside.custom
        self._inside.operator, self._inside.custom = False, (*before[1], owner)
        begin_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self._inside.operator, self._inside.custom = before
            self.add(CUSTOM, f"{name}::pure_python", begin_ns, time.monotonic_ns() - int(owner[1]))

    def spans(self) -> list[Span]:
        """Everything so far, kernels by the names of their operators."""
        found: list[Span] = []
        for item in tuple(self._found):
            if isinstance(item, Span):
                found.append(item)
                continue
            for name, (begin_ns, end_ns) in zip(item.names(), item.times_ns):
                found.append(Span(OPERATOR, name, int(begin_ns), int(end_ns), item.thread))
        return found

    def clear(self) -> None:
        """Forgets what was collected."""
        self._found.clear()


timeline = Timeline()
