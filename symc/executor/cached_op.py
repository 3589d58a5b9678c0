"""`mx.nd.CachedOp`: a symbol as a function of arrays, compiled for each combination of shapes it is called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from symc.core.bounded import BoundedCache
from symc.core.errors import ArgumentError
from symc.ndarray import tape
from symc.ndarray.eager import EagerGraph
from symc.ndarray.fit import require_fit
from symc.ndarray.invoke import apply, write
from symc.ndarray.ndarray import NDArray

if TYPE_CHECKING:
    from symc.symbol import Symbol


class CachedOp:
    """Calls a symbol with its inputs in the order of `list_inputs()`; `out=` receives the outputs.

    While recording, operators run and are recorded one by one; otherwise the symbol runs as one compiled graph.
    """

    def __init__(self, sym: Symbol, flags: Any = ()) -> None:
        self._symbol = sym
        self._names = sym.list_inputs()
        self._prepared: BoundedCache[tuple, EagerGraph] = BoundedCache(64)

    def __call__(self, *args: NDArray, out: NDArray | Sequence[NDArray] | None = None, **kwargs: Any) -> Any:
        """The outputs: an array, or a list of several.

        Raises ArgumentError for another number of inputs, ShapeError and DTypeError where they do not fit.
        """
        if len(args) != len(self._names):
            raise ArgumentError(
                f"CachedOp: expected {len(self._names)} inputs ({', '.join(self._names)}), got {len(args)}"
            )
        for name, value in zip(self._names, args):
            require_fit(f"CachedOp: input {name}", value)
        results = self._recorded(args) if tape.is_recording() else self._compiled(args)
        if out is not None:
            results = write("CachedOp", results, out)
        return results[0] if len(results) == 1 else results

    def _compiled(self, args: Sequence[NDArray]) -> list[NDArray]:
        key = (tape.is_training(), *[(a.shape, a._data.dtype.num) for a in args])
        graph = self._prepared.obtain(key, lambda: self._prepare(args))
        place = args[0].context if args else None
        return [NDArray(r, place) for r in graph(args, place)]

    def _prepare(self, args: Sequence[NDArray]) -> EagerGraph:
        from symc.ir.infer import infer_dtype, infer_shape
        from symc.symbol.graph import to_graph

        shapes = {n: a.shape for n, a in zip(self._names, args)}
        dtypes = {n: a._data.dtype.name for n, a in zip(self._names, args)}
        graph = infer_dtype(infer_shape(to_graph(self._symbol, tape.is_training(), shapes, dtypes)))
        inputs = {node.name: node[0] for node in graph.inputs}
        for name, array in zip(self._names, args):
            require_fit(f"CachedOp: input {name}", array, graph.shape(inputs[name]), graph.dtype(inputs[name]))
        return EagerGraph(graph, [inputs[n] for n in self._names])

    def _recorded(self, args: Sequence[NDArray]) -> list[NDArray]:
        arrays = dict(zip(self._names, args))
        made: dict[Any, list[NDArray]] = {}

        def value(entry: Any) -> NDArray:
            node, k = entry
            return arrays[node.name] if node.is_variable else made[node][k]

        for node in self._symbol.nodes():
            if not node.is_variable:
                made[node] = apply(node.op, [value(entry) for entry in node.inputs])
        return [value(entry) for entry in self._symbol.heads]
