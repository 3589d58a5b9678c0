"""The dictionaries of an Executor: the names are fixed, assigning an array binds it in place of the old one."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from symc.core.errors import ArgumentError, ArgumentTypeError
from symc.ndarray.ndarray import NDArray


class BoundArrays(dict[str, Any]):
    """Arrays by name. `arrays[name][:] = x` copies into the bound array, `arrays[name] = x` binds x itself.

    what     "argument", "gradient" or "auxiliary state", for errors
    rebound  the method of the executor that is called after an array was replaced

    Raises ArgumentError for another name, shape or dtype than those bound, ArgumentTypeError for what is no NDArray.
    """

    def __init__(self, what: str, arrays: Mapping[str, NDArray | None], rebound: Callable[[], None]) -> None:
        super().__init__(arrays)
        self._what = what
        self._rebound = weakref.WeakMethod(rebound)  # no cycle: an executor's memory goes with its last user

    def __setitem__(self, name: str, array: NDArray) -> None:
        if name not in self:
            raise ArgumentError(f"Unknown {self._what} {name}; expected one of {', '.join(self)}")
        old = self[name]
        if array is old:
            return
        if old is None:
            raise ArgumentError(f"{self._what} {name} was not asked for when the symbol was bound; bind it anew")
        if not isinstance(array, NDArray):
            raise ArgumentTypeError(
                f"{self._what} {name}: expected an NDArray to bind, got {type(array).__name__}; to copy numbers into "
                "the bound array, assign to its elements: arrays[name][:] = ..."
            )
        if array.shape != old.shape or np.dtype(array.dtype) != np.dtype(old.dtype):
            raise ArgumentError(
                f"{self._what} {name} is bound as {np.dtype(old.dtype).name} {old.shape}; an array in its place must "
                f"have the same shape and dtype, got {np.dtype(array.dtype).name} {array.shape}; see Executor.reshape"
            )
        super().__setitem__(name, array)
        rebound = self._rebound()
        if rebound is not None:
            rebound()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Binds several arrays."""
        for name, array in dict(*args, **kwargs).items():
            self[name] = array

    def _refuse(self, *args: Any) -> Any:
        raise ArgumentError(f"the names of an executor's {self._what}s are fixed: {', '.join(self)}")

    __delitem__ = __ior__ = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)
