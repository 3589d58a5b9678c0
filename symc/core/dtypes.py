"""Element types: MXNet's numeric codes, their NumPy dtypes and the promotion symc's kernels use.

A dtype travels through the compiler as its canonical NumPy name ("float32"): hashable, printable, comparable.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import DTypeError, UnknownDTypeError

# MXNet's codes (mshadow/base.h); 12 is bfloat16, which NumPy lacks: files holding it are read as float32, and only
# the compiler keeps operands of products in it.
CODES = {
    "float32": 0,
    "float64": 1,
    "float16": 2,
    "uint8": 3,
    "int32": 4,
    "int8": 5,
    "int64": 6,
    "bool": 7,
    "int16": 8,
    "uint16": 9,
    "uint32": 10,
    "uint64": 11,
}
NAMES = {code: name for name, code in CODES.items()}
BFLOAT16, BFLOAT16_CODE = "bfloat16", 12

FLOATS = ("float16", "float32", "float64")
BYTES = ("int8", "uint8")
ITEM_SIZE = {name: np.dtype(name).itemsize for name in CODES} | {BFLOAT16: 2}
ALIGNMENT = 64  # bytes, at multiples of which memory for arrays begins: a cache line, and the widest vector
NATIVE = frozenset(map(np.dtype, CODES))  # byte-swapped ones are not in it


def meant_dtype(given: object) -> Any:
    """What stands for a dtype, or of what has one, such as an NDArray in `x.astype(label)`, that: NumPy's old rule.

    An array of NumPy never stood for its dtype, and does not here.
    """
    is_plain = given is None or isinstance(given, (str, int, type, np.dtype, np.ndarray))
    return given if is_plain else getattr(given, "dtype", given)


def dtype_name(dtype: object) -> str:
    """The canonical name of a dtype given as name, NumPy type, `np.dtype`, MXNet code, or by what has one.

    Raises UnknownDTypeError when symc has no such dtype.
    """
    if isinstance(dtype, str) and dtype in CODES:
        return dtype
    if isinstance(dtype, int) and not isinstance(dtype, bool) and dtype in NAMES:
        return NAMES[dtype]
    try:
        name = np.dtype(meant_dtype(dtype)).name
    except TypeError:
        name = str(dtype)
    if name not in CODES:
        raise UnknownDTypeError(f"unknown dtype {dtype!r}; expected one of {', '.join(CODES)}")
    return name


def code_of(dtype: object) -> int:
    """MXNet's numeric code of a dtype."""
    return CODES[dtype_name(dtype)]


def dtype_of(code: int) -> np.dtype:
    """The NumPy dtype of MXNet's numeric code; raises DTypeError for a code NumPy cannot hold."""
    if code not in NAMES:
        raise DTypeError(f"unknown dtype code {code}; expected 0 to {max(NAMES)}")
    return np.dtype(NAMES[code])


def is_float(dtype: str) -> bool:
    """Whether a canonical dtype name is a floating-point type."""
    return dtype in FLOATS


def sum_dtype(dtype: str) -> str:
    """The dtype of sums of products of elements: integers of 8 and 16 bits are added up in int32."""
    return "int32" if dtype in ("int8", "uint8", "int16") else compute_dtype(dtype)


def compute_dtype(dtype: str) -> str:
    """The dtype arithmetic runs in: 16-bit floats are widened to float32 at the load and rounded at the store."""
    return "float32" if dtype in ("float16", BFLOAT16) else dtype


def stored_dtype(dtype: str) -> np.dtype:
    """What NumPy keeps elements in: of bfloat16, which it lacks, the bits."""
    return np.dtype("uint16" if dtype == BFLOAT16 else dtype)
