"""One look by native code at the arrays of a call: see `runtime/pointing.py`."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from symc.codegen.cpu import python_abi as abi
from symc.runtime.operands import NO_SLOT, Exactly, Expected, Operand, Point

from .functions import NativeFunctions

LOOK = NativeFunctions("operands", ["point"], ("ptr", "ptr"))


def pointing_natively(bufs: np.ndarray, expected: Expected) -> Point:
    """See `pointing`; 0.3 us a call."""
    shapes = [np.array(x.shape if isinstance(x, Operand) else (), np.int64) for x in expected]
    rows = [word for x, shape in zip(expected, shapes) for word in _row(x, shape)]
    table = np.array([bufs.ctypes.data, len(shapes), 0, *rows], np.int64)
    look, address = _look(), ctypes.c_void_p(table.ctypes.data)
    misfits = ctypes.c_int64.from_address(table.ctypes.data + abi.WORD * abi.MISFITS)

    def point(objects: list[Any], _kept: object = (bufs, expected, shapes, table)) -> bool:
        look(address, objects)
        return misfits.value == 0

    return point


def _row(x: Operand | Exactly, shape: np.ndarray) -> tuple[int, ...]:
    if isinstance(x, Exactly):
        return NO_SLOT, id(x.what), 0, abi.ANY_OBJECT, 0
    return x.slot, id(np.ndarray), _element(x.dtype), len(shape), shape.ctypes.data


@cache
def _look() -> Callable[[ctypes.c_void_p, list[Any]], None]:
    (address,) = LOOK.addresses()
    return ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.py_object)(address)


@cache
def can_be_read() -> bool:
    """Whether lists and arrays lie in this process as `python_abi` says, by one of each."""
    if sys.implementation.name != "cpython" or object.__basicsize__ != abi.HEADER_BYTES:
        return False
    array = np.zeros((5, 7), np.int16)[1:]
    seen = _words(id(array), abi.FLAGS + 1)
    if [seen[k] for k in (abi.TYPE, abi.DATA, abi.DTYPE)] != [id(np.ndarray), array.ctypes.data, id(array.dtype)]:
        return False
    kind, char = array.dtype.kind.encode(), array.dtype.char.encode()
    if struct.pack("=cccxi", kind, char, b"=", array.dtype.num) != struct.pack("=q", _element(array.dtype)):
        return False
    if [seen[k] & abi.LOW_HALF for k in (abi.NDIM, abi.FLAGS)] != [array.ndim, array.flags.num]:
        return False
    items = [array]
    return _words(seen[abi.SHAPE], 2) == [4, 7] and _words(_words(id(items), 4)[abi.LIST_ITEMS], 1) == [id(array)]


def _element(dtype: np.dtype) -> int:
    return _words(id(dtype), abi.ELEMENT + 1)[abi.ELEMENT]


def _words(address: int, n: int) -> list[int]:
    return list((ctypes.c_int64 * n).from_address(address))
