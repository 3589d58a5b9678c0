"""Comparing two optimizers that are to give the same updates."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from symc import random

from .compare import assert_almost_equal, compare_ndarray_tuple
from .draw import rand_ndarray
from .scopes import default_context


def compare_optimizer(
    opt1: Any,
    opt2: Any,
    shape: Any,
    dtype: Any,
    w_stype: str = "default",
    g_stype: str = "default",
    rtol: float = 1e-4,
    atol: float = 1e-5,
    compare_states: bool = True,
    ntensors: int = 1,
) -> None:
    """One update by each of equal weights, which stay equal, as do their states.

    shape    one, or a list of `ntensors`: then opt2 updates all of them at once, opt1 one after the other
    Storage types other than "default" are those of `rand_ndarray`.
    """
    shapes = shape if isinstance(shape, list) else [shape]
    assert len(shapes) == ntensors, f"{len(shapes)} shapes for {ntensors} tensors"

    def drawn(stype: str, each: Any) -> Any:
        if stype == "default":
            return random.uniform(shape=each, ctx=default_context(), dtype=dtype)
        return rand_ndarray(each, stype, dtype=dtype)

    weights, grads = [drawn(w_stype, each) for each in shapes], [drawn(g_stype, each) for each in shapes]
    weights2, grads2 = deepcopy(weights), deepcopy(grads)
    states2 = [opt2.create_state_multi_precision(k, w) for k, w in enumerate(weights2)]
    if isinstance(shape, list):
        opt2.update_multi_precision(list(range(ntensors)), weights2, grads2, states2)
    else:
        opt2.update_multi_precision(0, weights2[0], grads2[0], states2[0])
    for k, (w, g) in enumerate(zip(weights, grads)):
        state = opt1.create_state_multi_precision(k, w)
        opt1.update_multi_precision(k, w, g, state)
        if compare_states:
            compare_ndarray_tuple(state, states2[k], rtol, atol)
        assert_almost_equal(w, weights2[k], rtol=rtol, atol=atol)
