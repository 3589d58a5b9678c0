"""A property computed when first asked for, without the lock of `functools.cached_property`.

Before Python 3.12 that one holds a lock for all instances of a class while it computes: compilations of two threads
wait for each other, and a child forked meanwhile waits for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class lazy(Generic[T]):
    """Decorates a method of no arguments; its value takes the method's place in the instance's dictionary.

    Threads that ask at the same time each compute it; all get what was computed first.
    """

    def __init__(self, method: Callable[[Any], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> lazy[T] | T:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self._name, self._method(instance))
