"""Operators that make constants and sequences; all are functions of the index and fuse into their users."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from symc.core.errors import ShapeError
from symc.core.shapes import Shape, from_mxnet, from_numpy_style, normalize_axis, size_of, unify
from symc.ir.op import DTypes, Op, Shapes, declares_parameters, op, param
from symc.loopir.expr import Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.math.elementwise import CAST_DTYPES
from symc.ops.rules.elementwise import Elementwise
from symc.ops.rules.numbers import number

from .reshape import flat_index

NUMBER_DTYPES = tuple(d for d in CAST_DTYPES if d != "bool")


@declares_parameters
class Creation(Elementwise):
    """An output that depends on no input."""

    arguments = ()
    ctx: str = param("", doc="context; ignored: the executor decides")
    dtype: str = param("float32", choices=CAST_DTYPES, dtype=True, doc="dtype of the output")

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return [], [self.dtype]


@declares_parameters
class Constant(Creation):
    """One number everywhere; extents of 0 in `shape` are inferred from the users, unless a pass made it."""

    shape: tuple[int, ...] = param((), doc="shape of the output; 0 is unknown")
    is_exact: bool = False

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        read = from_numpy_style if self.is_internal or self.is_exact else from_mxnet
        return [], [unify(read(self.shape), outs[0])]

    def fill(self, dtype: str) -> Expr:
        """The number as an expression."""
        raise NotImplementedError

    def lower(self, t: Lowering) -> None:
        t.map(lambda *i: self.fill(t.out_dtype()))


@op("_zeros")
class Zeros(Constant):
    """Zeros.  MXNet operator _zeros."""

    parameter_order = ("shape", "ctx", "dtype")

    def fill(self, dtype: str) -> Expr:
        return const(0, dtype)


@op("_zeros_without_dtype")
class ZerosWithoutDtype(Zeros):
    """Zeros of float32 where no dtype is given.  MXNet operator _zeros_without_dtype."""

    dtype: str | None = param(None, choices=CAST_DTYPES, dtype=True, doc="dtype of the output; None or -1: float32")

    @classmethod
    def create(cls, given: Mapping[str, Any]) -> Op:
        """MXNet writes -1 for no dtype."""
        return super().create({k: v for k, v in given.items() if k != "dtype" or str(v) != "-1"})

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return [], [self.dtype or "float32"]


@op("_ones")
class Ones(Constant):
    """Ones.  MXNet operator _ones."""

    parameter_order = ("shape", "ctx", "dtype")

    def fill(self, dtype: str) -> Expr:
        return const(1, dtype)


@op("_full", aliases=("_npi_full",))
class Full(Constant):
    """`value` everywhere.  MXNet operator _full."""

    parameter_order = ("shape", "ctx", "dtype", "value")

    value: float = param(doc="the number")

    def fill(self, dtype: str) -> Expr:
        return number(self.value, dtype)


@op("_exactly_full")
class ExactlyFull(Full):
    """`value` everywhere in just this shape: () is a scalar, 0 an extent."""

    is_internal = True


@op("_eye")
class Eye(Creation):
    """(N, M): 1 on the k-th diagonal, else 0; M = 0 means N.  MXNet operator _eye."""

    parameter_order = ("N", "M", "k", "ctx", "dtype")

    N: int = param(low=1, doc="rows")
    M: int = param(0, low=0, doc="columns; 0 means as many as rows")
    k: int = param(0, doc="diagonal: 0 main, above > 0, below < 0")
    dtype: str = param("float32", choices=NUMBER_DTYPES, dtype=True, doc="dtype of the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return [], [unify((self.N, self.M or self.N), outs[0])]

    def lower(self, t: Lowering) -> None:
        t.map(lambda i, j: cast(prim("eq", index_value(j) - index_value(i), self.k), t.out_dtype()))


def progression(index: IndexLike | Expr, start: float, step: float, repeat: int, dtype: str) -> Expr:
    """start + step * (index // repeat), computed in `dtype`."""
    position = index_value(index)
    if repeat > 1:
        position = prim("floordiv", position, repeat)
    return number(start, dtype) + cast(position, dtype) * number(step, dtype)


@op("_arange")
class Arange(Creation):
    """(n,): start, start + step, ... before stop, each `repeat` times; without stop, 0 up to start.

    With `infer_range`, and no stop, n comes from the users.  MXNet operator _arange.
    """

    parameter_order = ("start", "stop", "step", "repeat", "infer_range", "ctx", "dtype")

    start: float = param(doc="first number")
    stop: float | None = param(None, doc="where the numbers end, not included")
    step: float = param(1.0, doc="distance of two numbers")
    repeat: int = param(1, low=1, doc="how often each number occurs")
    infer_range: bool = param(False, doc="take the length from the users")
    dtype: str = param("float32", choices=NUMBER_DTYPES, dtype=True, doc="dtype of the output")

    def span(self) -> tuple[float, float | None]:
        """First number and end; the end is None when the users decide."""
        if self.stop is None and not self.infer_range:
            return 0.0, self.start
        return self.start, self.stop

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        start, stop = self.span()
        if stop is None:
            return [], outs
        n_steps = (stop - start) / self.step if self.step else 0.0
        if not 0 < n_steps < math.inf:
            raise ShapeError(f"Invalid range (start, stop, step) = ({start}, {stop}, {self.step})")
        return [], [unify((math.ceil(n_steps) * self.repeat,), outs[0])]

    def lower(self, t: Lowering) -> None:
        start, _ = self.span()
        t.map(lambda i: progression(i, start, self.step, self.repeat, t.out_dtype()))


@op("_linspace", aliases=("_npi_linspace",))
class Linspace(Creation):
    """(num,): evenly spaced numbers from start to stop, computed in float64.  MXNet operator _linspace."""

    parameter_order = ("start", "stop", "num", "endpoint", "ctx", "dtype")

    start: float = param(doc="first number")
    stop: float = param(doc="last number, or the one after it without `endpoint`")
    num: int = param(low=1, doc="how many")
    endpoint: bool = param(True, doc="whether stop is the last number")
    dtype: str = param("float32", choices=NUMBER_DTYPES, dtype=True, doc="dtype of the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return [], [unify((self.num,), outs[0])]

    def lower(self, t: Lowering) -> None:
        n_steps = self.num - self.endpoint
        step = (self.stop - self.start) / n_steps if n_steps else 0.0
        t.map(lambda i: cast(progression(i, self.start, step, 1, "float64"), t.out_dtype()))


@op("_contrib_arange_like", aliases=("_npx_arange_like",))
class ArangeLike(Elementwise):
    """start, start + step, ... with as many numbers as data has elements (in its shape) or as one axis is long (1-d).

    MXNet operator _contrib_arange_like.
    """

    start: float = param(0.0, doc="first number")
    step: float = param(1.0, doc="distance of two numbers")
    repeat: int = param(1, low=1, doc="how often each number occurs")
    ctx: str = param("", doc="context; ignored")
    axis: int | None = param(None, doc="the axis whose extent counts; None counts all elements")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (shape,) = ins
        if shape is None:
            return ins, outs
        along = shape if self.axis is None else (shape[normalize_axis(self.axis, len(shape))],)
        return ins, [unify(along, outs[0])]

    def lower(self, t: Lowering) -> None:
        shape = t.out_shapes[0]
        t.map(lambda *i: progression(flat_index(i, shape), self.start, self.step, self.repeat, t.out_dtype()))


# -- shapes as data -------------------------------------------------------------------------------------------------


@declares_parameters
class ShapeData(Elementwise):
    """int64 numbers that the data's shape decides; its elements are not read."""

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, ["int64"]

    def out_shape(self, data: Shape) -> Shape:
        """The shape of the output."""
        raise NotImplementedError

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, outs if ins[0] is None else [unify(self.out_shape(ins[0]), outs[0])]


@op("shape_array", aliases=("_npx_shape_array",))
class ShapeArray(ShapeData):
    """The data's shape.  MXNet operator shape_array."""

    def out_shape(self, data: Shape) -> Shape:
        return (len(data),)

    def lower(self, t: Lowering) -> None:
        shape = t.ins[0].shape

        def element(i: IndexLike) -> Expr:
            found = number(0, "int64")
            for axis, extent in enumerate(shape):
                found = select(prim("eq", index_value(i), axis), number(extent, "int64"), found)
            return found

        t.map(element)


@op("size_array")
class SizeArray(ShapeData):
    """The number of the data's elements.  MXNet operator size_array."""

    def out_shape(self, data: Shape) -> Shape:
        return (1,)

    def lower(self, t: Lowering) -> None:
        size = size_of(t.ins[0].shape)
        t.map(lambda *i: number(size, "int64"))


@op("_contrib_index_array")
class IndexArray(ShapeData):
    """The index of every element: (*shape, rank), or its components along some axes.

    MXNet operator _contrib_index_array.
    """

    axes: tuple[int, ...] | None = param(None, doc="which components; None gives all")

    def components(self, rank: int) -> tuple[int, ...]:
        """The axes whose components are given."""
        return tuple(range(rank)) if self.axes is None else tuple(normalize_axis(a, rank) for a in self.axes)

    def out_shape(self, data: Shape) -> Shape:
        return (*data, len(self.components(len(data))))

    def lower(self, t: Lowering) -> None:
        axes = self.components(t.ins[0].rank)

        def element(*i: IndexLike) -> Expr:
            found = index_value(i[axes[0]] if axes else 0)
            for k, axis in enumerate(axes[1:], 1):
                found = select(prim("eq", index_value(i[-1]), k), index_value(i[axis]), found)
            return found

        t.map(element)
