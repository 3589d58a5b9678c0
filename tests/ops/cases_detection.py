"""Cases of boxes: overlap, priors, matching, detections, training targets, proposals."""

from __future__ import annotations

from .cases import Case, over_dtypes

# Boxes that overlap, touch, lie inside each other, are inside out or have no extent; each input starts elsewhere.
BOXES = (
    0.0, 0.0, 2.0, 2.0, 1.0, 1.0, 3.0, 4.0, 2.0, 0.0, 3.0, 2.0,
    0.5, 0.5, 1.0, 1.5, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
)  # fmt: skip
MATCH, PRIOR = "_contrib_bipartite_matching", "_contrib_MultiBoxPrior"

NMS = "_contrib_box_nms"
ROWS = {"coord_start": 0, "score_index": 4}
CLASSES = {**ROWS, "id_index": 5, "valid_thresh": 0.1}

DETECT, TARGET = "_contrib_MultiBoxDetection", "_contrib_MultiBoxTarget"
# 12 boxes inside the unit square, some nearly the same; objects of three images: two, none, three (two of them equal).
SQUARES = (
    0.1, 0.1, 0.4, 0.5, 0.12, 0.1, 0.4, 0.5, 0.5, 0.5, 0.9, 0.9, 0.55, 0.5, 0.9, 0.85, 0.0, 0.6, 0.3, 1.0,
    0.3, 0.3, 0.7, 0.7, 0.35, 0.3, 0.7, 0.65, 0.2, 0.0, 0.8, 0.3, 0.0, 0.0, 1.0, 1.0, 0.6, 0.1, 0.95, 0.4,
    0.6, 0.15, 0.95, 0.4, 0.05, 0.55, 0.3, 0.95,
)  # fmt: skip
OBJECTS = (
    1.0, 0.1, 0.1, 0.42, 0.5, 0.0, 0.52, 0.5, 0.9, 0.88, *[-1.0] * 5,
    *[-1.0] * 15,
    2.0, 0.3, 0.3, 0.7, 0.68, 2.0, 0.3, 0.3, 0.7, 0.68, 0.0, 0.02, 0.02, 0.98, 0.98,
)  # fmt: skip
DETECTIONS = (
    {}, {"clip": False, "threshold": 0.5, "nms_topk": 3}, {"nms_threshold": 0.2, "force_suppress": True},
    {"nms_threshold": 0.0}, {"threshold": 5.0}, {"variances": (0.2, 0.3, 0.4, 0.1), "nms_topk": 7, "threshold": -1.0},
)  # fmt: skip
TARGETS = (
    {}, {"overlap_threshold": 0.3, "ignore_label": -7.0}, {"overlap_threshold": -1.0},
    {"negative_mining_ratio": 1.5, "negative_mining_thresh": 0.9, "variances": (0.2, 0.3, 0.4, 0.1)},
    {"negative_mining_ratio": 0.5, "overlap_threshold": 0.8},
)  # fmt: skip
RPN = {"scales": (1.0, 3.0), "ratios": (0.5, 2.0), "feature_stride": 8, "rpn_min_size": 4, "output_score": True}
PROPOSALS = (
    {"rpn_pre_nms_top_n": 30, "rpn_post_nms_top_n": 8}, {"rpn_pre_nms_top_n": -1, "rpn_post_nms_top_n": 30},
    {"rpn_post_nms_top_n": 5, "threshold": 0.2, "iou_loss": True}, {"rpn_post_nms_top_n": 3, "output_score": False},
    {"rpn_pre_nms_top_n": 2, "rpn_post_nms_top_n": 5, "rpn_min_size": 12},
    # 23 * 3.084 / 3.084 is less than 23 in float32, half of which is then rounded down.
    {"rpn_pre_nms_top_n": -1, "rpn_post_nms_top_n": 6, "feature_stride": 16, "scales": (1.0, 3.084)},
)  # fmt: skip


def proposal(op: str, n: int, params: dict, dtype: str = "float32") -> Case:
    """Images of 4 x 5 pixels of features, of which the image does not cover all."""
    shapes = (n, 8, 4, 5), (n, 16, 4, 5), (n, 3)
    images = (30.0, 35.0, 1.0, 32.0, 40.0, 0.5)
    return Case(op, shapes, {**RPN, **params}, dtype, domain=(-0.5, 0.9), grads=(), smooth=False, given={2: images})


CASES = [
    *(Case(DETECT, ((2, 4, 12), (2, 48), (1, 12, 4)), params, domain=(0.05, 0.95), grads=(0, 1, 2), smooth=False,
           given={2: SQUARES}) for params in DETECTIONS),
    Case(DETECT, ((1, 2, 3), (1, 12), (1, 3, 4)), {}, points=(0.5, 0.25), grads=(), given={2: SQUARES}),
    Case(DETECT, ((2, 4, 12), (2, 48), (1, 12, 4)), {}, "float64", (0.05, 0.95), grads=(), given={2: SQUARES}),
    *(Case(TARGET, ((1, 12, 4), (3, 3, 5), (3, 4, 12)), params, grads=(2,), smooth=False,
           given={0: SQUARES, 1: OBJECTS}) for params in TARGETS),
    *(proposal("_contrib_Proposal", 1, params) for params in PROPOSALS),
    *(proposal("_contrib_MultiProposal", 3, params) for params in PROPOSALS),
    *(Case("_contrib_box_decode", ((2, 5, 4), (1, 5, 4)), params, dtype, domain=(0.1, 1.5), grads=())
      for dtype in ("float32", "float64")
      for params in ({}, {"format": "corner", "std0": 0.1, "std1": 0.1, "std2": 0.2, "std3": 0.2, "clip": 0.1})),
    *(Case(NMS, shape, params, dtype, domain=(0.05, 2.0), smooth=False)
      for dtype in ("float32", "float64")
      for shape, params in (
          (((2, 9, 5),), {**ROWS, "overlap_thresh": 0.3, "in_format": "center"}),
          (((2, 9, 5),), {**ROWS, "overlap_thresh": 0.1, "topk": 5, "in_format": "center", "out_format": "corner"}),
          (((1, 12, 6),), {**CLASSES, "in_format": "center", "background_id": 0}),
          (((12, 6),), {**CLASSES, "in_format": "center", "overlap_thresh": 0.2, "force_suppress": True}),
          (((2, 2, 7, 6),), {"overlap_thresh": 0.1, "valid_thresh": 0.8, "out_format": "center"}),
          (((2, 3, 6),), {"valid_thresh": 5.0}),
          (((2, 3, 6),), {"topk": 0}),
      )),
    *(Case("_contrib_box_iou", shapes, {"format": f}, dtype, points=BOXES, grads=())
      for f in ("corner", "center") for dtype in ("float32", "float64")
      for shapes in (((6, 4), (3, 4)), ((2, 3, 4), (2, 2, 4)))),
    Case("_contrib_box_iou", ((7, 4), (5, 4)), domain=(0.0, 3.0), grads=()),
    Case(PRIOR, ((2, 3, 4, 5),), {"sizes": (0.3, 0.6, 0.9), "ratios": (1.0, 2.0, 0.5)}, grads=()),
    Case(PRIOR, ((1, 1, 3, 7),), {"sizes": (0.8,), "ratios": (2.0,), "clip": True}, grads=()),
    Case(PRIOR, ((1, 1, 2, 2),), {"steps": (0.4, 0.3), "offsets": (0.25, 0.75)}, "float64", grads=()),
    Case(PRIOR, ((1, 1, 1, 1),), grads=()),
    *over_dtypes(Case(MATCH, ((2, 5, 3),), {"threshold": 0.2}, grads=()), ("float32", "float64", "float16")),
    Case(MATCH, ((3, 7),), {"threshold": -0.5, "is_ascend": True}, grads=()),
    Case(MATCH, ((2, 2, 4, 4),), {"threshold": -5.0, "topk": 2}, grads=()),
    Case(MATCH, ((1, 33, 17),), {"threshold": 1e-12}, grads=()),
]  # fmt: skip
ORACLE: dict = {}
