"""The native function that looks at the arrays of a call. Compiled by numba, never run as Python."""

# mypy: ignore-errors
# (what follows is typed by numba: the arguments point to int64)
from __future__ import annotations

from typing import Any

from . import python_abi as abi
from .atomics import words
from .compile import inner


def point(table: Any, objects: Any) -> None:
    """Writes the addresses of a list's arrays to their slots, and counts the objects that are not what is expected.

    To be called with the GIL.
    """
    items = words(objects[abi.LIST_ITEMS])
    slots = words(table[abi.BUFS])
    n_misfits = 0
    for k in range(table[abi.N_OBJECTS]):
        row = abi.TABLE_WORDS + k * abi.ROW_WORDS
        if table[row + abi.RANK] < 0:
            n_misfits += items[k] != table[row + abi.EXPECTED]
            continue
        array = words(items[k])
        if array[abi.TYPE] != table[row + abi.EXPECTED] or not is_as_expected(array, table, row):
            n_misfits += 1
        elif table[row + abi.SLOT] >= 0:
            slots[table[row + abi.SLOT]] = array[abi.DATA]
    table[abi.MISFITS] = n_misfits


@inner
def is_as_expected(array: Any, table: Any, row: Any) -> Any:
    """Whether an array is dense and has the dtype and shape of a row."""
    rank = table[row + abi.RANK]
    if array[abi.NDIM] & abi.LOW_HALF != rank or array[abi.FLAGS] & abi.DENSE != abi.DENSE:
        return False
    if words(array[abi.DTYPE])[abi.ELEMENT] != table[row + abi.ROW_ELEMENT]:
        return False
    shape, expected = words(array[abi.SHAPE]), words(table[row + abi.EXTENTS])
    n_equal = 0
    for axis in range(rank):
        n_equal += shape[axis] == expected[axis]
    return n_equal == rank
