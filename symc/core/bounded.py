"""A cache that holds no more than it may: the one place where symc keeps results and drops them again.

>>> squares = BoundedCache(limit=2)
>>> [squares.obtain(n, lambda n=n: n * n) for n in (1, 2, 1, 3)]
[1, 4, 1, 9]
>>> squares.get(1), squares.get(2), squares.get(3)     # 2 was dropped: the longest unused
(1, None, 9)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any, Generic, TypeVar, cast

from .locks import new_lock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
F = TypeVar("F", bound=Callable)


class _Entry(Generic[V]):
    __slots__ = ("is_used", "value", "weight")

    def __init__(self, value: V, weight: int) -> None:
        self.value = value
        self.weight = weight
        self.is_used = False


class BoundedCache(Generic[K, V]):
    """Values by key whose weights together do not exceed `limit`; what was not used for longest goes first.

    weigh   the weight of a value under its key, not negative; by default each counts 1. What weighs more than the limit
            is not kept.

    Any number of threads may use it. Reading takes no lock: a hit marks its entry, and an entry that is marked when its
    turn to go comes is passed over once ("second chance"). Every operation takes constant time on average.
    """

    def __init__(self, limit: int, weigh: Callable[[K, V], int] = lambda key, value: 1) -> None:
        self.limit = limit
        self._weigh = weigh
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._weight = 0
        self._lock = new_lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def weight(self) -> int:
        """What all values kept weigh together."""
        return self._weight

    def get(self, key: K) -> V | None:
        """The value kept under a key, None when there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.is_used = True
        return entry.value

    def put(self, key: K, value: V) -> V:
        """Keeps a value in place of what was under its key, and gives it."""
        entry = _Entry(value, self._weigh(key, value))
        with self._lock:
            before = self._entries.pop(key, None)
            if before is not None:
                self._weight -= before.weight
            if entry.weight <= self.limit:
                self._make_room(entry.weight)
                self._entries[key] = entry
                self._weight += entry.weight
        return value

    def obtain(self, key: K, make: Callable[[], V]) -> V:
        """The value kept under a key, else what `make` gives; threads that miss it together each make their own."""
        entry = self._entries.get(key)
        if entry is None:
            return self.put(key, make())
        entry.is_used = True
        return entry.value

    def values(self) -> list[V]:
        """The values kept."""
        with self._lock:
            return [entry.value for entry in self._entries.values()]

    def clear(self) -> None:
        """Drops all values."""
        with self._lock:
            self._entries.clear()
            self._weight = 0

    def _make_room(self, weight: int) -> None:
        while self._entries and self._weight + weight > self.limit:
            key, entry = self._entries.popitem(last=False)
            if entry.is_used:
                entry.is_used = False
                self._entries[key] = entry
            else:
                self._weight -= entry.weight


def bounded(limit: int, weigh: Callable[[Any, Any], int] = lambda key, value: 1) -> Callable[[F], F]:
    """Decorates a function of hashable positional arguments: its results are kept in a BoundedCache, `function.cache`.

    weigh   the weight of a result under the tuple of its arguments
    """

    def decorate(function: F) -> F:
        cache: BoundedCache[tuple, Any] = BoundedCache(limit, weigh)

        @wraps(function)
        def kept(*arguments: Any) -> Any:
            return cache.obtain(arguments, lambda: function(*arguments))

        kept.cache = cache  # type: ignore[attr-defined]
        return cast(F, kept)

    return decorate
