"""Where every lock of symc is made, so that a forked child finds them free.

A fork copies locks as they are but not the threads that hold them: what another thread held would stay held for ever.
The child therefore makes them anew.  What they guard must be usable whenever a thread may stop, half-way changes
included; what cannot promise that is finished before a fork (`symc.core.undisturbed`).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

Lock = threading.Lock  # what `new_lock` gives

_locks: weakref.WeakSet[Any] = weakref.WeakSet()
_renewals: list[Callable[[], None]] = []


def new_lock() -> Lock:
    """A lock that is free in a forked child."""
    return adopted(Lock())


def new_reentrant_lock() -> Any:
    """The same, but one that the thread which holds it may take again."""
    return adopted(threading.RLock())


def adopted(lock: Any) -> Any:
    """A Lock or RLock that somebody else made, free in a forked child from now on."""
    _locks.add(lock)
    return lock


def in_child(renew: Callable[[], None]) -> Callable[[], None]:
    """Calls `renew` in every forked child, when its locks are free; may decorate it."""
    _renewals.append(renew)
    return renew


def _renew() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()  # what the standard library's own modules call
    for renew in _renewals:
        renew()


os.register_at_fork(after_in_child=_renew)
