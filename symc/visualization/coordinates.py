"""The horizontal places of a layered drawing: few bends, neighbours apart, parents over children.

Brandes and Köpf, Fast and Simple Horizontal Coordinate Assignment (2001): vertices are aligned with median neighbours
to vertical blocks, once for each of four directions, blocks are packed, and the results are averaged.  Blocks are
packed by longest paths among them, which keeps all distances (the paper's own packing does not always: see the erratum
of Brandes, Walter and Zink, 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

BOX_GAP, TRUNK_GAP = 30.0, 8.0

Layers = Sequence[Sequence[int]]
Neighbours = Sequence[Sequence[int]]
Pair = tuple[int, int]


def assign_x(
    layers: Layers, above: Neighbours, below: Neighbours, widths: Sequence[float], n_boxes: int
) -> list[float]:
    """The x of the middle of each vertex; vertices from `n_boxes` on are pieces of long edges."""
    crossing = _conflicts(layers, above, n_boxes)
    found = []
    for is_down in (True, False):
        ordered = list(layers) if is_down else list(reversed(layers))
        for is_left in (True, False):
            sided = [list(layer) if is_left else list(reversed(layer)) for layer in ordered]
            block = _blocks(sided, above if is_down else below, crossing)
            x = _packed(sided, block, widths, n_boxes)
            found.append(x if is_left else [-value for value in x])
    return _averaged(found, widths)


def _conflicts(layers: Layers, above: Neighbours, n_boxes: int) -> set[Pair]:
    """Connections (upper, lower) that cross a piece of a long edge, which stays straight instead of them."""
    found: set[Pair] = set()
    for upper, lower in pairwise(layers):
        place = {v: k for k, v in enumerate(upper)}
        left, start = 0, 0
        for k, vertex in enumerate(lower):
            inner = next((w for w in above[vertex] if w >= n_boxes), None) if vertex >= n_boxes else None
            if inner is None and k != len(lower) - 1:
                continue
            right = len(upper) - 1 if inner is None else place[inner]
            for other in lower[start : k + 1]:
                for w in above[other]:
                    is_inner = w >= n_boxes and other >= n_boxes
                    if not is_inner and not left <= place[w] <= right:
                        found.add((w, other))
            left, start = right, k + 1
    return found


def _blocks(layers: Layers, neighbours: Neighbours, crossing: set[Pair]) -> list[int]:
    """For each vertex the first vertex of its block: vertices of successive layers that get one x."""
    n = len(neighbours)
    root, is_taken = list(range(n)), [False] * n
    for previous, layer in pairwise(layers):
        place = {v: k for k, v in enumerate(previous)}
        last = -1
        for vertex in layer:
            near = sorted((w for w in neighbours[vertex] if w in place), key=place.__getitem__)
            medians = near[(len(near) - 1) // 2 : len(near) // 2 + 1]
            for w in medians:
                is_free = not is_taken[w] and root[vertex] == vertex and place[w] > last
                if is_free and (w, vertex) not in crossing and (vertex, w) not in crossing:
                    is_taken[w], root[vertex] = True, root[w]
                    last = place[w]
    return root


def _packed(layers: Layers, block: Sequence[int], widths: Sequence[float], n_boxes: int) -> list[float]:
    """The x of each vertex: blocks as far left as they go, then right again up to their neighbours."""
    right_of: dict[int, dict[int, float]] = {b: {} for b in block}
    n_left = dict.fromkeys(right_of, 0)
    for layer in layers:
        for left, right in pairwise(layer):
            gap = TRUNK_GAP if left >= n_boxes and right >= n_boxes else BOX_GAP
            distance = (widths[left] + widths[right]) / 2 + gap
            near = right_of[block[left]]
            n_left[block[right]] += block[right] not in near
            near[block[right]] = max(near.get(block[right], 0.0), distance)
    order = [b for b, n in n_left.items() if n == 0]
    x = dict.fromkeys(right_of, 0.0)
    for b in order:  # grows while it is read: a block follows when all blocks on its left are placed
        for other, distance in right_of[b].items():
            x[other] = max(x[other], x[b] + distance)
            n_left[other] -= 1
            if n_left[other] == 0:
                order.append(other)
    for b in reversed(order):
        if right_of[b]:
            x[b] = max(x[b], min(x[other] - distance for other, distance in right_of[b].items()))
    return [x[b] for b in block]


def _averaged(found: list[list[float]], widths: Sequence[float]) -> list[float]:
    """The mean of the two middle results, after they were moved to the borders of the narrowest."""
    borders = []
    for x in found:
        low = min((v - w / 2 for v, w in zip(x, widths)), default=0.0)
        high = max((v + w / 2 for v, w in zip(x, widths)), default=0.0)
        borders.append((low, high))
    left, right = min(borders, key=lambda b: b[1] - b[0])
    moved = []
    for k, (x, (low, high)) in enumerate(zip(found, borders)):
        shift = left - low if k % 2 == 0 else right - high  # the even ones are packed to the left
        moved.append([value + shift for value in x])
    return [sum(sorted(values)[1:3]) / 2 for values in zip(*moved)]
