"""Shapes that rules derive from shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, Shape, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op


def result_shape(rule: Op, g: GraphBuilder, x: Sequence[Value]) -> FullShape:
    """The shape of an operator's first output on given inputs."""
    _, outs = rule.infer_shape([g.shape(v) for v in x], [None] * len(rule.result_names()))
    return outs[0]  # type: ignore[return-value]


def unify_all(shapes: Sequence[Shape | None]) -> Shape | None:
    """The one shape that all given shapes are partial views of; raises ShapeError on contradiction."""
    found: Shape | None = None
    for s in shapes:
        found = unify(found, s)
    return found


def broadcast_shape(a: Shape, b: Shape) -> Shape:
    """The shape two partial shapes broadcast to; raises ShapeError when they do not fit."""
    rank = max(len(a), len(b))
    pairs = list(zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b))
    if any(None not in (m, n) and m != n and 1 not in (m, n) for m, n in pairs):
        raise ShapeError(f"operands could not be broadcast together with shapes {mx_text(a)} {mx_text(b)}")
    return tuple(n if m == 1 or (m is None and n != 1) else m for m, n in pairs)


def kept_shape(shape: Shape, axes: Sequence[int]) -> Any:
    """The shape with some axes reduced to extent 1."""
    return tuple(1 if a in axes else n for a, n in enumerate(shape))
