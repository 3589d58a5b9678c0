"""Cases of resizing, sampling, correlating and pooling images, and of convolutions with moved taps."""

from __future__ import annotations

from .cases import Case, over_dtypes

RESIZE, ADAPT = "_contrib_BilinearResize2D", "_contrib_AdaptiveAvgPooling2D"
FLOATS = ("float32", "float64")


# Regions (image, x1, y1, x2, y2): inside, partly outside, inside out, of a size that divides evenly, of one pixel.
BOXES = (
    0.0, 1.0, 1.0, 6.4, 5.6, 1.0, 2.5, 0.5, 13.0, 7.0, 1.0, 5.0, 5.0, 2.0, 2.0,
    0.0, -3.0, 2.0, 3.0, 9.5, 1.0, 4.0, 4.0, 4.0, 4.0,
)  # fmt: skip


def _regions(name: str, shape: tuple, params: dict, **more: object) -> Case:
    """Five regions; the second input of a case begins with its second point."""
    return Case(name, (shape, (5, 5)), params, points=(BOXES[-1], *BOXES[:-1]), grads=(0,), smooth=False, **more)


# Turned regions (image, centre x, centre y, width, height, degrees): inside, partly and far outside, of no extent.
TURNED = (
    0.0, 6.0, 5.0, 8.0, 4.0, 30.0, 1.0, 3.0, 9.0, 5.0, 7.0, -100.0, 0.0, 0.0, 0.0, 6.0, 6.0, 45.0,
    1.0, 5.0, 5.0, 0.0, 0.0, 10.0, 0.0, 90.0, 5.0, 3.0, 3.0, 180.0,
)  # fmt: skip
POSITION = "_contrib_DeformablePSROIPooling"
DEFORM, MODULATE = "_contrib_DeformableConvolution", "_contrib_ModulatedDeformableConvolution"


def _deformable(op: str, data: tuple, small: tuple, params: dict, dtype: str = "float32", **more: object) -> Case:
    """A convolution over data (N, C, H, W) with `small` positions."""
    (n, c), taps = data[:2], params["kernel"][0] * params["kernel"][1] * params.get("num_deformable_group", 1)
    mask = ((n, taps, *small),) if op == MODULATE else ()
    weight = (params["num_filter"], c // params.get("num_group", 1), *params["kernel"])
    bias = () if params.get("no_bias") else ((params["num_filter"],),)
    shapes = (data, (n, 2 * taps, *small), *mask, weight, *bias)
    return Case(op, shapes, params, dtype, **{"domain": (-1.5, 1.5), **more})


CASES = [
    *(Case("Correlation", ((1, 2, 4, 5), (1, 2, 4, 5)), params) for params in (
        {"max_displacement": 1, "pad_size": 1}, {"max_displacement": 1, "pad_size": 1, "is_multiply": False},
        {"max_displacement": 3, "stride1": 2, "stride2": 2, "pad_size": 3, "is_multiply": False},
        {"kernel_size": 3, "max_displacement": 2, "stride1": 2, "stride2": 2, "pad_size": 3})),
    Case("Correlation", ((2, 3, 6, 7), (2, 3, 6, 7)), {"kernel_size": 3, "stride1": 2}, "float64"),
    Case("Correlation", ((1, 2, 4, 5), (1, 2, 4, 5)), {"pad_size": 2}, "float16"),
    _deformable(DEFORM, (1, 2, 3, 4), (3, 4), {"kernel": (2, 1), "pad": (1, 0), "dilate": (2, 1), "num_filter": 2}),
    _deformable(DEFORM, (2, 4, 5, 6), (3, 3), {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "num_filter": 6,
                                               "num_group": 2, "num_deformable_group": 2, "no_bias": True}, "float64"),
    _deformable(DEFORM, (1, 3, 4, 5), (4, 5), {"kernel": (3, 3), "pad": (1, 1), "num_filter": 33}, domain=(-4.0, 4.0)),
    _deformable(MODULATE, (2, 4, 5, 6), (5, 6), {"kernel": (3, 3), "pad": (1, 1), "num_filter": 4, "im2col_step": 1,
                                                 "num_group": 2, "num_deformable_group": 2}, grads=()),
    _deformable(MODULATE, (1, 2, 3, 3), (2, 2), {"kernel": (2, 2), "num_filter": 2, "num_deformable_group": 2,
                                                 "no_bias": True}),
    *over_dtypes(Case(RESIZE, ((1, 2, 4, 5),), {"height": 7, "width": 9}), FLOATS),
    Case(RESIZE, ((1, 2, 6, 6),), {"height": 3, "width": 3, "align_corners": False}),
    Case(RESIZE, ((2, 1, 3, 4),), {"height": 8, "width": 4, "align_corners": False}),
    Case(RESIZE, ((1, 1, 3, 3),), {"height": 1, "width": 1}),
    Case(RESIZE, ((1, 1, 4, 6),), {"scale_height": 1.5, "scale_width": 0.5, "mode": "size"}),
    Case(RESIZE, ((1, 1, 5, 4),), {"scale_height": 2.0, "scale_width": 0.5, "mode": "odd_scale"}),
    Case(RESIZE, ((1, 1, 5, 4), (1, 1, 2, 7)), {"mode": "like"}),
    *(Case(RESIZE, ((1, 1, 5, 4),), {"mode": mode})
      for mode in ("to_even_down", "to_even_up", "to_odd_down", "to_odd_up")),
    *over_dtypes(Case(ADAPT, ((2, 2, 7, 5),), {"output_size": (3, 2)}), FLOATS),
    Case(ADAPT, ((1, 2, 4, 4),)),
    Case(ADAPT, ((1, 2, 3, 4),), {"output_size": (5,)}),
    Case("BilinearSampler", ((1, 2, 5, 6), (1, 2, 3, 4)), domain=(-1.2, 1.2), smooth=False),
    Case("BilinearSampler", ((2, 1, 4, 4), (2, 2, 4, 4)), dtypes="float64", domain=(-0.9, 0.9)),
    Case("BilinearSampler", ((1, 1, 1, 1), (1, 2, 2, 2)), smooth=False),
    Case("GridGenerator", ((2, 6),), {"transform_type": "affine", "target_shape": (4, 5)}),
    Case("GridGenerator", ((1, 2, 4, 5),), {"transform_type": "warp"}),
    Case("SpatialTransformer", ((2, 2, 5, 5), (2, 6)), {"target_shape": (4, 3), "transform_type": "affine",
                                                        "sampler_type": "bilinear"}, smooth=False),
    _regions("ROIPooling", (2, 2, 6, 7), {"pooled_size": (2, 3), "spatial_scale": 1.0}),
    _regions("ROIPooling", (2, 3, 6, 7), {"pooled_size": (3, 2), "spatial_scale": 0.5}, dtypes="float64"),
    *(_regions("_contrib_ROIAlign", (2, planes, 6, 7), {"pooled_size": (2, 2), "spatial_scale": 0.5, **more})
      for planes, more in ((2, {}), (3, {"sample_ratio": 2}), (8, {"position_sensitive": True}))),
    _regions("_contrib_ROIAlign", (2, 1, 6, 7), {"pooled_size": (3, 2), "spatial_scale": 1.0, "sample_ratio": 1},
             dtypes="float64"),
    *(_regions("_contrib_PSROIPooling", (2, planes, 6, 7), {"spatial_scale": 0.5, "output_dim": 2, **more}, dtypes=d)
      for d in (*FLOATS, "float16")
      for planes, more in ((8, {"pooled_size": 2}), (2, {"pooled_size": 3, "group_size": 1}),
                           (18, {"pooled_size": 4, "group_size": 3}))),
    *(Case(POSITION, ((2, planes, 6, 7), (5, 5), (5, 2 * classes, parts, parts)), {
        "spatial_scale": 0.5, "output_dim": 2, "group_size": groups, "pooled_size": 3, "part_size": parts,
        "trans_std": 0.4, "sample_per_part": samples}, dtype, given={1: BOXES}, grads=(0, 2), smooth=False)
      for dtype in FLOATS for planes, groups, classes, parts, samples in ((2, 1, 2, 3, 1), (8, 2, 1, 2, 3))),
    Case(POSITION, ((1, 4, 3, 4), (2, 5), (2, 2, 2, 2)), {
        "spatial_scale": 1.0, "output_dim": 1, "group_size": 2, "pooled_size": 2, "trans_std": 0.3,
        "sample_per_part": 2}, given={1: (0, 0, 1, 3, 2, 0, -1, -1, 2, 4)},
        grads=(0, 2)),
    Case(POSITION, ((2, 2, 6, 7), (5, 5)), {"spatial_scale": 1.0, "output_dim": 2, "group_size": 1, "pooled_size": 2,
        "no_trans": True, "sample_per_part": 2}, given={1: BOXES}, grads=(0,), smooth=False),
    *(Case("_contrib_RROIAlign", ((2, 3, 6, 7), (5, 6)), {"pooled_size": (2, 3), "spatial_scale": 0.5, **more}, dtype,
           given={1: TURNED}, grads=()) for dtype in (*FLOATS, "float16") for more in ({}, {"sampling_ratio": 2})),
]  # fmt: skip

ORACLE = {}  # the values recorded from MXNet stand here for NumPy
