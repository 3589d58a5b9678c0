"""A compiled graph as a function of addresses: no bound arrays, nothing prepared, every input read at every call."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import GraphError
from symc.ir.graph import Graph

from .compiler import compile_graph
from .device import Device
from .instance import Instance


class GraphFunction:
    """The heads of a graph from its inputs, both as memory the caller owns; safe from several threads.

    Raises what compiling raises; GraphError for a graph that trains or updates states.
    """

    def __init__(self, graph: Graph, device: Device) -> None:
        strange = [o.name for o in graph.outputs if o.kind != "head"]
        if strange:
            raise GraphError(f"a graph function has heads alone, not the gradient or update of {', '.join(strange)}")
        self._loaded = compile_graph(graph, device=device, has_parameters=False).loaded
        program = self._loaded.program
        self.is_random = program.is_random
        names = {node.name: k for k, node in enumerate(graph.inputs)}
        self._inputs = [(k + 4, names[s.key]) for k, s in enumerate(program.slots) if s.place == "argument"]
        self._heads = [program.slot_number("head", str(k)) for k in range(len(graph.outputs))]
        self._prepared = self._loaded.new_prepared()
        first = Instance(self._loaded, self._prepared)
        first.run("prepare")  # what depends on no input
        self._free = [first]

    def __call__(self, inputs: Sequence[int], heads: Sequence[int], seed: int = 0) -> None:
        """Reads the graph's inputs (in the order of its nodes) at these addresses and writes the heads at those.

        The arrays are C-contiguous, of the shapes and dtypes the graph was compiled for; heads overlap nothing.
        """
        try:
            instance = self._free.pop()
        except IndexError:
            instance = Instance(self._loaded, self._prepared)
        bufs = instance.bufs
        for slot, position in self._inputs:
            bufs[slot] = inputs[position]
        for slot, address in zip(self._heads, heads):
            bufs[slot] = address
        if self.is_random:
            instance.reseed(seed)
        instance.run("forward")
        self._free.append(instance)
