"""Files of optimizer states: pickles that the real MXNet writes and reads; only what is named here is ever called.

A file is a dict {index or name: None, array, or tuple of these}, or a pair of that and the optimizer. Classes stand in
it under MXNet's names; an array is `NDArray(None)` with a record of a .params file as its state.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict, defaultdict
from typing import Any

import numpy as np

from symc import lr_scheduler
from symc.core.errors import FormatError
from symc.ndarray import NDArray

from .optimizer import Optimizer

PROTOCOL = 4
NDARRAY = "mxnet.ndarray.ndarray"
OPTIMIZERS = ("mxnet.optimizer.optimizer", "mxnet.optimizer.contrib", "mxnet.optimizer")
SCHEDULERS = "mxnet.lr_scheduler"
CONTAINERS = {
    ("builtins", "bytearray"): bytearray,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    ("builtins", "dict"): dict,
    ("numpy", "dtype"): np.dtype,
}
SCALARS = ("numpy.core.multiarray", "numpy._core.multiarray")  # before NumPy 2, and since


def dumps(content: Any) -> bytes:
    """The pickle of states, or of a pair of states and optimizer."""
    file = io.BytesIO()
    _Pickler(file, PROTOCOL).dump(content)
    return file.getvalue()


def loads(content: bytes) -> Any:
    """What `dumps` or MXNet wrote; raises FormatError for another pickle, and for classes that do not belong."""
    try:
        return _Unpickler(io.BytesIO(content)).load()
    except FormatError:
        raise
    except Exception as e:  # a damaged pickle raises whatever its instructions happen to do
        raise FormatError(f"optimizer states: no pickle that can be read: {type(e).__name__}: {e}") from e


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """The pickler in Python: that in C would insist on importing `mxnet`, whose names classes get here."""

    def save_type(self, cls: type) -> None:
        module, name = _name_in_mxnet(cls)
        if module == cls.__module__:
            super().save_type(cls)
            return
        self.save(module)
        self.save(name)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(cls)

    dispatch = {**pickle._Pickler.dispatch, type: save_type}  # type: ignore[attr-defined]  # noqa: RUF012

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, NDArray):
            return NDArray, (None,), value.__getstate__()
        return NotImplemented


def _name_in_mxnet(cls: type) -> tuple[str, str]:
    if cls is NDArray:
        return NDARRAY, "NDArray"
    if cls.__module__.startswith("symc.optimizer."):
        return OPTIMIZERS[cls.__name__ == "GroupAdaGrad"], cls.__name__
    return (SCHEDULERS if cls.__module__ == lr_scheduler.__name__ else cls.__module__), cls.__qualname__


class _Unpickler(pickle.Unpickler):
    """Finds arrays, optimizers (MXNet's and registered ones), schedules, containers and NumPy's numbers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (NDARRAY, "NDArray"):
            return _array
        if (module, name) in CONTAINERS:
            return CONTAINERS[module, name]
        if module in SCALARS and name == "scalar":
            return _scalar
        cls = Optimizer.opt_registry.get(name.lower())
        if cls is not None and (module in OPTIMIZERS or module == cls.__module__):
            return cls
        schedule = _schedules().get(name)
        if schedule is not None and module in (SCHEDULERS, schedule.__module__):
            return schedule
        raise FormatError(
            f"optimizer states: they name {module}.{name}, which is no array, schedule or registered optimizer; "
            "register your optimizer with mx.optimizer.register before you load them"
        )


def _array(_: None) -> NDArray:
    """An array that its state is still to fill."""
    return NDArray.__new__(NDArray)


def _scalar(dtype: np.dtype, content: bytes) -> Any:
    if dtype.hasobject:
        raise FormatError("optimizer states: a NumPy scalar of Python objects")
    return np.frombuffer(content, dtype)[0]


def _schedules() -> dict[str, type]:
    """LRScheduler and all its subclasses there are, by name."""
    found: list[type] = [lr_scheduler.LRScheduler]
    for cls in found:
        found += cls.__subclasses__()
    return {cls.__name__: cls for cls in found}
