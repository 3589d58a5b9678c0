"""Reverse mode: the gradients of values from those of what nodes compute from them.

One sweep serves the gradient pass, the tape of autograd, composite operators and the bodies of nodes.
Griewank and Walther, Evaluating Derivatives (2008), chapter 3; NNVM's gradient pass is the ancestor of this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    training   whether a node ran in training mode, where that is not the builder's mode

    A loss supplies its own gradient, whatever flows into it and even when nothing does; so what is computed from its
    result does not lead to what is wanted.
    """

    def __init__(
        self,
        g: GraphBuilder,
        nodes: Sequence[Node],
        wanted: Mapping[Value, str],
        recorded: Mapping[Value, Value] | None = None,
        training: Mapping[Node, bool] | None = None,
    ) -> None:
        self.g = g
        self.wanted = wanted
        self._recorded = recorded or {}
        self._training = training or {}
        self._mode, self._serving = g.training, g.serving
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
        refused: dict[Value, str] = {}  # values whose gradient an operator refuses, or that such a gradient flows into
        for node in reversed(self._way):
            op, results = node.operator, _results(node)
            dy = [g.add(flowing[v]) if v in flowing else None for v in results]
            if not op.is_loss and all(d is None for d in dy):
                continue
            self._enter(node)
            inherited = next((refused[v] for v in results if v in refused), None)
            found = op.gradient(g, self._contents(node.inputs), self._contents(results), dy)
            for argument, v, dx in zip(op.input_names(), node.inputs, found):
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
        self._leave()
        for v in self.wanted:
            if v in refused:
                name = v.node.name
                raise GradientError(f"the gradient of {name}: {refused[v]}; ask for none: grad_req='null' for {name}")
        return {v: flowing[v] for v in self.wanted if v in flowing}

    def updates(self) -> dict[Value, Value]:
        """The new content of every auxiliary state that training changes, by state, in the order of the nodes.

        As in MXNet it is the way back that updates them, so that of two nodes with one state the first comes last.
        """
        found: dict[Value, Value] = {}
        for node in reversed(self._way):
            op = node.operator
            if not op.aux or not self._is_training(node):
                continue
            self._enter(node)
            x = [found.get(v, self._content(v)) for v in node.inputs]
            states = dict(zip(op.input_names(), node.inputs))
            new = op.update_aux(self.g, x, self._contents(_results(node)))
            found.update((states[name], value) for name, value in new.items())
        self._leave()
        return {v: found[v] for node in self._way for v in node.inputs if v in found}

    def _is_training(self, node: Node) -> bool:
        return self._training.get(node, self._mode)

    def _enter(self, node: Node) -> None:
        self.g.serving, self.g.training = self._serving or node, self._is_training(node)

    def _leave(self) -> None:
        self.g.serving, self.g.training = self._serving, self._mode

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
