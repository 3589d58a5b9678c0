"""Pooling over regions of interest of images: ROIPooling, ROIAlign, those by position and turned ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from symc.core.dtypes import compute_dtype
from symc.core.errors import DTypeError, ParameterError, ShapeError
from symc.core.shapes import FullShape, size_of, unify
from symc.ir.builder import GraphBuilder
from symc.ir.graph import Value
from symc.ir.op import DTypes, Op, Shapes, check_rank, declares_parameters, op, param, same_dtype
from symc.loopir.expr import IndexLike, cast, const, prim, select
from symc.loopir.roi import RoiAlign as RoiAlignRoutine
from symc.loopir.roi import RoiMax, RoiMean, RotatedAlign
from symc.loopir.tensor import Lowering
from symc.ops.rules.accumulation import Accumulating
from symc.ops.rules.floats import FloatData
from symc.ops.rules.numbers import single
from symc.ops.rules.terms import Term, flows


@declares_parameters
class RegionPooling(Op):
    """data (N, C, H, W), rois (R, 5) = (image, x1, y1, x2, y2) -> (R, C, *pooled_size)."""

    arguments = ("data", "rois")
    needs_elements = ("data",)

    pooled_size: tuple[int, ...] = param(doc="number of bins along the height and the width")
    spatial_scale: float = param(low=0.0, high=1.0, doc="extent of the data over that of the image the regions are of")

    def out_channels(self, channels: int | None) -> int | None:
        """Channels of the output."""
        return channels

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, rois = ins
        check_rank(data, 4, 4, f"{self.name}: data")
        check_rank(rois, 2, 2, f"{self.name}: bbox")
        if len(self.pooled_size) != 2 or min(self.pooled_size) < 1:
            raise ShapeError(f"{self.name}: pooled_size {self.pooled_size} must be two positive numbers")
        if rois is not None and rois[1] not in (None, 5):
            raise ShapeError(f"bbox should be a 2D tensor of shape [num_rois, 5], got {rois[1]} columns")
        if data is None or rois is None:
            return ins, outs
        found = (rois[0], self.out_channels(data[1]), *self.pooled_size)
        return [data, (rois[0], 5)], [unify(found, outs[0])]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        dtype = same_dtype((*ins, outs[0]))
        return [dtype, dtype], [dtype]


@op("ROIPooling", aliases=("_npx_roi_pooling",))
class ROIPooling(RegionPooling):
    """The largest element of each bin of each region; 0 for an empty bin.  No gradient for rois.

    MXNet operator ROIPooling.
    """

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value]:
        return [self._pooled(g, x)[0].value]

    def _pooled(self, g: GraphBuilder, x: Sequence[Value]) -> tuple[Term, Term]:
        """Values, and their positions in the image plane."""
        dtype = g.dtype(x[0])
        wide = [Term(g, v).cast(compute_dtype(dtype)).value for v in x]
        node = g.node("_roi_max", *wide, pooled_size=self.pooled_size, spatial_scale=self.spatial_scale)
        return Term(g, node[0]).cast(dtype), Term(g, node[1])

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        places = self._pooled(g, x)[1].value
        n, c, h, w = g.shape(x[0])
        planes = Term(g, g("_roi_max_gradient", flows(dy), places, x[1], shape=(n, c, h * w)))
        return [planes.reshape((n, c, h, w)).value, None]


@op("_roi_max")
class RoiMaximum(RegionPooling):
    """ROIPooling with the positions of what it found, see loopir.roi.RoiMax."""

    is_internal = True
    results = ("output", "places")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        ins, (shape,) = super().infer_shape(ins, outs[:1])
        return ins, [shape, shape]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        ins, (dtype,) = super().infer_dtype(ins, outs[:1])
        if dtype not in ("float32", "float64"):
            raise DTypeError(f"ROIPooling: expected float data, got {dtype}")
        return ins, [dtype, "int32"]

    def lower(self, t: Lowering) -> None:
        t.template(RoiMax(self.pooled_size, single(self.spatial_scale)))  # type: ignore[arg-type]


@op("_roi_max_gradient")
class RoiMaximumGradient(Accumulating):
    """dy (R, C, *bins) added where each bin found its largest element, in planes (N, C, H * W)."""

    arguments = ("dy", "places", "rois")
    is_internal = True

    shape: tuple[int, ...] = param(doc="shape of the output")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        return ins, [self.shape]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        return ins, [ins[0]]

    def lower(self, t: Lowering) -> None:
        dy, places, rois = t.ins
        t.region(self.shape, lambda *i: i, lambda *i: const(0, dy.dtype))

        def target(r: IndexLike, c: IndexLike, a: IndexLike, b: IndexLike) -> list:
            image = prim("minimum", prim("maximum", cast(rois(r, 0), "int64"), 0), self.shape[0] - 1)
            return [image, c, prim("maximum", cast(places(r, c, a, b), "int64"), 0)]

        t.region(dy.shape, target, lambda *i: select(places(*i) >= 0, dy(*i), 0), mode="add")


MAX_SAMPLE_RATIO = 1024  # its square is the work of one bin


class ByRoutine(Op):
    """The mean of what each bin of each region covers, by an internal operator on float32 or float64; none for rois.

    routine    the internal operator: it has all parameters of this one, those of `routine_params`, and is_adjoint
    """

    routine: ClassVar[str]

    def routine_params(self, shape: FullShape) -> dict[str, object]:
        """Parameters of the routine for data of this shape."""
        return {name: getattr(self, name) for name in type(self).params()} | {"shape": shape}

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        return [self._run(g, x[0], x[1], g.shape(x[0]), is_adjoint=False).value]

    def gradient(
        self, g: GraphBuilder, x: Sequence[Value], y: Sequence[Value], dy: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        return [self._run(g, flows(dy), x[1], g.shape(x[0]), is_adjoint=True).value, None]

    def _run(self, g: GraphBuilder, source: Value, rois: Value, shape: FullShape, is_adjoint: bool) -> Term:
        dtype = g.dtype(source)
        wide = [Term(g, v).cast(compute_dtype(dtype)).value for v in (source, rois)]
        return Term(g, g(self.routine, *wide, is_adjoint=is_adjoint, **self.routine_params(shape))).cast(dtype)


@op("_contrib_ROIAlign")
class ROIAlign(ByRoutine, RegionPooling):
    """The mean of samples in each bin of each region, each interpolated between four pixels.  No gradient for rois.

    Position sensitive: data (N, C * bins, H, W), each bin of a channel reads a plane of its own.
    MXNet operator _contrib_ROIAlign.
    """

    routine = "_roi_align"

    sample_ratio: int = param(
        -1, high=MAX_SAMPLE_RATIO, doc="samples of a bin along each axis; less than 1: as many as it has pixels"
    )
    position_sensitive: bool = param(False, doc="each bin of a channel reads a plane of its own")
    aligned: bool = param(False, doc="shift regions by half a pixel")

    def out_channels(self, channels: int | None) -> int | None:
        n_bins = size_of(self.pooled_size)
        if not self.position_sensitive or channels is None:
            return channels
        if channels % n_bins:
            raise ShapeError(
                f"Input channels should be divided by pooled_size[0]*pooled_size[1]: {channels} by {n_bins}"
            )
        return channels // n_bins

    def routine_params(self, shape: FullShape) -> dict[str, object]:
        return super().routine_params(shape) | {"channels": self.out_channels(shape[1])}


@op("_roi_align")
class RoiAligned(ROIAlign):
    """ROIAlign on float32 or float64, or its adjoint, see loopir.roi.RoiAlign."""

    is_internal = True

    shape: tuple[int, ...] = param(doc="shape of the data")
    channels: int = param(doc="channels of the pooled bins")
    is_adjoint: bool = param(doc="from bins to pixels")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        pooled = None if ins[1] is None else (ins[1][0], self.channels, *self.pooled_size)
        return ins, [self.shape if self.is_adjoint else pooled]

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        ins, (dtype,) = super().infer_dtype(ins, outs)
        if dtype not in ("float32", "float64"):
            raise DTypeError(f"ROIAlign: expected float data, got {dtype}")
        return ins, [dtype]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> None:
        return None

    def lower(self, t: Lowering) -> None:
        t.template(
            RoiAlignRoutine(
                shape=self.shape,  # type: ignore[arg-type]
                channels=self.channels,
                bins=self.pooled_size,  # type: ignore[arg-type]
                scale=single(self.spatial_scale),
                sample_ratio=self.sample_ratio,
                by_position=self.position_sensitive,
                is_aligned=self.aligned,
                is_adjoint=self.is_adjoint,
            )
        )


@op("_contrib_PSROIPooling", aliases=("PSROIPooling",))
class PSROIPooling(ByRoutine, FloatData):
    """data (N, output_dim * group_size^2, H, W), rois (R, 5) = (image, x1, y1, x2, y2) -> (R, output_dim, pooled_size,
    pooled_size): the mean of each bin of each region, in the plane of its part of the region; 0 for an empty bin.

    No gradient for rois.  See loopir.roi.RoiMean.  MXNet operator _contrib_PSROIPooling.
    """

    routine = "_roi_mean"
    arguments = ("data", "rois")
    needs_elements = ("data",)

    spatial_scale: float = param(low=0.0, high=1.0, doc="extent of the data over that of the image the regions are of")
    output_dim: int = param(low=1, doc="channels of the output")
    pooled_size: int = param(low=1, doc="number of bins along each axis")
    group_size: int = param(0, low=0, doc="parts of a region along each axis; 0: pooled_size")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, rois = ins
        check_rank(data, 4, 4, f"{self.name}: data")
        check_rank(rois, 2, 2, f"{self.name}: rois")
        if data is not None and data[1] is not None:
            check_planes(self, data[1], self.output_dim, self.group_size or self.pooled_size)
        n = None if rois is None else rois[0]
        found = (n, self.output_dim, self.pooled_size, self.pooled_size)
        return [data, unify(rois, (n, 5))], [unify(found, outs[0])]


def check_planes(operator: Op, channels: int, output_dim: int, groups: int) -> None:
    """Raises ShapeError where data has too few channels for all parts of a region."""
    if channels < output_dim * groups**2:
        raise ShapeError(
            f"{operator.name}: expected at least output_dim * group_size^2 = {output_dim} * {groups}^2 channels of "
            f"data, got {channels}"
        )


@op("_roi_mean")
class RoiMeans(PSROIPooling):
    """PSROIPooling on float32 or float64, or its adjoint, see loopir.roi.RoiMean."""

    is_internal = True

    shape: tuple[int, ...] = param(doc="shape of the data")
    is_adjoint: bool = param(doc="from bins to pixels")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n = None if ins[1] is None else ins[1][0]
        return ins, [self.shape if self.is_adjoint else (n, self.output_dim, self.pooled_size, self.pooled_size)]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> None:  # type: ignore[override]
        return None

    def lower(self, t: Lowering) -> None:
        groups = self.group_size or self.pooled_size
        routine = RoiMean(
            self.shape,
            self.output_dim,
            self.pooled_size,
            groups,
            single(self.spatial_scale),
            self.is_adjoint,  # type: ignore[arg-type]
        )
        t.template(routine)


@op("_contrib_RROIAlign")
class RROIAlign(FloatData):
    """data (N, C, H, W), rois (R, 6) = (image, centre x, centre y, width, height, degrees) -> (R, C, *pooled_size): the
    mean of interpolated samples in each bin of each turned region; as in MXNet without a gradient.

    MXNet operator _contrib_RROIAlign.
    """

    arguments = ("data", "rois")
    needs_elements = ("data",)
    is_differentiable = False

    pooled_size: tuple[int, ...] = param(doc="number of bins along the height and the width")
    spatial_scale: float = param(low=0.0, high=1.0, doc="extent of the data over that of the image the regions are of")
    sampling_ratio: int = param(
        -1, high=MAX_SAMPLE_RATIO, doc="samples of a bin along each axis; less than 1: as many as it has pixels"
    )

    def __post_init__(self) -> None:
        if len(self.pooled_size) != 2 or min(self.pooled_size) < 1:
            raise ParameterError(f"{self.name}: pooled_size {self.pooled_size} must be two positive numbers")

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        data, rois = ins
        check_rank(data, 4, 4, f"{self.name}: data")
        check_rank(rois, 2, 2, f"{self.name}: rois")
        n, channels = None if rois is None else rois[0], None if data is None else data[1]
        return [data, unify(rois, (n, 6))], [unify((n, channels, *self.pooled_size), outs[0])]

    def expand(self, g: GraphBuilder, x: Sequence[Value], training: bool) -> Sequence[Value] | None:
        dtype = g.dtype(x[0])
        if dtype != "float16":
            return None
        return [Term(g, g.apply(self, [Term(g, v).wide().value for v in x])[0]).cast(dtype).value]

    def lower(self, t: Lowering) -> None:
        t.template(RotatedAlign(self.pooled_size, single(self.spatial_scale), self.sampling_ratio))  # type: ignore[arg-type]
