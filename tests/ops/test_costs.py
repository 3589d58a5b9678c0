"""Work follows from the data, never from a number that a parameter or an element holds."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

import symc as mx
from symc import autograd, nd
from symc.core.errors import ParameterError
from symc.loopir.kernel import Window
from symc.ops.rules.windows import useful_taps

SOME = np.random.default_rng(5).normal(size=(1, 2, 5, 6)).astype("f4")


def slid(x: np.ndarray, kernel: int, pad: int, stride: int, reduce, fill: float) -> np.ndarray:
    """Square windows over padded images in float64."""
    padded = np.pad(x.astype("f8"), [(0, 0), (0, 0), (pad, pad), (pad, pad)], constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(2, 3))
    return reduce(windows[:, :, ::stride, ::stride], axis=(4, 5))


@pytest.mark.parametrize("kernel, pad, stride", [(31, 15, 1), (31, 15, 3), (9, 8, 2), (25, 24, 7), (3, 2, 1)])
def test_windows_larger_than_the_data(kernel, pad, stride):
    x = nd.array(SOME)
    x.attach_grad()
    params = {"kernel": (kernel,) * 2, "pad": (pad,) * 2, "stride": (stride,) * 2}
    for kind, reduce, fill in (("avg", np.mean, 0.0), ("sum", np.sum, 0.0), ("max", np.max, float(np.finfo("f4").min))):
        with autograd.record():
            y = nd.Pooling(x, pool_type=kind, **params)
        y.backward()
        want = slid(SOME, kernel, pad, stride, reduce, fill)
        np.testing.assert_allclose(y.asnumpy(), want, rtol=1e-5, atol=1e-6)
        if kind != "max":  # linear: an element's gradient is how much the sum of all windows grows with it
            ones = np.eye(30).reshape(30, 1, 5, 6)
            grown = slid(ones, kernel, pad, stride, reduce, 0.0)
            want_gradient = np.broadcast_to(grown.sum((1, 2, 3)).reshape(1, 1, 5, 6), SOME.shape)
        else:
            want_gradient = np.zeros(SOME.shape)
            seen, channels = y.asnumpy(), SOME.reshape(2, 30)
            for channel, value in np.ndindex(2, seen[0, 0].size):
                hit = np.flatnonzero(channels[channel] == seen[0, channel].flat[value])
                want_gradient[0, channel].flat[hit] += 1
        np.testing.assert_allclose(x.grad.asnumpy(), want_gradient, rtol=1e-5, atol=1e-6)


def test_useful_taps():
    window = Window((5,), (5,), (30001,), (1,), (1,), (15000,))
    assert useful_taps(window) == [(14996, 9)]
    assert useful_taps(Window((5,), (3,), (3,), (1,), (1,), (0,))) == [(0, 3)]
    assert useful_taps(Window((5,), (1,), (3,), (1,), (1,), (7,))) == [(2, 1)]  # only padding: one tap sees it


def seconds_of(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@pytest.mark.parametrize("kind", ["avg", "max"])
@pytest.mark.parametrize("operator, largest", [(mx.sym.Pooling, -1), (mx.sym.Pooling_v1, 0)])
def test_a_huge_pooling_window(operator, largest, kind):
    """Padding counts as zeros in a maximum of Pooling_v1."""
    ex = operator(mx.sym.var("data"), kernel=(30001, 30001), pad=(15000, 15000), pool_type=kind).simple_bind(
        mx.cpu(), data=(1, 1, 5, 6)
    )
    data = SOME[:, :1] - SOME[:, :1].max() - 1
    ex.arg_dict["data"][:] = data
    ex.forward(is_train=True)
    assert seconds_of(lambda: (ex.forward(is_train=True), ex.backward(nd.ones(ex.outputs[0].shape)))) < 1
    want = largest if kind == "max" else data.sum(dtype="f8") / 30001**2
    np.testing.assert_allclose(ex.outputs[0].asnumpy()[0, 0], np.full(ex.outputs[0].shape[2:], want), rtol=1e-5)


def test_a_huge_neighbourhood_of_channels():
    x = np.abs(SOME).astype("f8") + 1
    for nsize in (3, 11, 2**31 + 1):
        norm = 2 + 1e-1 / nsize * np.stack(
            [(x[:, max(c - nsize // 2, 0) : c + nsize // 2 + 1] ** 2).sum(1) for c in (0, 1)], 1
        )
        got = nd.LRN(nd.array(x), nsize=nsize, alpha=1e-1)
        np.testing.assert_allclose(got.asnumpy(), x * norm**-0.75, rtol=1e-5)


def test_a_box_far_larger_than_its_image():
    """Two bins along each axis of a box of 2^20 pixels: the image lies in the first, between samples a pixel apart."""
    data = nd.array(np.arange(30.0).reshape(1, 1, 5, 6))
    boxes = nd.array([[0, -0.5, -0.5, 2**20 - 0.5, 2**20 - 0.5]])
    run = lambda: nd.contrib.ROIAlign(data, boxes, pooled_size=(2, 2), spatial_scale=1.0).asnumpy()  # noqa: E731
    run()
    assert seconds_of(run) < 1
    # Samples at 0, 1, ... in each axis; those at H and W still count, as the last row and column.
    rows, columns = np.minimum(np.arange(6), 4), np.minimum(np.arange(7), 5)
    total = np.arange(30.0).reshape(5, 6)[np.ix_(rows, columns)].sum()
    np.testing.assert_allclose(run()[0, 0], [[total / 2**38, 0], [0, 0]], rtol=1e-5)
    for far in (1e9, 1e30, np.inf, np.nan):
        boxes = nd.array([[0, -far, -far, far, far], [0, 0, 0, far, 1], [0, far, far, -far, -far]])
        assert (
            seconds_of(lambda boxes=boxes: nd.contrib.ROIAlign(data, boxes, pooled_size=(2, 2), spatial_scale=1.0)) < 1
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda x: mx.sym.split(x, num_outputs=2**20),
        lambda x: mx.sym.split_v2(x, 2**31 - 1),
        lambda x: mx.sym.contrib.MultiBoxPrior(x, sizes=(0.5,) * 20_000),
        lambda x: mx.sym.load_json(_node("_split_v2", indices="(0,)", sections="2147483647")),
        lambda x: mx.sym.load_json(_node("SliceChannel", num_outputs="2147483647")),
        lambda x: mx.sym.load_json(_node("amp_multicast", num_outputs="2147483647")),
        *[lambda x, op=op: mx.sym.load_json(_node(op, num_args="2147483647")) for op in ("Concat", "add_n", "stack")],
        lambda x: mx.sym.load_json(_node("multi_sgd_update", num_weights="2147483647", lrs="(1,)", wds="(1,)")),
        lambda x: mx.sym.load_json(_node("reset_arrays", num_arrays="2147483647")),
        lambda x: mx.sym.contrib.ROIAlign(x, x, pooled_size=(1, 1), spatial_scale=1.0, sample_ratio=2**30),
    ],
)
def test_numbers_that_make_no_sense_are_refused_at_once(make):
    with pytest.raises(ParameterError):
        assert seconds_of(lambda: make(mx.sym.var("data"))) < 1


def _node(op: str, **attrs: str) -> str:
    nodes = [
        {"op": "null", "name": "data", "inputs": []},
        {"op": op, "name": "n", "attrs": attrs, "inputs": [[0, 0, 0]]},
    ]
    return json.dumps({"nodes": nodes, "arg_nodes": [0], "heads": [[1, 0, 0]]})


@pytest.mark.parametrize("n", [1, 2, 3, 100, 500])
def test_priors_of_many_sizes(n):
    sizes = np.linspace(0.1, 0.9, n)
    got = nd.contrib.MultiBoxPrior(nd.zeros((1, 1, 1, 1)), sizes=tuple(sizes)).asnumpy()[0]
    np.testing.assert_allclose(got, np.outer(sizes / 2, [-1, -1, 1, 1]) + 0.5, rtol=1e-5, atol=1e-6)
