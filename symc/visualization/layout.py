"""Where boxes and edges of a directed acyclic graph go: in layers, data flowing downwards.

The steps of Sugiyama, Tagawa and Toda (Methods for Visual Understanding of Hierarchical System Structures, 1981):
layers by longest path, crossings reduced by barycentres, coordinates by Brandes and Köpf (see coordinates.py).  Edges
that leave one box for several layers further down share a trunk, so that long edges cost little and draw calmly.
Deterministic: the same graph gives the same drawing.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .coordinates import assign_x

Point = tuple[float, float]
Connection = tuple[int, int]  # two vertices of neighbouring layers

N_SWEEPS = 12
TRUNK_WIDTH = 10.0
LAYER_GAP, MAX_EXTRA_GAP, EXTRA_GAP_PER_X = 42.0, 70.0, 0.07
DIGITS = 3  # of vertical places: what is at the same place is equal
PORT_GAP, PORT_MARGIN = 10.0, 16.0
# Layers that all trunks together may pass, as a multiple of boxes and edges.  A longer trunk is not laid out but drawn
# straight, behind the boxes: a thousand edges over a thousand layers would otherwise be a million places.
MAX_TRUNKS = 20


@dataclass(frozen=True)
class Arrangement:
    """Places in a drawing whose upper left corner is (0, 0).

    centres   of the boxes
    routes    of the edges, in their order: points between which lines are vertical, or curves whose ends are vertical
    via       for each edge the earlier one from the same box whose route its own leaves; None: it begins at the box
    """

    centres: tuple[Point, ...]
    routes: tuple[tuple[Point, ...], ...]
    via: tuple[int | None, ...]
    width: float
    height: float


def layered(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Arrangement:
    """The layout of boxes (width, height) and of edges (tail, head) with tail < head; several may be equal."""
    net = _Net(sizes, edges)
    net.reduce_crossings()
    x = assign_x(net.layers, net.above, net.below, net.widths, net.n_boxes)
    return _Router(net, x).layout()


class _Net:
    """Boxes and trunk pieces in layers; vertices are numbers, first the boxes, then pieces of trunks."""

    def __init__(self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> None:
        self.sizes, self.edges = sizes, edges
        self.n_boxes = len(sizes)
        self.rank = _ranks(len(sizes), edges)
        self.widths = [w for w, _ in sizes]
        self.above: list[list[int]] = [[] for _ in sizes]
        self.below: list[list[int]] = [[] for _ in sizes]
        self.source = list(range(len(sizes)))  # the box that a vertex is or whose trunk it belongs to
        self.trunks: dict[int, list[int]] = {}
        self._add_trunks()
        self.layers: list[list[int]] = [[] for _ in range(max(self.rank, default=-1) + 1)]
        for vertex in sorted(range(len(self.rank)), key=lambda v: (self.source[v], v)):
            self.layers[self.rank[vertex]].append(vertex)

    def _add_trunks(self) -> None:
        heads: dict[int, set[int]] = {}
        for tail, head in self.edges:
            heads.setdefault(tail, set()).add(head)
        budget = MAX_TRUNKS * (self.n_boxes + len(self.edges))
        spans = {t: max(self.rank[h] for h in hs) - self.rank[t] - 1 for t, hs in heads.items()}
        for tail in sorted(heads, key=lambda t: (spans[t], t)):
            budget -= spans[tail]
            trunk = self.trunks[tail] = [tail]
            reach = self.rank[tail] + (spans[tail] if budget >= 0 else 0)
            for rank in range(self.rank[tail] + 1, reach + 1):
                trunk.append(self._piece(tail, rank))
                self._connect(trunk[-2], trunk[-1])
            for head in sorted(heads[tail]):
                if self.rank[head] <= reach + 1:
                    self._connect(trunk[self.rank[head] - self.rank[tail] - 1], head)

    def _piece(self, tail: int, rank: int) -> int:
        self.rank.append(rank)
        self.widths.append(TRUNK_WIDTH)
        self.above.append([])
        self.below.append([])
        self.source.append(tail)
        return len(self.rank) - 1

    def _connect(self, upper: int, lower: int) -> None:
        self.below[upper].append(lower)
        self.above[lower].append(upper)

    def reduce_crossings(self) -> None:
        """Sweeps down and up, ordering each layer by the mean place of its neighbours; keeps the best order seen."""
        best, n_best = self.layers, self.n_crossings()
        for sweep in range(N_SWEEPS):
            if n_best == 0:
                break
            is_down = sweep % 2 == 0
            self.layers = _swept(self.layers, self.above if is_down else self.below, is_down)
            n = self.n_crossings()
            if n < n_best:
                best, n_best = self.layers, n
        self.layers = best

    def n_crossings(self) -> int:
        """How many pairs of connections between neighbouring layers cross."""
        total = 0
        for upper, lower in pairwise(self.layers):
            place = {v: k for k, v in enumerate(lower)}
            seen: list[int] = []
            for vertex in upper:
                targets = [place[w] for w in self.below[vertex]]
                total += sum(len(seen) - bisect_right(seen, t) for t in targets)
                for target in targets:
                    insort(seen, target)
        return total


def _ranks(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box: below all it reads; what reads nothing stands right above its first reader."""
    rank = [0] * n
    first_reader: dict[int, int] = {}
    has_input = {head for _, head in edges}
    for tail, head in sorted(edges, key=lambda e: (e[1], e[0])):
        rank[head] = max(rank[head], rank[tail] + 1)
    for tail, head in edges:
        first_reader[tail] = min(first_reader.get(tail, rank[head]), rank[head])
    for box, reader in first_reader.items():
        if box not in has_input:
            rank[box] = reader - 1
    return rank


def _swept(layers: list[list[int]], neighbours: list[list[int]], is_down: bool) -> list[list[int]]:
    found = [list(layer) for layer in layers]
    place: dict[int, int] = {}
    for layer in found if is_down else reversed(found):
        centre = {
            v: sum(place[w] for w in neighbours[v]) / len(neighbours[v]) if neighbours[v] else k
            for k, v in enumerate(layer)
        }
        layer.sort(key=centre.__getitem__)
        place.update((v, k) for k, v in enumerate(layer))
    return found


class _Router:
    """Turns ranks and x coordinates into points."""

    def __init__(self, net: _Net, x: list[float]) -> None:
        self.net = net
        left = min((x[v] - w / 2 for v, w in enumerate(net.widths)), default=0.0)
        self.x = [value - left for value in x]
        self.width = max((self.x[v] + w / 2 for v, w in enumerate(net.widths)), default=0.0)
        self.tops, self.bottoms = self._bands()
        # Where a connection leaves, it aims at the middle below; where it enters, at where it came from.
        self.leave = self._ports(net.below, {})
        self.enter = self._ports(net.above, self.leave)

    def _bands(self) -> tuple[list[float], list[float]]:
        """The upper and lower end of each layer; the further connections run sideways, the wider the gap."""
        net, y = self.net, 0.0
        tops: list[float] = []
        bottoms: list[float] = []
        for layer in net.layers:
            reach = max((abs(self.x[v] - self.x[w]) for v in layer for w in net.above[v]), default=0.0)
            y += LAYER_GAP + min(MAX_EXTRA_GAP, EXTRA_GAP_PER_X * reach) if tops else 0.0
            tops.append(round(y, DIGITS))
            y += max(net.sizes[v][1] for v in layer if v < net.n_boxes)
            bottoms.append(round(y, DIGITS))
        return tops, bottoms

    def _ports(self, neighbours: list[list[int]], aims: dict[Connection, float]) -> dict[Connection, float]:
        """The x at which the connection between a box and each of its neighbours touches the box.

        aims  where the connection touches the neighbour, if that is decided; by default its middle
        """
        found: dict[Connection, float] = {}
        for box in range(self.net.n_boxes):
            aim = {w: aims.get((w, box), self.x[w]) for w in neighbours[box]}
            others = sorted(aim, key=lambda w: (self.x[w], w))
            places = _spread([aim[w] for w in others], self.x[box], self.net.widths[box])
            found.update(((box, w), place) for w, place in zip(others, places))
        return found

    def layout(self) -> Arrangement:
        net = self.net
        routes, via = [], []
        drawn: dict[int, int] = {}  # piece of a trunk -> the edge whose route leads through it
        for k, (tail, head) in enumerate(net.edges):
            path = self._path(tail, head)
            shared = max((i for i, v in enumerate(path) if v in drawn), default=0)
            via.append(drawn.get(path[shared]))
            drawn.update((v, k) for v in path[1:-1] if v not in drawn)
            routes.append(self._points(path[shared:]))
        centres = tuple((self.x[v], self._middle(v)) for v in range(net.n_boxes))
        return Arrangement(centres, tuple(routes), tuple(via), self.width, self.bottoms[-1] if self.bottoms else 0.0)

    def _path(self, tail: int, head: int) -> list[int]:
        """The vertices an edge leads through; those between the ends are pieces of a trunk."""
        trunk = self.net.trunks[tail]
        n_layers = self.net.rank[head] - self.net.rank[tail]
        return [*trunk[:n_layers], head] if n_layers <= len(trunk) else [tail, head]

    def _points(self, path: list[int]) -> tuple[Point, ...]:
        """From the lower end of the first vertex to the upper end of the last."""
        net, points = self.net, []
        for upper, lower in pairwise(path):
            start = self.leave.get((upper, lower), self.x[upper])
            end = self.enter.get((lower, upper), self.x[lower])
            points += [(start, self._end(upper, 0.5)), (start, self.bottoms[net.rank[upper]])]
            points += [(end, self.tops[net.rank[lower]]), (end, self._end(lower, -0.5))]
        return tuple(p for k, p in enumerate(points) if k == 0 or p != points[k - 1])

    def _middle(self, vertex: int) -> float:
        rank = self.net.rank[vertex]
        return (self.tops[rank] + self.bottoms[rank]) / 2

    def _end(self, vertex: int, side: float) -> float:
        """The y of the lower (0.5) or upper (-0.5) end of a vertex; a piece of a trunk is as high as its layer."""
        rank = self.net.rank[vertex]
        is_box = vertex < self.net.n_boxes
        height = self.net.sizes[vertex][1] if is_box else self.bottoms[rank] - self.tops[rank]
        return round(self._middle(vertex) + side * height, DIGITS)


def _spread(wanted: list[float], centre: float, width: float) -> list[float]:
    """The wanted places, increasing, moved into the width and apart from each other."""
    reach = max(0.0, width / 2 - PORT_MARGIN)
    gap = min(PORT_GAP, 2 * reach / max(1, len(wanted) - 1))
    places = [min(max(x, centre - reach), centre + reach) for x in wanted]
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + gap)
    for k in reversed(range(len(places))):
        places[k] = min(places[k], centre + reach - gap * (len(places) - 1 - k))
    return places
