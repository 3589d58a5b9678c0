"""What a `with` block puts in force for the running thread: a context, a name manager, an attribute scope."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class InForce(threading.local):
    """A stack for each thread, the innermost `with` last; it starts with what `make` gives."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.stack = [make()]


class HasCurrent(type):
    """Gives a class MXNet's class property `current`: the innermost of `_in_force`, which assigning replaces."""

    _in_force: InForce

    @property
    def current(cls) -> Any:
        return cls._in_force.stack[-1]

    @current.setter
    def current(cls, value: Any) -> None:
        cls._in_force.stack[-1] = value
