"""What scripts import from `mx.base` to call MXNet's library in C: its types and conversions. The library is no part of
symc: scripts that import these names without a use run, and whoever calls it is told."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NoReturn

from symc.core.errors import MXNetError

mx_int, mx_uint, mx_int64, mx_float = ctypes.c_int, ctypes.c_uint, ctypes.c_int64, ctypes.c_float
mx_float_p = ctypes.POINTER(mx_float)
HANDLES = (
    "CachedOp", "CudaKernel", "CudaModule", "DLPack", "DataIter", "DataIterCreator", "Executor", "Function", "KVStore",
    "NDArray", "Op", "Profile", "RecordIO", "Rtc", "Symbol",
)  # fmt: skip
globals().update({f"{what}Handle": ctypes.c_void_p for what in HANDLES})


def c_str(string: str) -> ctypes.c_char_p:
    """Text for C."""
    return ctypes.c_char_p(string.encode())


def c_str_array(strings: Sequence[str]) -> ctypes.Array:
    """Texts for C."""
    return c_array(ctypes.c_char_p, [s.encode() for s in strings])


def c_array(ctype: type[Any], values: Sequence[Any]) -> ctypes.Array:
    """Values for C, of one of ctypes' types."""
    return (ctype * len(values))(*values)


def c_array_buf(ctype: type[Any], buf: Any) -> ctypes.Array:
    """The memory of an `array.array`, without a copy."""
    return (ctype * len(buf)).from_buffer(buf)


def check_call(ret: int) -> None:
    """Raises MXNetError for what a call of the library gives when it fails."""
    if ret != 0:
        raise MXNetError(f"a call of MXNet's library in C gave {ret}")


class _Calls(type):
    def __getattr__(cls, name: str) -> NoReturn:
        raise AttributeError(
            f"mx.base._LIB has no {name}: MXNet's library in C is no part of symc; use what mx.nd, mx.sym and mx.gluon "
            "have for it"
        )


class _LIB(metaclass=_Calls):
    """In the place of the library."""
