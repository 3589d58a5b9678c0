"""Layouts: no box on another, data flows downwards, routes begin and end at boxes; and they stay quick."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from symc.visualization.layout import MAX_TRUNKS, layered

CHAIN = [(k, k + 1) for k in range(9)]
GRAPHS = {
    "nothing": (0, []),
    "one box": (1, []),
    "no edge": (5, []),
    "chain": (10, CHAIN),
    "twice the same": (2, [(0, 1), (0, 1)]),
    "diamond": (4, [(0, 1), (0, 2), (1, 3), (2, 3)]),
    "skips": (10, [*CHAIN, (0, 4), (0, 9), (4, 9), (2, 5)]),
    "late input": (10, [*CHAIN[:7], (8, 9), (7, 9)]),
    "fan": (40, [(0, k) for k in range(1, 39)] + [(k, 39) for k in range(1, 39)]),
    "two parts": (8, [(0, 1), (1, 2), (3, 4), (4, 5), (3, 6), (6, 7)]),
}


def random_graph(seed, n=60):
    rng = random.Random(seed)
    return n, sorted(
        (rng.randrange(max(0, head - 12), head), head) for head in range(1, n) for _ in range(rng.randint(0, 3))
    )


def sizes_of(n, seed=0):
    rng = random.Random(seed)
    return [(rng.uniform(60, 250), rng.uniform(30, 120)) for _ in range(n)]


def check(sizes, edges, layout):
    """Raises AssertionError where a layout is not a drawing of the graph."""
    frames = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2) for (w, h), (x, y) in zip(sizes, layout.centres)]
    assert len(frames) == len(sizes) and len(layout.routes) == len(edges)
    for left, top, right, bottom in frames:
        assert left >= -0.01 and top >= -0.01 and right <= layout.width + 0.01 and bottom <= layout.height + 0.01
    for k, a in enumerate(frames):
        for b in frames[:k]:
            assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1], "two boxes overlap"
    for k, (tail, head) in enumerate(edges):
        route, via = layout.routes[k], layout.via[k]
        assert all(upper[1] <= lower[1] for upper, lower in pairwise(route))
        (x, y), (end_x, end_y) = route[0], route[-1]
        assert frames[head][0] < end_x < frames[head][2] and end_y == pytest.approx(frames[head][1], abs=0.01)
        if via is None:
            assert frames[tail][0] < x < frames[tail][2] and y == pytest.approx(frames[tail][3], abs=0.01)
        else:
            assert via < k and edges[via][0] == tail and (x, y) in layout.routes[via]


@pytest.mark.parametrize("name", GRAPHS)
def test_small_graphs(name):
    n, edges = GRAPHS[name]
    sizes = sizes_of(n)
    check(sizes, edges, layered(sizes, edges))


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs(seed):
    n, edges = random_graph(seed)
    sizes = sizes_of(n, seed)
    layout = layered(sizes, edges)
    check(sizes, edges, layout)
    assert layered(sizes, edges) == layout


def test_the_check_sees_overlap_and_loose_ends():
    sizes, edges = [(100.0, 40.0)] * 4, GRAPHS["diamond"][1]
    layout = layered(sizes, edges)
    moved = type(layout)((*layout.centres[:2], layout.centres[1], layout.centres[3]), *list(vars(layout).values())[1:])
    with pytest.raises(AssertionError):
        check(sizes, edges, moved)


def test_a_chain_is_straight():
    layout = layered([(100.0, 40.0)] * 10, CHAIN)
    assert {x for x, _ in layout.centres} == {50.0}
    assert all(start[0] == end[0] for start, *_, end in layout.routes)


def test_a_diamond_has_no_crossing():
    # Two diamonds whose middles are listed crosswise.
    edges = [(0, 3), (1, 2), (0, 5), (1, 4), (2, 6), (4, 6), (3, 7), (5, 7)]
    layout = layered([(80.0, 30.0)] * 8, edges)
    left = {k for k, (x, _) in enumerate(layout.centres) if x < layout.width / 2}
    assert left in ({0, 3, 5, 7}, {1, 2, 4, 6})


def test_an_input_stands_above_its_first_reader():
    layout = layered([(80.0, 30.0)] * 5, [(0, 1), (1, 2), (2, 4), (3, 4)])
    assert layout.centres[3][1] == layout.centres[2][1]


def test_edges_to_many_share_a_trunk():
    n, edges = 10, [*CHAIN, (0, 4), (0, 6), (0, 9)]
    layout = layered(sizes_of(n), edges)
    assert layout.via[-3:] == (None, 9, 10)


@pytest.mark.parametrize("shape", ["chain", "dense", "shared input", "all to the last"])
def test_two_thousand_boxes_are_routed_with_few_points(shape):
    n = 2000
    edges = [(k, k + 1) for k in range(n - 1)]
    edges += {
        "chain": [],
        "dense": [(k, k + d) for k in range(n) for d in (2, 3, 7, 20) if k + d < n],
        "shared input": [(0, k) for k in range(2, n)],
        "all to the last": [(k, n - 1) for k in range(n - 2)],
    }[shape]
    layout = layered([(120.0, 50.0)] * n, edges)
    n_points = sum(map(len, layout.routes))
    assert n_points < 4 * MAX_TRUNKS * (n + len(edges))
