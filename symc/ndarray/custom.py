"""Functions that Python differentiates, run at once: `mx.nd.Custom`, and what autograd keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from symc.context import Context, current_context
from symc.core.errors import ArgumentError, GradientError, ShapeError
from symc.core.shapes import is_known
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, declares_parameters
from symc.ops.control.custom import Custom, Running

from . import tape
from .fit import require_fit
from .invoke import targets_of, write
from .ndarray import NDArray
from .storage import zeros_aligned


@declares_parameters
class ByHand(Op):
    """What a recording has in place of an operator where the way back is Python code (see tape.Left)."""

    function: str
    n_inputs: int
    n_results: int

    @property
    def name(self) -> str:  # type: ignore[override]  # of other operators, their class has it
        return self.function

    def argument_names(self) -> tuple[str, ...]:
        return tuple(f"arg{k}" for k in range(self.n_inputs))

    def result_names(self) -> tuple[str, ...]:
        return tuple(f"output{k}" for k in range(self.n_results))

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, outs

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, outs

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        raise GradientError(
            f"the gradient of {self.function} is Python code: it cannot be recorded (create_graph=True)"
        )


def call_custom(
    op: Custom, inputs: Sequence[NDArray], out: NDArray | Sequence[NDArray] | None, context: Context | None
) -> list[NDArray]:
    """The results of an operator written in Python, as new arrays or written into `out`.

    Raises ArgumentError for another number of inputs, ShapeError and DTypeError where they do not fit, CustomError
    where the operator raises.
    """
    names = op.input_names()
    if len(names) != len(inputs):
        raise ArgumentError(f"Operator Custom expects {len(names)} inputs ({', '.join(names)}), got {len(inputs)}")
    for name, array in zip(names, inputs):
        require_fit(f"Custom {op.op_type}: input {name}", array)
    training, recording = tape.is_training(), tape.is_recording()
    if out is not None and recording:
        tape.refuse_in_place(inputs, targets_of("Custom", out))
    place = inputs[0].context if inputs else context or current_context()
    made = [NDArray(y, place) for y in _results(op, inputs)]
    n_arguments, lent = len(op.defined.arguments), [x.detach() for x in inputs]
    with place:
        running = op.defined.running(lent)
    running.forward("", training, [True] * len(made), lent[:n_arguments], made, lent[n_arguments:])
    given = made if out is None else write("Custom", made, out)
    if recording:
        left = _Left(op, running, inputs, made, training)
        by = ByHand(function=f"Custom {op.op_type}", n_inputs=len(inputs), n_results=len(made))
        tape.record(by, inputs, made, given, training, left)
    return given


def _results(op: Custom, inputs: Sequence[NDArray]) -> list[np.ndarray]:
    """Arrays for the results; raises where the operator's inferences say that the inputs do not fit."""
    in_shapes, out_shapes = op.defined.infer_shape([x.shape for x in inputs])
    in_dtypes, out_dtypes = op.defined.infer_dtype([x._dtype.name for x in inputs])
    for name, array, shape, dtype in zip(op.input_names(), inputs, in_shapes, in_dtypes):
        require_fit(f"Custom {op.op_type}: input {name}", array, shape if is_known(shape) else None, dtype)  # type: ignore[arg-type]
    if not all(map(is_known, out_shapes)) or None in out_dtypes:
        raise ShapeError(f"Custom {op.op_type}: its inferences give {out_shapes} and {out_dtypes} for its results")
    return [zeros_aligned(shape, np.dtype(dtype)) for shape, dtype in zip(out_shapes, out_dtypes)]  # type: ignore[arg-type]


class _Left:
    """An operator that ran forward, and its way back (see tape.Left)."""

    def __init__(
        self, op: Custom, running: Running, inputs: Sequence[NDArray], results: Sequence[NDArray], training: bool
    ) -> None:
        self._op = op
        self._running = running
        self._inputs = [x.detach() for x in inputs]
        self._results = [y.detach() for y in results]
        self._training = training
        self._wanted = [tape.source_of(x) is not None for x in inputs[: len(op.defined.arguments)]]

    def gradients(
        self, dy: Sequence[NDArray | None], into: Mapping[int, NDArray], is_last: bool
    ) -> Mapping[int, NDArray]:
        n_arguments = len(self._wanted)
        ins, states = self._inputs[:n_arguments], self._inputs[n_arguments:]
        seen = [*filled(dy, self._results), *ins, *self._results]
        read = [
            x if k in self._op.defined.dependencies else NDArray._over(np.empty(0, x._dtype), x._context)
            for k, x in enumerate(seen)
        ]
        found = [into[k] if k in into else x._room() for k, x in enumerate(ins)]
        self._running.backward("", self._training, self._wanted, read, found, states)
        return {k: gradient for k, gradient in enumerate(found) if self._wanted[k]}


def filled(gradients: Sequence[NDArray | None], results: Sequence[NDArray]) -> list[NDArray]:
    """The gradients of results, zeros where nothing flows."""
    return [
        NDArray._over(np.zeros(y._shape, y._dtype), y._context) if d is None else d for d, y in zip(gradients, results)
    ]


class FunctionLeft:
    """The way back of a function whose `backward` takes gradients of results and gives those of its inputs.

    Raises ArgumentError where it gives something else.
    """

    def __init__(
        self,
        what: str,
        backward: Callable[..., NDArray | Sequence[NDArray]],
        inputs: Sequence[NDArray],
        results: Sequence[NDArray],
    ) -> None:
        self._what = what
        self._backward = backward
        self._facts = [(x.shape, x._dtype, x.context) for x in inputs]
        self._results = [y.detach() for y in results]

    def gradients(
        self, dy: Sequence[NDArray | None], into: Mapping[int, NDArray], is_last: bool
    ) -> Mapping[int, NDArray]:
        terms = filled(dy, self._results)
        with tape.scope(False, None):
            given = self._backward(*(d.detach() for d in terms))
        found = [given] if isinstance(given, NDArray) else list(given)
        if len(found) != len(self._facts):
            raise ArgumentError(
                f"{self._what}.backward must return exactly the same number of NDArrays as the number of NDArrays "
                f"arguments to forward. Expecting {len(self._facts)} got {len(found)}"
            )
        for k, ((shape, dtype, _), array) in enumerate(zip(self._facts, found)):
            require_fit(f"{self._what}.backward: result {k}", array, shape, dtype)
        for k, target in into.items():
            target._take(found[k])
        return dict(enumerate(found))
