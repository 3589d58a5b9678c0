"""Numbers that vary: `x - number`, with another number at nearly every call, runs as `x - array`.

An operator's parameters belong to what is prepared for it, and to the graph of gradients of a recording. A script that
reads a number from an array and computes with it (`x - x.max().asscalar()`), or anneals the weight of a loss, would
have both prepared anew at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from symc.core.bounded import BoundedCache
from symc.ir.op import Op, lookup
from symc.ops.rules.elementwise import Scalar

from .ndarray import NDArray
from .storage import empty_aligned

# Numbers for which an operator is prepared, before it is thought to vary. A number that is part of a kernel costs no
# load, and may be one that changes nothing.
SEVERAL = 8

_met: BoundedCache[tuple, int] = BoundedCache(1024)  # how many numbers, by operator, shape and dtype of the array


def note(op: Op, inputs: Sequence[NDArray]) -> None:
    """Counts an operator that is about to be prepared for its number."""
    if isinstance(op, Scalar):
        key = _key(op, inputs[0])
        _met.put(key, (_met.get(key) or 0) + 1)


def as_arrays(op: Op, inputs: Sequence[NDArray]) -> tuple[Op, list[NDArray]] | None:
    """The operator of two arrays that does the same, and these; None where the number does not vary.

    Of floats alone: what an integer array makes of a number is another matter.
    """
    if not isinstance(op, Scalar) or inputs[0]._dtype.kind != "f" or (_met.get(_key(op, inputs[0])) or 0) < SEVERAL:
        return None
    array = inputs[0]
    number = empty_aligned((1,) * len(array._shape), array._dtype)
    with np.errstate(over="ignore"):
        number.fill(op.scalar)
    operands = [array, NDArray._over(number, array._context)]
    return _form(op.of_arrays), operands[::-1] if op.is_reversed else operands


@cache
def _form(name: str) -> Op:
    found = lookup(name)
    assert found is not None
    return found()


def _key(op: Op, array: NDArray) -> tuple:
    return op.name, array._shape, array._dtype.num
