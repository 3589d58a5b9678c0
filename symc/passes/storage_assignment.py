"""Where the values of a graph live: which storage holds each, and the buffers through which kernels see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from symc.core.shapes import FullShape, size_of
from symc.ir.graph import Graph, Node, Value
from symc.ir.kernels import Place, Storage, View
from symc.loopir.kernel import SEED, Buffer

from .base import Machine
from .gaps import row_distances
from .phases import Phase
from .placement import placements, slices

STORED_AT: dict[str, Place] = {"head": "head", "gradient": "gradient", "update": "update", "check": "check"}


class StorageAssignment:
    """The storages, views and buffers of one graph's values, made on first use.

    A body of a loop has one of its own, which shares storages and names with `outer`, that of the graph around it; the
    names of its buffers begin with `prefix`.
    """

    def __init__(
        self,
        graph: Graph,
        phases: Mapping[Node, Phase],
        machine: Machine,
        outer: StorageAssignment | None = None,
        prefix: str = "",
    ) -> None:
        self.graph = graph
        self.phases = phases
        self.prefix = prefix
        self.storages: dict[str, Storage] = outer.storages if outer else {}
        self.views: dict[str, View] = outer.views if outer else {}
        self.names: dict[str, int] = outer.names if outer else {}
        self.buffers: dict[Value, Buffer] = {}
        self.placed = placements(graph, phases)
        self.slices = {} if outer else slices(graph, self.placed)  # a loop overwrites what its body reads
        inside = {**self.placed, **self.slices}
        taken = {*inside, *(i.whole for i in inside.values())}
        # (A step's own sums gained nothing from gaps.)
        self.row_distances = {} if outer else row_distances(graph, phases, taken, machine.gap_behind)

    def _unique(self, base: str) -> str:
        count = self.names.get(base, 0)
        self.names[base] = count + 1
        return f"{base}~{count}" if count else base

    def _new_storage(self, base: str, size: int, dtype: str, place: Place, key: str = "") -> Storage:
        storage = Storage(self._unique(base), size, dtype, place, key)
        self.storages[storage.name] = storage
        return storage

    def _bind(self, v: Value, place: View, strides: tuple[int, ...] | None = None) -> Buffer:
        """Makes a value live in a storage, by default in its own layout, densely or with gaps behind its rows."""
        shape = self.graph.shape(v)
        name = self._unique(f"{self.prefix}{str(v)[1:]}.buf")
        strides = strides or self.graph.layout(v).strides(self._with_gaps(v))
        buffer = Buffer(name, shape, self.graph.dtype(v), strides)
        self.views[name] = place
        self.buffers[v] = buffer
        return buffer

    def _with_gaps(self, v: Value) -> FullShape:
        """The shape that a value takes up in memory."""
        shape = self.graph.shape(v)
        return (*shape[:-1], self.row_distances[v]) if v in self.row_distances else shape

    def _place_inputs(self) -> None:
        for node in self.graph.inputs:
            v = node[0]
            place: Place = node.role
            s = self._new_storage(node.name, size_of(self.graph.shape(v)), self.graph.dtype(v), place, node.name)
            self._bind(v, View(s.name))

    def _place_outputs(self) -> list[tuple[Value, Buffer]]:
        """Outputs are stored straight into the callers' arrays, as is what a head is a view of; others are copied."""
        copies = []
        n_heads = 0
        for o in self.graph.outputs:
            key = o.name
            if o.kind == "head":
                key, n_heads = str(n_heads), n_heads + 1
            v = o.value
            shape, dtype = self.graph.shape(v), self.graph.dtype(v)
            storage = self._new_storage(f"{o.kind}:{o.name}", size_of(shape), dtype, STORED_AT[o.kind], key)
            computed = self._viewed(v) if o.kind == "head" else v
            is_elsewhere = computed in self.buffers or self._is_view(computed.node)
            if is_elsewhere or self.phases[computed.node] == "prepare":
                name = self._unique(f"{o.name}.out")
                self.views[name] = View(storage.name)
                copies.append((v, Buffer.dense(name, shape, dtype)))
            else:
                self._bind(computed, View(storage.name))
        return copies

    def _viewed(self, v: Value) -> Value:
        """The value whose memory a view shows; another value itself."""
        while self._is_view(v.node):
            v = v.node.inputs[0]
        return v

    def _is_view(self, node: Node) -> bool:
        return not node.is_input and node not in self.graph.facts.group

    def _buffer(self, v: Value, phase: Phase = "forward") -> Buffer:
        """The buffer of a value, created on first use; a view shares its input's storage."""
        if v in self.buffers:
            return self.buffers[v]
        if self._is_view(v.node):
            source = self._buffer(v.node.inputs[0], phase)
            return self._bind(v, self.views[source.name])
        if v in self.placed or v in self.slices:
            inside = self.placed.get(v) or self.slices[v]
            target = self._buffer(inside.whole, phase)
            view = self.views[target.name]
            strides = None if inside.is_reshaped else target.strides
            return self._bind(v, replace(view, offset=view.offset + inside.offset(target)), strides)
        place: Place = "prepared" if phase == "prepare" else "arena"
        name = self.prefix + str(v)[1:]
        storage = self._new_storage(name, size_of(self._with_gaps(v)), self.graph.dtype(v), place)
        return self._bind(v, View(storage.name))

    def _scratch(self, node: Node, shape: FullShape, dtype: str, phase: Phase) -> Buffer:
        """Memory for as long as a node's kernel runs."""
        place: Place = "prepared" if phase == "prepare" else "arena"
        storage = self._new_storage(f"{node.name}.scratch", size_of(shape), dtype, place)
        buffer = Buffer.dense(self._unique(f"{node.name}.scratch.buf"), shape, dtype)
        self.views[buffer.name] = View(storage.name)
        return buffer

    def _seed(self) -> Buffer:
        if SEED not in self.views:
            self.views[SEED] = View(self._new_storage(SEED, 1, "int64", "seed").name)
        return Buffer.dense(SEED, (1,), "int64")
