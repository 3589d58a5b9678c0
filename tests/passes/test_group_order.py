"""The order of groups against networkx on random graphs that grow edge by edge; and the limit of what is looked at."""

from __future__ import annotations

import random

import networkx
import pytest

from symc.passes import group_order
from symc.passes.group_order import GroupOrder, Ranked


def chain(order: GroupOrder, n: int) -> list[Ranked]:
    """Groups of which each needs the one before."""
    groups: list[Ranked] = []
    for _ in range(n):
        group = Ranked()
        order.append(group)
        order.need(group, groups[-1:])
        groups.append(group)
    return groups


@pytest.mark.parametrize("seed", range(20))
def test_answers_are_those_of_reachability(seed):
    draw = random.Random(seed)
    order, known = GroupOrder(), networkx.DiGraph()
    groups = []
    for _ in range(draw.randrange(5, 40)):
        group = Ranked()
        order.append(group)
        known.add_node(group)
        sources = draw.sample(groups, min(len(groups), draw.randrange(3)))
        order.need(group, sources)
        known.add_edges_from((s, group) for s in sources)
        groups.append(group)
        for _ in range(draw.randrange(4)):  # a node joins an older group
            older, source = draw.choice(groups), draw.choice(groups)
            if older is source:
                continue
            is_allowed = not networkx.has_path(known, older, source)
            assert order.may_need(older, source) == is_allowed
            if is_allowed:
                order.need(older, [source])
                known.add_edge(source, older)
        assert all(a.rank < b.rank for a, b in known.edges)
    assert sorted(g.rank for g in groups) == list(range(len(groups)))


def test_two_new_needs_at_once():
    order = GroupOrder()
    first, a, b = (chain(order, 1)[0] for _ in range(3))
    order.need(first, [a, b])
    assert max(a.rank, b.rank) < first.rank and set(first.needs) == {a, b}


@pytest.mark.parametrize("seed", range(20))
def test_merging_is_allowed_where_no_way_leads_around(seed):
    draw = random.Random(seed)
    order, known = GroupOrder(), networkx.DiGraph()
    groups: list[Ranked] = []
    for _ in range(25):
        group = Ranked()
        order.append(group)
        sources = draw.sample(groups, min(len(groups), draw.randrange(4)))
        known.add_node(group)
        known.add_edges_from((s, group) for s in sources)
        order.need(group, sources)
        groups.append(group)
        for source in sources:
            others = [f for f in known.successors(source) if f is not group and networkx.has_path(known, f, group)]
            assert order.may_merge(source, group) == (not others)
            if not others:
                order.merge(source, group)
                known = networkx.contracted_nodes(known, group, source, self_loops=False)
                groups.remove(source)
        assert all(a.rank < b.rank for a, b in known.edges)
        assert {g: set(g.needs) for g in groups} == {g: set(known.predecessors(g)) for g in groups}


def test_what_takes_too_long_to_find_out_is_not_allowed(monkeypatch):
    order = GroupOrder()
    left, right = chain(order, 50), chain(order, 50)
    assert order.may_need(left[0], right[-1]) and not order.may_need(left[0], left[-1])
    monkeypatch.setattr(group_order, "MAX_SEEN", 20)
    assert order.may_need(left[-1], right[3]) and not order.may_need(left[0], right[-1])
