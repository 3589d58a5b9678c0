"""Arenas that wait for another run of their function: bounded over all functions, which come and go with shapes.

Operators on arrays and hybrid blocks keep a function for each shape they have met, hundreds of them where lengths or
images differ, and each keeps an arena, which costs a page fault for 4 KB when it is made anew.
"""

from __future__ import annotations

from typing import Protocol
from weakref import ref

from symc.core.locks import new_lock

LEAST_BYTES = 1 << 20  # smaller arenas are not looked after: 2048 operators of nd are kept
MOST_BYTES = 1 << 30  # of all that wait; one function may keep more, until another one runs


class Owner(Protocol):
    """Who keeps arenas."""

    def forget_arenas(self) -> None: ...


class Waiting:
    """How much each owner keeps; who ran longest ago gives its arenas up first."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._kept: dict[ref[Owner], int] = {}  # in bytes; who ran last is at the end
        self._lock = new_lock()

    def note(self, owner: Owner, size_bytes: int) -> None:
        """An owner has run and keeps this much from now on."""
        if size_bytes < LEAST_BYTES or self._lock.locked():
            return  # another thread looks after them; the next run tells
        with self._lock:
            latest = ref(owner)
            self._kept.pop(latest, None)
            self._kept = {r: n for r, n in self._kept.items() if r() is not None}
            excess = sum(self._kept.values()) + size_bytes - self.most_bytes
            for oldest in list(self._kept):
                if excess <= 0:
                    break
                excess -= self._kept.pop(oldest)
                former = oldest()
                if former is not None:
                    former.forget_arenas()
            self._kept[latest] = size_bytes


WAITING = Waiting(MOST_BYTES)
