"""A compiled graph as a function of addresses: every input is read at every call, but for those that are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy

import numpy as np

from symc.core.errors import GraphError
from symc.ir.graph import Graph
from symc.ir.kernels import HELD, head_number

from .compiler import compile_graph
from .device import Device
from .instance import Instance
from .prepared import Array
from .session import Session
from .waiting import WAITING

FREE_BYTES = 1 << 28  # of a function's arenas that wait for another run; one may be larger
INPUTS = ("argument", "update", *HELD)
PLACES = (*INPUTS, "head_gradient")


class GraphFunction:
    """The heads of a graph from its inputs, both as memory the caller owns; safe from several threads.

    wanted   names of inputs whose gradients `backward` computes from what `forward` leaves
    held     arrays by their position among the inputs, which calls seldom change: what these alone decide is prepared
             when they were written, if they are all that could be
    read     positions of the other inputs, whose addresses calls give
    An update of the graph overwrites the input of its name, in `backward`.
    Raises what compiling raises; GraphError for a graph that has other outputs than heads and updates.
    """

    def __init__(
        self, graph: Graph, device: Device, wanted: Sequence[str] = (), held: Mapping[int, Array] | None = None
    ) -> None:
        strange = [o for o in graph.outputs if o.kind not in ("head", "update")]
        if strange:
            raise GraphError(f"a graph function has heads and updates alone, not a {strange[0].kind} {strange[0].name}")
        requests = dict.fromkeys(wanted, "write")
        self._names = {node.name: k for k, node in enumerate(graph.inputs)}
        self._compiled = compile_graph(graph, requests, device=device, has_parameters=bool(held))
        if held and not all(self._names[key] in held for p in HELD for key in self._compiled.program.needs(p)):
            held = None
            self._compiled = compile_graph(graph, requests, device=device, has_parameters=False)
        program = self._compiled.program
        self.is_random = program.is_random
        slots = {place: [(k, s.key) for k, s in program.numbered_slots() if s.place == place] for place in PLACES}
        self.updated = tuple(self._names[key] for _, key in slots["update"])  # the states that backward updates
        read = [(k, self._names[key]) for place in PLACES for k, key in slots[place] if key in self._names]
        self._inputs = [(k, position) for k, position in read if position not in (held or ())]
        self.read = tuple(dict.fromkeys(position for _, position in self._inputs))
        self._heads = [program.slot_number("head", str(k)) for k, o in enumerate(graph.outputs) if o.kind == "head"]
        self._head_gradients = [(k, head_number(key)) for k, key in slots["head_gradient"] if key not in self._names]
        self._gradients = [(program.slot_number("gradient", name), k) for k, name in enumerate(wanted)]
        self._of_backward = np.array([k for k, _ in (*self._head_gradients, *self._gradients)], np.intp)
        self._hold(held or {})

    def _hold(self, held: Mapping[int, Array]) -> None:
        self._held = held
        slots: list[tuple[str, str]] = [(s.place, s.key) for s in self._compiled.program.slots if s.place in INPUTS]
        bound = {slot: held[self._names[slot[1]]] for slot in slots if self._names[slot[1]] in held}
        self._session = Session(self._compiled, bound)
        self._session.refresh()
        self._free = [self._session.new_instance()]

    def holding(self, inputs: Sequence[Array]) -> GraphFunction:
        """This function if the inputs it holds are these arrays, else one that holds these."""
        if all(inputs[k] is array for k, array in self._held.items()):
            return self
        made = copy(self)
        made._hold({k: inputs[k] for k in self._held})
        return made

    def __call__(
        self, inputs: Sequence[int] | Mapping[int, int], heads: Sequence[int], seed: int = 0, owner: object = None
    ) -> None:
        """Reads the graph's inputs (in the order of its nodes) at these addresses and writes the heads at those.

        The arrays are C-contiguous, of the shapes and dtypes the graph was compiled for; heads overlap nothing.
        `owner` keeps them alive (see Instance).
        """
        self.release(self.forward(inputs, heads, seed, owner))

    def forward(
        self,
        inputs: Sequence[int] | Mapping[int, int],
        heads: Sequence[int],
        seed: int = 0,
        owner: object = None,
    ) -> Instance:
        """The same; gives what `backward` needs besides these arrays, which must stay as they are until then."""
        self._session.refresh()
        instance = self._instance()
        instance.owner = owner
        bufs = instance.bufs
        for slot, position in self._inputs:
            bufs[slot] = inputs[position]
        for slot, address in zip(self._heads, heads):
            bufs[slot] = address
        if self.is_random:
            instance.reseed(seed)
        instance.run("forward")
        return instance

    def backward(
        self, instance: Instance, head_gradients: Sequence[int], gradients: Sequence[int], owner: object = None
    ) -> None:
        """Writes the gradients of the wanted inputs at these addresses, from those of all heads, and updates states.

        Can be done once: it overwrites what `forward` left in the instance's arena.
        """
        self._session.refresh()
        instance.owner = (instance.owner, owner)
        for slots, addresses in ((self._head_gradients, head_gradients), (self._gradients, gradients)):
            for slot, position in slots:
                instance.bufs[slot] = addresses[position]
        instance.run("backward")

    def copied(self, instance: Instance) -> Instance:
        """A copy of what `forward` gave."""
        made = self._instance()
        made.copy_from(instance)
        return made

    def _instance(self) -> Instance:
        try:
            return self._free.pop()
        except IndexError:
            return self._session.new_instance()

    def release(self, instance: Instance) -> None:
        """Takes back what `forward` gave."""
        instance.owner = None
        instance.bufs[self._of_backward] = 0  # arrays that may be gone when the next forward looks for what to bring
        arena_bytes = self._compiled.program.arena_bytes
        if not self._free or (len(self._free) + 1) * arena_bytes <= FREE_BYTES:
            self._free.append(instance)
        WAITING.note(self, len(self._free) * arena_bytes)

    def forget_arenas(self) -> None:
        """Gives up what waits for another run."""
        self._free.clear()
