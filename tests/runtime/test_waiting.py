"""Arenas that wait for another run are bounded, however many shapes there are."""

from __future__ import annotations

import gc

import numpy as np

import symc as mx
from symc.runtime import function
from symc.runtime.function import GraphFunction
from symc.runtime.waiting import LEAST_BYTES, Waiting

MB = 1 << 20


class Keeper:
    def __init__(self) -> None:
        self.n_forgotten = 0

    def forget_arenas(self) -> None:
        self.n_forgotten += 1


def test_who_ran_longest_ago_gives_up_first():
    waiting, keepers = Waiting(10 * MB), [Keeper() for _ in range(4)]
    for k in (0, 1, 2, 0):
        waiting.note(keepers[k], 3 * MB)
    assert [k.n_forgotten for k in keepers] == [0, 0, 0, 0]
    waiting.note(keepers[3], 3 * MB)
    assert [k.n_forgotten for k in keepers] == [0, 1, 0, 0]


def test_one_may_keep_more_than_all_until_another_one_runs():
    waiting, large, other = Waiting(10 * MB), Keeper(), Keeper()
    waiting.note(large, 20 * MB)
    waiting.note(large, 20 * MB)
    waiting.note(other, LEAST_BYTES - 1)
    assert large.n_forgotten == 0
    waiting.note(other, LEAST_BYTES)
    assert (large.n_forgotten, other.n_forgotten) == (1, 0)


def test_what_is_gone_keeps_nothing():
    waiting, other = Waiting(10 * MB), Keeper()
    gone = Keeper()
    waiting.note(other, 4 * MB)
    waiting.note(gone, 6 * MB)
    del gone
    gc.collect()
    waiting.note(Keeper(), 6 * MB)
    assert other.n_forgotten == 0


def test_operators_on_many_shapes_keep_no_more_than_the_bound(monkeypatch):
    monkeypatch.setattr(function, "WAITING", Waiting(4 * MB))
    made: list[GraphFunction] = []
    monkeypatch.setattr(GraphFunction, "_hold", _listing(made))
    for n in (1500, 1501, 1502):
        x = mx.nd.array(np.arange(300 * n)[::-1].reshape(300, n))
        assert (mx.nd.sort(x).asnumpy()[0, :2] == [300 * n - n, 300 * n - n + 1]).all()
    kept = [len(f._free) * f._compiled.program.arena_bytes for f in made]  # of each what is sorted
    assert kept[0] == 0
    assert LEAST_BYTES < kept[-1] < sum(kept) <= 4 * MB


def _listing(made: list[GraphFunction]):
    hold = GraphFunction._hold

    def listed(self: GraphFunction, held: dict) -> None:
        made.append(self)
        hold(self, held)

    return listed
