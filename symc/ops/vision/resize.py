"""Images in another size: bilinear interpolation, means over equal pieces; both are weighted sums along each axis."""

from __future__ import annotations

from collections.abc import Sequence

from symc.core.errors import ShapeError
from symc.core.shapes import is_known, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Axis, Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.composite import Composite
from symc.ops.rules.numbers import number
from symc.ops.rules.terms import Term, flows


@declares_parameters
class Stencil(Accumulating):
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
                lambda *i: (*i[:at], self.tap(index_value(i[at]), i[-1], n, m, x.dtype)[0], *i[at + 1 : -1]),
                lambda *i: x(*i[:-1]) * self.tap(index_value(i[at]), i[-1], n, m, x.dtype)[1],
                mode="add",
            )
            return
        n, m = x.shape[at], self.extent

        def element(*i: IndexLike) -> Expr:
            def term(k: Axis) -> Expr:
                position, weight = self.tap(index_value(i[at]), k, n, m, x.dtype)
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
    needs_elements = ("data",)

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

    needs_elements = ("data",)

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
