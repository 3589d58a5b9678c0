"""Native code that looks at the arrays of a call, and runs it: see `runtime/pointing.py`."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from symc.codegen.cpu import python_abi as abi
from symc.runtime.operands import NO_SLOT, Exactly, Expected, Operand, Point

from .functions import NativeFunctions

CALL = NativeFunctions("operands", ["call"], ("ptr", "ptr"), has_result=True)


class Outcome(Enum):
    """What a call came to: something did not fit; all did, and what was to be run is done, or to be gone on with."""

    MISFIT = 0
    DONE = 1
    UNFINISHED = 2


class Start(NamedTuple):
    """A run that a call begins: the address of the runner's function, and its argument."""

    function: int
    record: np.ndarray


def calling(bufs: np.ndarray, expected: Expected, start: Start | None = None) -> Callable[[list[Any]], Outcome]:
    """A native function of a list of objects, which points `bufs` at those that are expected.

    It is a method of Python's made of machine code: called through ctypes, it would take 0.2 us more.
    """
    shapes = [np.array(x.shape if isinstance(x, Operand) else (), np.int64) for x in expected]
    rows = [word for x, shape in zip(expected, shapes) for word in _row(x, shape)]
    run = (start.record.ctypes.data, start.function) if start else (0, 0)
    table = np.array([bufs.ctypes.data, len(shapes), *run, *_gil(), *map(id, Outcome), *rows], np.int64)
    definition = _method()
    return _new_method()(definition, [table, definition, bufs, expected, shapes, start], None)


def pointing_natively(bufs: np.ndarray, expected: Expected) -> Point:
    """See `pointing`."""
    look, done = calling(bufs, expected), Outcome.DONE
    return lambda objects: look(objects) is done


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("code", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


_ONE_ARGUMENT = 8  # METH_O


@cache
def _method() -> _Method:
    (address,) = CALL.addresses()
    return _Method(b"call", address, _ONE_ARGUMENT, None)


@cache
def _new_method() -> Callable[[_Method, list[Any], None], Callable[[list[Any]], Outcome]]:
    """PyCFunction_NewEx: of a definition, the object that is given to its code beside the argument, and no module."""
    kind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.POINTER(_Method), ctypes.py_object, ctypes.c_void_p)
    return kind(("PyCFunction_NewEx", ctypes.pythonapi))


@cache
def _gil() -> tuple[int, ...]:
    """The addresses of the functions that leave it and take it again."""
    functions = ctypes.pythonapi.PyEval_SaveThread, ctypes.pythonapi.PyEval_RestoreThread
    return tuple(ctypes.cast(f, ctypes.c_void_p).value or 0 for f in functions)


def _row(x: Operand | Exactly, shape: np.ndarray) -> tuple[int, ...]:
    if isinstance(x, Exactly):
        return NO_SLOT, id(x.what), 0, abi.ANY_OBJECT, 0
    return x.slot, id(np.ndarray), _element(x.dtype), len(shape), shape.ctypes.data


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
