"""`mx.autograd`: records operators on NDArrays and computes gradients from what was recorded.

with mx.autograd.record():
    y = mx.nd.sum(x * x)          # x.attach_grad() made x a variable
y.backward()                      # x.grad is 2 * x

A recording keeps every operator with the contents of its inputs and results; a CachedOp is one operator of it, with the
memory that its program left. `backward` turns operators into graphs of gradient nodes over those contents
(`Op.gradient`, as for a Symbol) and runs them through the same passes and kernels (`ndarray/backward.py`); a graph is
prepared once for each structure, so that a training loop compiles nothing after its first step.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from symc.core.arrivals import arrivals
from symc.core.errors import ArgumentError, ConflictError, GradientError
from symc.ndarray import tape
from symc.ndarray.backward import gradients, key_of, recorded_gradients
from symc.ndarray.custom import ByHand, FunctionLeft
from symc.ndarray.fit import require_fit
from symc.ndarray.ndarray import NDArray
from symc.ndarray.recording import symbol_of
from symc.ndarray.tape import Made, Recorded
from symc.symbol import Symbol

__all__ = [
    "Function", "NDArray", "backward", "get_symbol", "grad", "is_recording", "is_training", "mark_variables", "pause",
    "predict_mode", "record", "set_recording", "set_training", "train_mode",
]  # fmt: skip

is_recording, is_training = tape.is_recording, tape.is_training


def set_recording(is_recording: bool) -> bool:
    """Switches recording; gives what was set before."""
    before, tape.mode.recording = tape.mode.recording, bool(is_recording)
    return before


def set_training(train_mode: bool) -> bool:
    """Switches whether operators behave as in training; gives what was set before."""
    before, tape.mode.training = tape.mode.training, bool(train_mode)
    return before


def record(train_mode: bool = True) -> Any:
    """Records what runs inside the `with`, in training mode unless told otherwise."""
    return tape.scope(True, train_mode)


def pause(train_mode: bool = False) -> Any:
    """Records nothing inside the `with`."""
    return tape.scope(False, train_mode)


def train_mode() -> Any:
    """Operators behave as in training inside the `with`."""
    return tape.scope(None, True)


def predict_mode() -> Any:
    """Operators behave as in prediction inside the `with`."""
    return tape.scope(None, False)


def mark_variables(
    variables: NDArray | Sequence[NDArray],
    gradients: NDArray | Sequence[NDArray],
    grad_reqs: str | Sequence[str] = "write",
) -> None:
    """Makes arrays variables whose gradients `backward` writes into (or adds to) the arrays given."""
    if isinstance(variables, NDArray):
        variables, gradients = [variables], [gradients]  # type: ignore[list-item]
    reqs = [grad_reqs] * len(variables) if isinstance(grad_reqs, str) else list(grad_reqs)
    if not len(variables) == len(gradients) == len(reqs):  # type: ignore[arg-type]
        raise ArgumentError(f"mark_variables: {len(variables)} variables, {len(gradients)} gradients, {len(reqs)} reqs")  # type: ignore[arg-type]
    for variable, gradient, req in zip(variables, gradients, reqs):
        tape.mark(variable, gradient, req)


def backward(
    heads: NDArray | Sequence[NDArray],
    head_grads: NDArray | Sequence[NDArray | None] | None = None,
    retain_graph: bool = False,
    train_mode: bool = True,
) -> None:
    """Computes the gradients of the heads for all variables they were computed from, into the variables' `grad`.

    head_grads     gradient of each head; None, for all or for one, means ones
    retain_graph   keeps the recording, for another backward
    train_mode     accepted as in MXNet: gradients are those of the mode that was recorded
    Raises GradientError where nothing was recorded, or an operator on the way has no gradient.
    """
    heads, head_grads = _listed(heads, head_grads)
    order = _recorded(heads)
    variables = _variables(heads, order)
    if not variables:
        raise GradientError("autograd.backward: no heads; expected one or more")
    into = _writable(heads, head_grads, order, variables)
    for variable, gradient in zip(variables, gradients(heads, head_grads, order, variables, into, not retain_graph)):
        target = variable._grad
        assert target is not None
        is_there = gradient is not None and gradient._memory is target._memory
        if is_there:
            target._touch()
        elif variable._grad_req != "add":
            target._take(np.zeros(target._shape, target._dtype) if gradient is None else gradient)
        elif gradient is not None:
            target._add(gradient)
        variable._fresh_grad = True
        if arrivals.are_awaited and not is_there:
            arrivals.written(target._address)
    if arrivals.are_awaited:
        arrivals.complete()
    if not retain_graph:
        for node in order:
            node.use_up()


def grad(
    heads: NDArray | Sequence[NDArray],
    variables: NDArray | Sequence[NDArray],
    head_grads: NDArray | Sequence[NDArray | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    train_mode: bool = True,
) -> list[NDArray]:
    """The gradients of the heads for the variables, as new arrays; the variables' own `grad` stays as it is.

    variables      one or several; as in MXNet the gradient of one alone comes in a list, too
    retain_graph   keeps the recording; by default as create_graph
    create_graph   records the gradients themselves, so that they can be differentiated in turn
    Raises GradientError where nothing was recorded, the heads were not computed from a variable, or an operator on the
    way has no gradient.
    """
    heads, head_grads = _listed(heads, head_grads)
    wanted = [variables] if isinstance(variables, NDArray) else list(variables)
    if not wanted:
        raise ConflictError("autograd.grad: variables cannot be an empty list.")
    order = _recorded(heads)
    _require_reached(wanted, heads, order)
    is_kept = create_graph if retain_graph is None else retain_graph
    if create_graph:
        results = recorded_gradients(heads, head_grads, order, wanted)
    else:
        results = []
        taken = {id(g._memory) for g in head_grads if g is not None}
        for found, v in zip(gradients(heads, head_grads, order, wanted, {}, not is_kept), wanted):
            if found is None:
                found = NDArray(np.zeros(v._shape, v._dtype), v.context)
            is_ours = id(found._memory) not in taken and found._context == v._context
            taken.add(id(found._memory))
            results.append(found.detach() if is_ours else found._copied(v._context))
    if not is_kept:
        for node in order:
            node.use_up()
    return results


def get_symbol(x: NDArray) -> Symbol:
    """What an array was computed by, as a Symbol of variables `var0`, ... and constants `null0`, ...

    A hybridized block is one node where it has more operators than its `inline_limit`. Raises GradientError where
    nothing was recorded, or a function written in Python was.
    """
    if tape.source_of(require_fit("autograd.get_symbol", x)) is None:
        raise GradientError(
            "autograd.get_symbol: NDArray is not part of a computation graph. Did you forget to turn on recording?"
        )
    return symbol_of(x, _recorded([x]))


def _listed(heads: Any, head_grads: Any) -> tuple[list[NDArray], list[NDArray | None]]:
    heads = [heads] if isinstance(heads, NDArray) else list(heads)
    if head_grads is None:
        head_grads = [None] * len(heads)
    head_grads = [head_grads] if isinstance(head_grads, NDArray) else list(head_grads)
    if len(heads) != len(head_grads):
        raise ConflictError(f"backward: {len(heads)} heads, {len(head_grads)} head gradients")
    for head, gradient in zip(heads, head_grads):
        require_fit("backward: a head", head)
        if gradient is not None:
            require_fit("backward: the head gradient", gradient, head.shape, head._dtype)
    return heads, head_grads


def _recorded(heads: Sequence[NDArray]) -> list[Recorded]:
    """The recorded operators the heads were computed by, inputs before users."""
    order: list[Recorded] = []
    done: set[Recorded] = set()
    for head in heads:
        source = tape.source_of(head)
        if source is None:
            raise GradientError(
                "Cannot differentiate node because it is not in a computational graph. You need to set is_recording "
                "to true or use autograd.record() to save computational graphs for backward. If you want to "
                "differentiate the same graph twice, you need to pass retain_graph=True to backward."
            )
        stack = [(source.by, False)] if isinstance(source, Made) else []
        while stack:
            node, is_ready = stack.pop()
            if is_ready:
                order.append(node)
            elif node not in done:
                done.add(node)
                if node.inputs is None:
                    raise GradientError(
                        "backward: the recording was used up by an earlier backward; to differentiate the same graph "
                        "twice, pass retain_graph=True to the first"
                    )
                stack.append((node, True))
                stack += [(s.by, False) for s, _ in reversed(node.inputs) if isinstance(s, Made) and s.by not in done]
    return order


def _variables(heads: Sequence[NDArray], order: Sequence[Recorded]) -> list[NDArray]:
    """The variables that the recording leads to, each once."""
    found = {id(h): h for h in heads if h._grad is not None}
    for node in order:
        found.update([(id(s), s) for s, _ in node.inputs or () if isinstance(s, NDArray)])
    return list(found.values())


def _require_reached(wanted: Sequence[NDArray], heads: Sequence[NDArray], order: Sequence[Recorded]) -> None:
    """Raises GradientError for what is no variable, or none that the heads were computed from."""
    reached = {key_of(head) for head in heads}
    for node in order:
        reached.update(node.keys)
    for k, variable in enumerate(wanted):
        if tape.source_of(require_fit(f"autograd.grad: variable {k}", variable)) is None:
            raise GradientError(
                f"autograd.grad: variable {k} has no gradient attached; call attach_grad() before recording"
            )
        if key_of(variable) not in reached:
            raise GradientError(
                f"autograd.grad: Cannot differentiate with respect to variable {k} because it is unreachable from the "
                "heads: they were not computed from it"
            )


def _writable(
    heads: Sequence[NDArray],
    head_grads: Sequence[NDArray | None],
    order: Sequence[Recorded],
    variables: Sequence[NDArray],
) -> dict[Hashable, NDArray]:
    """The gradient arrays of variables that may be written before the whole way back is done: nobody reads them."""
    read = {id(x._storage) for x in heads}
    read.update([id(g._storage) for g in head_grads if g is not None])
    for node in order:
        read.update([id(x._storage) for _, x in node.inputs or ()])
        read.update([id(x._storage) for x in node.results])
    grads = [(v, v._grad) for v in variables if v._grad is not None]
    shared = tape.repeated([id(gradient._storage) for _, gradient in grads])
    return {
        key_of(v): gradient
        for v, gradient in grads
        if v._grad_req == "write"
        and id(gradient._storage) not in read
        and id(gradient._storage) not in shared
        and (gradient._shape, gradient._dtype) == (v._shape, v._dtype)
    }


class Function:
    """A function with a gradient of its own: subclasses write both in terms of NDArrays.

    class Sigmoid(mx.autograd.Function):
        def forward(self, x):
            y = 1 / (1 + mx.nd.exp(-x))
            self.save_for_backward(y)
            return y

        def backward(self, dy):       # takes a gradient for each result, gives one for each argument
            (y,) = self.saved_tensors
            return dy * y * (1 - y)

    Each instance is called once.  Neither direction is recorded.
    """

    def __init__(self) -> None:
        self._used = False
        self.saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *args: Any) -> None:
        """Keeps arrays as `saved_tensors`."""
        self.saved_tensors = args

    def __call__(self, *inputs: NDArray) -> Any:
        """What `forward` gives; while recording, its gradient is what `backward` gives."""
        if self._used:
            raise ArgumentError("Each Function instance can only be called once. Please create another instance.")
        self._used = True
        is_recorded = is_recording()
        with tape.scope(False, None):
            outputs = self.forward(*inputs)
        if not is_recorded:
            return outputs
        results = [outputs] if isinstance(outputs, NDArray) else list(outputs)
        name = type(self).__name__
        for k, array in enumerate(results):
            require_fit(f"{name}.forward: result {k}", array)
        made = [y.detach() for y in results]  # one that is an argument, too, becomes an array of its own
        left = FunctionLeft(name, self.backward, inputs, made)
        by = ByHand(function=name, n_inputs=len(inputs), n_results=len(made))
        tape.record(by, inputs, made, made, is_training(), left)
        return made[0] if isinstance(outputs, NDArray) else made

    def forward(self, *inputs: NDArray) -> Any:
        """The results from the arguments."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, *output_grads: NDArray) -> Any:
        """Gradients of the arguments from those of the results."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")
