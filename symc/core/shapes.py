"""Partial shapes and their unification.

A shape is a tuple of extents; an extent that is not known yet is None, and a shape of unknown rank is None.  MXNet's
"0 means unknown" exists only at the edge (`from_mxnet`, `to_mxnet`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from .errors import ShapeError

MAX_ELEMENTS = 2**40  # of one tensor: 4 TiB of float32; beyond it is a mistake, and offsets might overflow
MAX_AXES = 64  # NumPy's

Shape = tuple[int | None, ...]
FullShape = tuple[int, ...]


def require_axes(shape: Sequence[object]) -> None:
    """Raises ShapeError for more axes than an array can have."""
    if len(shape) > MAX_AXES:
        raise ShapeError(f"a shape of {len(shape)} axes; arrays have at most {MAX_AXES}")


def from_mxnet(shape: Iterable[int] | int | None) -> Shape | None:
    """Translates MXNet's notation: 0 or -1 is an unknown extent, () is an unknown shape."""
    if shape is None:
        return None
    extents = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    return tuple(None if n in (0, -1) else n for n in extents) or None


def to_mxnet(shape: Shape | None) -> FullShape:
    """The inverse of `from_mxnet`: unknown extents become 0, an unknown shape ()."""
    return () if shape is None else tuple(0 if n is None else n for n in shape)


def from_numpy_style(shape: Iterable[int] | None) -> Shape | None:
    """Translates the notation of `np_shape`: -1 is an unknown extent, None an unknown shape, () a scalar."""
    return None if shape is None else tuple(None if n == -1 else int(n) for n in shape)


def to_numpy_style(shape: Shape | None) -> FullShape | None:
    """The inverse of `from_numpy_style`."""
    return None if shape is None else tuple(-1 if n is None else n for n in shape)


def is_known(shape: Shape | None) -> bool:
    """Whether rank and every extent are known."""
    return shape is not None and None not in shape


def is_empty(shape: Shape | None) -> bool:
    """Whether an extent is known to be 0."""
    return shape is not None and 0 in shape


def unify_extent(a: int | None, b: int | None, what: str = "extent") -> int | None:
    """The more precise of two extents; raises ShapeError when both are known and differ."""
    if a is None:
        return b
    if b is not None and a != b:
        raise ShapeError(f"{what}: {a} against {b}")
    return a


def unify(a: Shape | None, b: Shape | None) -> Shape | None:
    """The more precise of two shapes, extent by extent; raises ShapeError on contradiction."""
    if a is None or b is None:
        return b if a is None else a
    if len(a) != len(b):
        raise ShapeError(f"Shape inconsistent, {mx_text(a)} against {mx_text(b)}")
    if any(m is not None and n is not None and m != n for m, n in zip(a, b)):
        raise ShapeError(f"Shape inconsistent, Provided = {mx_text(a)}, inferred shape=({mx_text(b)[1:-1]})")
    return tuple(n if m is None else m for m, n in zip(a, b))


def mx_text(shape: Shape | None) -> str:
    """A shape as MXNet prints it in errors: [2,-1,3], where -1 is an unknown extent; None for an unknown rank."""
    return "None" if shape is None else "[" + ",".join("-1" if n is None else str(n) for n in shape) + "]"


def size_of(shape: FullShape) -> int:
    """Number of elements."""
    return prod(shape)


def row_major_strides(shape: FullShape) -> tuple[int, ...]:
    """Strides in elements of a dense row-major array."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


def normalize_axis(axis: int, rank: int) -> int:
    """A non-negative axis; raises ShapeError when it does not exist."""
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} does not exist in a shape of {rank} dimensions")
    return axis % rank
