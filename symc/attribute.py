"""Attributes for every symbol made in a scope: `with AttrScope(ctx_group="dev1"):`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar

from symc.core.errors import ArgumentError

from .scope import HasCurrent, InForce


class AttrScope(metaclass=HasCurrent):
    """Attributes that every symbol made in the scope gets; scopes nest and the inner one wins.

    Raises ArgumentError when a value is not a string.
    """

    _in_force: ClassVar[InForce]
    _subgraph_names: ClassVar[Counter[str]] = Counter()  # how many subgraphs have been named after each hint

    def __init__(self, **attrs: str) -> None:
        for value in attrs.values():
            if not isinstance(value, str):
                raise ArgumentError("Attributes need to be string")
        self._attr = attrs
        self._alone: list[dict[str, str]] = []  # the attributes without those of outer scopes, while in force

    def get(self, attr: Mapping[str, str] | None) -> dict[str, str]:
        """The scope's attributes with those of one symbol on top."""
        return {**self._attr, **(attr or {})}

    def __enter__(self) -> AttrScope:
        self._alone.append(self._attr)
        self._attr = {**current()._attr, **self._attr}
        AttrScope._in_force.stack.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        AttrScope._in_force.stack.pop()
        self._attr = self._alone.pop()


AttrScope._in_force = InForce(AttrScope)


def current() -> AttrScope:
    """The scope in force in the running thread."""
    return AttrScope._in_force.stack[-1]
