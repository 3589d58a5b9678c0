"""Operators that rearrange images and matrices: blocks and channels, crops, enlargement, diagonals."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import ShapeError
from symc.core.params import MAX_PORTS
from symc.core.shapes import FullShape, Shape, is_known, mx_text, normalize_axis, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Expr, IndexLike, const
from symc.loopir.tensor import Lowering
from symc.ops.rules.composite import Composite
from symc.ops.rules.movement import Index, Movement
from symc.ops.rules.shapes import unify_all
from symc.ops.rules.terms import Term, flows

# -- blocks and channels --------------------------------------------------------------------------------------------


@declares_parameters
class Blocks(Composite):
    """Channels exchanged against blocks of pixels."""

    block_size: int = param(doc="extent of a block along both spatial axes")

    def check(self, data: Shape, what: str) -> None:
        """Raises ShapeError when the rank or the block size cannot be."""
        if len(data) != 4:
            raise ShapeError(f"Operation {what} requires exactly 4D tensor, got {mx_text(data)}")
        if self.block_size < 1:
            raise ShapeError("block_size must be a positive integer value")

    def divide(self, extent: int | None, by: int, axis: str, what: str) -> int | None:
        """extent / by; raises ShapeError when that is no integer."""
        if extent is not None and extent % by:
            raise ShapeError(
                f"Cannot perform {what} operation on the specified tensor. Dimension:{axis} ({extent}) should be a "
                f"multiple of {by}"
            )
        return extent and extent // by


def times(extent: int | None, factor: int) -> int | None:
    """A possibly unknown extent times a number."""
    return extent and extent * factor


@op("depth_to_space")
class DepthToSpace(Blocks):
    """(N, B * B * C, H, W) -> (N, C, H * B, W * B): the pixels of a block lie C channels apart.

    Source: MXNet operator depth_to_space.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        self.check(data, "Depth To Space")
        b = self.block_size
        channels = self.divide(data[1], b * b, "1(depth dimension)", "Depth To Space")
        return ins, [unify((data[0], channels, times(data[2], b), times(data[3], b)), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        (n, c, h, w), b = x[0].shape, self.block_size
        pixels = x[0].reshape((n, b, b, c // (b * b), h, w))("transpose", axes=(0, 3, 4, 1, 5, 2))
        return [pixels.reshape((n, c // (b * b), h * b, w * b))]


@op("space_to_depth")
class SpaceToDepth(Blocks):
    """(N, C, H * B, W * B) -> (N, B * B * C, H, W): the inverse of depth_to_space.

    Source: MXNet operator space_to_depth.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        self.check(data, "Space To Depth")
        b = self.block_size
        height, width = (
            self.divide(n, b, f"{a}({place} space dimension)", "Space To Depth")
            for n, a, place in ((data[2], 2, "1st"), (data[3], 3, "2nd"))
        )
        return ins, [unify((data[0], times(data[1], b * b), height, width), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        (n, c, h, w), b = x[0].shape, self.block_size
        blocks = x[0].reshape((n, c, h // b, b, w // b, b))("transpose", axes=(0, 3, 5, 1, 2, 4))
        return [blocks.reshape((n, b * b * c, h // b, w // b))]


# -- crops and enlargement ------------------------------------------------------------------------------------------


@op("Crop")
class Crop(Composite):
    """data (N, C, H, W) cropped to the height and width of a second input, or to h_w; from offset, or the middle.

    Source: MXNet operator Crop.
    """

    variadic = "num_args"

    num_args: int = param(low=1, high=2, doc="1: crop to h_w; 2: crop to the size of the second input")
    offset: tuple[int, ...] = param((0, 0), doc="first row and column")
    h_w: tuple[int, ...] = param((0, 0), doc="height and width of the crop")
    center_crop: bool = param(False, doc="crop the middle instead")

    def size(self, shapes: Sequence[Shape]) -> Shape:
        """Height and width of the crop."""
        return shapes[1][2:] if len(shapes) == 2 else self.h_w

    def corner(self, data: FullShape, size: FullShape) -> tuple[int, int]:
        """The first row and column."""
        if self.center_crop:
            return (data[2] - size[0]) // 2, (data[3] - size[1]) // 2
        return self.offset[0], self.offset[1]

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for s in ins:
            check_rank(s, 4, 4, "Crop: data")
        if len(self.offset) != 2 or len(self.h_w) != 2:
            raise ShapeError(f"offset {self.offset} and h_w {self.h_w} must have two numbers each")
        if self.num_args == 1 and min(self.h_w) < 1:
            raise ShapeError(f"the crop height(h_w[0]) and width(h_w[1]) should be larger than 1, got {self.h_w}")
        data = ins[0]
        if data is None or any(s is None for s in ins):
            return ins, outs
        size = self.size(ins)  # type: ignore[arg-type]
        if is_known(data[2:]) and is_known(size):
            corner = self.corner(data, size)  # type: ignore[arg-type]
            if any(c < 0 or c + n > m for c, n, m in zip(corner, size, data[2:])):  # type: ignore[operator]
                raise ShapeError(f"a crop of {mx_text(size)} at {corner} does not lie inside {mx_text(data)}")
        return ins, [unify((*data[:2], *size), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        size = self.size([t.shape for t in x])
        (top, left), (h, w) = self.corner(x[0].shape, size), size  # type: ignore[arg-type]
        return [x[0]("slice", begin=(None, None, top, left), end=(None, None, top + h, left + w))]  # type: ignore[operator]


@op("UpSampling")
class UpSampling(Composite):
    """Images (N, C, H, W) enlarged to `scale` times the height and width of the first.

    nearest repeats pixels of every input, then joins or adds them; bilinear is a Deconvolution of the one input, each
    channel with its own weight (C, 1, K, K), K = 2 * scale - scale % 2.  Source: MXNet operator UpSampling.
    """

    variadic = "num_args"
    trained = frozenset({"weight"})

    scale: int = param(low=1, high=1000, doc="how many times larger")
    num_filter: int = param(0, doc="number of channels, for bilinear")
    sample_type: str = param(choices=("bilinear", "nearest"), doc="how pixels in between are found")
    multi_input_mode: str = param("concat", choices=("concat", "sum"), doc="what becomes of several inputs")
    num_args: int = param(low=1, high=MAX_PORTS, doc="number of inputs; for bilinear, 2 with the weight")
    workspace: int = param(512, low=0, doc="ignored")

    def argument_names(self) -> tuple[str, ...]:
        return ("data", "weight") if self.sample_type == "bilinear" else super().argument_names()

    def initial_attrs(self, input_name: str) -> dict[str, str]:
        return {"__init__": '["bilinear", {}]'} if input_name == "weight" else {}

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        for s in ins[:1] if self.sample_type == "bilinear" else ins:
            check_rank(s, 4, 4, f"UpSampling ({self.sample_type}): data")
        data = ins[0]
        if data is None:
            return ins, outs
        n, c, h, w = data
        size = times(h, self.scale), times(w, self.scale)
        if self.sample_type == "bilinear":
            k = 2 * self.scale - self.scale % 2
            return [data, unify(ins[1], (c, 1, k, k))], [unify((n, c, *size), outs[0])]
        if any(s is None for s in ins):
            return ins, outs
        for s in ins:
            for extent, out, what in zip(s[2:], size, ("height", "width")):  # type: ignore[index]
                if extent is not None and out is not None and out % extent:
                    raise ShapeError(
                        f"UpSamplingNearest: input {what} of {extent} does not divide output {what} of {out}"
                    )
        channels = [s[1] for s in ins]  # type: ignore[index]
        if self.multi_input_mode == "sum":
            (c,) = unify_all([(m,) for m in channels]) or (None,)
        else:
            c = None if None in channels else sum(channels)  # type: ignore[arg-type]
        return ins, [unify((n, c, *size), outs[0])]

    def compose(self, *x: Term) -> Sequence[Term]:
        if self.sample_type == "bilinear":
            k, c = 2 * self.scale - self.scale % 2, x[0].shape[1]
            params = {"kernel": (k, k), "stride": (self.scale,) * 2, "pad": (self.scale // 2,) * 2}
            return [x[0]("Deconvolution", x[1], num_filter=c, num_group=c, no_bias=True, **params)]
        height, width = (m * self.scale for m in x[0].shape[2:])
        large = [enlarged(t, height // t.shape[2], width // t.shape[3]) for t in x]
        if len(large) == 1:
            return large
        if self.multi_input_mode == "sum":
            return [large[0]("add_n", *large[1:], num_args=len(large))]
        return [large[0]("Concat", *large[1:], num_args=len(large), dim=1)]


def enlarged(x: Term, rows: int, columns: int) -> Term:
    """Every pixel of (N, C, H, W) repeated."""
    return x if rows == columns == 1 else x("_enlarge", rows=rows, columns=columns)


@op("_enlarge")
class Enlarge(Op):
    """Every pixel as a block: (N, C, H, W) -> (N, C, H * rows, W * columns)."""

    is_internal = True

    rows: int = param(low=1, doc="height of a block")
    columns: int = param(low=1, doc="width of a block")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        n, c, h, w = data
        return ins, [unify((n, c, times(h, self.rows), times(w, self.columns)), outs[0])]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        t.region(
            (*x.shape, self.rows, self.columns),
            lambda n, c, h, w, row, column: (n, c, h * self.rows + row, w * self.columns + column),
            lambda n, c, h, w, row, column: x(n, c, h, w),
        )

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        block = (self.rows, self.columns)
        return [g("Pooling", flows(dy), pool_type="sum", kernel=block, stride=block)]


# -- diagonals ------------------------------------------------------------------------------------------------------


@op("diag")
class Diag(Movement):
    """A diagonal of the matrices in two axes, which becomes the last axis; of a vector, the matrix that has it.

    The k-th lies above the main one (k > 0) or below.  Source: MXNet operator diag.
    """

    k: int = param(0, doc="which diagonal")
    axis1: int = param(0, doc="the axis of the rows")
    axis2: int = param(1, doc="the axis of the columns")

    def axes(self, rank: int) -> tuple[int, int]:
        """Both axes, not negative; raises ShapeError when they are one."""
        rows, columns = normalize_axis(self.axis1, rank), normalize_axis(self.axis2, rank)
        if rows == columns:
            raise ShapeError(f"axis1 and axis2 cannot refer to the same axis {rows}")
        return rows, columns

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (shape,) = ins
        if shape is None:
            return ins, outs
        check_rank(shape, 1, None, "diag: data")
        if len(shape) == 1:
            n = None if shape[0] is None else shape[0] + abs(self.k)
            return ins, [unify((n, n), outs[0])]
        rows, columns = self.axes(len(shape))
        length: int | None = None
        if shape[rows] is not None and shape[columns] is not None:
            length = min(shape[rows] + min(self.k, 0), shape[columns] - max(self.k, 0))  # type: ignore[operator]
            if length < 0:
                raise ShapeError(f"Diagonal does not exist: k={self.k} in {mx_text(shape)}")
        rest = tuple(n for a, n in enumerate(shape) if a not in (rows, columns))
        return ins, [unify((*rest, length), outs[0])]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        shape = g.shape(x[0])
        if len(shape) != 1:
            return None
        n = shape[0] + abs(self.k)
        return [g("_diag_back", x[0], shape=(n, n), k=self.k, axis1=0, axis2=1)]

    def source(self, index: Index, shape: FullShape) -> Index:
        rows, columns = self.axes(len(shape))
        return diagonal(index, len(shape), rows, columns, self.k)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        shape = g.shape(x[0])
        if len(shape) == 1:
            return [g("diag", flows(dy), k=self.k)]
        rows, columns = self.axes(len(shape))
        return [g("_diag_back", flows(dy), shape=shape, k=self.k, axis1=rows, axis2=columns)]


def diagonal(index: Index, rank: int, rows: int, columns: int, k: int) -> list[IndexLike | Expr]:
    """The index of a diagonal's element in the whole array from (*rest, position on the diagonal)."""
    *rest, at = index
    others = iter(rest)
    place = {rows: at + max(-k, 0), columns: at + max(k, 0)}
    return [place[a] if a in place else next(others) for a in range(rank)]


@op("_diag_back")
class DiagBack(Op):
    """Zeros of `shape` with data on a diagonal of two axes: the adjoint of diag."""

    is_internal = True

    shape: tuple[int, ...] = param(doc="shape of the output")
    k: int = param(doc="which diagonal")
    axis1: int = param(doc="the axis of the rows, not negative")
    axis2: int = param(doc="the axis of the columns, not negative")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [self.shape]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]
        t.region(self.shape, lambda *i: i, lambda *i: const(0, x.dtype))
        t.region(x.shape, lambda *i: diagonal(i, len(self.shape), self.axis1, self.axis2, self.k), x)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("diag", flows(dy), k=self.k, axis1=self.axis1, axis2=self.axis2)]
