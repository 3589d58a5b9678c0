"""What the operators of object detection refuse, and those whose cases a table cannot state."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ParameterError, ShapeError

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
