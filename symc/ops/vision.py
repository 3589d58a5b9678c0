"""Images: resizing, pooling to a given size, and sampling at computed positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from symc.core.errors import ShapeError
from symc.core.op import Op, Shapes, check_rank, op, param
from symc.core.shapes import Shape, is_known, mx_text, unify
from symc.loopir.expr import Axis, Expr, IndexLike, cast, const, index_value, prim, select

from .composite import Composite
from .creation import Creation
from .rules import flows, number
from .terms import Term
from .windows import Position, as_expr

if TYPE_CHECKING:
    from symc.ir.builder import GraphBuilder
    from symc.ir.graph import Value
    from symc.loopir.tensor import Lowering, Tensor

# -- weighted sums along one axis -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Stencil(Op):
    """y[.., j, ..] = sum over k of weight(j, k) * x[.., position(j, k), ..] along an axis, or the adjoint of that."""

    is_internal = True

    axis: int = param(doc="the axis, not negative")
    extent: int = param(doc="its extent in the output")
    is_adjoint: bool = param(False, doc="from y to x")

    def n_taps(self, n: int, m: int) -> int:
        """How many elements of n an element of m is made of."""
        raise NotImplementedError

    def tap(self, j: Expr, k: Axis, n: int, m: int, dtype: str) -> tuple[Expr, Expr]:
        """The position among n, and the weight, of tap k of element j of m."""
        raise NotImplementedError

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (x,) = ins
        return ins, [None if x is None else (*x[: self.axis], self.extent, *x[self.axis + 1 :])]

    def lower(self, t: Lowering) -> None:
        x, at = t.ins[0], self.axis
        if self.is_adjoint:
            n, m = self.extent, x.shape[at]
            t.region(t.out_shapes[0], lambda *i: i, lambda *i: const(0, x.dtype))
            t.region(
                (*x.shape, self.n_taps(n, m)),
                lambda *i: (*i[:at], self.tap(as_expr(i[at]), i[-1], n, m, x.dtype)[0], *i[at + 1 : -1]),
                lambda *i: x(*i[:-1]) * self.tap(as_expr(i[at]), i[-1], n, m, x.dtype)[1],
                mode="add",
            )
            return
        n, m = x.shape[at], self.extent

        def element(*i: IndexLike) -> Expr:
            def term(k: Axis) -> Expr:
                position, weight = self.tap(as_expr(i[at]), k, n, m, x.dtype)
                return x(*i[:at], position, *i[at + 1 :]) * weight

            return t.reduce("sum", (self.n_taps(n, m),), term)

        t.map(element)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        params = {name: getattr(self, name) for name in self.params()}
        params |= {"extent": g.shape(x[0])[self.axis], "is_adjoint": not self.is_adjoint}
        return [g(self.name, flows(dy), **params)]


@op("_resize_axis")
class ResizeAxis(Stencil):
    """Linear interpolation between two neighbours; positions are computed in float32, as MXNet does."""

    align_corners: bool = param(doc="the first and last elements stay where they are")

    def n_taps(self, n: int, m: int) -> int:
        return 2

    def tap(self, j: Expr, k: Axis, n: int, m: int, dtype: str) -> tuple[Expr, Expr]:
        ratio = 0.0 if m <= 1 else (n - 1) / (m - 1) if self.align_corners else n / m
        at, scale = cast(j, "float32"), number(ratio, "float32")
        source = at * scale if self.align_corners else prim("maximum", scale * (at + 0.5) - 0.5, 0)
        low = prim("minimum", cast(source, "int64"), n - 1)
        rest = cast(source - cast(low, "float32"), dtype)
        tap = index_value(k)
        position = prim("minimum", low + tap, n - 1)
        return position, select(prim("eq", tap, 0), 1 - rest, rest)


@op("_average_axis")
class AverageAxis(Stencil):
    """The mean of n elements cut into m pieces that may overlap by one: from floor(j n / m) to ceil((j + 1) n / m)."""

    def n_taps(self, n: int, m: int) -> int:
        return max(-(-(j + 1) * n // m) - j * n // m for j in range(m))

    def tap(self, j: Expr, k: Axis, n: int, m: int, dtype: str) -> tuple[Expr, Expr]:
        start = prim("div", j * n, m)
        length = prim("div", (j + 1) * n + (m - 1), m) - start
        tap = index_value(k)
        weight = select(tap < length, 1 / cast(length, dtype), const(0, dtype))
        return prim("minimum", start + tap, n - 1), weight


RESIZES = ("like", "odd_scale", "size", "to_even_down", "to_even_up", "to_odd_down", "to_odd_up")


@op("_contrib_BilinearResize2D")
class BilinearResize2D(Composite):
    """Images (N, C, H, W) in another size, each pixel interpolated between four.

    mode: size (height and width, or scaled), odd_scale ((n - 1) * scale + 1 for odd n), like (that of a second input),
    or the nearest even or odd size.  MXNet operator _contrib_BilinearResize2D.
    """

    arguments = ("data", "like")

    height: int = param(1, low=1, doc="height of the output, in mode size")
    width: int = param(1, low=1, doc="width of the output, in mode size")
    scale_height: float | None = param(None, doc="factor of the height, in modes size and odd_scale")
    scale_width: float | None = param(None, doc="factor of the width, in modes size and odd_scale")
    mode: str = param("size", choices=RESIZES, doc="how the size is found")
    align_corners: bool = param(True, doc="corner pixels stay in the corners")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments if self.mode == "like" else self.arguments[:1]

    def out_extent(self, n: int, given: int, scale: float | None, like: int | None) -> int | None:
        """Height or width of the output."""
        if self.mode == "size":
            return given if scale is None else int(scale * n)
        if self.mode == "like":
            return like
        if self.mode == "odd_scale":
            if scale is None:
                raise ShapeError("BilinearResize2D: mode odd_scale needs scale_height and scale_width")
            return int(n * scale) if n % 2 == 0 else int((n - 1) * scale) + 1
        is_right = (n % 2 == 0) == ("even" in self.mode)
        return n if is_right else n + (1 if self.mode.endswith("up") else -1)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for s in ins:
            check_rank(s, 4, 4, "BilinearResize2D: data")
        data = ins[0]
        like = (ins[1] or (None,) * 4)[2:] if self.mode == "like" else (None, None)
        if data is None or not is_known(data[2:]):
            return ins, outs
        asked = zip(data[2:], (self.height, self.width), (self.scale_height, self.scale_width), like)
        size = tuple(self.out_extent(*a) for a in asked)  # type: ignore[arg-type]
        if any(n is not None and n < 1 for n in size):
            raise ShapeError(f"BilinearResize2D: {mx_text(data)} would become {size[0]} x {size[1]} pixels")
        return ins, [unify((*data[:2], *size), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        (out,) = self.infer_shape([t.shape for t in x], [None])[1]
        assert out is not None
        found = x[0]
        for axis in (2, 3):
            if found.shape[axis] != out[axis]:
                found = found("_resize_axis", axis=axis, extent=out[axis], align_corners=self.align_corners)
        return [found]


@op("_contrib_AdaptiveAvgPooling2D")
class AdaptiveAvgPooling2D(Composite):
    """Means of images (N, C, H, W) over as many pieces as the output has pixels; one by default.

    MXNet operator _contrib_AdaptiveAvgPooling2D.
    """

    output_size: tuple[int, ...] = param((), doc="height and width of the output, or one number for both")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        check_rank(data, 4, 4, "AdaptiveAvgPooling2D: data")
        if len(self.output_size) > 2 or any(n < 1 for n in self.output_size):
            raise ShapeError(f"output_size {self.output_size} must be one or two positive numbers")
        if data is None:
            return ins, outs
        size = self.output_size * 2 if len(self.output_size) == 1 else self.output_size or (1, 1)
        return ins, [unify((*data[:2], *size), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        (out,) = self.infer_shape([x[0].shape], [None])[1]
        assert out is not None
        found = x[0]
        for axis in (2, 3):
            if found.shape[axis] != out[axis]:
                found = found("_average_axis", axis=axis, extent=out[axis])
        return [found]


# -- sampling at computed positions ---------------------------------------------------------------------------------


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
    x = (grid(n, 0, h, w) + 1) * ((width - 1) / 2)
    y = (grid(n, 1, h, w) + 1) * ((height - 1) / 2)
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
class BilinearSamplerDataGradient(Op):
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

            return t.reduce("sum", (data.shape[1],), channel) * (((width, height)[axis] - 1) / 2)

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
                cast(as_expr(i), dtype) * number(2 / (n - 1) if n > 1 else 0.0, dtype) - 1
                for i, n in ((w, width), (h, height))
            )
            component = as_expr(k)
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
