"""Casts and binary arithmetic on NumPy arrays by MXNet's rules: one dtype in, the same dtype out."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symc.core.errors import DTypeError, ShapeError

Number = int | float
NUMBERS = (int, float, np.number, np.bool_)


def cast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` with another dtype, as C does it: toward zero, and integers wrap around."""
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return _castable(array, dtype).astype(dtype)


def store(target: np.ndarray, index: Any, value: np.ndarray) -> None:
    """`target[index] = value`, cast as `cast` does."""
    with np.errstate(all="ignore"):
        target[index] = _castable(value, target.dtype)


def _castable(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array, or its way station to a narrow or unsigned integer.

    C leaves float to uint8 undefined beyond 255; by way of int32 it wraps around on every machine (300.0 gives 44).
    """
    if array.dtype.kind != "f" or dtype.kind not in "iu":
        return array
    if dtype.itemsize < 4:
        return array.astype(np.int32)
    return array.astype(np.int64) if dtype.kind == "u" else array


@dataclass(frozen=True)
class Binary:
    """A binary operator: what it writes for two arrays of one dtype, and what it gives for two Python numbers."""

    name: str
    compute: Callable[..., object]  # (lhs, rhs, out=): a ufunc, or a function as one
    on_numbers: Callable[[Number, Number], Number]

    def __call__(self, lhs: np.ndarray, rhs: np.ndarray, out: np.ndarray) -> None:
        """Writes the result for `lhs` and `rhs`, broadcast to `out`'s shape; `out` may be one of them."""
        with np.errstate(all="ignore"):
            self.compute(lhs, rhs, out=out)

    def result_shape(self, lhs: np.ndarray, rhs: np.ndarray) -> tuple[int, ...]:
        """The shape both operands broadcast to; raises ShapeError where there is none, DTypeError for mixed dtypes."""
        if lhs.dtype != rhs.dtype:
            raise DTypeError(f"{self.name}: dtypes {lhs.dtype} and {rhs.dtype} differ; cast one with astype()")
        if lhs.dtype == np.bool_:
            raise DTypeError(f"{self.name} does not support bool arrays; cast them with astype()")
        if lhs.shape == rhs.shape:
            return lhs.shape
        try:
            return np.broadcast_shapes(lhs.shape, rhs.shape)
        except ValueError:
            shapes = f"{list(lhs.shape)} {list(rhs.shape)}"
            raise ShapeError(f"{self.name}: operands could not be broadcast together with shapes {shapes}") from None


def with_scalar(array: np.ndarray, scalar: object) -> tuple[np.ndarray, np.ndarray]:
    """An array and a number as operands of one dtype: the array's, or int64 for a bool array.

    The number is cast first, so int32 7 / 2.5 is 7 / 2.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.int64)
    return array, cast(np.asarray(float(scalar)), array.dtype)  # type: ignore[arg-type]


def _divide(lhs: np.ndarray, rhs: np.ndarray, out: np.ndarray) -> None:
    """lhs / rhs; integers go toward zero, and integer x / 0 is 0 (where MXNet kills the process)."""
    if lhs.dtype.kind == "f":
        np.divide(lhs, rhs, out)
        return
    quotient, remainder = np.divmod(lhs, rhs)
    quotient += (remainder != 0) & ((lhs < 0) != (rhs < 0))
    out[...] = quotient


def _modulo(lhs: np.ndarray, rhs: np.ndarray, out: np.ndarray) -> None:
    """lhs % rhs with the divisor's sign, and x % 0 = 0."""
    is_zero = rhs == 0
    np.mod(lhs, rhs, out)
    np.copyto(out, 0, where=is_zero)


def _power(lhs: np.ndarray, rhs: np.ndarray, out: np.ndarray) -> None:
    """lhs ** rhs; integers are raised in float32, as MXNet does it (3 ** 33 is not exact)."""
    if lhs.dtype.kind == "f":
        np.power(lhs, rhs, out)
        return
    out[...] = cast(np.power(lhs, rhs, dtype=np.float32, casting="unsafe"), out.dtype)


ADD = Binary("add", np.add, operator.add)
SUBTRACT = Binary("subtract", np.subtract, operator.sub)
MULTIPLY = Binary("multiply", np.multiply, operator.mul)
DIVIDE = Binary("divide", _divide, operator.truediv)
MODULO = Binary("modulo", _modulo, operator.mod)
POWER = Binary("power", _power, operator.pow)
MAXIMUM = Binary("maximum", np.maximum, max)
MINIMUM = Binary("minimum", np.minimum, min)
EQUAL = Binary("equal", np.equal, lambda x, y: int(x == y))
NOT_EQUAL = Binary("not_equal", np.not_equal, lambda x, y: int(x != y))
GREATER = Binary("greater", np.greater, lambda x, y: int(x > y))
GREATER_EQUAL = Binary("greater_equal", np.greater_equal, lambda x, y: int(x >= y))
LESSER = Binary("lesser", np.less, lambda x, y: int(x < y))
LESSER_EQUAL = Binary("lesser_equal", np.less_equal, lambda x, y: int(x <= y))
LOGICAL_AND = Binary("logical_and", np.logical_and, lambda x, y: int(bool(x) and bool(y)))
LOGICAL_OR = Binary("logical_or", np.logical_or, lambda x, y: int(bool(x) or bool(y)))
LOGICAL_XOR = Binary("logical_xor", np.logical_xor, lambda x, y: int(bool(x) != bool(y)))
