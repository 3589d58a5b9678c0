"""What the operators of detection and of images refuse, and those whose cases a table cannot state."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import DTypeError, ParameterError, ShapeError

x = mx.sym.Variable("x")
contrib = mx.sym.contrib


@pytest.mark.parametrize("symbol, shape, text", [
    (contrib.box_iou(x, x), (3, 5), "last dimension of lhs must be 4"),
    (contrib.box_iou(x, x), (4,), "at least 2 dimensions"),
    (contrib.MultiBoxPrior(x), (3, 5), "at least 4 dimensions"),
    (contrib.bipartite_matching(x, threshold=0.5), (3,), "at least 2 dimensions"),
    (contrib.box_nms(x), (3, 5), "different places of rows of 5 numbers"),
    (contrib.box_nms(x, score_index=3), (3, 6), "score_index=3"),
    (contrib.box_nms(x, id_index=1), (3, 6), "id_index=1"),
])  # fmt: skip
def test_shapes_refused(symbol, shape, text):
    with pytest.raises(ShapeError, match=text):
        symbol.infer_shape(x=shape)


@pytest.mark.parametrize("params, text", [
    ({"sizes": ()}, "expected sizes, ratios"),
    ({"steps": (0.1,)}, "two steps"),
    ({"steps": (0.1, -1.0)}, "both step_y and step_x"),
    ({"offsets": (0.5, 1.5)}, "offsets from 0 to 1"),
])  # fmt: skip
def test_parameters_refused(params, text):
    with pytest.raises(ParameterError, match=text):
        contrib.MultiBoxPrior(x, **params).infer_shape(x=(1, 1, 2, 2))


a, b, c = map(mx.sym.Variable, "abc")


@pytest.mark.parametrize("symbol, shapes, text", [
    (contrib.MultiBoxDetection(a, b, c), ((2, 3, 4), (2, 12), (1, 4, 4)), "differ|expected|mismatch|12"),
    (contrib.MultiBoxDetection(a, b, c), ((2, 3, 4), (2, 16), (1, 5, 4)), "4.*5|5.*4"),
    (contrib.MultiBoxDetection(a, b, c), ((2, 3), (2, 12), (1, 4, 4)), "cls_prob must have 3 dimensions"),
    (contrib.MultiBoxTarget(a, b, c), ((1, 4, 4), (2, 1, 4), (2, 3, 4)), "Label width should be greater"),
    (contrib.MultiBoxTarget(a, b, c), ((2, 4, 4), (2, 1, 5), (2, 3, 4)), "2.*1|1.*2"),
    (contrib.Proposal(a, b, c), ((1, 6, 4, 4), (1, 12, 4, 4), (1, 3)), "24 channels of cls_prob.* got 6"),
    (contrib.Proposal(a, b, c), ((2, 24, 4, 4), (2, 48, 4, 4), (2, 3)), "one image, got 2; _contrib_MultiProposal"),
    (contrib.MultiProposal(a, b, c), ((2, 24, 4, 4), (2, 40, 4, 4), (2, 3)), "40"),
])  # fmt: skip
def test_shapes_of_detectors_refused(symbol, shapes, text):
    with pytest.raises(ShapeError, match=text):
        symbol.infer_shape(**dict(zip("abc", shapes)))


@pytest.mark.parametrize("name, params, text", [
    ("MultiBoxDetection", {"variances": (0.1, 0.2)}, "Variance size must be 4"),
    ("MultiBoxTarget", {"variances": (0.1,)}, "Variance size must be 4"),
    ("MultiBoxTarget", {"negative_mining_ratio": 3, "negative_mining_thresh": 0}, "positive negative_mining_thresh"),
    ("Proposal", {"feature_stride": 0}, "positive rpn_post_nms_top_n and feature_stride"),
    ("MultiProposal", {"ratios": (0.0,)}, "positive scales and ratios"),
])  # fmt: skip
def test_parameters_of_detectors_refused(name, params, text):
    with pytest.raises(ParameterError, match=text):
        getattr(contrib, name)(a, b, c, **params)


KERNEL = {"kernel": (3, 3), "num_filter": 4}
REGIONS = {"spatial_scale": 1.0, "output_dim": 2, "pooled_size": 2}


@pytest.mark.parametrize("symbol, shapes, text", [
    (mx.sym.Correlation(a, b), ((2, 3, 4, 4), (2, 3, 4, 5)), "4.*5|5.*4"),
    (mx.sym.Correlation(a, b, max_displacement=2), ((2, 3, 4, 9), (2, 3, 4, 9)), "don't fit in blob: extent 4"),
    (contrib.DeformableConvolution(a, b, **KERNEL), ((2, 3, 5, 5), (2, 9, 3, 3)), "18"),
    (contrib.DeformableConvolution(a, b, **KERNEL, num_deformable_group=2), ((2, 3, 5, 5), (2, 36, 3, 3)), "3 by 2"),
    (contrib.DeformableConvolution(a, b, **KERNEL, num_group=3), ((2, 3, 5, 5), (2, 18, 3, 3)), "num_filter.*4 by 3"),
    (contrib.DeformableConvolution(a, b, **KERNEL), ((2, 3, 2, 5), (2, 18, 3, 3)), "kernel size exceed input"),
    (contrib.ModulatedDeformableConvolution(a, b, c, **KERNEL), ((2, 3, 5, 5), (2, 18, 3, 3), (2, 3, 3, 3)), "9"),
    (contrib.PSROIPooling(a, b, **REGIONS), ((2, 7, 5, 5), (3, 5)), r"2 \* 2\^2 channels of data, got 7"),
    (contrib.PSROIPooling(a, b, **REGIONS), ((2, 8, 5, 5), (3, 4)), "5.*4|4.*5"),
    (contrib.DeformablePSROIPooling(a, b, c, group_size=1, **REGIONS), ((2, 2, 5, 5), (3, 5), (3, 3, 2, 2)), "got 3"),
    (contrib.RROIAlign(a, b, pooled_size=(2, 2), spatial_scale=1.0), ((2, 8, 5, 5), (3, 5)), "6.*5|5.*6"),
])  # fmt: skip
def test_shapes_of_moved_images_refused(symbol, shapes, text):
    with pytest.raises(ShapeError, match=text):
        symbol.infer_shape(**dict(zip("abc", shapes)))


@pytest.mark.parametrize("symbol", [
    contrib.box_nms(a), contrib.MultiBoxDetection(a, b, c), contrib.MultiBoxTarget(a, b, c), contrib.Proposal(a, b, c),
    contrib.PSROIPooling(a, b, **REGIONS), contrib.DeformablePSROIPooling(a, b, c, group_size=1, **REGIONS),
    contrib.DeformableConvolution(a, b, **KERNEL), contrib.RROIAlign(a, b, pooled_size=(2, 2), spatial_scale=1.0),
    mx.sym.CTCLoss(a, b),
])  # fmt: skip
def test_integers_refused(symbol):
    """As in MXNet, which has these for real numbers alone."""
    with pytest.raises(DTypeError, match=r"only supports floating point data .*, got int32"):
        symbol.infer_type(**dict.fromkeys(symbol.list_arguments(), "int32"))


def test_parameters_of_moved_images_refused():
    with pytest.raises(ParameterError, match="kernel size should be odd number, got 2"):
        mx.sym.Correlation(a, b, kernel_size=2)
    with pytest.raises(ParameterError, match="a kernel of height and width, got"):
        contrib.DeformableConvolution(a, b, kernel=(3,), num_filter=1)
    with pytest.raises(ParameterError, match="two positive numbers"):
        contrib.RROIAlign(a, b, pooled_size=(2, 0), spatial_scale=1.0)


def test_a_tap_without_a_place_is_zero():
    """As in MXNet, also for NaN."""
    data = np.array([[[[3, 1], [1, np.inf]]]], "float32")
    offset = np.zeros((1, 2, 2, 2), "float32")
    offset[0, :, 1, 1] = np.nan, 0
    offset[0, 0, 0, 1] = offset[0, 1, 1, 0] = -9
    offset[0, :, 0, 0] = -0.5
    arrays = [mx.nd.array(v) for v in (data, offset, np.ones((1, 1, 1, 1)))]
    found = contrib.DeformableConvolution(a, b, c, kernel=(1, 1), num_filter=1, no_bias=True)
    (out,) = found.bind(mx.cpu(), dict(zip("abc", arrays))).forward()
    np.testing.assert_array_equal(out.asnumpy(), np.zeros((1, 1, 2, 2)))


def test_a_turned_region_larger_than_any_image_is_cheap():
    """Samples far outside are not looked at."""
    rois = mx.nd.array([[0, 1e6, 3, 1e9, 2, 30.0], [0, 3, 3, 2, 1e9, 80]])
    found = mx.nd.contrib.RROIAlign(mx.nd.ones((1, 1, 6, 6)), rois, pooled_size=(1, 1), spatial_scale=1.0).asnumpy()
    assert found.min() >= 0 and found.max() < 1e-6


@pytest.mark.parametrize("name", ["MultiBoxPrior", "MultiBoxTarget", "MultiBoxDetection", "Proposal", "MultiProposal"])
def test_names_from_before_contrib_load(name):
    new = getattr(contrib, name)(*([a] if name == "MultiBoxPrior" else [a, b, c]), name="x")
    old = mx.sym.load_json(new.tojson().replace(f"_contrib_{name}", name))
    assert old.list_outputs() == new.list_outputs()


def corners(rng, n):
    """n boxes (1, n, 4)."""
    start = rng.random((1, n, 2))
    return np.concatenate([start, start + rng.random((1, n, 2)) + 0.1], axis=-1).astype("float32")


def test_box_encode():
    rng = np.random.default_rng(0)
    samples, matches = np.array([[1, 0, -1, 1, 1]], "float32"), np.array([[0, 2, 1, 2, 1]], "float32")
    anchors, refs = corners(rng, 5), corners(rng, 3)
    means, stds = np.array([0, 0.1, 0.2, 0.3], "float32"), np.array([0.1, 0.1, 0.2, 0.2], "float32")
    arrays = map(mx.nd.array, (samples, matches, anchors, refs, means, stds))
    targets, masks = (a.asnumpy() for a in mx.nd.contrib.box_encode(*arrays))
    a, r = (v.astype("float64") for v in (anchors, refs[:, matches[0].astype(int)]))
    size = a[..., 2:] - a[..., :2]
    shift = ((r[..., :2] + r[..., 2:]) / 2 - (a[..., :2] + a[..., 2:]) / 2) / size
    want = (np.concatenate([shift, np.log((r[..., 2:] - r[..., :2]) / size)], -1) - means) / stds
    is_positive = samples[..., None] > 0.5
    np.testing.assert_allclose(targets, np.where(is_positive, want, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(masks, np.broadcast_to(is_positive, masks.shape))
