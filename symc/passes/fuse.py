"""Decides which nodes form one kernel: convex groups around an anchor, with prologue and epilogue.

The rules are those of every tensor compiler (TVM's fuse_ops, XLA's instruction fusion), reduced to four moves:

join    an elementwise node runs on the index space of a group that computes one of its operands (epilogue, siblings),
        or, where all that reads a product are equal sections of its channels (gates), on that of one section
absorb  a cheap or once-read producer is recomputed inside its only reader (prologue), and is never stored
gather  elementwise groups over one index space that a node reads become one, whatever else of them is stored
rows    reductions, and what reads their results, walk the rows of one index space together while these are near
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from symc.core.shapes import FullShape, size_of
from symc.ir.graph import Graph, Layout, Node, Value

from .base import Machine, PassContext, graph_pass
from .group_order import GroupOrder, Ranked
from .meaning import Kind, Meaning, meanings, same_order
from .phases import Phase, phases
from .rows import Rows, rows_of

MAX_OPERATIONS = 60  # per kernel: beyond it compile time grows faster than memory traffic shrinks
MAX_NODES = 24
MAX_REDUCTIONS = 4  # that walk the same rows: what is not kept between two walks is computed in each of them


@dataclass(eq=False)
class Group(Ranked):
    """A kernel in the making."""

    number: int
    kind: Kind
    domain: FullShape
    layout: Layout
    phase: Phase
    nodes: list[Node]
    n_operations: int
    rows: Rows | None = None  # what its reductions walk, where that stays near
    has_sections: bool = False  # whether its domain is one of the equal sections of a product's channels


@graph_pass(
    requires=("shape", "dtype", "layout"), provides=("group",), keeps=("shape", "dtype", "layout"), enters_bodies=True
)
def fuse(graph: Graph, context: PassContext) -> Graph:
    """Gives every operation that needs code the number of its group; memory views have none.

    before:  %a = Convolution(%x, %w, %b); %c = elemwise_add(%a, %r); %y = Activation(%c)
    after:   the same graph; group 0 = {%a, %c, %y}
    """
    return graph.with_facts(group=Fusion(graph, context.backend).run())


class Fusion:
    """One greedy walk over the nodes in topological order."""

    def __init__(self, graph: Graph, backend: Machine) -> None:
        self.graph = graph
        self.backend = backend
        self.meanings = meanings(graph)
        self.phases = phases(graph)
        self.order = GroupOrder()
        self.group_of: dict[Node, Group] = {}
        self.written = graph.output_values
        self.updates = {o.value for o in graph.outputs if o.kind == "update"}

    def run(self) -> dict[Node, int]:
        for node in self.graph.nodes:
            if node.is_input or self.meanings[node].kind == "view":
                continue
            group = self._joined(node)
            if group is None:
                group = self._opened(node)
            self._gather_rows(node, group)
            self._gather(node, group)
            self._absorb(node, group)
        return {node: g.number for node, g in self.group_of.items()}

    def _sources(self, node: Node) -> list[Group]:
        """Groups that compute the inputs of a node, seen through memory views."""
        sources = (self._through_views(v).node for v in node.inputs)
        return list(dict.fromkeys(self.group_of[s] for s in sources if s in self.group_of))

    def _through_views(self, v: Value) -> Value:
        while not v.node.is_input and self.meanings[v.node].kind == "view":
            v = v.node.inputs[0]
        return v

    def _opened(self, node: Node) -> Group:
        meaning = self.meanings[node]
        rows = self._near_rows(node)
        group = Group(
            self.order.n_groups,
            meaning.kind,
            self.graph.shape(node[0]),
            self.graph.layout(node[0]),
            self.phases[node],
            [],
            0,
            rows,
        )
        self.order.append(group)
        self._add(node, group)
        return group

    def _add(self, node: Node, group: Group) -> None:
        group.nodes.append(node)
        group.n_operations += self.meanings[node].n_operations
        self.group_of[node] = group
        self.order.need(group, [s for s in self._sources(node) if s is not group])

    # -- join ---------------------------------------------------------------------------------------------------------

    def _joined(self, node: Node) -> Group | None:
        """The group a node was added to, latest producer first; None when no join is legal and useful.

        What reads sections of a product goes there, whatever was computed since: a gate adds what comes from the data.
        """
        meaning = self.meanings[node]
        if meaning.kind not in ("map", "reduction") or any(node[k] in self.updates for k in range(node.n_outputs)):
            return None
        if any(self.graph.shape(node[k]) != self.graph.shape(node[0]) for k in range(node.n_outputs)):
            return None
        for group in sorted(self._sources(node), key=lambda g: (not g.has_sections, -g.number)):
            if meaning.kind == "map" and self._may_join(node, meaning, group):
                self._add(node, group)
                group.has_sections |= group.domain != self.graph.shape(node[0])
                group.domain = self.graph.shape(node[0])
                return group
            rows = self._common_rows(node, group)
            if rows is not None and self._may_join_rows(node, meaning, group, rows):
                self._add(node, group)
                self._walk_rows(group, rows)
                return group
        return None

    def _may_join(self, node: Node, meaning: Meaning, group: Group) -> bool:
        graph = self.graph
        shape = graph.shape(node[0])
        if group.kind in ("regions", "template", "loop") or group.phase != self.phases[node]:
            return False
        if group.domain != shape and not self._begins_sections(group, shape):
            return False
        if self.updates and any(n[0] in self.updates for n in group.nodes):
            return False
        if not same_order(group.layout.order, graph.layout(node[0]).order, shape):
            return False
        if group.n_operations + meaning.n_operations > MAX_OPERATIONS or len(group.nodes) >= MAX_NODES:
            return False
        for k, v in enumerate(node.inputs):
            source = self._through_views(v)
            if self.group_of.get(source.node) is group:
                if source != v or not (meaning.is_pointwise(k) or self._reads_section(node, k, group)):
                    return False  # reads elements of the group other than its own
            elif source.node in self.group_of and not self.order.may_need(group, self.group_of[source.node]):
                return False  # not convex: an operand of the node itself waits for the group
        return group.kind != "product" or self._fits_epilogue(node, group)

    def _anchor(self, group: Group) -> Node:
        return next(n for n in group.nodes if self.meanings[n].product is not None)

    def _fits_epilogue(self, node: Node, group: Group) -> bool:
        return self.backend.fits_epilogue(self.graph, self._anchor(group), node)

    def _reads_section(self, node: Node, position: int, group: Group) -> bool:
        if group.kind != "product":
            return False
        product = self.meanings[self._anchor(group)].product
        assert product is not None
        return self.meanings[node].reads_section(position, product.channel_axis)

    def _begins_sections(self, group: Group, shape: FullShape) -> bool:
        """Whether nodes of a shape, a section of what a product gives, are all that reads what its group computes."""
        if group.kind != "product" or len(shape) != len(group.domain):
            return False
        anchor = self._anchor(group)
        product = self.meanings[anchor].product
        assert product is not None
        width, total = shape[product.channel_axis], group.domain[product.channel_axis]
        if not width or not self.backend.fits_sections(product, self.graph.dtype(anchor[0]), total // width):
            return False
        for v in (n[k] for n in group.nodes for k in range(n.n_outputs)):
            if v in self.written:
                return False
            for user, position in self.graph.users.get(v, ()):
                if self.group_of.get(user) is group:
                    continue
                if self.graph.shape(user[0]) != shape or not self._reads_section(user, position, group):
                    return False
        return True

    def _gather(self, node: Node, group: Group) -> None:
        """Merges elementwise groups that a node reads, of its own group's index space, into that: one walk for all."""
        for source in sorted(self._sources(node), key=lambda g: -g.number):
            if source is not group and self._may_gather(source, group):
                self._merge(source, group)

    def _may_gather(self, source: Group, group: Group) -> bool:
        if {source.kind, group.kind} != {"map"} or source.phase != group.phase or source.domain != group.domain:
            return False
        nodes = [*source.nodes, *group.nodes]
        if len(nodes) > MAX_NODES or source.n_operations + group.n_operations > MAX_OPERATIONS:
            return False
        results = [n[k] for n in nodes for k in range(n.n_outputs)]
        if any(v in self.updates or self.graph.shape(v) != group.domain for v in results):
            return False
        if not same_order(source.layout.order, group.layout.order, group.domain):
            return False
        for n in group.nodes:
            for k, v in enumerate(n.inputs):
                read = self._through_views(v)
                if self.group_of.get(read.node) is source and (read != v or not self.meanings[n].is_pointwise(k)):
                    return False
        return self.order.may_merge(source, group)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _near_rows(self, node: Node) -> Rows | None:
        """The rows that a node reduces, if they stay near while a kernel walks them several times."""
        rows = rows_of(self.meanings[node])
        if rows is None:
            return None
        is_contiguous = self._are_contiguous(rows, node)
        return rows if self.backend.keeps_near(rows.n_elements, is_contiguous) else None

    def _are_contiguous(self, rows: Rows, node: Node) -> bool:
        """Whether each of the rows that a node reduces lies in one piece."""
        source = next(v for v in node.inputs if self.graph.shape(v) == rows.shape)
        order = [a for a in self.graph.layout(source).order if rows.shape[a] > 1]
        inside = {a for a in rows.axes if rows.shape[a] > 1}
        return set(order[len(order) - len(inside) :]) == inside

    def _common_rows(self, node: Node, group: Group) -> Rows | None:
        """The rows that a node and a group can walk together, one of which must reduce them."""
        if group.kind not in ("map", "reduction") or group.phase != self.phases[node]:
            return None
        rows = self._near_rows(node)
        if group.kind == "map":
            return rows if rows is not None and group.domain == rows.shape else None
        is_same = rows == group.rows or self.meanings[node].kind == "map"
        return group.rows if is_same else None

    def _may_join_rows(self, node: Node, meaning: Meaning, group: Group, rows: Rows) -> bool:
        shape = self.graph.shape(node[0])
        if not rows.hold(shape) or any(n[0] in self.updates for n in group.nodes):
            return False
        if shape == rows.shape and not self._is_in_order(node[0], group, rows):
            return False
        if not self._may_walk([*group.nodes, node], rows):
            return False
        for k, v in enumerate(node.inputs):
            source = self._through_views(v)
            if self.group_of.get(source.node) is group:
                if source != v or not rows.is_within(meaning, k):
                    return False
            elif source.node in self.group_of and not self.order.may_need(group, self.group_of[source.node]):
                return False
        return True

    def _is_in_order(self, v: Value, group: Group, rows: Rows) -> bool:
        """Whether a value lies in memory as those of a group do that fill the whole index space."""
        whole = [n[0] for n in group.nodes if self.graph.shape(n[0]) == rows.shape]
        return all(same_order(self.graph.layout(v).order, self.graph.layout(w).order, rows.shape) for w in whole)

    def _may_walk(self, nodes: Sequence[Node], rows: Rows) -> bool:
        """Whether nodes that walk the same rows are few enough for one kernel, and cheap where nothing is kept."""
        found = [self.meanings[n] for n in nodes]
        reductions = [n for n, m in zip(nodes, found) if m.kind == "reduction"]
        return (
            len(nodes) <= MAX_NODES
            and sum(m.n_operations for m in found) <= MAX_OPERATIONS
            and len(reductions) <= MAX_REDUCTIONS
            and (
                all(m.is_cheap for m in found[:-1] if m.kind == "map" and m.shape == rows.shape)
                or all(rows_of(self.meanings[n]) == rows and self._are_contiguous(rows, n) for n in reductions)
            )
        )

    def _walk_rows(self, group: Group, rows: Rows) -> None:
        group.kind, group.rows = "reduction", rows

    def _gather_rows(self, node: Node, group: Group) -> None:
        """Merges groups that a node reads, and that walk the rows of its own group, into that."""
        for source in sorted(self._sources(node), key=lambda g: -g.number):
            if source is group:
                continue
            rows = self._rows_of_both(source, group)
            if rows is not None and self._may_merge_rows(source, group, rows):
                self._merge(source, group)
                self._walk_rows(group, rows)

    def _rows_of_both(self, source: Group, group: Group) -> Rows | None:
        if {source.kind, group.kind} - {"map", "reduction"} or source.phase != group.phase:
            return None
        for g, other in ((source, group), (group, source)):
            if g.rows is not None and (other.rows == g.rows or (other.kind == "map" and other.domain == g.rows.shape)):
                return g.rows
        return None

    def _may_merge_rows(self, source: Group, group: Group, rows: Rows) -> bool:
        nodes = [*source.nodes, *group.nodes]
        if not self._may_walk(nodes, rows) or any(n[k] in self.updates for n in nodes for k in range(n.n_outputs)):
            return False
        whole = [n[0] for n in source.nodes if self.graph.shape(n[0]) == rows.shape]
        if not all(self._is_in_order(v, group, rows) for v in whole):
            return False
        for n in group.nodes:
            for k, v in enumerate(n.inputs):
                read = self._through_views(v)
                if self.group_of.get(read.node) is source and (read != v or not rows.is_within(self.meanings[n], k)):
                    return False
        return self.order.may_merge(source, group)

    # -- absorb -------------------------------------------------------------------------------------------------------

    def _absorb(self, node: Node, group: Group) -> None:
        """Merges producers of `node` that only it reads into its group, so that they are never stored."""
        meaning = self.meanings[node]
        first = {v: k for k, v in reversed(list(enumerate(node.inputs)))}  # where all loads of a value are counted
        for k, v in enumerate(node.inputs):
            if first[v] != k:
                continue
            producer = self.group_of.get(v.node)
            if producer is None or producer is group or producer.kind != "map":
                continue
            if meaning.product is not None and node.inputs.count(v) > 1:
                continue  # also streamed from memory, so it must be there
            if producer.phase != group.phase and not self._is_packed(meaning, k):
                continue
            if len(producer.nodes) + len(group.nodes) > MAX_NODES:
                continue
            if not self._is_private(producer, v, node):
                continue
            if producer.n_operations + group.n_operations > MAX_OPERATIONS:
                continue
            if not self._reads_once(meaning, k, producer):
                continue
            if group.kind == "product" and meaning.kind != "product" and not self._all_fit_epilogue(producer, group):
                continue
            self._merge(producer, group)

    def _all_fit_epilogue(self, producer: Group, group: Group) -> bool:
        """Whether a producer of an epilogue's operand can itself run in the epilogue."""
        return producer.domain == group.domain and all(self._fits_epilogue(n, group) for n in producer.nodes)

    def _is_packed(self, meaning: Meaning, position: int) -> bool:
        """Whether an operand is rearranged for a contraction anyway, so that its producer can run there."""
        return meaning.product is not None and self.backend.fits_prologue(meaning.product, position)

    def _is_private(self, producer: Group, v: Value, node: Node) -> bool:
        """Whether the producer's only visible result is `v` and only `node` reads it."""
        members = set(producer.nodes)
        for n in producer.nodes:
            for k in range(n.n_outputs):
                value = n[k]
                if value in self.written:
                    return False
                for user, _ in self.graph.users.get(value, ()):
                    if user not in members and (user is not node or value != v):
                        return False
        return True

    def _reads_once(self, meaning: Meaning, position: int, producer: Group) -> bool:
        """Whether inlining costs no more than storing: no element is computed often, unless it is nearly free."""
        if meaning.kind in ("product", "template", "loop"):
            return self._is_packed(meaning, position)  # other operands are streams of memory
        cheap = all(self.meanings[n].is_cheap for n in producer.nodes)
        n_loads = meaning.n_loads(position)
        if meaning.kind == "reduction":
            return cheap and n_loads <= 3 and producer.n_operations <= 8 and not self._converts(producer)
        out_size, in_size = size_of(meaning.shape), size_of(producer.domain)
        repeats = n_loads * max(1, out_size // max(in_size, 1))
        return repeats <= 1 or (cheap and repeats <= 4)

    def _converts(self, producer: Group) -> bool:
        """Whether a group brings its input into another memory order, in which it is read faster more than once."""
        layout, shape = self.graph.layout, producer.domain
        return any(
            self.graph.shape(v) == shape and not same_order(layout(v).order, producer.layout.order, shape)
            for n in producer.nodes
            for v in n.inputs
        )

    def _merge(self, producer: Group, group: Group) -> None:
        for n in producer.nodes:
            self.group_of[n] = group
        group.nodes = producer.nodes + group.nodes
        group.n_operations += producer.n_operations
        self.order.merge(producer, group)
