"""What autograd remembers: whether the thread records, and the operators it has run on arrays that want a gradient."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, NamedTuple, Protocol, Union

from symc.core.errors import ArgumentError, GradientError
from symc.ir.op import Op

from .fit import require_fit

if TYPE_CHECKING:
    from .ndarray import NDArray


GRAD_REQS = ("write", "add", "null")


class _Mode(threading.local):
    """Of the running thread."""

    recording = False
    training = False


mode = _Mode()


def is_recording() -> bool:
    """Whether operators are being recorded."""
    return mode.recording


def is_training() -> bool:
    """Whether operators behave as in training."""
    return mode.training


class scope:
    """Sets both, or leaves one as it is (None), inside the `with`."""

    __slots__ = ("_before", "_recording", "_training")

    def __init__(self, recording: bool | None, training: bool | None) -> None:
        self._recording = recording
        self._training = training

    def __enter__(self) -> None:
        self._before = mode.recording, mode.training
        if self._recording is not None:
            mode.recording = self._recording
        if self._training is not None:
            mode.training = self._training

    def __exit__(self, *error: object) -> None:
        mode.recording, mode.training = self._before


class Recorded:
    """One operator that was run while recording.

    inputs    where each came from when it was recorded, and the array itself, for its contents
    keys      under what the gradient of each is kept (see key_of)
    results   the contents of all its results, hidden ones last
    left      what its run left for the way back; None where inputs and results are all that its gradient needs
    carries   whether a gradient of its results reaches a variable
    """

    __slots__ = ("carries", "inputs", "keys", "left", "op", "results", "training")

    def __init__(
        self,
        op: Op,
        inputs: Sequence[tuple[Source, NDArray]],
        results: Sequence[NDArray],
        training: bool,
        left: Left | None = None,
    ) -> None:
        self.op = op
        self.inputs: Sequence[tuple[Source, NDArray]] | None = inputs  # None once a backward has used them up
        self.keys: Sequence[Hashable] = [s if type(s) is Made else id(s) for s, _ in inputs]
        self.results = results
        self.training = training
        self.left = left
        self.carries = op.passes_gradient and any(carries(s) for s, _ in inputs)

    def use_up(self) -> None:
        """Forgets what a way back would need."""
        self.inputs = self.left = None
        self.keys = ()


class Left(Protocol):
    """What a program that ran forward left in memory, and the way back from there."""

    def gradients(
        self, dy: Sequence[NDArray | None], into: Mapping[int, NDArray], is_last: bool
    ) -> Mapping[int, NDArray]:
        """The gradients of the inputs, by position, from those of the results; also updates states.

        into      arrays that receive gradients by position, instead of new ones
        is_last   whether nobody will ask again
        """


class Made(NamedTuple):
    """Result number `index` of a recorded operator."""

    by: Recorded
    index: int


Source = Union[Made, "NDArray", None]  # a recorded result, a variable (an array with a gradient), or a constant


def key_of(source: Source) -> Hashable:
    """What a gradient that goes there is kept under."""
    return source if type(source) is Made else id(source)


def repeated(keys: Sequence[Hashable]) -> Set[Hashable]:
    """What is among the keys more than once."""
    if len(set(keys)) == len(keys):
        return frozenset()
    return {key for key, n in Counter(keys).items() if n > 1}


def source_of(array: NDArray) -> Source:
    """Where the gradient of an array goes; what a backward has used up leads nowhere any more."""
    if array._grad is not None:
        return array
    made = array._made
    return None if made is None or made.by.inputs is None else made


def carries(source: Source) -> bool:
    """Whether a gradient that goes there reaches a variable: nothing passes floor, argmax or BlockGrad."""
    return source is not None and (type(source) is not Made or source.by.carries)


def record(
    op: Op,
    inputs: Sequence[NDArray],
    results: Sequence[NDArray],
    visible: Sequence[NDArray],
    training: bool,
    left: Left | None = None,
) -> None:
    """Remembers an operator if one of its inputs leads to a variable.

    The arrays that callers see, which hold its first results, then lead to that too.
    """
    sources = [source_of(x) for x in inputs]
    if all(s is None for s in sources):
        return
    contents = [r.detach() for r in results]  # what callers see holds the node, so the node must not hold it
    node = Recorded(op, [*zip(sources, inputs)], contents, training, left)
    for k, array in enumerate(visible):
        array._made = Made(node, k)


def refuse_in_place(inputs: Sequence[NDArray], targets: Sequence[NDArray]) -> None:
    """Raises GradientError where recording would lose what an array held.

    It is written and leads to a variable, or it will once it is written, while it is also read.
    """
    is_lost = any(source_of(t) is not None for t in targets)
    if is_lost or (any(source_of(x) is not None for x in inputs) and any(t is x for t in targets for x in inputs)):
        raise GradientError(
            "Inplace operations (+=, -=, x[:]=, etc) are not supported when recording with autograd; "
            "make a new array, or leave autograd.record() first"
        )


def mark(array: NDArray, gradient: NDArray, grad_req: str) -> None:
    """Makes an array a variable whose gradient goes to another of its shape and dtype.

    Raises ArgumentError for a gradient that does not fit, or an unknown `grad_req`.
    """
    if grad_req not in GRAD_REQS:
        raise ArgumentError(f"grad_req must be one of {', '.join(GRAD_REQS)}, got {grad_req!r}")
    require_fit("a variable", array)
    if grad_req != "null":
        require_fit("the gradient of a variable", gradient, array.shape, array._dtype)
    array._made = None
    array._grad, array._grad_req = (None, "null") if grad_req == "null" else (gradient, grad_req)
