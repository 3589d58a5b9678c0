"""DeformablePSROIPooling: bins of regions that learned offsets move, each the mean of a fixed number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

from symc.core.dtypes import compute_dtype
from symc.core.errors import ShapeError
from symc.core.shapes import FullShape, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Node, Value
from symc.ir.op import Op, Shapes, check_rank, declares_parameters, op, param
from symc.loopir.expr import Axis, Expr, IndexLike, cast, const, index_value, prim, select
from symc.loopir.tensor import Lowering, Tensor
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import number, single
from symc.ops.rules.terms import Term

from .regions import check_planes
from .sampling import Corner, clamped


@declares_parameters
class MovedBins(Op):
    """The geometry of the bins, in the dtype of the data as in MXNet."""

    spatial_scale: float = param(low=0.0, high=1.0, doc="extent of the data over that of the image the regions are of")
    output_dim: int = param(low=1, doc="channels of the output")
    group_size: int = param(low=1, doc="parts of a region along each axis that have planes of their own")
    pooled_size: int = param(low=1, doc="number of bins along each axis")
    part_size: int = param(0, low=0, doc="parts along each axis that have offsets of their own; 0: pooled_size")
    sample_per_part: int = param(1, low=1, high=1024, doc="samples of a bin along each axis")
    trans_std: float = param(0.0, low=0.0, high=1.0, doc="factor of the offsets, in extents of the region")
    no_trans: bool = param(False, doc="whether there are no offsets")

    @property
    def n_parts(self) -> int:
        """Parts along an axis that have offsets of their own."""
        return self.part_size or self.pooled_size

    def bins(self, rois: FullShape) -> FullShape:
        """Regions, channels, rows and columns of bins."""
        return rois[0], self.output_dim, self.pooled_size, self.pooled_size

    def part(self, k: IndexLike, n_parts: int, dtype: str) -> Expr:
        """The part of a region that the k-th row or column of bins belongs to."""
        share = cast(index_value(k), dtype) / float(self.pooled_size) * float(n_parts)
        return prim("minimum", cast(prim("floor", share), "int64"), n_parts - 1)

    def sides(self, rois: Tensor, r: IndexLike, axis: int) -> tuple[Expr, Expr]:
        """Where a region begins along x (axis 0) or y, and its extent."""
        scale = number(single(self.spatial_scale), rois.dtype)
        first, last = (prim("round", rois(r, k + axis)) for k in (1, 3))
        start, end = first * scale - 0.5, (last + 1.0) * scale - 0.5
        return start, prim("maximum", end - start, 0.1)

    def place(
        self, rois: Tensor, trans: Tensor | None, index: tuple[IndexLike, ...], axis: int, sample: IndexLike
    ) -> Expr:
        """Where a sample of a bin (region, channel, row, column) lies along x (axis 0) or y."""
        r, c, a, b = index
        start, extent = self.sides(rois, r, axis)
        step = extent / float(self.pooled_size)
        found = cast(index_value((b, a)[axis]), rois.dtype) * step + start
        if trans is not None:
            parts = (self.part(k, self.n_parts, rois.dtype) for k in (a, b))
            offset = trans(r, self.offset_channel(trans, c, axis), *parts)
            found = found + offset * number(single(self.trans_std), rois.dtype) * extent
        return found + cast(index_value(sample), rois.dtype) * (step / float(self.sample_per_part))

    def offset_channel(self, trans: Tensor, c: IndexLike, axis: int) -> Expr:
        """Where the offsets of a channel's class along an axis lie."""
        n_classes = trans.shape[1] // 2
        return prim("floordiv", index_value(c), self.output_dim // n_classes) * 2 + axis

    def plane(self, index: tuple[IndexLike, ...], dtype: str) -> Expr:
        """The plane of the data that a bin reads."""
        _, c, a, b = index
        rows, columns = (self.part(k, self.group_size, dtype) for k in (a, b))
        return (index_value(c) * self.group_size + rows) * self.group_size + columns

    def image(self, rois: Tensor, r: IndexLike, n_images: int) -> Expr:
        """The image of a region."""
        return clamped(cast(rois(r, 0), "int64"), n_images)

    def samples(
        self,
        rois: Tensor,
        trans: Tensor | None,
        index: tuple[IndexLike, ...],
        at: tuple[Axis, Axis],
        extents: FullShape,
    ) -> Samples:
        """The pixels around a sample, which counts up to half a pixel outside."""
        sides, checks = [], []
        for axis, sample, extent in ((1, at[0], extents[0]), (0, at[1], extents[1])):
            place = self.place(rois, trans, index, axis, sample)
            checks += [place >= -0.5, place <= extent - 0.5]
            inner = prim("maximum", prim("minimum", place, float(extent - 1)), 0.0)
            first, last = prim("floor", inner), prim("ceil", inner)
            share = inner - first
            sides.append([(first, 1.0 - share, -1.0), (last, share, 1.0)])
        inside = reduce(lambda a, b: prim("and", a, b), checks)
        corners = []
        for row, down, row_slope in sides[0]:
            for column, right, column_slope in sides[1]:
                places = [clamped(cast(p, "int64"), extent) for p, extent in zip((row, column), extents)]
                corners.append(Corner(*places, down, right, row_slope, column_slope, inside))
        return Samples(inside, corners)


class Samples(NamedTuple):
    """Whether a sample counts, and the four pixels around it."""

    inside: Expr
    corners: list[Corner]


@op("_contrib_DeformablePSROIPooling", aliases=("DeformablePSROIPooling",))
class DeformablePSROIPooling(FloatData, MovedBins):
    """data (N, output_dim * group_size^2, H, W), rois (R, 5) = (image, x1, y1, x2, y2), trans (R, 2 * classes,
    part_size, part_size) -> (R, output_dim, pooled_size, pooled_size): the mean of the samples of each bin that lie in
    the image, interpolated in the plane of its part of the region; 0 where none does.

    trans moves bins by (x, y), for each class of channels and part.  No gradient for rois.  The hidden output counts
    samples.  Source: MXNet operator _contrib_DeformablePSROIPooling.
    """

    arguments = ("data", "rois", "trans")
    results = ("output", "top_count")
    needs_elements = ("data",)

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments[:2] if self.no_trans else self.arguments

    def n_visible(self) -> int:
        return 1

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, rois, *trans = ins
        for name, shape, rank in zip(self.arguments, ins, (4, 2, 4)):
            check_rank(shape, rank, rank, f"{self.name}: {name}")
        if data is not None and data[1] is not None:
            check_planes(self, data[1], self.output_dim, self.group_size)
        n = None if rois is None else rois[0]
        moved = [unify(t, (n, None, self.n_parts, self.n_parts)) for t in trans]
        for t in moved:
            if t is not None and t[1] is not None and (t[1] % 2 or not t[1] or self.output_dim % (t[1] // 2)):
                raise ShapeError(
                    f"{self.name}: expected two channels of trans for each class, classes that divide "
                    f"output_dim={self.output_dim}, got {t[1]} channels"
                )
        found = (n, self.output_dim, self.pooled_size, self.pooled_size)
        return [data, unify(rois, (n, 5)), *moved], [unify(found, o) for o in outs]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        node, dtype = self._pooled(g, x), g.dtype(x[0])
        return [Term(g, node[k]).cast(dtype).value for k in range(2)]

    def _pooled(self, g: GraphBuilder, x: Sequence[Value]) -> Node:
        wide = [Term(g, v).cast(compute_dtype(g.dtype(x[0]))).value for v in x]
        return g.node("_moved_bins", *wide, **self.given_params())

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        if dy[0] is None:
            return [None] * len(x)
        counts = Term(g, self._pooled(g, x)[1])
        share = (Term(g, dy[0]).wide() / counts("_maximum_scalar", scalar=1.0)).value
        wide = [Term(g, v).wide().value for v in x]
        params, dtype = self.given_params(), g.dtype(x[0])
        found = [g("_moved_bins_data_gradient", share, *wide[1:], shape=g.shape(x[0]), **params)]
        if not self.no_trans:
            found.append(g("_moved_bins_trans_gradient", share, *wide, **params))
        d_data, *d_trans = (Term(g, v).cast(dtype).value for v in found)
        return [d_data, None, *d_trans]


@op("_moved_bins")
class MovedBinMeans(MovedBins):
    """DeformablePSROIPooling on float32 or float64, with the number of samples."""

    arguments = ("data", "rois", "trans")
    results = ("output", "top_count")
    is_internal = True

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments[:2] if self.no_trans else self.arguments

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [self.bins(ins[1])] * 2  # type: ignore[arg-type]

    def lower(self, t: Lowering) -> None:
        data, rois, *trans = t.ins
        moved = trans[0] if trans else None
        window = (self.sample_per_part, self.sample_per_part)

        def count(*index: IndexLike) -> Expr:
            def term(*at: Axis) -> Expr:
                found = self.samples(rois, moved, index, at, data.shape[2:])  # type: ignore[arg-type]
                return select(found.inside, const(1, data.dtype), const(0, data.dtype))

            return t.reduce("sum", window, term)

        def mean(*index: IndexLike) -> Expr:
            def term(*at: Axis) -> Expr:
                image, plane = self.image(rois, index[0], data.shape[0]), self.plane(index, data.dtype)
                corners = self.samples(rois, moved, index, at, data.shape[2:]).corners  # type: ignore[arg-type]
                found = [data(image, plane, p.row, p.column) * (p.down * p.right) for p in corners]
                return select(corners[0].inside, reduce(lambda a, b: a + b, found), 0.0)

            return t.reduce("sum", window, term) / prim("maximum", count(*index), 1.0)

        t.map(mean)
        t.map(count, output=1)


@op("_moved_bins_data_gradient")
class MovedBinsDataGradient(Accumulating, MovedBins):
    """dy by the number of samples (R, output_dim, bins, bins) given back to the pixels, corner after corner."""

    arguments = ("dy", "rois", "trans")
    is_internal = True

    shape: tuple[int, ...] = param(doc="shape of the data")

    def argument_names(self) -> tuple[str, ...]:
        return self.arguments[:2] if self.no_trans else self.arguments

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [self.shape]

    def lower(self, t: Lowering) -> None:
        dy, rois, *trans = t.ins
        moved = trans[0] if trans else None
        domain = *dy.shape, self.sample_per_part, self.sample_per_part

        def corner(k: int, i: tuple) -> Corner:
            return self.samples(rois, moved, i[:4], i[4:], self.shape[2:]).corners[k]

        def place(k: int, i: tuple) -> Sequence[Expr]:
            p = corner(k, i)
            return self.image(rois, i[0], self.shape[0]), self.plane(i[:4], dy.dtype), p.row, p.column

        def value(k: int, i: tuple) -> Expr:
            p = corner(k, i)
            return select(p.inside, dy(*i[:4]) * (p.down * p.right), 0.0)

        t.region(self.shape, lambda *i: i, lambda *i: const(0, dy.dtype))
        for k in range(4):
            t.region(domain, lambda *i, k=k: place(k, i), lambda *i, k=k: value(k, i), mode="add")


@op("_moved_bins_trans_gradient")
class MovedBinsTransGradient(Accumulating, MovedBins):
    """How the samples change with their offsets, weighted by dy by the number of samples: the shape of trans."""

    arguments = ("dy", "data", "rois", "trans")
    is_internal = True

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [ins[3]]

    def lower(self, t: Lowering) -> None:
        dy, data, rois, trans = t.ins
        window = (self.sample_per_part, self.sample_per_part)

        def place(axis: int, i: tuple) -> Sequence[IndexLike | Expr]:
            parts = (self.part(k, self.n_parts, dy.dtype) for k in i[2:])
            return i[0], self.offset_channel(trans, i[1], axis), *parts

        def slope(axis: int, i: tuple) -> Expr:
            def term(*at: Axis) -> Expr:
                image, plane = self.image(rois, i[0], data.shape[0]), self.plane(i, dy.dtype)
                corners = self.samples(rois, trans, i, at, data.shape[2:]).corners  # type: ignore[arg-type]
                found = [
                    data(image, plane, p.row, p.column)
                    * (p.down * p.column_slope if axis == 0 else p.right * p.row_slope)
                    for p in corners
                ]
                return select(corners[0].inside, reduce(lambda a, b: a + b, found), 0.0)

            factor = self.sides(rois, i[0], axis)[1] * number(single(self.trans_std), dy.dtype)
            return dy(*i) * t.reduce("sum", window, term) * factor

        t.region(trans.shape, lambda *i: i, lambda *i: const(0, dy.dtype))
        for axis in range(2):
            t.region(dy.shape, lambda *i, axis=axis: place(axis, i), lambda *i, axis=axis: slope(axis, i), mode="add")
