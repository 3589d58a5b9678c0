"""Holding: a graph of which some inputs stay the same arrays, as a function of the others."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import TYPE_CHECKING

from symc.context import Context
from symc.ir.graph import Graph
from symc.ndarray.ndarray import NDArray

from .bound import Bound

if TYPE_CHECKING:
    from symc.runtime.compiler import Compiled

HELD = ("parameter", "aux")


class Holding:
    """A compiled graph bound to the arrays of its parameters and states; other arrays bind it anew.

    What these alone decide (packed weights, folded BatchNorm) is computed when they were written, as in an Executor.
    """

    def __init__(self, compiled: Compiled, place: Context, positions: dict[str, int]) -> None:
        slots = list(compiled.program.numbered_slots())
        self._compiled = compiled
        self._place = place
        self._held = [(slot.place, slot.key, positions[slot.key]) for _, slot in slots if slot.place in HELD]
        self._given = [(number, positions[slot.key]) for number, slot in slots if slot.place == "argument"]
        self._bound: tuple[Sequence[NDArray], Bound] | None = None

    @staticmethod
    def of(graph: Graph, place: Context, held: frozenset[int]) -> Holding | None:
        """A graph compiled for a context; None where it would prepare an input whose position is not among the held."""
        from symc.runtime.compiler import compile_graph

        compiled = compile_graph(graph, device=place.device)
        positions = {node.name: k for k, node in enumerate(graph.inputs)}
        prepared = {positions[slot.key] for slot in compiled.program.slots if slot.place in HELD}
        return Holding(compiled, place, positions) if prepared <= held else None

    def __call__(self, args: Sequence[NDArray]) -> list[NDArray]:
        """The outputs, from all inputs in the order of the graph's."""
        bound = self._bound_to([args[k] for *_, k in self._held])
        bound.refresh()
        return bound.call_in_place([(slot, args[k]) for slot, k in self._given], self._place)

    def _bound_to(self, arrays: Sequence[NDArray]) -> Bound:
        if self._bound is not None and all(map(is_, self._bound[0], arrays)):
            return self._bound[1]
        from symc.runtime.session import Session

        slots = [(place, key) for place, key, _ in self._held]
        bound = Bound(Session(self._compiled, dict(zip(slots, arrays))), {})
        self._bound = arrays, bound
        return bound
