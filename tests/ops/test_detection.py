"""What the operators of object detection refuse."""

from __future__ import annotations

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
