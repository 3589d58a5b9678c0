"""Cases of boxes: overlap, priors, matching."""

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


CASES = [
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
