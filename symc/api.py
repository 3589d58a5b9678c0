"""`symc.compile`: a symbol and its parameters to a callable, in one line.

sym, args, aux = mx.model.load_checkpoint("resnet-18", 0)
net = mx.compile(sym, {**args, **aux}, data=(1, 3, 224, 224))
probabilities, = net(data=image)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from symc.core.errors import ArgumentError
from symc.core.nearest import nearest
from symc.ndarray.creation import array, zeros
from symc.ndarray.ndarray import NDArray

from .context import Context, current_context

if TYPE_CHECKING:
    from symc.executor import Executor
    from symc.symbol.symbol import Symbol


def compile(
    symbol: Symbol,
    params: Mapping[str, NDArray | np.ndarray] | None = None,
    ctx: Context | None = None,
    **shapes: Sequence[int],
) -> Executor:
    """An Executor for predicting, compiled at once.

    params   arguments and auxiliary states by name, NDArrays or NumPy arrays (names may carry `arg:` and `aux:`, as in
             .params files)
    shapes   of the inputs that are fed at each call; labels that no output needs may be left out

    Raises ArgumentError naming parameters that are missing and shapes of what is no input, ShapeError where shapes
    contradict each other.
    """
    known = {name.removeprefix("arg:").removeprefix("aux:"): _ndarray(name, a) for name, a in (params or {}).items()}
    states = set(symbol.list_auxiliary_states())
    strange = [n for n in shapes if n not in {*symbol.list_arguments(), *states}]
    if strange:
        hint = nearest(strange[0], symbol.list_arguments())
        raise ArgumentError(f"compile: the symbol has no input {strange[0]}{hint}")
    given = {n: tuple(s) for n, s in shapes.items()} | {n: a.shape for n, a in known.items()}
    inputs = {n: s for n, s in given.items() if n in {*symbol.list_arguments(), *states}}
    arg_shapes, _, _ = symbol.infer_shape_partial(**{n: s for n, s in inputs.items() if n not in states})
    args = {}
    missing = []
    for name, shape in zip(symbol.list_arguments(), arg_shapes):
        if name in known:
            args[name] = known[name]
        elif name in shapes or name.endswith("label"):
            args[name] = zeros(shape, ctx)
        else:
            missing.append(name)
    missing += [n for n in symbol.list_auxiliary_states() if n not in known]
    if missing:
        raise ArgumentError(
            f"compile: no array and no shape for {', '.join(missing)}; pass parameters in `params` and the shape of "
            "each input by keyword"
        )
    executor = symbol.bind(ctx or current_context(), args, grad_req="null", aux_states={n: known[n] for n in states})
    executor.compiled(is_train=False)
    return executor


def _ndarray(name: str, value: NDArray | np.ndarray) -> NDArray:
    """A parameter as an NDArray of its own dtype."""
    return value if isinstance(value, NDArray) else array(value, dtype=getattr(value, "dtype", None))
