"""Images sampled at computed positions: BilinearSampler, GridGenerator, SpatialTransformer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

from symc.core.errors import ShapeError
from symc.core.shapes import Shape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, check_rank, op, param
from symc.loopir.expr import Axis, Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering, Tensor
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.composite import Composite
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import Term, flows
from symc.ops.rules.windows import Position
from symc.ops.shape.creation import Creation


class Corner(NamedTuple):
    """One of the four pixels around a position: where (inside the image), its weights, and whether it exists."""

    row: Expr
    column: Expr
    down: Expr  # weight along the height
    right: Expr  # weight along the width
    row_slope: float  # d down / d y
    column_slope: float  # d right / d x
    inside: Expr


def corners(grid: Tensor, n: Position, h: Position, w: Position, height: int, width: int) -> list[Corner]:
    """The pixels around grid[n, :, h, w] = (x, y), where -1 and 1 are the centres of the outermost pixels."""
    x = (grid(n, 0, h, w) + 1) * number((width - 1) / 2, grid.dtype)
    y = (grid(n, 1, h, w) + 1) * number((height - 1) / 2, grid.dtype)
    left, top = prim("floor", x), prim("floor", y)
    found = []
    for down in (0, 1):
        for right in (0, 1):
            row, column = cast(top, "int64") + down, cast(left, "int64") + right
            checks = [row >= 0, row < height, column >= 0, column < width]
            found.append(
                Corner(
                    clamped(row, height),
                    clamped(column, width),
                    y - top if down else 1 - (y - top),
                    x - left if right else 1 - (x - left),
                    1.0 if down else -1.0,
                    1.0 if right else -1.0,
                    reduce(lambda a, b: prim("and", a, b), checks),
                )
            )
    return found


def clamped(position: Expr, extent: int) -> Expr:
    """The nearest position that exists."""
    return prim("maximum", prim("minimum", position, extent - 1), 0)


@op("BilinearSampler")
class BilinearSampler(Op):
    """data (N, C, H, W) interpolated at grid (N, 2, h, w), which holds x and y in [-1, 1] -> (N, C, h, w).

    Pixels outside count as 0.  MXNet operator BilinearSampler.
    """

    arguments = ("data", "grid")
    needs_elements = ("data",)

    cudnn_off: bool | None = param(None, doc="ignored")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, grid = ins
        check_rank(data, 4, 4, "BilinearSampler: data")
        check_rank(grid, 4, 4, "BilinearSampler: grid")
        if data is not None:
            grid = unify(grid, (data[0], 2, None, None))
        if data is None or grid is None:
            return [data, grid], outs
        return [data, grid], [unify((*data[:2], *grid[2:]), outs[0])]

    def lower(self, t: Lowering) -> None:
        data, grid = t.ins

        def element(n: IndexLike, c: IndexLike, h: IndexLike, w: IndexLike) -> Expr:
            found = [
                select(p.inside, data(n, c, p.row, p.column), 0) * (p.down * p.right)
                for p in corners(grid, n, h, w, *data.shape[2:])
            ]
            return reduce(lambda a, b: a + b, found)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [
            g("_bilinear_sampler_data_gradient", flows(dy), x[1], shape=g.shape(x[0])),
            g("_bilinear_sampler_grid_gradient", flows(dy), *x),
        ]


@op("_bilinear_sampler_data_gradient")
class BilinearSamplerDataGradient(Accumulating):
    """dy (N, C, h, w) given back to the pixels it was interpolated from, corner after corner."""

    arguments = ("dy", "grid")
    is_internal = True

    shape: tuple[int, ...] = param(doc="shape of the data")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [self.shape]

    def lower(self, t: Lowering) -> None:
        dy, grid = t.ins

        def corner(k: int, n: IndexLike, h: IndexLike, w: IndexLike) -> Corner:
            return corners(grid, n, h, w, *self.shape[2:])[k]

        def value(k: int, n: IndexLike, c: IndexLike, h: IndexLike, w: IndexLike) -> Expr:
            p = corner(k, n, h, w)
            return select(p.inside, dy(n, c, h, w) * (p.down * p.right), 0)

        t.region(self.shape, lambda *i: i, lambda *i: const(0, dy.dtype))
        for k in range(4):
            t.region(
                dy.shape,
                lambda n, c, h, w, k=k: (n, c, corner(k, n, h, w).row, corner(k, n, h, w).column),
                lambda n, c, h, w, k=k: value(k, n, c, h, w),
                mode="add",
            )

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [
            g("BilinearSampler", flows(dy), x[1]),
            g("_bilinear_sampler_grid_gradient", x[0], flows(dy), x[1]),
        ]


@op("_bilinear_sampler_grid_gradient")
class BilinearSamplerGridGradient(Op):
    """How the interpolated values change with x and y, weighted by dy: the grid's shape (N, 2, h, w)."""

    arguments = ("dy", "data", "grid")
    is_internal = True

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[2]]

    def lower(self, t: Lowering) -> None:
        dy, data, grid = t.ins
        height, width = data.shape[2:]

        def slope(axis: int, n: IndexLike, h: IndexLike, w: IndexLike) -> Expr:
            around = corners(grid, n, h, w, height, width)

            def channel(c: Axis) -> Expr:
                found = [
                    select(p.inside, data(n, c, p.row, p.column), 0)
                    * (p.down * p.column_slope if axis == 0 else p.right * p.row_slope)
                    for p in around
                ]
                return dy(n, c, h, w) * reduce(lambda a, b: a + b, found)

            return t.reduce("sum", (data.shape[1],), channel) * number(((width, height)[axis] - 1) / 2, dy.dtype)

        for axis in (0, 1):
            t.region(
                (grid.shape[0], *grid.shape[2:]),
                lambda n, h, w, axis=axis: (n, axis, h, w),
                lambda n, h, w, axis=axis: slope(axis, n, h, w),
            )


@op("_target_grid")
class TargetGrid(Creation):
    """(3, h, w): x and y of every pixel from -1 to 1, and 1."""

    is_internal = True

    size: tuple[int, ...] = param(doc="height and width")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return [], [(3, *self.size)]

    def lower(self, t: Lowering) -> None:
        height, width = self.size
        dtype = t.out_dtype()

        def element(k: IndexLike, h: IndexLike, w: IndexLike) -> Expr:
            x, y = (
                cast(index_value(i), dtype) * number(2 / (n - 1) if n > 1 else 0.0, dtype) - 1
                for i, n in ((w, width), (h, height))
            )
            component = index_value(k)
            return select(prim("eq", component, 0), x, select(prim("eq", component, 1), y, const(1, dtype)))

        t.map(element)


@op("GridGenerator")
class GridGenerator(Composite):
    """The grid of a BilinearSampler, (N, 2, h, w).

    affine: data (N, 6) holds matrices that map (x, y, 1) of the target's pixels; warp: data (N, 2, h, w) holds how many
    pixels each one moves.  MXNet operator GridGenerator.
    """

    transform_type: str = param(choices=("affine", "warp"), doc="what the data holds")
    target_shape: tuple[int, ...] = param((0, 0), doc="height and width of the grid, for affine")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if self.transform_type == "warp":
            data = unify(data, outs[0])
            check_rank(data, 4, 4, "GridGenerator: data")
            return [data], [None if data is None else unify(data, (data[0], 2, None, None))]
        if len(self.target_shape) != 2 or min(self.target_shape) < 1:
            raise ShapeError(f"GridGenerator: target_shape {self.target_shape} must be two positive numbers")
        check_rank(data, 2, 2, "GridGenerator: data")
        n = data[0] if data is not None else None if outs[0] is None else outs[0][0]
        return [unify(data, (n, 6))], [unify((n, 2, *self.target_shape), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        (data,) = x
        if self.transform_type == "affine":
            return [affine_grid(data, self.target_shape)]
        h, w = data.shape[2:]
        flow = [data("slice_axis", axis=1, begin=k, end=k + 1) for k in (0, 1)]
        steps = [f * (2 / (extent - 1)) for f, extent in zip(flow, (w, h))]
        home = target_grid(data, (h, w))("slice_axis", axis=1, begin=0, end=2)
        return [steps[0]("Concat", steps[1], num_args=2, dim=1) + home]


def target_grid(like: Term, size: Shape) -> Term:
    """x, y and 1 of every pixel, (1, 3, h, w)."""
    grid = Term(like.g, like.g("_target_grid", size=size, dtype=like.dtype))
    return grid.reshape((1, *grid.shape))


def affine_grid(matrices: Term, size: tuple[int, ...]) -> Term:
    """Matrices (N, 6) applied to the target's pixels: (N, 2, h, w)."""
    n, (h, w) = matrices.shape[0], size
    return matrices.reshape((n * 2, 3))("dot", target_grid(matrices, size).reshape((3, h * w))).reshape((n, 2, h, w))


@op("SpatialTransformer")
class SpatialTransformer(Composite):
    """data (N, C, H, W) sampled at the grid that affine matrices loc (N, 6) give -> (N, C, *target_shape).

    MXNet operator SpatialTransformer.
    """

    arguments = ("data", "loc")
    needs_elements = ("data",)

    target_shape: tuple[int, ...] = param((0, 0), doc="height and width of the output")
    transform_type: str = param(choices=("affine",), doc="how the grid is made")
    sampler_type: str = param(choices=("bilinear",), doc="how pixels are interpolated")
    cudnn_off: bool | None = param(None, doc="ignored")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, loc = ins
        check_rank(data, 4, 4, "SpatialTransformer: data")
        if len(self.target_shape) != 2 or min(self.target_shape) < 1:
            raise ShapeError(f"SpatialTransformer: target_shape {self.target_shape} must be two positive numbers")
        if data is None:
            return ins, outs
        return [data, unify(loc, (data[0], 6))], [unify((*data[:2], *self.target_shape), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        data, loc = x
        return [data("BilinearSampler", affine_grid(loc, self.target_shape))]
