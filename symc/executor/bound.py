"""A session bound to arrays, ready for calls: where inputs and heads go, and memory for each call in flight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from symc.context import Context
from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import FullShape, size_of
from symc.ndarray.casting import cast, store
from symc.ndarray.generator import generator
from symc.ndarray.ndarray import NDArray
from symc.ndarray.storage import WriteCounter, address_of, empty_aligned

if TYPE_CHECKING:
    from symc.runtime.instance import Instance
    from symc.runtime.session import Session

COPY_BELOW_BYTES = 1 << 14  # small arrays are copied: asking for an address (0.4 us) would cost as much

Input = tuple[int, FullShape, np.dtype, int]  # slot, shape, dtype, size in bytes


class Bound:
    """A session with what calls need to find at once: where inputs and heads go.

    inputs       name -> (slot, shape, dtype, size in bytes)
    parameters   names of the arguments that were prepared, so that a call cannot give others
    """

    def __init__(self, session: Session, inputs: dict[str, Input]) -> None:
        self.session = session
        self.inputs = inputs
        self.parameters = frozenset(session.program.needs("parameter"))
        self.heads = [
            (
                session.program.slot_number("head", str(k)),
                h.shape,
                np.dtype(h.dtype),
                size_of(h.shape) * ITEM_SIZE[h.dtype],
            )
            for k, h in enumerate(session.program.heads)
        ]
        self.instance: Instance = session.own_instance()
        self._calls: list[CallBuffers] = []
        self._calls_back = bool(session.program.call_names)
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

    def call(self, arrays: Sequence[tuple[Input, np.ndarray]], ctx: Context) -> list[NDArray]:
        """One predicting run with memory of its own."""
        try:
            buffers = self._calls.pop()
        except IndexError:
            buffers = CallBuffers(self)
        bufs = buffers.instance.bufs
        buffers.feed([slot for (slot, *_), _ in arrays])
        kept = []  # arrays whose memory the run reads directly
        for (slot, shape, dtype, size_bytes), array in arrays:
            if size_bytes <= COPY_BELOW_BYTES:
                staged = buffers.stage(slot, shape, dtype)
                if array.dtype == dtype:
                    staged[...] = array
                else:
                    store(staged, ..., array)
            else:
                kept.append(np.ascontiguousarray(cast(array, dtype)))
                bufs[slot] = address_of(kept[-1])
        return self._run(buffers, kept, ctx)

    def call_in_place(self, arrays: Sequence[tuple[int, NDArray]], ctx: Context) -> list[NDArray]:
        """The same, for NDArrays by slot, read where they lie."""
        try:
            buffers = self._calls.pop()
        except IndexError:
            buffers = CallBuffers(self)
        bufs = buffers.instance.bufs
        for slot, array in arrays:
            bufs[slot] = array._address
        return self._run(buffers, arrays, ctx)

    def _run(self, buffers: CallBuffers, kept: object, ctx: Context) -> list[NDArray]:
        """The heads as new arrays; `kept` keeps alive what the run reads."""
        bufs = buffers.instance.bufs
        results = []
        for slot, shape, dtype, size_bytes in self.heads:
            if size_bytes <= COPY_BELOW_BYTES:
                results.append(buffers.stage(slot, shape, dtype))
            else:
                results.append(empty_aligned(shape, dtype))
                bufs[slot] = address_of(results[-1])
        if self.session.program.is_random:
            self.session.reseed(buffers.instance, generator())
        if self._calls_back:  # who is called back may keep what it was lent
            buffers.instance.owner = (self.session.bound, kept, results)
        buffers.instance.run("forward")
        fresh = [NDArray._over(r.copy() if r.nbytes <= COPY_BELOW_BYTES else r, ctx) for r in results]
        self._calls.append(buffers)
        return fresh


class CallBuffers:
    """An instance, and aligned memory for the small inputs and outputs of its calls."""

    def __init__(self, bound: Bound) -> None:
        self.instance = bound.session.new_instance()
        self._bound_at = self.instance.bufs.copy()
        self._staged: dict[int, tuple[np.ndarray, int]] = {}
        self._fed: list[int] = []

    def feed(self, slots: list[int]) -> None:
        """Points inputs that were given last time but not now back at the bound arrays."""
        if slots != self._fed:
            bufs = self.instance.bufs
            for slot in self._fed:
                bufs[slot] = self._bound_at[slot]
            for slot in slots:
                if slot in self._staged:
                    bufs[slot] = self._staged[slot][1]
            self._fed = slots

    def stage(self, slot: int, shape: FullShape, dtype: np.dtype) -> np.ndarray:
        """The array that a slot works on, made on first use."""
        staged = self._staged.get(slot)
        if staged is None:
            array = empty_aligned(shape, dtype)
            staged = self._staged[slot] = (array, array.ctypes.data)
            self.instance.bufs[slot] = staged[1]
        return staged[0]
