"""Updates of many weights at once, in place: one program for all of them, made once, whatever their rates are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.context import Context
from symc.core.bounded import BoundedCache
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Output
from symc.ops.optimizer.rated import RATED

from . import tape
from .ndarray import NDArray
from .storage import touch_all

if TYPE_CHECKING:
    from symc.runtime.function import GraphFunction

N_RATES = 3  # learning rate, weight decay, factor of the gradient

_prepared: BoundedCache[tuple, GraphFunction] = BoundedCache(64)


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
    Raises ParameterError, ShapeError and DTypeError where they do not fit.
    """
    written = [x for weight, own in zip(weights, states) for x in (weight, *own)]
    if tape.mode.recording:
        tape.refuse_in_place([], written)
    arrays = [x for weight, grad, own in zip(weights, grads, states) for x in (weight, grad, *own)]
    place = weights[0]._context
    key = (operator, repr(params), place, len(weights), *[(x._shape, x._dtype.num) for x in arrays])
    function = _prepared.obtain(
        key, lambda: _function(operator, params, place, [[w, g, *s] for w, g, s in zip(weights, grads, states)])
    )
    table = np.array(rates, np.float32)
    first, row_bytes = table.ctypes.data, table.strides[0]
    addresses = [x._address_on(place) for x in arrays]
    addresses += range(first, first + table.nbytes, row_bytes)
    instance = function.forward(addresses, (), owner=(arrays, table))
    function.backward(instance, (), ())
    function.release(instance)
    touch_all(x._storage for x in written)


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
