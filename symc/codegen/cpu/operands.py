"""The native function that looks at the arrays of a call, and runs it. Functions over words, never run as Python."""

# mypy: ignore-errors
# (what follows is typed by `lowering`: the arguments point to int64)
from __future__ import annotations

from typing import Any

from . import python_abi as abi
from .atomics import address_of, call_function, result_of, words
from .lowering import Inner
from .runner_abi import CALL_STATE


def call(owner: Any, objects: Any) -> Any:
    """A method of Python's with one argument, a list: looks at its objects, and when all fit runs what is to be run.

    To be called with the GIL; a run leaves it to others.
    """
    table = words(words(words(owner[abi.LIST_ITEMS])[0])[abi.DATA])
    outcome = table[abi.MISFIT]
    if count_misfits(address_of(table), address_of(objects)) == 0:
        outcome = table[abi.DONE]
        record = table[abi.RECORD]
        if record != 0:
            thread = result_of(table[abi.SAVE])
            call_function(table[abi.RUN], record)
            call_function(table[abi.RESTORE], thread)
            if words(record)[CALL_STATE] != 0:
                outcome = table[abi.UNFINISHED]
    words(outcome)[abi.COUNT] += 1
    return outcome


@Inner
def count_misfits(at: Any, objects: Any) -> Any:
    """Writes the addresses of a list's arrays to their slots; how many objects are not what is expected."""
    table = words(at)
    items = words(words(objects)[abi.LIST_ITEMS])
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
    return n_misfits


@Inner
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
