"""Floating-point results rounded once, as IEEE 754 and PTX ask: sums and products to odd in float64, then to the type.

A float64 rounded to odd (its last bit is 1 when anything was lost) can be rounded again to 51 bits or fewer, in any
direction, as if it had been exact: S. Boldo and G. Melquiond, Emulation of a FMA and correctly rounded sums, 2008.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from .types import Type

ROUNDINGS = ("rn", "rz", "rm", "rp")
_SPLIT = 134217729.0  # 2 ** 27 + 1
_TINY, _HUGE = 2.0**-900, 2.0**900  # outside of these the error terms below may be lost


def odd_sum(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x + y, rounded to odd."""
    total, error = _two_sum(x, y)
    return _to_odd(total, error)


def _two_sum(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = x + y
    of_y = total - x
    return total, (x - (total - of_y)) + (y - of_y)


def _to_odd(total: np.ndarray, error: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(total).view(np.int64)
    is_lost = (error != 0) & np.isfinite(total) & np.isfinite(error) & ((bits & 1) == 0)
    step = np.where((error > 0) == (total > 0), 1, -1)
    return np.where(is_lost, bits + step, bits).view(np.float64)


def fused_float32(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """x * y + z for float32, rounded once to the nearest.

    The product is exact in float64; only where the float64 sum lies halfway between two float32, or below the smallest
    normal one, does its own rounding matter.
    """
    product = np.multiply(x, y, dtype=np.float64)
    total = product + z
    low = total.view(np.int64) & 0x1FFFFFFF
    is_doubtful = (low == 0x10000000) | (np.abs(total) < 1.2e-38)
    if np.count_nonzero(is_doubtful):  # most often of zeros alone
        (k,) = (is_doubtful & (total != 0)).nonzero()
        if len(k):
            total[k] = odd_sum(product[k], np.broadcast_to(z, product.shape)[k].astype(np.float64))
    return total.astype(np.float32)


def fused_float64(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """x * y + z for float64, rounded once to the nearest."""
    x, y, z = np.broadcast_arrays(x, y, z)
    high, low = _two_product(x, y)
    top, rest = _two_sum(z, low)
    upper, lower = _two_sum(high, top)
    total = upper + odd_sum(rest, lower)
    is_zero = (x == 0) | (y == 0)
    total = np.where(is_zero, high + z, total)
    size = np.abs(high)
    is_rough = ~(is_zero | ((size > _TINY) & (size < _HUGE) & (np.abs(z) < _HUGE)))
    if is_rough.any():
        for k in np.flatnonzero(is_rough):
            total[k] = _exactly(float(x[k]), float(y[k]), float(z[k]))
    return total


def _two_product(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    product = x * y
    xh, yh = x * _SPLIT, y * _SPLIT
    xh, yh = xh - (xh - x), yh - (yh - y)
    xl, yl = x - xh, y - yh
    return product, ((xh * yh - product) + xh * yl + xl * yh) + xl * yl


def _exactly(x: float, y: float, z: float) -> float:
    if np.isfinite(x) and np.isfinite(y) and not np.isfinite(z):
        return z
    if not (np.isfinite(x) and np.isfinite(y)):
        return float(np.float64(x) * np.float64(y) + np.float64(z))
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    if exact == 0:
        return float(np.float64(x) * np.float64(y) + np.float64(z))  # its sign
    try:
        return float(exact)
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


def bfloat16_bits(values: np.ndarray, mode: str = "rn") -> np.ndarray:
    """float64 (exact or rounded to odd) as bfloat16 bits."""
    single = _directed(values, np.dtype(np.float32), "odd")
    bits = single.view(np.uint32)
    low, is_nan = bits & np.uint32(0xFFFF), np.isnan(single)
    if mode == "rn":
        up = (low > 0x8000) | ((low == 0x8000) & ((bits >> np.uint32(16)) & np.uint32(1) == 1))
    else:
        up = (low != 0) & {"rz": np.False_, "rm": values < 0, "rp": values > 0}[mode]
    found = (bits >> np.uint32(16)).astype(np.uint16) + up
    return np.where(is_nan, np.uint16(0x7FFF), found).astype(np.uint16)


def bfloat16_values(bits: np.ndarray) -> np.ndarray:
    """bfloat16 bits as float64."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)


def widened(values: np.ndarray, type_: Type) -> np.ndarray:
    """Values of a type as float64."""
    return bfloat16_values(values) if type_.kind == "bf" else values.astype(np.float64)


def narrowed(values: np.ndarray, type_: Type, mode: str = "rn") -> np.ndarray:
    """float64 (exact or rounded to odd) rounded to a type."""
    if type_.kind == "bf":
        return bfloat16_bits(values, mode)
    if mode == "rn" or type_.dtype == np.float64:
        return values.astype(type_.dtype)
    return _directed(values, type_.dtype, mode)


def _directed(values: np.ndarray, dtype: np.dtype, mode: str) -> np.ndarray:
    """Rounded toward zero, down, up, or to odd."""
    found = np.asarray(values.astype(dtype))
    back = found.astype(np.float64)
    if mode == "odd":
        beyond = np.abs(back) > np.abs(values)
        found = np.where(beyond, np.nextafter(found, dtype.type(0)), found)
        bits = found.view(f"u{dtype.itemsize}")
        is_lost = (found.astype(np.float64) != values) & ~np.isnan(values)
        return np.where(is_lost, bits | bits.dtype.type(1), bits).view(dtype)
    if mode == "rz":
        return np.where(np.abs(back) > np.abs(values), np.nextafter(found, dtype.type(0)), found)
    toward = dtype.type(-np.inf if mode == "rm" else np.inf)
    beyond = back > values if mode == "rm" else back < values
    return np.where(beyond, np.nextafter(found, toward), found)


def flushed(values: np.ndarray) -> np.ndarray:
    """float32 with subnormal numbers made zeros of their sign: `.ftz`."""
    is_small = np.abs(values) < np.float32(1.1754944e-38)
    return np.where(is_small, np.copysign(np.float32(0), values), values)
