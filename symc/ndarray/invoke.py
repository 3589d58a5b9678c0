"""Operators on NDArrays: finds the prepared run for the parameters, shapes and dtypes, or prepares it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from symc.context import Context
from symc.core.errors import ArgumentError, ShapeError
from symc.core.op import Op

from . import tape
from .cast import store
from .ndarray import NDArray

if TYPE_CHECKING:
    from .eager import EagerGraph

MAX_PREPARED = 2048  # runs kept; the oldest are dropped first


class Prepared(NamedTuple):
    """An operator with parameters, prepared for inputs of given shapes and dtypes."""

    op: Op
    run: EagerGraph
    n_visible: int
    updates: tuple[tuple[int, int], ...]  # (input, output): states that the run itself updates


_prepared: dict[tuple, Prepared] = {}


def invoke(
    cls: type[Op],
    params: Mapping[str, Any],
    inputs: Sequence[NDArray],
    out: NDArray | Sequence[NDArray] | None = None,
    context: Context | None = None,
) -> list[NDArray]:
    """The visible results of an operator, as new arrays or written into `out`.

    Raises ParameterError, ShapeError and DTypeError where parameters or inputs do not fit, ArgumentError where `out`
    does not.
    """
    training = tape.is_training()
    if out is not None and tape.is_recording():
        tape.refuse_in_place(inputs, [out] if isinstance(out, NDArray) else out)
    key = (cls, repr(params), training, *[(x._data.shape, x._data.dtype.num) for x in inputs])
    found = _prepared.get(key)
    if found is None:
        found = prepare(cls, params, inputs, training)
        while len(_prepared) >= MAX_PREPARED:
            _prepared.pop(next(iter(_prepared)))
        _prepared[key] = found
    results = found.run(inputs)
    place = inputs[0]._context if inputs else context
    made = [NDArray(r, place) for r in results]
    for k, output in found.updates:
        inputs[k]._data[...] = results[output]
        inputs[k]._touch()
    visible = made if len(made) == found.n_visible else made[: found.n_visible]
    if out is not None:
        visible = made[: found.n_visible] = _write(found.op, visible, out)
    if tape.is_recording():
        tape.record(found.op, inputs, made, found.n_visible, training)
    return visible


def prepare(cls: type[Op], params: Mapping[str, Any], inputs: Sequence[NDArray], training: bool) -> Prepared:
    """The run of an operator for inputs like these."""
    from .eager import operator_graph

    op = cls.create(params)
    names = op.input_names()
    if len(names) != len(inputs):
        raise ArgumentError(f"Operator {op.name} expects {len(names)} inputs ({', '.join(names)}), got {len(inputs)}")
    run = operator_graph(op, [(x.shape, x._data.dtype.name) for x in inputs], training)
    updates = tuple((names.index(name), k) for name, k in op.updated_by_every_run().items())
    return Prepared(op, run, op.n_visible(), updates)


def _write(op: Op, results: Sequence[NDArray], out: NDArray | Sequence[NDArray]) -> list[NDArray]:
    """Copies results into the arrays of the caller."""
    targets = [out] if isinstance(out, NDArray) else list(out)
    if len(targets) != len(results):
        raise ArgumentError(f"{op.name} has {len(results)} outputs, out= holds {len(targets)} arrays")
    for result, target in zip(results, targets):
        if target.shape != result.shape:
            raise ShapeError(f"{op.name}: the result has shape {result.shape}, out= has {target.shape}")
        store(target._data, ..., result._data)
        target._touch()
    return targets
