"""Operators on NDArrays: finds the prepared run for the parameters, shapes and dtypes, or prepares it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from symc.context import Context, current_context
from symc.core.bounded import BoundedCache
from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.ir.op import Op, lookup
from symc.util import is_np_shape

from . import tape, varying
from .fit import require_fit
from .ndarray import NDArray

Params, Inputs = Mapping[str, Any], Sequence[NDArray]
Run = Callable[[Inputs, Context], list[NDArray]]  # all results of an operator; an EagerGraph
# What mixed precision makes of an operator's parameters and inputs; None while it is off.
casts: Callable[[type[Op], Params, Inputs], tuple[Params, Inputs]] | None = None


class Prepared(NamedTuple):
    """An operator with parameters, prepared for inputs of given shapes and dtypes."""

    op: Op
    run: Run
    n_visible: int
    updates: tuple[tuple[int, int], ...]  # (input, output): states that the run itself updates


_prepared: BoundedCache[tuple, Prepared] = BoundedCache(2048)


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
    if casts is not None:
        params, inputs = casts(cls, params, inputs)
    if cls.undecidable:  # without values; here they are known
        op = cls.create(params)
        _require_count(op, inputs)
        op.infer_shape([x.shape for x in inputs], [None])
        kept = NDArray._copy_of(op.kept([x._host for x in inputs]), inputs[0].context)
        return invoke(lookup("take"), {"axis": 0}, [inputs[0], kept], out, context)  # type: ignore[arg-type]
    training = tape.mode.training
    is_exact = is_np_shape()
    key = (cls, repr(params), training, is_exact, *[(x._shape, x._dtype.num) for x in inputs])
    found = _prepared.get(key)
    if found is None:
        given = params if cls.params() else {}  # MXNet ignores what an operator without parameters is given
        op = cls.create(given)
        found = _prepare(key, op.under_np_shape() if is_exact else op, inputs, training)
    return _run(found, inputs, out, context, training)


def apply(op: Op, inputs: Sequence[NDArray]) -> list[NDArray]:
    """The visible results of an operator that has its parameters, as `invoke`."""
    training = tape.mode.training
    return _run(_obtain(op, inputs, training), inputs, None, None, training)


def _obtain(op: Op, inputs: Sequence[NDArray], training: bool) -> Prepared:
    key = (op, training, *[(x._shape, x._dtype.num) for x in inputs])
    found = _prepared.get(key)
    return _prepare(key, op, inputs, training) if found is None else found


def _prepare(key: tuple, op: Op, inputs: Sequence[NDArray], training: bool) -> Prepared:
    """The run of an operator for inputs like these, kept for the next time; not kept if its number varies."""
    from .eager import operator_graph

    _require_count(op, inputs)
    arrays = varying.as_arrays(op, inputs)
    if arrays is not None:
        both = _obtain(*arrays, training)
        return Prepared(op, lambda _, place: both.run(arrays[1], place), 1, ())
    varying.note(op, inputs)
    run = operator_graph(op, [(x.shape, x._dtype.name) for x in inputs], training)
    names = op.input_names()
    updates = tuple((names.index(name), k) for name, k in op.updated_by_every_run().items())
    return _prepared.put(key, Prepared(op, run, op.n_visible(), updates))


def _require_count(op: Op, inputs: Sequence[NDArray]) -> None:
    """Raises ArgumentError for too few or too many inputs."""
    names = op.input_names()
    if len(names) != len(inputs):
        raise ArgumentError(f"Operator {op.name} expects {len(names)} inputs ({', '.join(names)}), got {len(inputs)}")


def _run(
    prepared: Prepared,
    inputs: Sequence[NDArray],
    out: NDArray | Sequence[NDArray] | None,
    context: Context | None,
    training: bool,
) -> list[NDArray]:
    recording = tape.mode.recording
    if out is not None and recording:
        tape.refuse_in_place(inputs, targets_of(prepared.op.name, out))
    made = prepared.run(inputs, inputs[0]._context if inputs else _place(context))
    for k, output in prepared.updates:
        inputs[k]._take(made[output])
    n_visible = prepared.n_visible
    if out is not None:
        made[:n_visible] = write(prepared.op.name, made[:n_visible], out)
    if recording:
        tape.record(prepared.op, inputs, made, made[:n_visible], training)
    return made if len(made) == n_visible else made[:n_visible]


def _place(context: Context | None) -> Context:
    """Where an operator without inputs runs; raises where the caller names no device of this machine."""
    place = current_context() if context is None else context
    if not isinstance(place, Context):
        raise ArgumentTypeError(f"expected a Context such as cpu(0), got {context!r}")
    place.require_device()
    return place


def write(what: str, results: Sequence[NDArray], out: NDArray | Sequence[NDArray]) -> list[NDArray]:
    """Copies results into the arrays of the caller, if all of them fit; gives those."""
    targets = targets_of(what, out)
    if len(targets) != len(results):
        raise ArgumentError(f"{what} has {len(results)} outputs, out= holds {len(targets)} arrays")
    for result, target in zip(results, targets):
        require_fit(f"{what}: out=", target, result.shape, result._dtype)
    for result, target in zip(results, targets):
        target._take(result)
    return targets


def targets_of(what: str, out: NDArray | Sequence[NDArray]) -> list[NDArray]:
    """The arrays that `out=` names; raises ArgumentTypeError where it holds anything else."""
    targets = list(out) if isinstance(out, (list, tuple)) else [out]
    return [require_fit(f"{what}: out=", target) for target in targets]
