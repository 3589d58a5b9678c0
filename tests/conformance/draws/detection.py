"""Parameter sets of boxes, detections, images and arrays made of nothing."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from tests.ops.cases import Case

from .draw import FLOATS, NUMBERS, Draw, Generator

SINGLE = ("float32", "float64")


def corners(d: Draw, n: int, size: float = 1.0) -> Tuple[float, ...]:
    """Boxes (x1, y1, x2, y2) of some extent."""
    found: Tuple[float, ...] = ()
    for _ in range(n):
        x, y = d.real(0, 0.7 * size), d.real(0, 0.7 * size)
        found += (x, y, round(x + d.real(0.05, 0.5) * size, 3), round(y + d.real(0.05, 0.5) * size, 3))
    return found


def iou(d: Draw) -> Case:
    n, m = d.shape(1, 2, 12), d.shape(1, 2, 12)
    return d.case((*n, 4), (*m, 4), dtypes=SINGLE, given={0: corners(d, 24), 1: corners(d, 24)}, grads=())


def nms(d: Draw) -> Case:
    batch, n = d.pick([(), (1,), (2,), (2, 2)]), d.integer(1, 12)
    rows: Tuple[float, ...] = ()
    boxes = corners(d, 24)
    scores = d.permuted(range(48))  # no ties
    for k in range(48):
        rows += (float(d.integer(0, 2)), round(0.02 * scores[k] + 0.01, 3), *boxes[4 * (k % 24) : 4 * (k % 24) + 4])
    more: Dict[str, Any] = {"coord_start": 2, "score_index": 1, "id_index": d.pick([-1, 0]), "topk": d.pick([-1, 3, 8])}
    more.update(overlap_thresh=d.real(0.1, 0.9), valid_thresh=d.real(0, 0.5))
    if more["id_index"] == 0:
        more["background_id"] = d.integer(-1, 1)
    return d.case((*batch, n, 6), dtypes=SINGLE, given={0: rows}, grads=(), **more)


def matching(d: Draw) -> Case:
    shape = d.shape(2, 3, 60)
    more = {"threshold": d.real(0.1, 0.6), "topk": d.pick([-1, 1, 3])}
    return d.case(shape, dtypes=SINGLE, domain=(0.0, 1.0), grads=(), **more)


def prior(d: Draw) -> Case:
    sizes = tuple(d.real(0.1, 1) for _ in range(d.integer(1, 3)))
    ratios = tuple(d.real(0.3, 3) for _ in range(d.integer(1, 3)))
    more: Dict[str, Any] = {"sizes": sizes, "ratios": ratios}
    if d.chance(0.4):
        more["steps"] = (d.real(0.1, 0.5), d.real(0.1, 0.5))
    if d.chance(0.4):
        more["offsets"] = (d.real(0, 1), d.real(0, 1))
    return d.case((d.integer(1, 2), 1, d.integer(1, 6), d.integer(1, 6)), dtypes=SINGLE[:1], grads=(), **more)


def variances(d: Draw) -> Dict[str, Any]:
    return {"variances": tuple(d.real(0.05, 0.4) for _ in range(4))} if d.chance(0.5) else {}


def detection(d: Draw) -> Case:
    batch, classes, n = d.integer(1, 2), d.integer(2, 4), d.integer(1, 10)
    more: Dict[str, Any] = {"threshold": d.real(0, 0.4), "nms_threshold": d.real(0.2, 0.8), "nms_topk": d.pick([-1, 3])}
    given = {2: corners(d, n)}
    shapes = (batch, classes, n), (batch, 4 * n), (1, n, 4)
    return d.case(*shapes, dtypes=SINGLE[:1], domain=(0.02, 0.98), given=given, grads=(), **more, **variances(d))


def target(d: Draw) -> Case:
    batch, classes, n, most = d.integer(1, 2), d.integer(2, 4), d.integer(2, 10), d.integer(1, 3)
    objects: Tuple[float, ...] = ()
    for _ in range(batch):
        held = d.integer(0, most)
        for k in range(most):
            objects += (float(d.integer(0, classes - 2)), *corners(d, 1)) if k < held else (-1.0,) * 5
    more: Dict[str, Any] = {"overlap_threshold": d.real(0.2, 0.8)}
    if d.chance(0.4):
        more.update(negative_mining_ratio=d.real(0.5, 3), negative_mining_thresh=d.real(0.1, 0.9))
    given = {0: corners(d, n), 1: objects}
    shapes = (1, n, 4), (batch, most, 5), (batch, classes, n)
    return d.case(*shapes, dtypes=SINGLE[:1], domain=(-2.0, 2.0), given=given, grads=(), **more, **variances(d))


def proposal(d: Draw) -> Case:
    scales = tuple(d.real(0.5, 4) for _ in range(d.integer(1, 2)))
    ratios = tuple(d.pick([(0.5,), (1.0, 2.0), (0.5, 1.0, 2.0)]))
    anchors, (h, w) = len(scales) * len(ratios), (d.integer(2, 5), d.integer(2, 5))
    batch = 1 if d.op == "_contrib_Proposal" else d.integer(1, 3)
    stride = d.pick([4, 8, 16])
    sizes = tuple(v for _ in range(batch) for v in (float(stride * h), float(stride * w - 3), d.pick([1.0, 0.5])))
    total = anchors * h * w
    more = {
        "rpn_pre_nms_top_n": d.pick([-1, d.integer(1, total)]), "rpn_post_nms_top_n": d.integer(1, 12),
        "threshold": d.real(0.3, 0.9), "rpn_min_size": d.integer(1, 8), "scales": scales, "ratios": ratios,
        "feature_stride": stride, "output_score": True,
    }  # fmt: skip
    shapes = (batch, 2 * anchors, h, w), (batch, 4 * anchors, h, w), (batch, 3)
    return d.case(*shapes, dtypes=("float32",), domain=(-0.5, 0.9), given={2: sizes}, grads=(), **more)


def decode(d: Draw) -> Case:
    batch, n = d.integer(1, 3), d.integer(1, 6)
    stds = {f"std{k}": d.real(0.1, 1) for k in range(4)} if d.chance(0.6) else {}
    bound = {"clip": d.real(0.1, 1)} if d.chance(0.4) else {}
    return d.case((batch, n, 4), (1, n, 4), dtypes=SINGLE, given={1: corners(d, n)}, grads=(), **stds, **bound)


def encode(d: Draw) -> Case:
    batch, n, m = d.integer(1, 3), d.integer(1, 6), d.integer(1, 4)
    samples = tuple(float(d.integer(-1, 1)) for _ in range(24))
    matches = tuple(float(d.integer(0, m - 1)) for _ in range(24))
    given = {0: samples, 1: matches, 2: corners(d, 24), 3: corners(d, 24)}
    shapes = (batch, n), (batch, n), (batch, n, 4), (batch, m, 4), (4,), (4,)
    return d.case(*shapes, dtypes=SINGLE, domain=(0.1, 1.0), given=given, grads=())


def image(d: Draw) -> Case:
    batch = d.pick([(), (2,)])
    h, w = d.integer(1, 7), d.integer(1, 7)
    kind = d.op[len("_image_") :]
    if "flip" in kind:  # what MXNet leaves in the middle of an odd extent is arbitrary
        return d.case((2 * h, 2 * w, 3), dtypes=("uint8", "float32", "float64"), domain=(0.0, 255.0), grads=())
    if kind == "normalize":
        more = {"mean": tuple(d.real(0, 1) for _ in range(3)), "std": tuple(d.real(0.2, 2) for _ in range(3))}
        return d.case((*batch, 3, h, w), dtypes=SINGLE, grads=None, **more)
    shape = (*batch, h, w, d.pick([1, 3]))
    if kind == "adjust_lighting":
        alpha = tuple(d.real(-0.5, 0.5) for _ in range(3))
        return d.case((h, w, 3), dtypes=("uint8", "float32"), domain=(0.0, 255.0), alpha=alpha, grads=())
    if kind == "resize":
        size = d.pick([(d.integer(1, 9),), (d.integer(1, 9), d.integer(1, 9))])
        more = {"size": size, "keep_ratio": d.chance(0.5), "interp": d.integer(0, 3)}
        return d.case((*batch, h, w, 3), dtypes=("uint8", "float32"), domain=(0.0, 255.0), grads=(), **more)
    if kind == "to_tensor":
        return d.case(shape, dtypes=("uint8", "float32", "float64"), domain=(0.0, 255.0), grads=())
    if kind == "crop":
        x, y = d.integer(0, w - 1), d.integer(0, h - 1)
        size = {"width": d.integer(1, w - x), "height": d.integer(1, h - y)}
        return d.case(shape, dtypes=("uint8", "float32"), domain=(0.0, 255.0), x=x, y=y, grads=(), **size)
    return d.case(shape, dtypes=("uint8", "float32", "float64"), domain=(0.0, 255.0), grads=())


def made(d: Draw) -> Case:
    """Arrays made of their parameters."""
    kind = {"dtype": d.pick(sorted(set(NUMBERS)))}
    if d.op == "_eye":
        return d.case(dtypes=[], N=d.integer(1, 7), M=d.integer(0, 7), k=d.integer(-4, 4), **kind)
    if d.op in ("_zeros", "_ones"):
        return d.case(dtypes=[], shape=d.shape(), **kind)
    if d.op == "_full":
        return d.case(dtypes=[], shape=d.shape(), value=float(d.integer(0, 9)), **kind)
    if d.op == "_linspace":
        more = {"num": d.integer(1, 9), "endpoint": d.chance(0.5)}
        return d.case(dtypes=[], start=d.real(-3, 3), stop=d.real(-3, 3), **more, dtype=d.pick(FLOATS))
    start, step = d.pick([0.0, 1.0, d.real(-3, 3)]), d.pick([1.0, 2.0, d.real(0.1, 2)])
    stop = start + d.integer(1, 9) * step - step / 2  # rounding decides nothing
    return d.case(
        dtypes=[], start=start, stop=stop, step=step, repeat=d.integer(1, 3), infer_range=False, dtype=d.pick(FLOATS)
    )


def made_like(d: Draw) -> Case:
    shape = d.shape()
    if d.op == "_contrib_index_array":
        axes = {} if d.chance(0.4) else {"axes": tuple(d.permuted(range(len(shape)))[: d.integer(1, len(shape))])}
        return d.case(shape, grads=(), **axes)
    axis = {} if d.chance(0.4) else {"axis": d.axis(len(shape))}
    return d.case(shape, dtypes=FLOATS, start=d.real(-3, 3), step=d.real(0.1, 2), grads=(), **axis)


IMAGES = "to_tensor normalize crop flip_left_right flip_top_bottom adjust_lighting resize"
GENERATORS: Dict[str, Generator] = {
    "_contrib_box_iou": iou, "_contrib_box_nms": nms, "_contrib_bipartite_matching": matching,
    "_contrib_MultiBoxPrior": prior, "_contrib_MultiBoxDetection": detection, "_contrib_MultiBoxTarget": target,
    "_contrib_Proposal": proposal, "_contrib_MultiProposal": proposal, "_contrib_box_decode": decode,
    "_contrib_box_encode": encode,
    **{f"_image_{name}": image for name in IMAGES.split()},
    **dict.fromkeys("_arange _linspace _eye _full _zeros _ones".split(), made),
    "_contrib_arange_like": made_like, "_contrib_index_array": made_like,
}  # fmt: skip
