"""One round of a loop differentiated: the body of the loop that goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value, post_order
from symc.ir.reverse import Reverse
from symc.ops.rules.terms import Term


@dataclass(frozen=True)
class Round:
    """The values of a loop's body by what they are for."""

    body: Graph
    rows: tuple[Value, ...]
    states: tuple[Value, ...]
    free: tuple[Value, ...]
    results: tuple[Value, ...]
    nexts: tuple[Value, ...]

    @staticmethod
    def of(body: Graph, n_data: int, n_states: int) -> Round:
        """The first inputs of the body are rows, the next ones states; its last heads are the next states."""
        ins = [node[0] for node in body.inputs]
        heads = [o.value for o in body.outputs]
        n_fed, n_results = n_data + n_states, len(heads) - n_states
        return Round(
            body, *map(tuple, (ins[:n_data], ins[n_data:n_fed], ins[n_fed:], heads[:n_results], heads[n_results:]))
        )

    @property
    def layers(self) -> list[Node]:
        """The nodes that can be applied to the rows of all rounds at once."""
        nodes = (node for node in self.body.nodes if not node.is_input and node.operator.is_rowwise)
        return [node for node in nodes if len(self.body.shape(node.inputs[0])) > 1]

    def is_float(self, v: Value) -> bool:
        """Whether a value can have a gradient."""
        return self.body.dtype(v).startswith("float")


@dataclass(frozen=True)
class Product:
    """A layer of the body over free values alone, whose gradients are taken of all rounds at once.

    node   the layer: its first input is a value of the round, the others are free
    head   which result of the way back is the gradient of its result
    """

    node: Node
    head: int

    @property
    def data(self) -> Value:
        """What it is applied to."""
        return self.node.inputs[0]


@dataclass(frozen=True)
class Pullback:
    """The body of the way back, and what it is fed; positions count among values of their kind.

    body       inputs: gradients of results, values of the forward round, whether it took place (1 or 0) where that is
               asked for, then the states below, then free values;
               heads: gradients of rows, of the results of products, then the states
    results    of which results the gradients are read
    reads      the values of the forward round that are read: rows, states, or what the round computed
    states     of which states the gradients go from round to round
    sums       of which free values the gradients are added up from round to round
    free       the free values that are read
    rows       which result is the gradient of each row that has one
    products   whose gradients are left out
    n_results  how many heads are results: gradients of rows and of the results of products
    """

    body: Graph
    results: tuple[int, ...]
    reads: tuple[Value, ...]
    states: tuple[int, ...]
    sums: tuple[int, ...]
    free: tuple[Value, ...]
    rows: Mapping[int, int]
    products: tuple[Product, ...]
    n_results: int

    @property
    def needs(self) -> tuple[Value, ...]:
        """The values of the forward round that are read, by the way back or after it."""
        return tuple(dict.fromkeys([*self.reads, *(p.data for p in self.products)]))


def pullback(r: Round, wanted: Sequence[Value], given: Sequence[bool], may_end: bool = False) -> Pullback:
    """The way back through a round for the wanted inputs of its body.

    given     whether each result has a gradient
    may_end   whether rounds may not have taken place; on the way back these change nothing
    Raises GradientError when a wanted gradient would flow through an operator that has none.
    """
    return _Pullback(r, wanted, given, may_end).run()


class _Pullback:
    def __init__(self, r: Round, wanted: Sequence[Value], given: Sequence[bool], may_end: bool) -> None:
        self.r = r
        self.g = GraphBuilder.over(r.body)
        self.took_place = Term(self.g, self.g.input("took_place", (1,), "float32")) if may_end else None
        self.wanted = _leading(r, [v for v in wanted if r.is_float(v)])
        self.results = tuple(k for k, v in enumerate(r.results) if given[k] and r.is_float(v))
        self.states = tuple(k for k, v in enumerate(r.states) if v in self.wanted)
        free = set(r.free)
        self.layers = [
            node
            for node in r.layers
            if node.inputs[0] not in free
            and all(v in free for v in node.inputs[1:])
            and any(v in self.wanted for v in node.inputs[1:])
        ]

    def run(self) -> Pullback:
        r, g = self.r, self.g
        d_results = [self._input("result", k, r.results[k]) for k in self.results]
        d_nexts = [self._input("state", k, r.states[k]) for k in self.states]
        heads: dict[Value, list[Value]] = {}
        for k, d in zip(self.results, d_results):
            heads.setdefault(r.results[k], []).append(d)
        for k, d in zip(self.states, d_nexts):
            heads.setdefault(r.nexts[k], []).append(d)
        asked = dict.fromkeys([*self.wanted, *(node[0] for node in self.layers)], "write")
        reverse = Reverse(g, r.body.nodes, asked)
        flowing = reverse.gradients(heads)
        products = [node for node in self.layers if node[0] in flowing]
        given_back = [(node, [*reverse.given_back.get(node, {}).values()]) for node in products]
        left_out = {v for node, parts in given_back for v in parts[-self._n_wanted(node) :]}
        terms = {v: [d for d in flowing.get(v, ()) if d not in left_out] for v in r.free if v in self.wanted}
        sums = tuple(k for k, v in enumerate(r.free) if terms.get(v))
        totals = [self._input("sum", k, r.free[k]) for k in sums]
        rows = tuple(k for k, v in enumerate(r.rows) if v in flowing)
        d_rows, d_layers = [
            [g.add(flowing[v]) for v in vs] for vs in ([r.rows[k] for k in rows], [n[0] for n in products])
        ]
        made = list(dict.fromkeys([*d_rows, *d_layers]))  # what is added up has one gradient
        heads_of = {v: k for k, v in enumerate(made)}
        n_results = len(made)
        made = [self._where_it_took_place(d, None) for d in made]
        ends = [g.add(flowing[v]) if v in flowing else g.like(v, 0.0) for v in (r.states[k] for k in self.states)]
        ends += [g("elemwise_add", total, g.add(terms[r.free[k]])) for k, total in zip(sums, totals)]
        made += [self._where_it_took_place(end, begin) for end, begin in zip(ends, [*d_nexts, *totals])]
        reads, body = self._cut(d_results, [*d_nexts, *totals], made)
        return Pullback(
            body,
            self.results,
            tuple(v for v in reads if v not in r.free),
            self.states,
            sums,
            tuple(v for v in reads if v in r.free),
            {k: heads_of[d] for k, d in zip(rows, d_rows)},
            tuple(Product(node, heads_of[d]) for node, d in zip(products, d_layers)),
            n_results,
        )

    def _where_it_took_place(self, then: Value, otherwise: Value | None) -> Value:
        """What a round gives back where it took place, else another value, or 0."""
        if self.took_place is None:
            return then
        last = Term(self.g, then).zeros() if otherwise is None else Term(self.g, otherwise)
        return self.took_place.broadcast_to(self.g.shape(then)).choose(Term(self.g, then), last).value

    def _input(self, kind: str, k: int, like: Value) -> Value:
        return self.g.input(f"d_{kind}{k}", self.r.body.shape(like), self.r.body.dtype(like))

    def _n_wanted(self, node: Node) -> int:
        """How many of a layer's free inputs get a gradient."""
        return sum(v in self.wanted for v in node.inputs[1:])

    def _cut(
        self, d_results: Sequence[Value], states: Sequence[Value], made: Sequence[Value]
    ) -> tuple[list[Value], Graph]:
        """What the way back reads of the forward round, and its graph over inputs for these."""
        r, g = self.r, self.g
        free = {v.node for v in r.free}
        forward = set(r.body.nodes)
        for node in r.body.nodes:  # what depends on free values alone is computed again: in front of the loop
            if not node.is_input and not node.operator.is_random and all(v.node in free for v in node.inputs):
                free.add(node)
                forward.discard(node)
        took_place = [] if self.took_place is None else [self.took_place.value]
        new: dict[Value, Value] = {v: v for v in (*d_results, *took_place, *states)}
        reads: dict[Value, Value] = {}

        def moved(v: Value) -> Value:
            if v in new:
                return new[v]
            if v not in reads:
                role = "parameter" if v in r.free else "argument"
                reads[v] = g.input(f"{v.node.name}_{v.index}", g.shape(v), g.dtype(v), role)
            return reads[v]

        for node in post_order(v.node for v in made):
            if node not in forward and not node.is_input:
                back = g.moved(node, tuple(moved(v) for v in node.inputs))
                new.update((node[k], back[k]) for k in range(node.n_outputs))
        heads = [Output("head", f"head{k}", moved(v)) for k, v in enumerate(made)]
        ordered = [v for v in reads if v not in r.free] + [v for v in reads if v in r.free]
        rows = [reads[v] for v in ordered if v not in r.free]
        free = [reads[v] for v in ordered if v in r.free]
        inputs = [v.node for v in (*d_results, *rows, *took_place, *states, *free)]
        return ordered, finish(g, heads, inputs=inputs)


def _leading(r: Round, wanted: Sequence[Value]) -> dict[Value, None]:
    """The inputs of the body that lead to wanted ones: these, and states that come to depend on them."""
    found = dict.fromkeys(wanted)
    while True:
        reverse = Reverse(GraphBuilder.over(r.body), r.body.nodes, dict.fromkeys(found, "write"))
        more = [
            state
            for state, after in zip(r.states, r.nexts)
            if state not in found and r.is_float(state) and reverse.leads(after)
        ]
        if not more:
            return found
        found.update(dict.fromkeys(more))
