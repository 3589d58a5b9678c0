"""CTC against the sum over all alignments, written out; what is refused; WarpCTC, which MXNet's builds lack."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ParameterError, ShapeError

x, label = map(mx.sym.Variable, ("x", "label"))


def cost(data: np.ndarray, labels: tuple[int, ...], blank: int = 0) -> float:
    """-log of the probability of labels, (T, C) before softmax: every alignment on its own."""
    p = np.exp(data) / np.exp(data).sum(-1, keepdims=True)
    total = 0.0
    for path in product(range(data.shape[1]), repeat=len(data)):
        if tuple(c for c, _ in groupby(path) if c != blank) == labels:
            total += np.prod(p[np.arange(len(data)), path])
    return -np.log(total)


def gradient(data: np.ndarray, labels: tuple[int, ...], blank: int = 0) -> np.ndarray:
    """By central differences."""
    found, step = np.zeros_like(data), 1e-5
    for at in np.ndindex(data.shape):
        above, below = data.copy(), data.copy()
        above[at] += step
        below[at] -= step
        found[at] = (cost(above, labels, blank) - cost(below, labels, blank)) / (2 * step)
    return found


@pytest.mark.parametrize("blank_label, labels, padded", [("first", (1, 2), (1, 2, 0)), ("last", (0, 0), (0, 0, -1))])
def test_ctc_loss_sums_over_alignments(blank_label, labels, padded):
    data = np.random.default_rng(0).normal(size=(5, 3))
    blank = 0 if blank_label == "first" else 2
    array = mx.nd.array(data[:, None], dtype="float64")
    array.attach_grad()
    with mx.autograd.record():
        found = mx.nd.CTCLoss(array, mx.nd.array([padded]), blank_label=blank_label)
    found.backward(mx.nd.array([2.0], dtype="float64"))
    np.testing.assert_allclose(found.asnumpy(), [cost(data, labels, blank)])
    np.testing.assert_allclose(array.grad.asnumpy()[:, 0], 2 * gradient(data, labels, blank), rtol=1e-6, atol=1e-8)


def test_warp_ctc():
    """Zeros anywhere among the labels do not count; the head gradient does not, either."""
    data = np.random.default_rng(1).normal(size=(4, 2, 3)).astype("float32")
    labels = np.array([0, 2, 1, 1, 0, 0], "int32")  # of two sequences
    symbol = mx.sym.load_json(mx.sym.WarpCTC(x, label, input_length=4, label_length=3).tojson())
    arrays = {"x": mx.nd.array(data.reshape(8, 3)), "label": mx.nd.array(labels, dtype="int32")}
    executor = symbol.bind(mx.cpu(), arrays, {"x": mx.nd.zeros((8, 3))}, {"x": "write", "label": "null"})
    (out,) = executor.forward(is_train=True)
    executor.backward()
    p = np.exp(data)
    np.testing.assert_allclose(out.asnumpy(), (p / p.sum(-1, keepdims=True)).reshape(8, 3), rtol=1e-5)
    want = [gradient(data[:, n].astype("float64"), wanted) for n, wanted in enumerate([(2, 1), (1,)])]
    got = executor.grad_dict["x"].asnumpy().reshape(4, 2, 3)
    np.testing.assert_allclose(got, np.stack(want, 1), rtol=1e-4, atol=1e-5)


def test_labels_that_do_not_fit_cost_nothing():
    """As in MXNet; it leaves the gradient unwritten."""
    data = mx.nd.array(np.ones((2, 1, 3)))
    data.attach_grad()
    with mx.autograd.record():
        found = mx.nd.CTCLoss(data, mx.nd.array([[1, 1]]))
    found.backward()
    assert found.asnumpy().tolist() == [0] and not data.grad.asnumpy().any()


@pytest.mark.parametrize("shapes, text", [
    ({"x": (2, 3, 4), "label": (3, 5)}, "5 labels, 2 steps"),
    ({"x": (6, 3, 4), "label": (2, 5)}, "3"),
    ({"x": (6, 3), "label": (3, 5)}, "data must have 3 dimensions"),
])  # fmt: skip
def test_shapes_refused(shapes, text):
    with pytest.raises(ShapeError, match=text):
        mx.sym.CTCLoss(x, label).infer_shape(**shapes)


@pytest.mark.parametrize("params", [{}, {"input_length": 3, "label_length": 2}, {"input_length": 4}])
def test_lengths_of_warp_ctc_refused(params):
    with pytest.raises(ParameterError, match="an input_length that divides the 8 rows"):
        mx.sym.WarpCTC(x, label, **params).infer_shape(x=(8, 3))
