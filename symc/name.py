"""Automatic names of symbols: `NameManager` counts per hint, `Prefix` also puts a prefix before every name."""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar

from .scope import HasCurrent, InForce


class NameManager(metaclass=HasCurrent):
    """Names operators that the user did not name: hint "exp" gives exp0, exp1, ...

    `with NameManager():` starts a fresh count for the thread; the innermost one alone decides. A subclass may override
    `get`.
    """

    _in_force: ClassVar[InForce]

    def __init__(self) -> None:
        self._counter: dict[str, int] = {}

    def get(self, name: str | None, hint: str) -> str:
        """The user's name, or else the next one for the hint."""
        if name:
            return name
        count = self._counter.get(hint, 0)
        self._counter[hint] = count + 1
        return f"{hint}{count}"

    def __enter__(self) -> NameManager:
        NameManager._in_force.stack.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        NameManager._in_force.stack.pop()


class Prefix(NameManager):
    """A name manager that puts a prefix before every operator's name, given or automatic; not before variables'."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        """The prefixed name."""
        return self._prefix + super().get(name, hint)


NameManager._in_force = InForce(NameManager)


def current() -> NameManager:
    """The name manager in force in the running thread."""
    return NameManager._in_force.stack[-1]
