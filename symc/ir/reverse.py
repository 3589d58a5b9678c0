"""Reverse mode: the gradients of values from those of what nodes compute from them.

One sweep serves the gradient pass, the tape of autograd, composite operators and the bodies of nodes.
Griewank and Walther, Evaluating Derivatives (2008), chapter 3; NNVM's gradient pass is the ancestor of this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from symc.core.errors import GradientError
from symc.core.shapes import mx_text

from .builder import GraphBuilder
from .graph import Node, Value


class Reverse:
    """The way back from what nodes compute to the values whose gradients are wanted; `g` gets the new nodes.

    They serve the node that the builder serves, or else the node whose gradient they are.

    nodes      what was computed, in topological order: all that the heads need, graph inputs or not
    wanted     the values asked for, each with its request: "write" or "add"
    recorded   what stands for a value in formulas, where that is not the value itself: its contents on a tape

    given_back   what `gradients` found that each node gives back to its inputs, by their positions, in this order

    A loss supplies its own gradient, whatever flows into it and even when nothing does; so what is computed from its
    result does not lead to what is wanted. Of a node that holds a loss, results that are read are heads of its body.
    """

    def __init__(
        self,
        g: GraphBuilder,
        nodes: Sequence[Node],
        wanted: Mapping[Value, str],
        recorded: Mapping[Value, Value] | None = None,
    ) -> None:
        self.g = g
        self.wanted = wanted
        self._recorded = recorded or {}
        self._serving = g.serving
        self._nodes = nodes
        self.given_back: dict[Node, dict[int, Value]] = {}
        self._leading = set(wanted)
        self._way: list[Node] = []
        for node in nodes:
            if any(v in self._leading for v in node.inputs):
                self._way.append(node)
                if not node.operator.is_loss:
                    self._leading.update(_results(node))

    def leads(self, value: Value) -> bool:
        """Whether a gradient that flows into the value reaches what is wanted."""
        return value in self._leading

    def gradients(self, heads: Mapping[Value, Sequence[Value]]) -> dict[Value, list[Value]]:
        """The terms whose sum is the gradient of each wanted value, from those that flow into the heads.

        Values that nothing flows into are missing.  Raises GradientError when a wanted gradient would flow through an
        operator, or into an argument of one, that has none.
        """
        g = self.g
        flowing = {v: list(terms) for v, terms in heads.items()}
        read = {v for node in self._nodes for v in node.inputs}.union(heads)
        refused: dict[Value, str] = {}  # values whose gradient an operator refuses, or that such a gradient flows into
        for node in reversed(self._way):
            op, results = node.operator, _results(node)
            dy = [g.add(flowing[v]) if v in flowing else None for v in results]
            if not op.has_loss and all(d is None for d in dy):
                continue
            g.serving = self._serving or node
            if op.has_loss and not op.is_loss:
                dy = [g.like(self._content(v), 0.0) if d is None and v in read else d for v, d in zip(results, dy)]
            inherited = next((refused[v] for v in results if v in refused), None)
            found = op.gradient(g, self._contents(node.inputs), self._contents(results), dy)
            for k, (argument, v, dx) in enumerate(zip(op.input_names(), node.inputs, found)):
                if v not in self._leading:
                    continue
                if op.refuses_gradient(argument, self.wanted.get(v, "write")):
                    refused[v] = f"{op.name} {node.name} gives no gradient for its argument {argument}"
                    dx = g.like(self._content(v), 0.0)
                if dx is None:
                    continue
                if inherited:
                    refused.setdefault(v, inherited)
                self._check_shape(node, v, dx)
                flowing.setdefault(v, []).append(dx)
                self.given_back.setdefault(node, {})[k] = dx
        self.g.serving = self._serving
        for v in self.wanted:
            if v in refused:
                name = v.node.name
                raise GradientError(f"the gradient of {name}: {refused[v]}; ask for none: grad_req='null' for {name}")
        return {v: flowing[v] for v in self.wanted if v in flowing}

    def updates(self) -> dict[Value, Value]:
        """The new content of every variable that training changes, by variable, in the order of the nodes: auxiliary
        states, and what else operators overwrite.

        As in MXNet it is the way back that updates them, so that of two nodes with one state the first comes last.
        """
        found: dict[Value, Value] = {}
        for node in reversed(self._way):
            op = node.operator
            if not op.aux or not self.g.training:
                continue
            self.g.serving = self._serving or node
            x = [found.get(v, self._content(v)) for v in node.inputs]
            states = dict(zip(op.input_names(), node.inputs))
            new = op.update_aux(self.g, x, self._contents(_results(node)))
            found.update((states[name], value) for name, value in new.items() if states[name].node.is_input)
        self.g.serving = self._serving
        return {v: found[v] for node in self._way for v in node.inputs if v in found}

    def _content(self, value: Value) -> Value:
        return self._recorded.get(value, value)

    def _contents(self, values: Sequence[Value]) -> list[Value]:
        return [self._recorded.get(v, v) for v in values]

    def _check_shape(self, node: Node, v: Value, dx: Value) -> None:
        shape, expected = self.g.shape(dx), self.g.shape(self._content(v))
        if shape != expected:
            raise GradientError(
                f"gradient of {node.operator.name} {node.name} for {v}: shape {mx_text(shape)}, "
                f"expected {mx_text(expected)}"
            )


def _results(node: Node) -> list[Value]:
    return [node[k] for k in range(node.n_outputs)]


def pulled_back(
    g: GraphBuilder,
    x: Sequence[Value],
    y: Sequence[Value],
    dy: Sequence[Value | None],
    wanted: Sequence[Value] | None = None,
) -> list[Value | None]:
    """The gradients of x from those of y, which nodes of the builder compute from x; None = no path, or not `wanted`.

    Where x has a value twice, its whole gradient is that of the first place.
    """
    heads: dict[Value, list[Value]] = {}
    for v, d in zip(y, dy):
        if d is not None:
            heads.setdefault(v, []).append(d)
    flowing = Reverse(g, between(set(x), y), dict.fromkeys(x if wanted is None else wanted, "write")).gradients(heads)
    return [g.add(flowing.pop(v)) if v in flowing else None for v in x]


def between(sources: Set[Value], targets: Sequence[Value]) -> list[Node]:
    """The nodes that compute `targets` from `sources`, in topological order."""
    found: dict[Node, None] = {}
    waiting = [(v, False) for v in reversed(targets)]
    while waiting:
        v, is_done = waiting.pop()
        if v in sources or v.node.is_input or v.node in found:
            continue
        if is_done:
            found[v.node] = None
        else:
            waiting += [(v, True), *((i, False) for i in v.node.inputs)]
    return list(found)
