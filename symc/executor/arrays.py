"""The dictionaries of an Executor: the names are fixed, assigning an array binds it in place of the old one."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Protocol

from symc.core.errors import ArgumentError
from symc.ndarray.fit import require_fit
from symc.ndarray.ndarray import NDArray


class Owner(Protocol):
    """What the dictionaries ask of their executor."""

    def _require_no_output(self, what: str, array: NDArray) -> None:
        """Raises ArgumentError for an array, called `what`, that a run writes outputs to."""

    def _take_arrays_anew(self) -> None:
        """Called after an array was replaced."""


class BoundArrays(dict[str, Any]):
    """Arrays by name. `arrays[name][:] = x` copies into the bound array, `arrays[name] = x` binds x itself.

    what   "argument", "gradient" or "auxiliary state", for errors

    Raises ArgumentError for another name, shape or dtype than those bound and for the executor's own outputs,
    ArgumentTypeError for what is no NDArray.
    """

    def __init__(self, what: str, arrays: Mapping[str, NDArray | None], owner: Owner) -> None:
        super().__init__(arrays)
        self._what = what
        self._owner = weakref.ref(owner)  # no cycle: an executor's memory goes with its last user

    def __setitem__(self, name: str, array: NDArray) -> None:
        if name not in self:
            raise ArgumentError(f"Unknown {self._what} {name}; expected one of {', '.join(self)}")
        old = self[name]
        if array is old:
            return
        if old is None:
            raise ArgumentError(f"{self._what} {name} was not asked for when the symbol was bound; bind it anew")
        what = f"{self._what} {name} (to copy into the bound array, assign to its elements, arrays[name][:] = ...)"
        require_fit(what, array, old.shape, old._dtype)
        owner = self._owner()
        if owner is not None:
            owner._require_no_output(what, array)
        super().__setitem__(name, array)
        if owner is not None:
            owner._take_arrays_anew()

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Binds several arrays."""
        for name, array in dict(*args, **kwargs).items():
            self[name] = array

    def _refuse(self, *args: Any) -> Any:
        raise ArgumentError(f"the names of an executor's {self._what}s are fixed: {', '.join(self)}")

    __delitem__ = __ior__ = pop = popitem = clear = setdefault = _refuse

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)
