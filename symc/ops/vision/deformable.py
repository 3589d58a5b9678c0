"""Convolutions whose taps lie where the data says: the windows are sampled into columns, then comes a product."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod
from typing import TYPE_CHECKING

from symc.core.errors import ParameterError, ShapeError
from symc.core.shapes import FullShape, Shape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Axis, Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering, Tensor
from symc.ops.nn.columns import Columns
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.composite import Composite
from symc.ops.rules.floats import FloatData
from symc.ops.rules.terms import Term, flows

from .sampling import Corner, clamped

LAYOUTS = ("NCW", "NCHW", "NCDHW")


@declares_parameters
class Deformable(FloatData, Composite, Columns):
    """data (N, C, H, W), offset (N, 2 * groups * taps, h, w) -> (N, num_filter, h, w): a convolution whose taps are
    moved by (rows, columns), for each group of channels, tap and position.

    weight (num_filter, C / num_group, *kernel), bias (num_filter,).  Taps are interpolated between four pixels.
    """

    fades = False  # whether the data is 0 all around, or ends at its border, where outermost pixels keep their value

    if TYPE_CHECKING:  # declared by the operators, each at its place in MXNet's order
        num_filter: int
        num_group: int
        num_deformable_group: int
        no_bias: bool

    def __post_init__(self) -> None:
        if self.n_spatial != 2:
            raise ParameterError(f"{self.name}: expected a kernel of height and width, got {self.kernel}")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments[:-1] if self.no_bias else self.arguments

    def check_groups(self, channels: int) -> None:
        """Raises ShapeError where the channels do not divide."""
        for what, n, groups in (
            ("input channels", channels, self.num_group),
            ("input channels", channels, self.num_deformable_group),
            ("num_filter", self.num_filter, self.num_group),
        ):
            if n % groups:
                raise ShapeError(f"{self.name}: {what} must divide group size: {n} by {groups}")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = ins[0]
        check_rank(data, 4, 4, f"{self.name}: data")
        if data is None or data[1] is None:
            return ins, outs
        self.check_geometry(data)
        self.check_groups(data[1])
        small = self.out_extents(data[2:])
        taps = self.num_deformable_group * prod(self.kernel)
        wanted: dict[str, Shape] = {
            "data": data,
            "offset": (data[0], 2 * taps, *small),
            "mask": (data[0], taps, *small),
            "weight": (self.num_filter, data[1] // self.num_group, *self.kernel),
            "bias": (self.num_filter,),
        }
        found = [unify(shape, wanted[name]) for name, shape in zip(self.argument_names(), ins)]
        return found, [unify(outs[0], (data[0], self.num_filter, *small))]

    def compose(self, *x: Term) -> Sequence[Term]:
        given = dict(zip(self.argument_names(), x))
        data, weight = given["data"], given["weight"]
        n, channels, *extents = data.shape
        geometry = {name: getattr(self, name) for name in ("kernel", "stride", "dilate", "pad")}
        groups = {"groups": self.num_deformable_group, "fades": self.fades}
        pixels = data.reshape((n, channels, prod(extents)))("transpose", axes=(0, 2, 1))
        windows = pixels("_deformed_windows", given["offset"], extents=extents, **groups, **geometry)
        _, *small, n_taps, n_groups, _ = windows.shape
        if "mask" in given:
            mask = given["mask"].reshape((n, n_groups, n_taps, *small))("transpose", axes=(0, 3, 4, 2, 1))
            windows = windows * mask.reshape((*mask.shape, 1))
        parts = windows.reshape((n, *small, n_taps, self.num_group, channels // self.num_group))
        columns = parts("transpose", axes=(0, 1, 2, 4, 3, 5)).reshape((n, *small, channels * n_taps))
        columns = columns("transpose", axes=(0, 3, 1, 2))
        per_tap = weight.reshape((weight.shape[0], weight.shape[1], n_taps))("transpose", axes=(0, 2, 1))
        flat = per_tap.reshape((weight.shape[0], weight.shape[1] * n_taps, 1, 1))
        bias = () if self.no_bias else (given["bias"],)
        params = {"num_filter": self.num_filter, "num_group": self.num_group, "no_bias": self.no_bias}
        return [columns("Convolution", flat, *bias, kernel=(1, 1), **params)]


@op("_contrib_DeformableConvolution", aliases=("_npx_deformable_convolution", "DeformableConvolution"))
class DeformableConvolution(Deformable):
    """Taps outside the data are 0; between its last pixels and its border they have the last pixel's value.

    Source: MXNet operator _contrib_DeformableConvolution.
    """

    arguments = ("data", "offset", "weight", "bias")
    trained = frozenset({"weight", "bias"})

    num_filter: int = param(low=1, doc="number of output channels")
    num_group: int = param(1, low=1, doc="number of groups")
    num_deformable_group: int = param(1, low=1, doc="number of groups of channels with offsets of their own")
    workspace: int = param(1024, low=0, doc="ignored")
    no_bias: bool = param(False, doc="drop the bias input")
    layout: str | None = param(None, choices=LAYOUTS, doc="ignored: channels come second")


@op("_contrib_ModulatedDeformableConvolution", aliases=("_npx_modulated_deformable_convolution",))
class ModulatedDeformableConvolution(Deformable):
    """Taps are weighted by mask (N, groups * taps, h, w), too; the data has zeros all around it.

    Source: MXNet operator _contrib_ModulatedDeformableConvolution.
    """

    arguments = ("data", "offset", "mask", "weight", "bias")
    trained = frozenset({"weight", "bias"})
    fades = True

    num_filter: int = param(low=1, doc="number of output channels")
    num_group: int = param(1, low=1, doc="number of groups")
    num_deformable_group: int = param(1, low=1, doc="number of groups of channels with offsets of their own")
    workspace: int = param(1024, low=0, doc="ignored")
    no_bias: bool = param(False, doc="drop the bias input")
    im2col_step: int = param(64, low=1, doc="ignored")
    layout: str | None = param(None, choices=LAYOUTS, doc="ignored: channels come second")


@declares_parameters
class Deformed(Columns):
    """Windows (N, h, w, taps, groups, C / groups) of data (N, H * W, C), with taps moved by offsets.

    A pixel has one number, so that an element is found with one computed index, and its channels lie side by side.
    """

    is_internal = True

    groups: int = param(1, doc="groups of channels with offsets of their own")
    fades: bool = param(False, doc="whether the data is 0 all around")
    extents: tuple[int, ...] = param(doc="height and width of the data")

    def axes(self, data: FullShape) -> FullShape:
        """Images, rows and columns of windows, rows and columns of the kernel, groups, channels of a group."""
        small = self.out_extents(self.extents)
        return (data[0], *small, *self.kernel, self.groups, data[2] // self.groups)  # type: ignore[return-value]

    def tap(self, i: Axis, j: Axis) -> IndexLike:
        """The number of a tap."""
        return i * self.kernel[1] + j

    def channel(self, d: Axis, c: Axis, data: FullShape) -> IndexLike:
        """The number of a channel of a group."""
        return d * (data[2] // self.groups) + c

    def offset_channel(self, axis: int, d: Axis, i: Axis, j: Axis) -> IndexLike:
        """Where an offset along the rows (axis 0) or columns lies."""
        return d * (2 * prod(self.kernel)) + (i * self.kernel[1] + j) * 2 + axis

    def corners(
        self, offset: Tensor, n: IndexLike, d: Axis, taps: tuple[Axis, Axis], at: tuple[Axis, Axis]
    ) -> list[Corner]:
        """The four pixels around a tap."""
        sides, checks = [], []
        for axis in range(2):
            place = at[axis] * self.strides[axis] + taps[axis] * self.dilations[axis] - self.pads[axis]
            moved = cast(index_value(place), offset.dtype) + offset(n, self.offset_channel(axis, d, *taps), *at)
            extent = self.extents[axis]
            checks += [moved > -1.0 if self.fades else moved >= 0.0, moved < float(extent)]
            if not self.fades:
                moved = prim("minimum", moved, float(extent - 1))
            start = prim("floor", moved)
            first = cast(start, "int64")
            share = moved - start
            ends = [(first, 1.0 - share, -1.0, first >= 0), (first + 1, share, 1.0, first + 1 < extent)]
            sides.append([(clamped(p, extent), weight, slope, inside) for p, weight, slope, inside in ends])
        reached = reduce(lambda a, b: prim("and", a, b), checks)
        found = []
        for row, down, row_slope, has_row in sides[0]:
            for column, right, column_slope, has_column in sides[1]:
                inside = prim("and", reached, prim("and", has_row, has_column)) if self.fades else reached
                found.append(Corner(row, column, down, right, row_slope, column_slope, inside))
        return found

    def number(self, corner: Corner) -> Expr:
        """Of the pixel at a corner."""
        return corner.row * self.extents[1] + corner.column

    def share(self, data: Tensor, n: IndexLike, c: IndexLike, corner: Corner, weight: Expr) -> Expr:
        """The weighted pixel at a corner, or 0."""
        return select(corner.inside, data(n, self.number(corner), c) * weight, 0)


@op("_deformed_windows")
class DeformedWindows(Deformed):
    """Every tap interpolated between four pixels."""

    arguments = ("data", "offset")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n, h, w, _, _, *channels = self.axes(ins[0])  # type: ignore[arg-type]
        return ins, [(n, h, w, prod(self.kernel), *channels)]

    def lower(self, t: Lowering) -> None:
        data, offset = t.ins

        def value(n: IndexLike, y: Axis, x: Axis, i: Axis, j: Axis, d: Axis, c: Axis) -> Expr:
            found = [
                self.share(data, n, self.channel(d, c, data.shape), p, p.down * p.right)
                for p in self.corners(offset, n, d, (i, j), (y, x))
            ]
            return reduce(lambda a, b: a + b, found)

        t.region(self.axes(data.shape), lambda n, y, x, i, j, d, c: (n, y, x, self.tap(i, j), d, c), value)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        d, params = flows(dy), self.given_params()
        return [
            g("_deformed_data_gradient", d, x[1], shape=g.shape(x[0]), **params),
            g("_deformed_offset_gradient", d, *x, **params),
        ]


@op("_deformed_data_gradient")
class DeformedDataGradient(Accumulating, Deformed):
    """dy of the windows' shape given back to the pixels that taps were interpolated from, corner after corner."""

    arguments = ("dy", "offset")

    shape: tuple[int, ...] = param(doc="shape of the data")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [self.shape]

    def lower(self, t: Lowering) -> None:
        dy, offset = t.ins

        def corner(k: int, n: IndexLike, d: Axis, i: Axis, j: Axis, y: Axis, x: Axis) -> Corner:
            return self.corners(offset, n, d, (i, j), (y, x))[k]

        t.region(self.shape, lambda *i: i, lambda *i: const(0, dy.dtype))
        for k in range(4):

            def place(
                n: IndexLike, y: Axis, x: Axis, i: Axis, j: Axis, d: Axis, c: Axis, k: int = k
            ) -> Sequence[IndexLike | Expr]:
                return n, self.number(corner(k, n, d, i, j, y, x)), self.channel(d, c, self.shape)

            def value(n: IndexLike, y: Axis, x: Axis, i: Axis, j: Axis, d: Axis, c: Axis, k: int = k) -> Expr:
                p = corner(k, n, d, i, j, y, x)
                return select(p.inside, dy(n, y, x, self.tap(i, j), d, c) * (p.down * p.right), 0)

            t.region(self.axes(self.shape), place, value, mode="add")


@op("_deformed_offset_gradient")
class DeformedOffsetGradient(Deformed):
    """How the taps change with their places, weighted by dy of the windows' shape: the offset's shape."""

    arguments = ("dy", "data", "offset")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[2]]

    def lower(self, t: Lowering) -> None:
        dy, data, offset = t.ins
        n_images, *places, n_groups, n_channels = self.axes(data.shape)

        def slope(axis: int, n: IndexLike, d: Axis, i: Axis, j: Axis, y: Axis, x: Axis) -> Expr:
            around = self.corners(offset, n, d, (i, j), (y, x))

            def term(c: Axis) -> Expr:
                weights = [p.right * p.row_slope if axis == 0 else p.down * p.column_slope for p in around]
                found = [self.share(data, n, self.channel(d, c, data.shape), p, w) for p, w in zip(around, weights)]
                return dy(n, y, x, self.tap(i, j), d, c) * reduce(lambda a, b: a + b, found)

            return t.reduce("sum", (n_channels,), term)

        for axis in range(2):
            t.region(
                (n_images, *places, n_groups),
                lambda n, y, x, i, j, d, axis=axis: (n, self.offset_channel(axis, d, i, j), y, x),
                lambda n, y, x, i, j, d, axis=axis: slope(axis, n, d, i, j, y, x),
            )
