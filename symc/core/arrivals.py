"""Who wants to know which gradients are written while a backward pass still computes others: stores over processes."""

from __future__ import annotations

import weakref
from typing import Protocol


class Listener(Protocol):
    """Is told of every backward pass of this process."""

    def written(self, address: int) -> None:
        """The gradient at this address has its final values, unless it is written again."""

    def complete(self) -> None:
        """A pass has ended, and with it all that changes the versions of its gradients."""


class Arrivals:
    """Tells the listeners, which are held weakly; who computes gradients asks `are_awaited` first."""

    def __init__(self) -> None:
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()
        self.are_awaited = False

    def listen(self, listener: Listener) -> None:
        """Tells it from now on."""
        self._listeners.add(listener)
        self.are_awaited = True

    def ignore(self, listener: Listener) -> None:
        """Tells it no more."""
        self._listeners.discard(listener)
        self.are_awaited = bool(self._listeners)

    def written(self, address: int) -> None:
        for listener in list(self._listeners):
            listener.written(address)

    def complete(self) -> None:
        for listener in list(self._listeners):
            listener.complete()
        self.are_awaited = bool(self._listeners)


arrivals = Arrivals()
