"""Memory on a GPU as NumPy arrays that nobody may look into, and as DLPack capsules.

NumPy makes capsules of the host's memory alone, and takes over no others. As it never looks at what they hold, all that
has to be changed about them is the device (https://dmlc.github.io/dlpack): memory is then given back by NumPy's C code,
which does so in the middle of an exception, too.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

CPU, CUDA, MANAGED = 1, 2, 13  # kinds of devices; managed memory is seen by all
NAME = b"dltensor"  # of a capsule that nobody has taken over


class _Tensor(ctypes.Structure):
    """How the structure that a capsule points to begins."""

    _fields_ = (("data", ctypes.c_void_p), ("kind", ctypes.c_int32), ("number", ctypes.c_int32))


_ask = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


def _tensor(capsule: Any) -> _Tensor:
    return _Tensor.from_address(_get(capsule, NAME))


class _Placed:
    """What NumPy asks to make an array over an address, which keeps this object."""

    def __init__(self, told: dict[str, Any], owner: object) -> None:
        self.__array_interface__ = {"version": 3, **told}
        self.owner = owner


def placed(told: dict[str, Any], owner: object) -> np.ndarray:
    """An array over memory on a GPU, as `__cuda_array_interface__` describes it; it keeps `owner`."""
    return np.asarray(_Placed({key: told.get(key) for key in ("data", "shape", "typestr", "strides")}, owner))


def capsule(address: int, shape: tuple[int, ...], dtype: np.dtype, number: int, owner: object) -> Any:
    """A DLPack capsule of dense memory on a GPU; `owner` lives until nobody has it any more."""
    told = {"data": (address, False), "shape": shape, "typestr": dtype.str}
    made = placed(told, owner).__dlpack__()
    tensor = _tensor(made)
    tensor.kind, tensor.number = CUDA, number
    return made


def number_of(capsule: Any) -> int | None:
    """The number of the GPU that a capsule's memory is on; None for any other, or one that was taken over."""
    if type(capsule).__name__ != "PyCapsule" or not _ask(capsule, NAME):
        return None
    tensor = _tensor(capsule)
    return tensor.number if tensor.kind in (CUDA, MANAGED) else None


class Exporter:
    """A capsule of the host's memory as the object that `np.from_dlpack` wants."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU, 0


def taken(capsule: Any) -> np.ndarray:
    """An array over the memory of a capsule, which is taken over and given back when the array goes."""
    tensor = _tensor(capsule)
    kind, number = tensor.kind, tensor.number
    tensor.kind, tensor.number = CPU, 0
    try:
        return np.from_dlpack(Exporter(capsule))
    finally:
        tensor.kind, tensor.number = kind, number
