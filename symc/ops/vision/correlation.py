"""Correlation of two images: each patch of one against those around the same place in the other (FlowNet)."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import ParameterError, ShapeError
from symc.core.shapes import Shape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Op, Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Affine, Axis, Expr, IndexLike, const, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.composite import Composite
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import Term, flows


@op("Correlation")
class Correlation(Composite):
    """data1, data2 (N, C, H, W) -> (N, D * D, h, w): the mean over kernel_size^2 * C products (or distances) of a patch
    of data1 and one of data2, both with a border of zeros, moved by up to max_displacement in steps of stride2; patches
    of data1 lie stride1 apart.

    D = 2 * floor(max_displacement / stride2) + 1.  The hidden outputs are the inputs with their borders, channels last.
    Where a distance is 0, its slope counts as 1, as in MXNet.  Source: MXNet operator Correlation.
    """

    arguments = ("data1", "data2")
    results = ("output", "tmp1", "tmp2")

    kernel_size: int = param(1, low=1, doc="extent of a patch, odd")
    max_displacement: int = param(1, low=0, doc="the farthest that patches of data2 are moved")
    stride1: int = param(1, low=1, doc="distance of patches in data1")
    stride2: int = param(1, low=1, doc="distance of displacements")
    pad_size: int = param(0, low=0, doc="zeros around both images")
    is_multiply: bool = param(True, doc="products, or absolute differences")

    def __post_init__(self) -> None:
        if self.kernel_size % 2 == 0:
            raise ParameterError(f"Correlation: kernel size should be odd number, got {self.kernel_size}")

    def n_visible(self) -> int:
        return 1

    def n_patches(self, extent: int) -> int:
        """How many fit along an axis."""
        room = extent + 2 * self.pad_size - 2 * self.max_displacement - self.kernel_size + 1
        if room < 1:
            raise ShapeError(
                f"Correlation cannot be done with current settings. Neighborhood and kernel don't fit in blob: "
                f"extent {extent} with pad_size={self.pad_size}, max_displacement={self.max_displacement}, "
                f"kernel_size={self.kernel_size}"
            )
        return -(-room // self.stride1)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data = unify(*ins)
        check_rank(data, 4, 4, "Correlation: data")
        if data is None:
            return ins, outs
        n, channels, *extents = data
        patches = [None if e is None else self.n_patches(e) for e in extents]
        bordered: Shape = (n, *(None if e is None else e + 2 * self.pad_size for e in extents), channels)
        found = (n, (2 * (self.max_displacement // self.stride2) + 1) ** 2, *patches)
        return [data, data], [unify(s, o) for s, o in zip((found, bordered, bordered), outs)]

    def compose(self, *x: Term) -> Sequence[Term]:
        one, other = (bordered(t, self.pad_size) for t in x)
        kernel, stride = (self.kernel_size,) * 2, (self.stride1,) * 2
        patches = [self.n_patches(e) for e in x[0].shape[2:]]
        found = one(
            "_displaced_products",
            other,
            extents=[(k - 1) * self.stride1 + self.kernel_size for k in patches] if self.kernel_size > 1 else patches,
            step=1 if self.kernel_size > 1 else self.stride1,
            reach=self.max_displacement,
            stride=self.stride2,
            is_multiply=self.is_multiply,
            scale=1 / (self.kernel_size**2 * one.shape[1]),
        )
        if self.kernel_size > 1:
            found = found("Pooling", kernel=kernel, stride=stride, pool_type="sum")
        return [found, *(t("transpose", axes=(0, 2, 3, 1)) for t in (one, other))]


def bordered(image: Term, width: int) -> Term:
    """With zeros around the last two axes."""
    return image("Pad", mode="constant", pad_width=(0, 0, 0, 0, *[width] * 4)) if width else image


@declares_parameters
class Displaced(Op):
    """What sums over products of an image (N, C, H, W) and a displaced one share.

    Their domain begins `reach` from the border and has `extents` pixels, `step` apart.
    """

    is_internal = True

    extents: tuple[int, ...] = param(doc="pixels along the height and the width")
    step: int = param(doc="their distance")
    reach: int = param(doc="the farthest displacement")
    stride: int = param(doc="distance of displacements")
    is_multiply: bool = param(doc="products, or absolute differences")
    scale: float = param(doc="factor of the sums")

    @property
    def radius(self) -> int:
        """Displacements to each side."""
        return self.reach // self.stride

    @property
    def width(self) -> int:
        """Displacements along an axis."""
        return 2 * self.radius + 1

    def moved(self, k: Axis) -> Affine:
        """The k-th displacement."""
        return (k - self.radius) * self.stride

    def channel(self, i: Axis, j: Axis) -> Affine:
        """Where the results of a pair of displacements lie."""
        return i * self.width + j

    def place(self, y: IndexLike) -> Affine:
        """Where a pixel of the domain lies in the image."""
        return Affine.of(y) * self.step + self.reach

    def slope(self, one: Expr, other: Expr) -> Expr:
        """The derivative of a term by the pixel of the first image; for distances minus that by the other's."""
        return other if self.is_multiply else select(one >= other, const(1, one.dtype), const(-1, one.dtype))


@op("_displaced_products")
class DisplacedProducts(Displaced):
    """Two images (N, C, H, W) -> (N, D * D, *extents): sums over the channels."""

    arguments = ("one", "other")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [None if ins[0] is None else (ins[0][0], self.width**2, *self.extents)]

    def lower(self, t: Lowering) -> None:
        one, other = t.ins
        n_images, channels = one.shape[:2]

        def value(n: IndexLike, i: Axis, j: Axis, y: Axis, x: Axis) -> Expr:
            def term(c: Axis) -> Expr:
                a = one(n, c, self.place(y), self.place(x))
                b = other(n, c, self.place(y) + self.moved(i), self.place(x) + self.moved(j))
                return a * b if self.is_multiply else prim("abs", a - b)

            return t.reduce("sum", (channels,), term) * number(self.scale, one.dtype)

        domain = n_images, self.width, self.width, *self.extents
        t.region(domain, lambda n, i, j, y, x: (n, self.channel(i, j), y, x), value)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        params, d = self.given_params(), flows(dy)
        return [g("_displaced_gradient1", d, *x, **params), g("_displaced_gradient2", d, *x, **params)]


@op("_displaced_gradient1")
class DisplacedGradient1(Displaced):
    """The gradient of the image that stays: dy (N, D * D, *extents) and both images -> (N, C, H, W)."""

    arguments = ("dy", "one", "other")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[1]]

    def lower(self, t: Lowering) -> None:
        dy, one, other = t.ins

        def value(n: IndexLike, c: IndexLike, y: Axis, x: Axis) -> Expr:
            def term(i: Axis, j: Axis) -> Expr:
                a = one(n, c, self.place(y), self.place(x))
                b = other(n, c, self.place(y) + self.moved(i), self.place(x) + self.moved(j))
                return dy(n, self.channel(i, j), y, x) * self.slope(a, b)

            return t.reduce("sum", (self.width, self.width), term) * number(self.scale, dy.dtype)

        t.region(one.shape, lambda *i: i, lambda *i: const(0, dy.dtype))
        domain = *one.shape[:2], *self.extents
        t.region(domain, lambda n, c, y, x: (n, c, self.place(y), self.place(x)), value)


@op("_displaced_gradient2")
class DisplacedGradient2(Displaced):
    """The gradient of the image that is displaced: dy (N, D * D, *extents) and both images -> (N, C, H, W).

    A pixel has met pixels in all directions, also outside the domain, where dy counts as 0: dy and the image that stays
    get borders wide enough, so that the sums need no conditions.
    """

    arguments = ("dy", "one", "other")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[2]]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        dy, one, other = (Term(g, v) for v in x)
        margin = self.radius * self.stride
        spread = dy("_spread_pixels", extents=one.shape[2:], first=self.reach, step=self.step, margin=margin)
        return [spread("_displaced_back", bordered(one, margin), other, **self.given_params()).value]


@op("_spread_pixels")
class SpreadPixels(Op):
    """dy (N, K, *small) at its places in an image of `extents` with a margin; 0 elsewhere."""

    is_internal = True

    extents: tuple[int, ...] = param(doc="of the image")
    first: int = param(doc="the place of the first pixel")
    step: int = param(doc="the distance of pixels")
    margin: int = param(doc="zeros on all sides")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        if ins[0] is None:
            return ins, outs
        return ins, [(*ins[0][:2], *(e + 2 * self.margin for e in self.extents))]

    def lower(self, t: Lowering) -> None:
        (dy,) = t.ins
        start = self.first + self.margin
        t.region(t.out_shapes[0], lambda *i: i, lambda *i: const(0, dy.dtype))
        t.region(dy.shape, lambda n, k, y, x: (n, k, y * self.step + start, x * self.step + start), dy)


@op("_displaced_back")
class DisplacedBack(Displaced):
    """The other image's gradient, from dy (N, D * D, H, W) and the image that stays (N, C, H, W), both with margins."""

    arguments = ("dy", "one", "other")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[2]]

    def lower(self, t: Lowering) -> None:
        dy, one, other = t.ins
        margin, sign = self.radius * self.stride, 1 if self.is_multiply else -1

        def value(n: IndexLike, c: IndexLike, y: Axis, x: Axis) -> Expr:
            def term(i: Axis, j: Axis) -> Expr:
                met = y + margin - self.moved(i), x + margin - self.moved(j)
                a, b = one(n, c, *met), other(n, c, y, x)
                return dy(n, self.channel(i, j), *met) * (a if self.is_multiply else self.slope(a, b))

            return t.reduce("sum", (self.width, self.width), term) * number(sign * self.scale, dy.dtype)

        t.map(value)
