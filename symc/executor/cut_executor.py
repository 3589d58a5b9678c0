"""An Executor of a symbol where values decide a shape: a CachedOp that is cut there, and recordings of its calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from symc import autograd
from symc.core.errors import ArgumentError
from symc.ndarray import tape
from symc.ndarray.ndarray import NDArray, as_numpy

from .cached_op import CachedOp
from .executor import Executor
from .head_gradients import checked, listed


class CutExecutor(Executor):
    """Every forward gives new arrays as outputs, of the shapes that the values decide; before the first there are none.

    It is no single program: methods that show one raise ShapeError.
    """

    def __init__(self, *bound: Any) -> None:
        super().__init__(*bound)
        self._op = CachedOp(self._symbol)
        self._is_recorded = False

    def forward(self, is_train: bool = False, **kwargs: Any) -> list[NDArray]:
        self._start(is_train, kwargs)
        self._outputs = self._run(bool(is_train))
        return self.outputs

    def backward(self, out_grads: Any = None, is_train: bool = True) -> None:
        """As of any Executor; it adds up what the recording of the last forward gives, however often it is called."""
        if not self._is_recorded:
            self._outputs = self._run(bool(is_train))
        names = self._symbol.list_outputs()
        given = listed(out_grads, names)
        heads, terms = [], []
        for k, (entry, output) in enumerate(zip(self._symbol.heads, self.outputs)):
            if tape.source_of(output) is None:
                continue
            is_loss = entry.node.op is not None and entry.node.op.has_loss
            heads.append(output)
            terms.append(None if given[k] is None and is_loss else checked(given[k], k, names[k], output.shape))
        for name, req in self._grad_req.items():
            if req == "write":
                self.grad_dict[name][:] = 0  # where nothing leads there
        if heads:
            autograd.backward(heads, terms, retain_graph=True)

    def __call__(self, *args: Any, **kwargs: Any) -> list[NDArray]:
        given = self._by_name(args, kwargs)
        arrays = {**self.arg_dict, **self.aux_dict}
        for name, value in given.items():
            bound = self._argument(name)
            arrays[name] = NDArray._copy_of(as_numpy(value, f"argument {name}"), bound.context, bound._dtype)
        with autograd.pause():
            return self._called(arrays)

    def set_monitor_callback(self, callback: Callable[[str, NDArray], None], monitor_all: bool = False) -> None:
        """Calls `callback(name, array)` for every result of the operators in the parts, after each forward."""
        self._op._register_op_hook(lambda name, operator, array: callback(name.decode(), array), monitor_all)

    def set_num_threads(self, n_threads: int | None) -> None:
        raise ArgumentError("a symbol that is cut where values decide a shape runs with the process's threads")

    def _run(self, is_train: bool) -> list[NDArray]:
        """The outputs; recorded where gradients are asked for."""
        self._is_recorded = is_train and self._wants_gradient
        arrays = {name: array.detach() for name, array in (*self.arg_dict.items(), *self.aux_dict.items())}
        if self._is_recorded:
            wanted = [name for name, req in self._grad_req.items() if req != "null"]
            reqs = [self._grad_req[name] for name in wanted]
            autograd.mark_variables([arrays[n] for n in wanted], [self.grad_dict[n] for n in wanted], reqs)
        with tape.scope(self._is_recorded, is_train):
            return self._called(arrays)

    def _called(self, arrays: dict[str, NDArray]) -> list[NDArray]:
        found = self._op.call([arrays[name] for name in self._op.names])
        return found if isinstance(found, list) else [found]
