"""A recording of autograd as a Symbol."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from symc.core.errors import GradientError
from symc.ir.graph import Graph, Value
from symc.ir.op import Op
from symc.ops.control.call import Call
from symc.symbol import Symbol
from symc.symbol.compose import param_attrs, read_versions
from symc.symbol.node import Entry, SymbolNode

from . import tape
from .custom import ByHand
from .ndarray import NDArray
from .tape import Made, Recorded, Source


def symbol_of(head: NDArray, order: Sequence[Recorded]) -> Symbol:
    """What an array was computed by: nodes `node_0`, `node_1`, ... of variables `var0`, ... and constants `null0`, ...

    order   the operators it needs, inputs before users
    A hybridized block is one node, or the nodes of its graph where these are as few as its `inline_limit` says. Raises
    GradientError for a function written in Python, which no Symbol holds.
    """
    nodes = _Nodes()
    for recorded in order:
        nodes.add(recorded)
    return Symbol([nodes.entry(tape.source_of(head), head)])


class _Nodes:
    """The nodes made so far, by what they stand for in the recording."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, Entry] = {}
        self._counts = dict.fromkeys(("node_", "var", "null"), 0)

    def entry(self, source: Source, contents: NDArray) -> Entry:
        """The value that an operator reads; a constant is the memory that holds it."""
        key = id(contents._memory) if source is None else tape.key_of(source)
        if key not in self._entries:
            self._entries[key] = Entry(SymbolNode(None, self._name("null" if source is None else "var")))
        return self._entries[key]

    def add(self, recorded: Recorded) -> None:
        assert recorded.inputs is not None
        op, inputs = recorded.op, [self.entry(*given) for given in recorded.inputs]
        if isinstance(op, ByHand):
            raise GradientError(f"autograd.get_symbol: {op.name} is written in Python; a Symbol cannot hold it")
        is_inlined = isinstance(op, Call) and op.is_inlined
        results = self._inlined(op.body, inputs) if is_inlined else self._results(op, inputs)
        self._entries.update((Made(recorded, k), result) for k, result in enumerate(results))

    def _inlined(self, body: Graph, inputs: Sequence[Entry]) -> list[Entry]:
        """The heads of a body over what feeds it."""
        new: dict[Value, Entry] = {node[0]: entry for node, entry in zip(body.inputs, inputs)}
        for node in body.nodes:
            if not node.is_input:
                results = self._results(node.operator, [new[v] for v in node.inputs])
                new.update((node[k], result) for k, result in enumerate(results))
        return [new[head.value] for head in body.outputs]

    def _results(self, op: Op, inputs: Sequence[Entry]) -> list[Entry]:
        """All results of a new node."""
        attrs = {} if isinstance(op, Call) else param_attrs(op.given_params())
        node = SymbolNode(op, self._name("node_"), attrs, list(inputs))
        read_versions(node)
        return [Entry(node, k) for k in range(len(op.result_names()))]

    def _name(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind] - 1}"
