"""Updates of many weights at once, in place: one program for all of them, made once, whatever their rates are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from symc.context import Context
from symc.core.bounded import BoundedCache
from symc.core.locks import new_lock
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Output
from symc.ops.optimizer.rated import RATED

from . import tape
from .ndarray import NDArray
from .storage import touch_all

if TYPE_CHECKING:
    from symc.runtime.function import GraphFunction

N_RATES = 3  # learning rate, weight decay, factor of the gradient

_functions: BoundedCache[tuple, GraphFunction] = BoundedCache(64)
_prepared: BoundedCache[tuple, _Prepared] = BoundedCache(256)  # by first weight; it keeps no array


def update(
    operator: str,
    params: Mapping[str, Any],
    weights: Sequence[NDArray],
    grads: Sequence[NDArray],
    states: Sequence[Sequence[NDArray]],
    rates: Sequence[tuple[float, float, float]],
) -> None:
    """Overwrites weights and states of one context with what an update operator (`adam_update`) makes of them.

    params    the operator's other than its rates, the same for all weights
    rates     for each weight: learning rate, weight decay, factor of the gradient
    What was prepared for these very arrays serves their next update.
    Raises ParameterError, ShapeError and DTypeError where they do not fit.
    """
    if tape.mode.recording:
        tape.refuse_in_place([], [*weights, *(x for own in states for x in own)])
    of_weights = [(weight, grad, *own) for weight, grad, own in zip(weights, grads, states)]
    arrays = [x for own in of_weights for x in own]
    key = (operator, *params.items(), id(weights[0]), len(arrays))
    prepared = _prepared.get(key)
    if prepared is None or not prepared.fits(arrays):
        prepared = _prepared.put(key, _Prepared(operator, params, of_weights))
    prepared.run(rates)
    touch_all([x._storage for weight, _, *own in of_weights for x in (weight, *own)])


class _Prepared:
    """The updates of certain arrays: a program that works on these, as long as they are there.

    of_weights   weight, gradient and states of each weight
    """

    def __init__(self, operator: str, params: Mapping[str, Any], of_weights: Sequence[Sequence[NDArray]]) -> None:
        place = of_weights[0][0]._context
        arrays = [x for own in of_weights for x in own]
        key = (operator, repr(params), place, len(of_weights), *[(x._shape, x._dtype.num) for x in arrays])
        function = _functions.obtain(key, lambda: _function(operator, params, place, of_weights))
        self._rates = np.zeros((len(of_weights), N_RATES), np.float32)
        addresses = [x._address_on(place) for x in arrays] + [row.ctypes.data for row in self._rates]
        self._instance = function.forward(addresses, ())
        self._arrays = [ref(x) for x in arrays] if all(x._is_seen_by(place) for x in arrays) else []
        self._lock = new_lock()

    def fits(self, arrays: Sequence[NDArray]) -> bool:
        """Whether it works on these; what must be copied from another device is copied anew."""
        known = [array() for array in self._arrays]
        return len(known) == len(arrays) and all(map(is_, known, arrays))

    def run(self, rates: Sequence[tuple[float, float, float]]) -> None:
        """One update, of everything that the way back of the program is."""
        with self._lock:
            self._rates[:] = rates
            self._instance.run("backward")


def _function(
    operator: str, params: Mapping[str, Any], place: Context, arrays: Sequence[Sequence[NDArray]]
) -> GraphFunction:
    """The updates as a function of weight, gradient and states of each weight, then of the rates of each."""
    from symc.runtime.function import GraphFunction

    g = GraphBuilder()
    op = RATED[operator].create(params)
    of_weights = [
        [g.input(f"in{k}_{i}", x.shape, x._dtype.name) for i, x in enumerate(own)] for k, own in enumerate(arrays)
    ]
    rates = [g.input(f"rates{k}", (N_RATES,), "float32") for k in range(len(arrays))]
    updates: list[Output] = []
    for own, rate in zip(of_weights, rates):
        node = g.apply(op, [*own, rate], "update")
        weight, _, *states = own
        updates += [Output("update", x.node.name, node[k]) for k, x in enumerate([weight, *states])]
    inputs = [x.node for own in of_weights for x in own] + [r.node for r in rates]
    return GraphFunction(finish(g, updates, inputs=inputs), place.device)
