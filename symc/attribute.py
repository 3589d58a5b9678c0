"""Attributes for every symbol made in a scope: `with AttrScope(ctx_group="dev1"):`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar

from symc.core.errors import ArgumentError


class _WithCurrent(type):
    """Gives `AttrScope.current`, the class property of MXNet."""

    @property
    def current(cls) -> AttrScope:
        return current()

    @current.setter
    def current(cls, scope: AttrScope) -> None:
        AttrScope._current.value = scope


class AttrScope(metaclass=_WithCurrent):
    """Attributes that every symbol made in the scope gets; scopes nest and the inner one wins.

    Raises ArgumentError when a value is not a string.
    """

    _current: ClassVar[_Thread]

    def __init__(self, **attrs: str) -> None:
        for value in attrs.values():
            if not isinstance(value, str):
                raise ArgumentError("Attributes need to be string")
        self._attr = attrs
        self._outer: list[tuple[AttrScope, dict[str, str]]] = []

    def get(self, attr: Mapping[str, str] | None) -> dict[str, str]:
        """The scope's attributes with those of one symbol on top."""
        return {**self._attr, **(attr or {})}

    def __enter__(self) -> AttrScope:
        outer = current()
        self._outer.append((outer, self._attr))
        self._attr = {**outer._attr, **self._attr}
        AttrScope._current.value = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        AttrScope._current.value, self._attr = self._outer.pop()


class _Thread(threading.local):
    """The scope in force in the running thread."""

    def __init__(self) -> None:
        self.value = AttrScope()


AttrScope._current = _Thread()


def current() -> AttrScope:
    """The scope in force in the running thread."""
    return AttrScope._current.value
