"""Updates of many weights at once: one program for all of them, made once, whatever their rates are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symc.core.bounded import BoundedCache
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Output, Value
from symc.ops.optimizer.rated import RATED

from . import tape
from .eager import EagerGraph
from .ndarray import NDArray
from .storage import empty_aligned

N_RATES = 3  # learning rate, weight decay, factor of the gradient

_prepared: BoundedCache[tuple, EagerGraph] = BoundedCache(64)


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
    if tape.mode.recording:
        tape.refuse_in_place([], [x for own in (weights, *states) for x in own])
    written = [[weight, *own] for weight, own in zip(weights, states)]
    inputs = [x for own, grad in zip(written, grads) for x in (own[0], grad, *own[1:])]
    key = (operator, repr(params), tuple((x._shape, x._dtype.num) for x in inputs), len(weights))
    run = _prepared.obtain(
        key, lambda: _graph(operator, params, [[w, g, *s] for w, g, s in zip(weights, grads, states)])
    )
    place = weights[0]._context
    table = empty_aligned((len(weights), N_RATES), np.dtype(np.float32))
    table[...] = rates
    results = run([*inputs, *(NDArray._over(row, place) for row in table)], place)
    for target, result in zip((x for own in written for x in own), results):
        np.copyto(target._host, result)
        target._touch()


def _graph(operator: str, params: Mapping[str, Any], arrays: Sequence[Sequence[NDArray]]) -> EagerGraph:
    g = GraphBuilder()
    op = RATED[operator].create(params)
    of_weights = [
        [g.input(f"in{k}_{i}", x.shape, x._dtype.name) for i, x in enumerate(own)] for k, own in enumerate(arrays)
    ]
    rates = [g.input(f"rates{k}", (N_RATES,), "float32") for k in range(len(arrays))]
    heads: list[Value] = []
    for own, rate in zip(of_weights, rates):
        node = g.apply(op, [*own, rate], "update")
        heads += [node[k] for k in range(node.n_outputs)]
    inputs = [x for own in of_weights for x in own]
    return EagerGraph(finish(g, [Output("head", str(k), v) for k, v in enumerate(heads)]), [*inputs, *rates])
