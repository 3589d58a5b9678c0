"""Which group must run before which, while fusion still adds nodes to groups: an order kept valid edge by edge.

Pearce and Kelly, A Dynamic Topological Sort Algorithm for Directed Acyclic Graphs (2006): every group has a rank, a
group's rank is above those of the groups it needs, and a new dependence renumbers only groups ranked between its ends.
So questions look at few groups, and memory is that of the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

# Groups that one question may look at; beyond, the answer is no. Far above what networks need (dozens), and it keeps
# fusion linear for graphs of any form.
MAX_SEEN = 1024


@dataclass(eq=False)
class Ranked:
    """A group as the order sees it."""

    rank: int = field(default=0, init=False)
    # Groups that must run before this one, and groups that need this one.
    needs: dict[Ranked, None] = field(default_factory=dict, init=False, repr=False)
    followers: dict[Ranked, None] = field(default_factory=dict, init=False, repr=False)


class GroupOrder:
    """The ranks of all groups."""

    def __init__(self) -> None:
        self.n_groups = 0

    def append(self, group: Ranked) -> None:
        """A new group, which nothing needs yet: it gets the highest rank."""
        group.rank = self.n_groups
        self.n_groups += 1

    def may_need(self, group: Ranked, source: Ranked) -> bool:
        """Whether `group` may come to need `source`: not when `source` needs it, or when finding out takes too long."""
        if source.rank < group.rank:
            return True
        after = _reachable(group, False, source.rank)
        return after is not None and source not in after and _reachable(source, True, group.rank) is not None

    def need(self, group: Ranked, sources: Sequence[Ranked]) -> None:
        """Makes `group` need the sources, each of which `may_need` allows."""
        for source in sources:
            group.needs[source] = source.followers[group] = None
            if source.rank > group.rank:
                self._renumber(group, source)

    def may_merge(self, source: Ranked, group: Ranked) -> bool:
        """Whether `source`, ranked below, may become part of `group`: not when what needs it is needed by the group."""
        after = _reachable(source, False, group.rank)
        return after is not None and not any(other in after for other in group.needs if other is not source)

    def merge(self, source: Ranked, group: Ranked) -> None:
        """Makes `source` part of `group`, which `may_merge` allows: what needed the one needs the other now."""
        needs, followers = list(source.needs), list(source.followers)
        for other in needs:
            del other.followers[source]
        for other in followers:
            del other.needs[source]
        source.needs, source.followers = {}, {}
        self.need(group, needs)
        for other in followers:
            if other is not group:
                self.need(other, [group])

    def _renumber(self, group: Ranked, source: Ranked) -> None:
        """Puts what `source` needs before what needs `group`, on the ranks they all have now."""
        before = _reachable(source, True, group.rank, is_limited=False) or {}
        after = _reachable(group, False, source.rank, is_limited=False) or {}
        moved = [*sorted(before, key=lambda g: g.rank), *sorted(after, key=lambda g: g.rank)]
        for g, rank in zip(moved, sorted(g.rank for g in moved)):
            g.rank = rank


def _reachable(start: Ranked, is_backward: bool, end_rank: int, is_limited: bool = True) -> dict[Ranked, None] | None:
    """Groups that `start` needs (backward) or that need it, up to a rank, itself included; None beyond the limit."""
    found = {start: None}
    stack = [start]
    while stack:
        g = stack.pop()
        for other in g.needs if is_backward else g.followers:
            if other not in found and (other.rank >= end_rank if is_backward else other.rank <= end_rank):
                found[other] = None
                stack.append(other)
        if is_limited and len(found) > MAX_SEEN:
            return None
    return found
