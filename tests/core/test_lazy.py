"""A lazy property is computed once, and holds no lock while it is."""

from __future__ import annotations

import threading

from symc.core.lazy import lazy


class Square:
    def __init__(self, side: float) -> None:
        self.side = side
        self.asked = 0

    @lazy
    def area(self) -> float:
        """Square metres."""
        self.asked += 1
        return self.side**2


def test_it_is_computed_once_for_each_instance():
    square, other = Square(3), Square(4)
    assert [square.area, square.area, other.area, square.asked] == [9, 9, 16, 1]
    assert Square.area.__doc__ == "Square metres."


def test_two_instances_compute_at_the_same_time():
    both = threading.Barrier(2, timeout=10)

    class Meeting:
        @lazy
        def place(self) -> int:
            return both.wait()

    found = []
    threads = [threading.Thread(target=lambda: found.append(Meeting().place)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1]
