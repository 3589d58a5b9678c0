"""MXNet's reshape codes: 0 copies a dimension, -1 is inferred, -2 copies the rest, -3 merges two, -4 splits one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from symc.core.errors import ArgumentError


def infer_reshape(shape: Sequence[int], target: Sequence[int], reverse: bool = False) -> tuple[int, ...]:
    """The shape that `target`'s codes mean for an array of `shape`.

        (2, 3, 4), (4, 0, 2)         -> (4, 3, 2)
        (2, 3, 4), (6, 1, -1)        -> (6, 1, 4)
        (2, 3, 4), (2, -2)           -> (2, 3, 4)
        (2, 3, 4), (-3, 4)           -> (6, 4)
        (2, 3, 4), (-4, 1, 2, -2)    -> (1, 2, 3, 4)
        (10, 5, 4), (-1, 0), reverse -> (50, 4)      matched from the right

    Raises ArgumentError when the codes do not fit the shape or the number of elements would change.
    """
    fail = f"cannot reshape array of size {math.prod(shape)} and shape {tuple(shape)} into shape {tuple(target)}: "
    order = -1 if reverse else 1
    decoded = _decode(list(shape)[::order], list(target)[::order], fail)
    return _fill_inferred(math.prod(shape), decoded, fail)[::order]


def _decode(sizes: list[int], codes: list[int], fail: str) -> list[int]:
    """The target with every code but -1 replaced by sizes."""
    result: list[int] = []
    at = 0

    def take(n: int) -> list[int]:
        nonlocal at
        at += n
        if at > len(sizes):
            raise ArgumentError(f"{fail}it uses {at} dimensions of {len(sizes)}")
        return sizes[at - n : at]

    while codes:
        code = codes.pop(0)
        if code > 0 or code == -1:
            result.append(code)
            at += 1
        elif code == 0:
            result += take(1)
        elif code == -2:
            result += sizes[at:]
            at = len(sizes)
        elif code == -3:
            result.append(math.prod(take(2)))
        elif code == -4 and len(codes) >= 2:
            result += _split(take(1)[0], codes.pop(0), codes.pop(0), fail)
        else:
            raise ArgumentError(f"{fail}-4 needs two numbers after it" if code == -4 else f"{fail}unknown code {code}")
    return result


def _split(size: int, first: int, second: int, fail: str) -> tuple[int, int]:
    """`size` as two factors, one of which may be -1."""
    if first == -1 and second > 0:
        first = size // second
    elif second == -1 and first > 0:
        second = size // first
    if first < 0 or second < 0 or first * second != size:
        raise ArgumentError(f"{fail}dimension {size} does not split into ({first}, {second})")
    return first, second


def _fill_inferred(n_elements: int, result: list[int], fail: str) -> tuple[int, ...]:
    """`result` with its -1 replaced by what is left of `n_elements`."""
    if result.count(-1) > 1:
        raise ArgumentError(f"{fail}only one dimension can be inferred")
    if -1 in result:
        known = math.prod(size for size in result if size != -1)
        result[result.index(-1)] = n_elements // known if known else 0
    if math.prod(result) != n_elements:
        raise ArgumentError(f"{fail}it has {math.prod(result)} elements")
    return tuple(result)
