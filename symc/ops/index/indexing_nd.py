"""Reading and writing at coordinates: gather_nd, scatter_nd, index_copy, and coordinates against flat positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, Shape, is_empty, is_known, mx_text, row_major_strides, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.expr import Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering, Tensor
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.terms import Term, flows

from .indexing import n_outside


def coordinates(indices: Tensor, at: Sequence[IndexLike], shape: FullShape) -> list[Expr]:
    """The leading components that indices (M, *points) hold for a point, inside an array of `shape`.

    Fractions truncate, negative numbers count from the end; MXNet raises an error beyond, here the nearest counts.
    """
    found = []
    for k in range(indices.shape[0]):
        whole, extent = cast(indices(k, *at), "int64"), shape[k]
        counted = select(whole < 0, whole + extent, whole)
        found.append(prim("minimum", prim("maximum", counted, 0), extent - 1))
    return found


def points_shape(indices: Shape | None, array: Shape | None, what: str) -> Shape | None:
    """The shape (*points, *rest) of the parts of an array at indices (M, *points); None when it is not known."""
    if indices is None:
        return None
    if len(indices) < 2:
        raise ShapeError(f"{what} requires index tensor to have at least 2 dimensions, got {mx_text(indices)}")
    if array is None or indices[0] is None:
        return None
    if indices[0] > len(array):
        raise ShapeError(f"{what}: Number of indices exceeds data dimension: {mx_text(indices)} for {mx_text(array)}")
    return (*indices[1:], *array[indices[0] :])


def _require_target(array: Shape | None, parts: Shape | None, what: str) -> None:
    """Raises ShapeError where parts with elements are written into an array that has no place for them."""
    if is_empty(array) and is_known(parts) and not is_empty(parts):
        raise ShapeError(f"{what}: there is no position for {mx_text(parts)} in an array of shape {mx_text(array)}")


@op("gather_nd", aliases=("_npi_gather_nd", "_npx_gather_nd"))
class GatherND(Op):
    """data at coordinates: data (*lead, *rest), indices (M, *points) -> (*points, *rest); lead has M axes.

    Source: MXNet operator gather_nd.
    """

    arguments = ("data", "indices")
    needs_elements = ("data",)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [unify(points_shape(ins[1], ins[0], "gather_nd"), outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, ins[1]], [dtype]

    def lower(self, t: Lowering) -> None:
        data, indices = t.ins
        n = indices.rank - 1
        t.map(lambda *i: data(*coordinates(indices, i[:n], data.shape), *i[n:]))

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        shape, indices = g.shape(x[0]), Term(g, x[1])
        rows = [indices("slice_axis", axis=0, begin=k, end=k + 1) for k in range(indices.shape[0])]
        found = [n_outside(row("trunc"), -n, n - 1).value for row, n in zip(rows, shape)]
        text = f"gather_nd: index out of bounds for data of shape {mx_text(shape)}"
        return [(text, g.add(found))] if found else []

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("_accumulate_nd", flows(dy), x[1], shape=g.shape(x[0])), None]


@declares_parameters
class IntoZeros(Op):
    """Zeros of `shape` with data (*points, *rest) written at indices (M, *points), point after point."""

    arguments = ("data", "indices")
    mode: ClassVar[Literal["set", "add"]]

    shape: tuple[int, ...] = param(doc="shape of the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, indices = ins
        points = points_shape(indices, self.shape, self.name)
        try:
            data = unify(data, points)
        except ShapeError:
            raise ShapeError(
                f"Invalid data, indices, and output shape combination for {self.name}: "
                f"{mx_text(data)}, {mx_text(indices)}, {mx_text(self.shape)}"
            ) from None
        _require_target(self.shape, data, self.name)
        return [data, indices], [unify(self.shape, outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], outs[0]))
        return [dtype, ins[1]], [dtype]

    def lower(self, t: Lowering) -> None:
        data, indices = t.ins
        t.region(self.shape, lambda *i: i, lambda *i: const(0, data.dtype))
        write(t, data, indices, self.mode)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("gather_nd", flows(dy), x[1]), None]


def write(t: Lowering, data: Tensor, indices: Tensor, mode: str) -> None:
    """Puts data (*points, *rest) into the output at indices (M, *points), in the order of the points."""
    n, shape = indices.rank - 1, t.out_shapes[0]
    t.region(data.shape, lambda *i: (*coordinates(indices, i[:n], shape), *i[n:]), data, mode=mode)


@op("scatter_nd")
class ScatterND(IntoZeros):
    """Zeros of `shape` with data at coordinates; of equal coordinates the last counts.  MXNet operator scatter_nd."""

    mode = "set"


@op("_accumulate_nd")
class AccumulateND(Accumulating, IntoZeros):
    """As scatter_nd, but what has equal coordinates is added: the adjoint of gather_nd."""

    is_internal = True
    mode = "add"


@op("_scatter_set_nd", aliases=("_npi_scatter_set_nd",))
class ScatterSetND(Op):
    """lhs with rhs (*points, *rest) at indices (M, *points); of equal coordinates the last counts.

    Source: MXNet operator _scatter_set_nd, which writes into lhs.
    """

    arguments = ("lhs", "rhs", "indices")
    is_differentiable = False

    shape: tuple[int, ...] = param(doc="shape of lhs")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        lhs = unify(unify(ins[0], self.shape), outs[0])
        rhs = unify(ins[1], points_shape(ins[2], lhs, self.name))
        _require_target(lhs, rhs, self.name)
        return [lhs, rhs, ins[2]], [lhs]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((*ins[:2], *outs))
        return [dtype, dtype, ins[2]], [dtype]

    def lower(self, t: Lowering) -> None:
        lhs, rhs, indices = t.ins
        t.region(lhs.shape, lambda *i: i, lhs)
        write(t, rhs, indices, "set")


@op("_contrib_index_copy")
class IndexCopy(Op):
    """old_tensor (N, *rest) with the rows numbered by index_vector (M,) replaced by those of new_tensor (M, *rest).

    Of equal numbers the last counts; numbers clip.  Source: MXNet operator _contrib_index_copy.
    """

    arguments = ("old_tensor", "index_vector", "new_tensor")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        old, index, new = ins
        old = unify(old, outs[0])
        check_rank(index, 1, 1, "index_copy: index_vector")
        if old is not None:
            new = unify(new, ((index or (None,))[0], *old[1:]))
        if new is not None:
            index = unify(index, new[:1])
        _require_target(old, new, self.name)
        return [old, index, new], [old]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((ins[0], ins[2], *outs))
        return [dtype, ins[1], dtype], [dtype]

    def lower(self, t: Lowering) -> None:
        old, index, new = t.ins
        t.region(old.shape, lambda *i: i, old)
        t.region(new.shape, lambda *i: (*coordinates_of_row(index, i[0], old.shape[0]), *i[1:]), new)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        kept = g("_contrib_index_copy", flows(dy), x[1], g.like(x[2], 0))
        return [kept, None, g("take", flows(dy), x[1], axis=0, mode="clip")]


def coordinates_of_row(index: Tensor, at: IndexLike, n_rows: int) -> list[Expr]:
    """The row that an index vector names."""
    return [prim("minimum", prim("maximum", cast(index(at), "int64"), 0), n_rows - 1)]


@declares_parameters
class FlatPositions(Op):
    """Between flat row-major positions (N,) in an array of `shape` and coordinates (rank, N); gradient 0."""

    shape: tuple[int, ...] = param((), doc="the array's shape; the first extent may be -1")

    def strides(self) -> tuple[int, ...]:
        """The distance of neighbours along each axis."""
        if not self.shape:
            raise ShapeError(f"{self.name}: Empty shape parameter")
        return row_major_strides(self.shape)


@op("_ravel_multi_index", aliases=("ravel_multi_index",))
class RavelMultiIndex(FlatPositions):
    """Flat positions of coordinates (rank, N) -> (N,).  MXNet operator _ravel_multi_index."""

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        check_rank(ins[0], 2, 2, "Input to ravel operator")
        rank, (out,) = len(self.strides()), outs
        if ins[0] is not None and ins[0][0] not in (None, rank):
            raise ShapeError(
                f"First dimension of input of ravel operator does not match shape parameter dimension: {ins[0][0]}, "
                f"shape {mx_text(self.shape)}"
            )
        data = unify(ins[0], (rank, None if out is None else out[0]))
        return [data], [unify(out, data[1:] if data else None)]

    def lower(self, t: Lowering) -> None:
        data, strides = t.ins[0], self.strides()

        def element(i: IndexLike) -> Expr:
            total = const(0, "int64")
            for k, stride in enumerate(strides):
                total = total + cast(data(k, i), "int64") * stride
            return cast(total, t.out_dtype())

        t.map(element)


@op("_unravel_index", aliases=("unravel_index",))
class UnravelIndex(FlatPositions):
    """Coordinates of flat positions (N,) -> (rank, N); the first is not limited.  MXNet operator _unravel_index.

    symc also takes positions of other ranks: (*points) -> (rank, *points).
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        rank, (data,) = len(self.strides()), ins
        if outs[0] is not None:
            data = unify(data, outs[0][1:])
        return [data], [outs[0] if data is None else unify((rank, *data), outs[0])]

    def lower(self, t: Lowering) -> None:
        data, extents = t.ins[0], self.shape

        def element(axis: IndexLike, *i: IndexLike) -> Expr:
            rest = cast(data(*i), "int64")
            found = rest
            for k in reversed(range(len(extents))):
                here = rest if k == 0 else rest - prim("div", rest, extents[k]) * extents[k]
                found = here if k == len(extents) - 1 else select(prim("eq", index_value(axis), k), here, found)
                rest = prim("div", rest, extents[k]) if k else rest
            return cast(found, t.out_dtype())

        t.map(element)
