"""Between images and their windows as columns: im2col and its adjoint col2im."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod

from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, mx_text, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Affine, Expr, IndexLike, const, index_value, prim, select
from symc.loopir.tensor import Lowering
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.terms import flows
from symc.ops.rules.windows import outside_checks
from symc.ops.shape.rearrange import times
from symc.ops.shape.reshape import flat_index

from .convolution import Sliding


@declares_parameters
class Columns(Sliding):
    """Between an image (N, C, *spatial) and its windows as columns (N, C * taps, windows)."""

    def out_extents(self, spatial: Sequence[int | None]) -> tuple[int | None, ...]:
        """How many windows fit along each axis; raises ShapeError when none does."""
        padded = [n and n + 2 * p for n, p in zip(spatial, self.pads)]
        if any(n is not None and n < s for n, s in zip(padded, self.spans)):
            raise ShapeError(f"kernel size exceed input: kernel {self.kernel} over {mx_text(tuple(spatial))}")
        return tuple(n and (n - s) // step + 1 for n, s, step in zip(padded, self.spans, self.strides))

    def windows(self, shape: FullShape) -> FullShape:
        """All axes of the columns of an image: images, channels, taps, windows."""
        return (*shape[:2], *self.kernel, *self.out_extents(shape[2:]))  # type: ignore[return-value]

    def column(self, i: Sequence[IndexLike], shape: FullShape) -> list[Affine | Expr | IndexLike]:
        """The index into the columns from an index over `windows(shape)`."""
        extents, k = self.windows(shape), 2 + self.n_spatial
        return [i[0], flat_index(i[1:k], extents[1:k]), flat_index(i[k:], extents[k:])]

    def pixel(self, i: Sequence[IndexLike], shape: FullShape) -> tuple[list[IndexLike | Expr], Expr | None]:
        """The index into the image, clamped, and whether it lies inside (None: always)."""
        found: list[IndexLike | Expr] = [*i[:2]]
        checks: list[Expr] = []
        for tap, q, stride, step, pad, extent in zip(
            i[2:], i[2 + self.n_spatial :], self.strides, self.dilations, self.pads, shape[2:]
        ):
            at = Affine.of(q) * stride + Affine.of(tap) * step - pad
            reach = [(a.extent - 1) * c for a, c in at.terms]
            outside = outside_checks(index_value(at), -pad, sum(reach) + at.constant, extent)
            checks += outside
            found.append(prim("minimum", prim("maximum", index_value(at), 0), extent - 1) if outside else at)
        return found, reduce(lambda a, b: prim("and", a, b), checks) if checks else None


@op("im2col")
class Im2Col(Columns):
    """The windows of an image, one column each: (N, C, *spatial) -> (N, C * taps, windows); 0 in the padding.

    Source: MXNet operator im2col.
    """

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (data,) = ins
        if data is None:
            return ins, outs
        self.check_geometry(data)
        extents = self.out_extents(data[2:])
        n_windows = None if None in extents else prod(extents)  # type: ignore[type-var]
        return ins, [unify((data[0], times(data[1], prod(self.kernel)), n_windows), outs[0])]

    def lower(self, t: Lowering) -> None:
        x = t.ins[0]

        def value(*i: IndexLike) -> Expr:
            at, inside = self.pixel(i, x.shape)
            return x(*at) if inside is None else select(inside, x(*at), 0)

        t.region(self.windows(x.shape), lambda *i: self.column(i, x.shape), value)

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        params = {"kernel": self.kernel, "stride": self.stride, "dilate": self.dilate, "pad": self.pad}
        return [g("col2im", flows(dy), output_size=g.shape(x[0])[2:], **params)]


@op("col2im")
class Col2Im(Accumulating, Columns):
    """The image whose pixels are the sums of what the columns hold of them: (N, C * taps, windows) -> (N, C, *spatial).

    The adjoint of im2col.  Source: MXNet operator col2im.
    """

    parameter_order = ("output_size",)

    output_size: tuple[int, ...] = param(doc="the spatial extents of the image")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        (columns,) = ins
        if len(self.output_size) != self.n_spatial:
            raise ShapeError(f"output_size {self.output_size} must have as many extents as kernel {self.kernel}")
        if columns is None:
            return ins, outs
        check_rank(columns, 3, 3, "col2im: data")
        self.check_geometry((1, 1, *self.output_size))
        n_windows = prod(self.out_extents(self.output_size))  # type: ignore[type-var]
        if columns[2] not in (None, n_windows):
            raise ShapeError(
                f"output size does not match convolution parameters: {columns[2]} columns, expected {n_windows}"
            )
        if columns[1] is not None and columns[1] % prod(self.kernel):
            raise ShapeError(
                f"the second dim of input shape should be multiples of kernel size: {columns[1]}, kernel {self.kernel}"
            )
        channels = columns[1] and columns[1] // prod(self.kernel)
        return [(columns[0], columns[1], n_windows)], [unify((columns[0], channels, *self.output_size), outs[0])]

    def lower(self, t: Lowering) -> None:
        x, shape = t.ins[0], t.out_shapes[0]

        def value(*i: IndexLike) -> Expr:
            inside = self.pixel(i, shape)[1]
            found = x(*self.column(i, shape))
            return found if inside is None else select(inside, found, 0)

        t.region(shape, lambda *i: i, lambda *i: const(0, x.dtype))
        t.region(self.windows(shape), lambda *i: self.pixel(i, shape)[0], value, mode="add")

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [g("im2col", flows(dy), kernel=self.kernel, stride=self.stride, dilate=self.dilate, pad=self.pad)]
