"""What is kept stays within the limit, the longest unused goes first, and threads may share it."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict

import pytest

from symc.core.bounded import BoundedCache, bounded


def test_entries_are_counted_and_the_longest_unused_goes_first():
    cache = BoundedCache[int, str](3)
    for key in (1, 2, 3):
        assert cache.put(key, str(key)) == str(key)
    assert cache.get(1) == "1" and cache.get(9) is None
    cache.put(4, "4")
    assert [cache.get(k) for k in (1, 2, 3, 4)] == ["1", None, "3", "4"] and len(cache) == 3


def test_entries_are_weighed():
    cache = BoundedCache[str, bytes](10, lambda _, value: len(value))
    cache.put("a", b"12345")
    cache.put("b", b"1234")
    cache.put("c", b"123")
    assert cache.get("a") is None and cache.values() == [b"1234", b"123"] and cache.weight == 7
    cache.put("b", b"")
    assert cache.weight == 3
    cache.clear()
    assert cache.weight == len(cache) == 0


def test_what_is_heavier_than_the_limit_drops_nothing():
    cache = BoundedCache[str, bytes](10, lambda _, value: len(value))
    cache.put("a", b"12345")
    assert cache.put("b", bytes(11)) == bytes(11)
    assert cache.get("a") == b"12345" and cache.get("b") is None
    cache.put("a", bytes(11))  # the old value of the key is not right any more
    assert cache.get("a") is None and cache.weight == 0


def test_it_obtains_what_it_lacks_and_keeps_nothing_of_a_failure():
    cache = BoundedCache[str, int](2)
    assert [cache.obtain("a", lambda: 1), cache.obtain("a", lambda: 2)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        cache.obtain("b", lambda: 1 // 0)
    assert len(cache) == 1


def test_results_of_a_function_are_kept():
    calls = []

    @bounded(limit=4, weigh=lambda key, value: key[0])
    def double(n: int) -> int:
        """Twice."""
        calls.append(n)
        return 2 * n

    assert [double(n) for n in (1, 2, 1, 5, 2, 5)] == [2, 4, 2, 10, 4, 10]
    assert calls == [1, 2, 5, 5] and double.__doc__ == "Twice." and double.cache.weight == 3


def test_used_entries_outlive_unused_ones():
    """Beside an exact order of use: what was used since it was last looked at is never dropped before what was not."""
    numbers, exact = random.Random(0), OrderedDict[int, int]()
    cache = BoundedCache[int, int](50)
    hits = exact_hits = 0
    for _ in range(20_000):
        key = min(int(numbers.expovariate(0.03)), 400)
        hits += cache.get(key) is not None
        exact_hits += key in exact
        cache.obtain(key, lambda key=key: key)
        exact[key] = key
        exact.move_to_end(key)
        if len(exact) > 50:
            exact.popitem(last=False)
    assert len(cache) == 50 and hits > 0.97 * exact_hits


def test_threads_share_it():
    cache, wrong = BoundedCache[int, int](100, lambda key, _: 1 + key % 7), []

    def work(seed: int) -> None:
        numbers = random.Random(seed)
        for _ in range(5000):
            key = numbers.randrange(200)
            if cache.obtain(key, lambda key=key: key) != key or cache.weight > 100:
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and cache.weight == sum(1 + value % 7 for value in cache.values()) <= 100
