"""`mx.util`: the switches between MXNet's two array worlds. symc has the classic one, `mx.nd`; `mx.np` is refused.

`np_shape`, under which MXNet allows shapes () and extents of 0, is accepted: NDArrays of symc always may have them.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from symc.core.errors import ArgumentError

from .context import gpu_memory_info, num_gpus


class _Shapes(threading.local):
    is_numpy = False


_shapes = _Shapes()


def set_np_shape(active: bool) -> bool:
    """Remembers whether shapes are NumPy's; gives what was set before."""
    before, _shapes.is_numpy = _shapes.is_numpy, bool(active)
    return before


def is_np_shape() -> bool:
    """What `set_np_shape` was last told."""
    return _shapes.is_numpy


def number_shape() -> tuple[int, ...]:
    """The shape of a single number."""
    return () if is_np_shape() else (1,)


@contextmanager
def np_shape(active: bool = True) -> Iterator[None]:
    """`set_np_shape` inside a `with`."""
    before = set_np_shape(active)
    try:
        yield
    finally:
        set_np_shape(before)


def use_np_shape(func: Callable) -> Callable:
    """A decorator: the function runs inside `np_shape()`."""

    @functools.wraps(func)
    def run(*args: Any, **kwargs: Any) -> Any:
        with np_shape(True):
            return func(*args, **kwargs)

    return run


def is_np_array() -> bool:
    """Whether arrays are those of `mx.np`: never."""
    return False


def np_array(active: bool = True) -> Any:
    """Only `np_array(False)`, which changes nothing; raises ArgumentError for the arrays of `mx.np`."""
    if active:
        raise ArgumentError("mx.np is not supported; use the arrays of mx.nd")
    return np_shape(is_np_shape())


def set_np(shape: bool = True, array: bool = True) -> None:
    """Only `set_np(array=False)`; raises ArgumentError for the arrays of `mx.np`."""
    np_array(array)
    set_np_shape(shape)


def reset_np() -> None:
    """Back to the classic world."""
    set_np_shape(False)


def use_np_array(func: Callable) -> Callable:
    """A decorator: the function raises ArgumentError when called, since it asks for the arrays of `mx.np`."""

    @functools.wraps(func)
    def refuse(*args: Any, **kwargs: Any) -> Any:
        return np_array(True)

    return refuse


use_np = use_np_array


def get_gpu_count() -> int:
    """The number of GPUs."""
    return num_gpus()


def get_gpu_memory(gpu_dev_id: int) -> tuple[int, int]:
    """Free and total bytes of a GPU's memory; raises SymcError where it is missing."""
    return gpu_memory_info(gpu_dev_id)


def getenv(name: str) -> str | None:
    """An environment variable."""
    return os.environ.get(name)


def setenv(name: str, value: str | None) -> None:
    """Sets an environment variable; None removes it."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def makedirs(d: str) -> None:
    """A directory and its parents, where they are missing."""
    os.makedirs(os.path.expanduser(d), exist_ok=True)
