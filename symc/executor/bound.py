"""A session bound to arrays, ready for calls: where inputs and heads go, and memory for each call in flight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symc.context import Context
from symc.core.timeline import timeline
from symc.ndarray.casting import cast
from symc.ndarray.generator import generator
from symc.ndarray.ndarray import NDArray
from symc.ndarray.storage import WriteCounter, allocation
from symc.runtime.operands import Expected, Operand, Point
from symc.runtime.pointing import pointing

if TYPE_CHECKING:
    from symc.runtime.instance import Instance
    from symc.runtime.session import Session


class Bound:
    """A session with what calls need to find at once: where inputs and heads go.

    inputs       what each argument must be that a call may give
    parameters   names of the arguments that were prepared, so that a call cannot give others
    is_plain     whether a run is native code alone
    """

    def __init__(self, session: Session, inputs: dict[str, Operand]) -> None:
        program = session.program
        self.session = session
        self.inputs = inputs
        self.parameters = frozenset(program.needs("parameter"))
        self.heads = [
            Operand(program.slot_number("head", str(k)), h.shape, np.dtype(h.dtype))
            for k, h in enumerate(program.heads)
        ]
        self.instance: Instance = session.own_instance()
        self._results = [(allocation(shape, dtype), shape, dtype) for _, shape, dtype in self.heads]
        self._frames: list[Frame] = []
        self._named: tuple[tuple[str, ...], Expected | None] = (), ()
        self._is_random = program.is_random
        self._calls_back = bool(program.call_names)
        has_checks = any(slot.place == "check" for slot in program.slots)
        self.is_plain = not (self._is_random or self._calls_back or has_checks)
        self._epoch = -1  # of the last refresh

    def refresh(self) -> None:
        """Prepares the parameters when they were written since the last time; one comparison when nothing was.

        The epoch is kept here, not by the executor: a thread that still runs an old session must not make a new one
        believe that its parameters are prepared.
        """
        epoch = WriteCounter.write_epoch
        if epoch != self._epoch:
            self.session.refresh()
            self._epoch = epoch

    def point_heads(self, outputs: Sequence[NDArray]) -> None:
        """Makes the next run of the own instance write its heads into these arrays."""
        for (slot, *_), array in zip(self.heads, outputs):
            self.instance.bufs[slot] = array._address
        self.instance.owner = (self.session.bound, outputs)

    def expected(self, names: tuple[str, ...]) -> Expected | None:
        """What a call must give for these arguments; None where it may not give one of them."""
        known, expected = self._named
        if names != known:
            expected = tuple(self.inputs[n] for n in names) if self.inputs.keys() >= set(names) else None
            self._named = names, expected
        return expected

    def call(self, expected: Expected, given: list[Any], ctx: Context) -> list[NDArray] | None:
        """The heads of one predicting run with memory of its own, as new arrays; None where something does not fit.

        Parameters that were written are prepared before it.

        given   as many objects as are expected, to which the results are added; arrays are read where they lie
        """
        if WriteCounter.write_epoch != self._epoch:
            self.refresh()
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = Frame(self)
        if frame.expected is not expected:
            frame.expect(expected)
        made = []
        for make, shape, dtype in self._results:  # no comprehensions here: before Python 3.12 each is a call of its own
            result = make(shape, dtype)
            given.append(result)
            made.append(NDArray._over(result, ctx))
        run = frame.run
        fits = self._run_step_by_step(frame, given) if run is None or timeline.is_on else run(given)
        self._frames.append(frame)
        return made if fits else None

    def _run_step_by_step(self, frame: Frame, objects: list[Any]) -> bool:
        """Whether objects are what is expected; then the program has run with them."""
        if not frame.point(objects):
            return False
        if self._is_random:
            self.session.reseed(frame.instance, generator())
        if self._calls_back:  # who is called back may keep what it was lent
            frame.instance.owner = (self.session.bound, objects)
        frame.instance.run("forward")
        return True

    def call_converted(self, arrays: Mapping[str, np.ndarray], ctx: Context) -> list[NDArray]:
        """The same for arrays by name, of the right shapes, which are converted where kernels cannot read them."""
        names = tuple(n for n in arrays if n in self.inputs)
        expected = self.expected(names)
        assert expected is not None
        made = self.call(expected, [readable(arrays[n], self.inputs[n].dtype) for n in names], ctx)
        assert made is not None
        return made


class Frame:
    """An instance for one call at a time, which `point` makes work on the call's arrays.

    run   the same, and then the run itself, where there is nothing to be done in between or afterwards; else None
    """

    def __init__(self, bound: Bound) -> None:
        self.instance = bound.session.new_instance()
        self.expected: Expected | None = None
        self.point: Point
        self.run: Point | None = None
        self._heads = bound.heads
        self._is_plain = bound.is_plain
        self._bound_at = self.instance.bufs.copy()

    def expect(self, expected: Expected) -> None:
        """From now on calls give this; all other inputs are the bound arrays."""
        self.instance.bufs[:] = self._bound_at
        operands = [*expected, *self._heads]
        self.point = pointing(self.instance.bufs, operands)
        forward = self.instance.phases.get("forward")
        self.run = forward.over(operands) if forward and self._is_plain else None
        self.expected = expected


def readable(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A dense array of this very dtype object with the same elements."""
    return np.require(cast(array, dtype), None, ("C", "A")).view(dtype)
