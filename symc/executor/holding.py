"""Holding: a graph of which some inputs stay the same arrays, as a function of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from symc.context import Context
from symc.ir.graph import Graph
from symc.ir.kernels import HELD
from symc.ndarray.ndarray import NDArray
from symc.runtime.operands import NO_SLOT, Exactly, Expected, Operand

from .bound import Bound, readable

if TYPE_CHECKING:
    from symc.runtime.compiler import Compiled


class _Held(NamedTuple):
    """The graph bound to the arrays that are held, and what its calls are to give: these, and any of the others."""

    bound: Bound
    expected: Expected


class Holding:
    """A compiled graph bound to the arrays of its parameters and states; other arrays bind it anew.

    What these alone decide (packed weights, folded BatchNorm) is computed when they were written, as in an Executor.
    """

    def __init__(self, compiled: Compiled, place: Context, graph: Graph) -> None:
        slots = {slot.key: (number, slot.place) for number, slot in compiled.program.numbered_slots()}
        self._compiled = compiled
        self._place = place
        self._is_on_host = place.is_host
        self._held: dict[int, tuple[str, str]] = {}  # place and key of the slot, by position among the inputs
        self._given: dict[int, Operand] = {}
        for k, node in enumerate(graph.inputs):
            number, kind = slots.get(node.name, (NO_SLOT, "argument"))
            if kind in HELD:
                self._held[k] = kind, node.name
            else:
                self._given[k] = Operand(number, graph.shape(node[0]), np.dtype(graph.dtype(node[0])))
        self._last: _Held | None = None

    @staticmethod
    def of(graph: Graph, place: Context, held: frozenset[int]) -> Holding | None:
        """A graph compiled for a context; None where it would prepare an input whose position is not among the held."""
        from symc.runtime.compiler import compile_graph

        made = Holding(compile_graph(graph, device=place.device), place, graph)
        return made if made._held.keys() <= held else None

    def __call__(self, args: Sequence[NDArray]) -> list[NDArray]:
        """The outputs, from all inputs in the order of the graph's, which must have its shapes and dtypes."""
        made = self.again(args)
        if made is not None:
            return made
        held = self._last = self._holding(args)
        given = [
            readable(x._on(self._place), self._given[k].dtype) if k in self._given else x for k, x in enumerate(args)
        ]
        made = held.bound.call(held.expected, given, args[0]._context)
        assert made is not None
        return made

    def again(self, args: Sequence[NDArray]) -> list[NDArray] | None:
        """The same for any inputs; None where they do not fit, or other arrays are held than in the call before."""
        held, first = self._last, args[0]
        if held is None or not isinstance(first, NDArray):
            return None
        place = first._context
        if place is not self._place and place != self._place:
            return None
        given: list[object] = list(args)
        is_on_host = self._is_on_host
        for k in self._given:
            x = args[k]
            if not isinstance(x, NDArray):
                return None
            given[k] = x._host if is_on_host else x._on(place)
        return held.bound.call(held.expected, given, place)

    def _holding(self, args: Sequence[NDArray]) -> _Held:
        from symc.runtime.session import Session

        session = Session(self._compiled, {slot: args[k] for k, slot in self._held.items()})
        expected = [self._given[k] if k in self._given else Exactly(x) for k, x in enumerate(args)]
        return _Held(Bound(session, {}), expected)
