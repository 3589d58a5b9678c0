"""Arrays over memory on a GPU that another library has, without a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from symc.context import Context, current_context
from symc.core.dtypes import NATIVE
from symc.core.errors import ArgumentError
from symc.runtime.cuda.memory import DeviceMemory

from .capsules import CUDA, MANAGED, number_of, placed, taken
from .ndarray import NDArray
from .on_device import ShadowCounter
from .storage import empty_aligned


def from_gpu(source: Any) -> NDArray | None:
    """An array over memory on a GPU: of a DLPack exporter or capsule, or of an array with `__cuda_array_interface__`.

    None for any other. Raises ArgumentError for memory that cannot be shared: strided, read-only, of an unknown dtype,
    or on another GPU than it is said to be.
    """
    if hasattr(source, "__dlpack_device__"):
        kind, number = source.__dlpack_device__()
        return _of_capsule(source.__dlpack__(stream=_stream(number))) if kind in (CUDA, MANAGED) else None
    if hasattr(source, "__cuda_array_interface__"):
        return _described(source)
    return None if number_of(source) is None else _of_capsule(source)


def _of_capsule(capsule: Any) -> NDArray:
    number = number_of(capsule)
    assert number is not None
    return _over(_understood(lambda: taken(capsule)), Context("gpu", number))


def _described(source: Any) -> NDArray:
    """Of an array with `__cuda_array_interface__`: on the current context's GPU, or on the first one."""
    told, here = source.__cuda_array_interface__, current_context()
    context = here if here.device_type == "gpu" else Context("gpu", 0)
    address, *_ = told.get("data") or (0,)
    if not address and 0 not in told["shape"]:  # NumPy says so in other words from version to version
        raise ArgumentError("sharing memory on a GPU: data is NULL")
    found = _understood(lambda: placed(told, source))
    if not found.flags.writeable:
        raise ArgumentError(
            "sharing memory on a GPU: __cuda_array_interface__ says that it is read-only; copy it first"
        )
    if told.get("stream") is not None:
        _memory(context).driver.follow(told["stream"])
    return _over(found, context)


def _understood(describe: Callable[[], np.ndarray]) -> np.ndarray:
    """What NumPy makes of a description; raises ArgumentError where it refuses that."""
    try:
        return describe()
    except (BufferError, RuntimeError, TypeError, ValueError) as e:
        raise ArgumentError(f"sharing memory on a GPU: {e}") from e


def _over(found: np.ndarray, context: Context) -> NDArray:
    """An array over foreign memory, as NumPy sees it."""
    memory, address = _memory(context), found.ctypes.data
    problem = None
    if found.dtype not in NATIVE:
        problem = f"dtype {found.dtype.str}, expected one of MXNet's"
    elif not found.flags.c_contiguous:
        problem = f"strides of {found.strides} bytes, expected a dense array"
    elif found.size and not memory.driver.holds(address):
        problem = f"an address that is not on {context}; `with mx.gpu(k):` says on which GPU it is"
    if problem:
        raise ArgumentError(f"sharing memory on a GPU: an array of shape {found.shape} has {problem}")
    data = empty_aligned(found.shape, found.dtype)
    if not data.size:
        return NDArray(data, context)
    return NDArray._over(data, context, ShadowCounter(memory.borrowed(data, address, found)))


def _stream(number: int) -> int:
    return _memory(Context("gpu", number)).driver.stream


def _memory(context: Context) -> DeviceMemory:
    """Of a GPU; raises SymcError where it is missing."""
    memory = context.device.memory
    if not isinstance(memory, DeviceMemory):
        raise ArgumentError(f"sharing memory on a GPU: {context} is none of NVIDIA's")
    return memory
