"""A symbol cut where only values decide a shape: the part behind is compiled when that shape is known."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from symc.ndarray.invoke import invoke
from symc.ndarray.ndarray import NDArray
from symc.symbol import Symbol
from symc.symbol.node import Entry, SymbolNode

Make = Callable[[Symbol, Any], Any]  # CachedOp, for which this is


def where_cut(sym: Symbol) -> SymbolNode | None:
    """The first operator whose shape only values decide."""
    return next((n for n in sym.nodes() if n.op is not None and n.op.undecidable), None)


class Cut:
    """All that does not need an undecidable operator, the operator, and all that needs it, as calls one after another.

    The part behind may be cut again. Each part is one operator of a recording, and is kept by the shapes it has met.
    """

    def __init__(self, sym: Symbol, at: SymbolNode, held: Collection[str], make: Make) -> None:
        """at: the first undecidable node of the symbol; held: names of inputs that hardly ever are other arrays."""
        self._at, self._heads, self._names = at, list(sym.heads), sym.list_inputs()
        behind = {at}
        needed: dict[Entry, None] = dict.fromkeys(e for e in at.inputs if not e.node.is_variable)
        later: list[SymbolNode] = []
        for node in sym.nodes():
            if any(e.node in behind for e in node.inputs) and node is not at:
                behind.add(node)
                later.append(node)
                needed.update(dict.fromkeys(e for e in node.inputs if not e.node.is_variable))
        needed.update(dict.fromkeys(self._heads))
        self._first_heads = [e for e in needed if e.node not in behind]
        self._last_heads = [e for e in dict.fromkeys(self._heads) if e.node in behind and e.node is not at]
        read = {e: Entry(SymbolNode(None, f"{e.node.name}:{e.index}")) for e in [*self._first_heads, Entry(at)]}
        self._read = {entry.node.name: e for e, entry in read.items()}
        made: dict[SymbolNode, SymbolNode] = {}
        for node in later:
            inputs = [e if e.node.is_variable else read.get(e) or Entry(made[e.node], e.index) for e in node.inputs]
            made[node] = _with_inputs(node, inputs)
        self._first = _called(make, self._first_heads, held)
        self._last = _called(make, [Entry(made[e.node], e.index) for e in self._last_heads], held)
        self.parts = [part for part in (self._first, self._last) if part is not None]

    def __call__(self, args: Sequence[NDArray]) -> list[NDArray]:
        """The outputs of the symbol."""
        given = dict(zip(self._names, args))
        found = dict(zip(self._first_heads, self._run(self._first, given)))
        of_at = [given[e.node.name] if e.node.is_variable else found[e] for e in self._at.inputs]
        assert self._at.op is not None
        (found[Entry(self._at)],) = invoke(type(self._at.op), self._at.op.given_params(), of_at)
        behind = {**given, **{name: found[e] for name, e in self._read.items()}}
        found.update(zip(self._last_heads, self._run(self._last, behind)))
        return [found[e] for e in self._heads]

    def _run(self, part: Any, given: dict[str, NDArray]) -> list[NDArray]:
        if part is None:
            return []
        results = part.call([given[name] for name in part.names])
        return results if isinstance(results, list) else [results]


def _called(make: Make, heads: Sequence[Entry], held: Collection[str]) -> Any:
    if not heads:
        return None
    part = Symbol(list(heads))
    return make(part, [("param_indices", [k for k, name in enumerate(part.list_inputs()) if name in held])])


def _with_inputs(node: SymbolNode, inputs: list[Entry]) -> SymbolNode:
    """A node as another one, but for its inputs."""
    made = SymbolNode(node.op, node.name, dict(node.attrs), inputs, node.origin)
    made.versions, made.version, made.subgraphs = node.versions, node.version, node.subgraphs
    return made
