"""Points the kernels of a call at its arrays, when these are what is expected.

Asking NumPy for an array's dtype, shape, flags and address takes 1 us, as long as a small kernel runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from symc.runtime.cpu.operands import can_be_read, pointing_natively

from .operands import NO_SLOT, Exactly, Expected, Point


def pointing(bufs: np.ndarray, expected: Expected) -> Point:
    """A function of a list that has as many objects as are expected: whether it holds just these.

    Then the words of `bufs` at the operands' slots are the addresses of its arrays; else some of them may be.
    """
    return pointing_natively(bufs, expected) if can_be_read() else pointing_in_python(bufs, expected)


def pointing_in_python(bufs: np.ndarray, expected: Expected) -> Point:
    """The same by NumPy's own words, for a Python that keeps its objects otherwise; 1 us an array."""

    def point(objects: list[Any]) -> bool:
        for x, given in zip(expected, objects):
            if isinstance(x, Exactly):
                if given is not x.what:
                    return False
                continue
            if type(given) is not np.ndarray or given.dtype != x.dtype or given.shape != x.shape:
                return False
            if not (given.flags.c_contiguous and given.flags.aligned):
                return False
            if x.slot != NO_SLOT:
                bufs[x.slot] = given.ctypes.data
        return True

    return point
