"""`mx.nd.contrib.foreach`, `while_loop` and `cond`: Python loops, which autograd records step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symc.core.errors import ArgumentError
from symc.core.nesting import flatten, regroup

from .creation import zeros
from .functions import resolve
from .ndarray import NDArray


def foreach(body: Callable, data: Any, init_states: Any) -> tuple[Any, Any]:
    """`outputs, states = body(row, states)` for each row of the data, along axis 0.

    Data is an array or a list of arrays; states and outputs may be nested lists. Gives the outputs of all rounds,
    stacked along axis 0, and the last states. Raises ConflictError for what is neither, ArgumentError where there is
    no row: nothing then tells what the outputs are.
    """
    rows, _ = _flat(data, "foreach input")
    _flat(init_states, "foreach states")
    if not rows or not rows[0].shape[0]:
        raise ArgumentError("foreach expects data with at least one row")
    states, form, rounds = init_states, 0, []
    for k in range(rows[0].shape[0]):
        made, states = body(data[k] if isinstance(data, NDArray) else [x[k] for x in data], states)
        outputs, form = _flat(made, "foreach output")
        rounds.append(outputs)
    stacks = [resolve("op", "stack")(*outputs) for outputs in zip(*rounds)]
    return regroup(stacks, form), states


def while_loop(cond: Callable, func: Callable, loop_vars: Any, max_iterations: Any = None) -> tuple[Any, Any]:
    """`outputs, loop_vars = func(*loop_vars)` while `cond(*loop_vars)` is not 0, at most `max_iterations` times.

    Gives the outputs of all rounds, stacked along axis 0, which has the extent `max_iterations` and zeros at its end
    ([] when there was no round), and the last loop variables. Raises ArgumentError without `max_iterations` and where
    loop variables or outputs change their number.
    """
    if max_iterations is None:
        raise ArgumentError("max_iterations should be specified")
    limit = _scalar(max_iterations, int, "max_iteration")
    if len(loop_vars) == 0:
        raise ArgumentError("loop_vars should contain at least one element")
    is_one = isinstance(loop_vars, NDArray)
    present: list = [loop_vars] if is_one else list(loop_vars)
    form: Any = []
    rounds: list[list[NDArray]] = []
    while len(rounds) < limit and _scalar(cond(*present), bool, "Return value of cond"):
        made, after = func(*present)
        after = [] if after is None else list(after) if isinstance(after, (list, tuple)) else [after]
        if len(after) != len(present):
            raise ArgumentError("The length of loop_vars should be consistent during the loop")
        outputs, form = _flat([] if made is None else made, "while output")
        rounds.append(outputs)
        if len(outputs) != len(rounds[0]):
            raise ArgumentError("Number of elements in step_output should be the same in each step")
        present = after
    stacks = [_padded(k, outputs, limit) for k, outputs in enumerate(zip(*rounds), 1)]
    return regroup(stacks, form), present[0] if is_one else present


def cond(pred: Any, then_func: Callable, else_func: Callable) -> Any:
    """What `then_func()` gives where `pred` is not 0, else what `else_func()` gives."""
    return then_func() if _scalar(pred, bool, "pred") else else_func()


def _padded(k: int, outputs: tuple[NDArray, ...], n_rounds: int) -> NDArray:
    """The outputs of all rounds stacked, with zeros for those that did not take place."""
    if any(x.shape != outputs[0].shape for x in outputs):
        listed = [f"  Step {n}, shape is {x.shape}" for n, x in enumerate(outputs)]
        raise ArgumentError(
            "\n".join([f"Shapes of {k}-th elements in step_outputs are inconsistent, which are:", *listed])
        )
    stack = resolve("op", "stack")(*outputs)
    if len(outputs) == n_rounds:
        return stack
    shape = (n_rounds - len(outputs), *outputs[0].shape)
    return resolve("op", "concat")(stack, zeros(shape, outputs[0].context, outputs[0].dtype), dim=0)


def _flat(args: Any, what: str) -> tuple[list[NDArray], Any]:
    return flatten(args, lambda x: [x] if isinstance(x, NDArray) else None, "NDArray", what)


def _scalar(value: Any, kind: type, what: str) -> Any:
    try:
        return kind(value.asscalar() if isinstance(value, NDArray) else value)
    except (TypeError, ValueError):
        raise ArgumentError(f"Cannot convert {what} to python {kind.__name__}") from None
