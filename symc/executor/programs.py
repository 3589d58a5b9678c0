"""The programs of an executor, one for each way to run it, and their sessions over the arrays that are bound now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from symc.context import Context
from symc.core.bounded import BoundedCache
from symc.core.dtypes import dtype_name
from symc.core.errors import ArgumentError, GraphError
from symc.core.locks import new_lock
from symc.core.shapes import FullShape, is_known
from symc.ir.infer import partial_shapes
from symc.ir.kernels import head_number
from symc.ndarray.ndarray import NDArray
from symc.ndarray.storage import zeros_aligned
from symc.runtime.operands import NO_SLOT, Operand
from symc.symbol.graph import to_graph
from symc.util import is_np_shape

from .bound import Bound

if TYPE_CHECKING:
    from symc.ir.graph import Graph
    from symc.runtime.compiler import Compiled
    from symc.runtime.instance import Kept
    from symc.runtime.program import Program, Slot
    from symc.symbol.symbol import Symbol

MAX_PROGRAMS = 12  # kept by one executor, for its modes and for calls with other input shapes than those bound

Shapes = tuple[tuple[str, FullShape], ...]


class Mode(NamedTuple):
    """What a program is compiled for.

    shapes             those that differ from the bound ones
    gives_parameters   whether calls bring parameters of their own, so that none can be prepared
    """

    is_train: bool
    with_gradient: bool
    shapes: Shapes
    gives_parameters: bool = False


class Programs:
    """Compiles a program when its mode is first asked for, and binds it to the arrays of the executor's dictionaries.

    n_threads        of the sessions made from now on; None = the process's default
    head_gradients   the arrays that backward reads, by name; made when a program needs them
    """

    def __init__(
        self,
        symbol: Symbol,
        ctx: Context,
        arguments: Mapping[str, NDArray],
        gradients: Mapping[str, NDArray | None],
        states: Mapping[str, NDArray],
        grad_req: Mapping[str, str],
    ) -> None:
        self.n_threads: int | None = None
        self.head_gradients: dict[str, NDArray] = {}
        self._symbol = symbol
        self._ctx = ctx
        self._arguments = arguments
        self._gradients = gradients
        self._states = states
        self._grad_req = grad_req
        self._grad_dtype = {  # of the gradients that were bound in another dtype than their argument
            name: array._dtype.name
            for name, array in gradients.items()
            if array is not None and array._dtype != arguments[name]._dtype
        }
        self._compiled: BoundedCache[Mode, Compiled] = BoundedCache(MAX_PROGRAMS)
        self._found: BoundedCache[Mode, Bound] = BoundedCache(MAX_PROGRAMS)
        self._kept: Kept = {}  # operators in Python: made once for a node, whatever the mode
        self._numpy_shapes = is_np_shape()  # when bound; programs are compiled later
        self._lock = new_lock()

    def get(self, mode: Mode) -> Bound:
        """The session of a mode; safe from several threads."""
        found = self._found.get(mode)
        if found is not None:
            return found
        with self._lock:
            return self._found.obtain(mode, lambda: self._bind(mode))

    def forget(self) -> None:
        """Drops the sessions but not the programs: the next run takes the arrays anew."""
        with self._lock:  # a session that is being made has the old arrays
            self._found.clear()

    def graph(self, is_train: bool, shapes: Mapping[str, FullShape] | None = None) -> Graph:
        """The symbol's graph with the shapes and dtypes of the arrays, or other shapes for some."""
        arrays = {**self._arguments, **self._states}
        return to_graph(
            self._symbol,
            training=is_train,
            arg_shapes={n: (shapes or {}).get(n, a.shape) for n, a in arrays.items()},
            arg_dtypes={n: dtype_name(a.dtype) for n, a in arrays.items()},
            numpy_shapes=self._numpy_shapes,
        )

    def _bind(self, mode: Mode) -> Bound:
        from symc.runtime.compiler import compile_graph
        from symc.runtime.session import Session

        shapes = self._needed_shapes(mode)
        grad_req = self._grad_req if mode.with_gradient else None
        compiled = self._compiled.obtain(
            mode,
            lambda: compile_graph(
                self.graph(mode.is_train, shapes),
                grad_req,
                self._ctx.device,
                has_parameters=not mode.gives_parameters,
                grad_dtype=self._grad_dtype,
            ),
        )
        self._require_given(compiled.program, shapes, mode)
        slots = {s.key: number for number, s in compiled.program.numbered_slots() if s.place == "argument"}
        prepared_from = frozenset(compiled.program.needs("parameter"))
        inputs = {
            name: Operand(slots.get(name, NO_SLOT), shapes.get(name, array.shape), array._dtype)
            for name, array in {**self._arguments, **self._states}.items()
            if name in slots or (name in self._arguments and name not in prepared_from)
        }
        arrays = self._arrays(compiled.program, shapes)
        return Bound(Session(compiled, arrays, self.n_threads, self._kept), inputs)

    def _array(self, name: str) -> NDArray:
        """The bound argument of a name, or its state: where nothing is prepared, it is an argument as well."""
        return self._arguments[name] if name in self._arguments else self._states[name]

    def _arrays(self, program: Program, shapes: Mapping[str, FullShape]) -> dict[tuple[str, str], NDArray]:
        """The array of each slot; arguments of other shapes are given with each call."""
        bound: dict[tuple[str, str], NDArray] = {}
        for slot in program.slots:
            place, name = slot.place, slot.key
            if place in ("aux", "update") or (place in ("argument", "parameter") and name not in shapes):
                bound[place, name] = self._array(name)
            elif place in ("gradient", "accumulator"):
                gradient = self._gradients[name]
                assert gradient is not None
                bound[place, name] = gradient
            elif place == "head_gradient":
                head = program.heads[head_number(name)]
                if name not in self.head_gradients:
                    self.head_gradients[name] = NDArray(zeros_aligned(head.shape, np.dtype(head.dtype)), self._ctx)
                bound[place, name] = self.head_gradients[name]
            if (place, name) in bound:
                _require_room(bound[place, name], slot)
                _require_near(bound[place, name], slot, self._ctx)
        return bound

    def _require_given(self, program: Program, shapes: Mapping[str, FullShape], mode: Mode) -> None:
        for slot in program.slots:
            if slot.place in ("argument", "parameter") and slot.key in shapes and slot.key not in dict(mode.shapes):
                raise ArgumentError(
                    f"argument {slot.key} is bound with shape {self._arguments[slot.key].shape}, but the shapes of the "
                    f"arguments given need {shapes[slot.key]}; give it as well"
                )

    def _needed_shapes(self, mode: Mode) -> dict[str, FullShape]:
        """The given shapes, and those that other arguments would need instead of the bound ones to fit them.

        A label has the batch size of the data; predicting does not read it, so that it need not be given.
        """
        shapes = dict(mode.shapes)
        if not shapes:
            return shapes
        graph = to_graph(self._symbol, arg_shapes=shapes, numpy_shapes=self._numpy_shapes)
        inferred = partial_shapes(graph)
        for node in graph.inputs:
            shape = inferred.get(node[0])
            if node.name in self._arguments and is_known(shape) and shape != self._arguments[node.name].shape:
                shapes.setdefault(node.name, shape)  # type: ignore[arg-type]
        return shapes


def _require_near(array: NDArray, slot: Slot, ctx: Context) -> None:
    """Raises ArgumentError where an array lies on another device, whose memory the program does not see."""
    if not array._is_seen_by(ctx):
        raise ArgumentError(
            f"binding {slot.place} {slot.key}: the array lies on {array._context}, the executor runs on {ctx}; bind a "
            f"copy, x.as_in_context({ctx})"
        )


def _require_room(array: NDArray, slot: Slot) -> None:
    """Raises GraphError when kernels would read or write beyond an array: the executor's checks have let it through."""
    if array.size != slot.size or array._dtype != slot.dtype:
        raise GraphError(
            f"binding {slot.place} {slot.key}: the program needs {slot.size} elements of {slot.dtype}, the array is "
            f"{array._dtype} {array.shape}"
        )
