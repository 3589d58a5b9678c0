"""Networks stay within 1e-5 of float64, of the largest value that they give in front of their softmax."""

from __future__ import annotations

import numpy as np
import pytest

import symc as mx
from symc import models

from .in_float64 import in_float64

BOUND = 1e-5  # docs/numerics.md: 2.2e-6 is the worst
ZOO = (
    *("alexnet", "densenet121", "inceptionv3", "mobilenet0.5", "mobilenetv2_1.0", "resnet18_v2", "resnet34_v1"),
    *("resnet50_v2", "squeezenet1.0", "vgg11", "vgg13_bn", "vgg19"),
)
S = mx.sym


def built_in(name: str) -> S.Symbol:
    (scores, *_) = models.get(name).symbol.get_children()
    return scores


def of_the_zoo(name: str) -> S.Symbol:
    return mx.gluon.model_zoo.vision.get_model(name, prefix=f"{name}_")(S.Variable("data"))


def inception_block() -> S.Symbol:
    """Branches that read the same data, one behind a pooling, side by side in one result."""
    data = S.Variable("data")
    double = _normalized(_normalized(_normalized(data, 16, 1), 24, 3), 24, 3)
    pooled = _normalized(S.Pooling(data, kernel=(3, 3), pad=(1, 1), pool_type="avg"), 8, 1)
    return S.Concat(_normalized(data, 16, 1), _normalized(_normalized(data, 16, 1), 32, 3), double, pooled)


def _normalized(x: S.Symbol, n_filters: int, kernel: int) -> S.Symbol:
    y = S.Convolution(x, num_filter=n_filters, kernel=(kernel,) * 2, pad=(kernel // 2,) * 2)
    return S.Activation(S.BatchNorm(y, fix_gamma=False), act_type="relu")


def transformer_layer(tokens: int = 33, heads: int = 4, width: int = 64) -> S.Symbol:
    """Attention over (1, tokens, width), gelu between two dense layers, two LayerNorms."""

    def apart(x: S.Symbol) -> S.Symbol:
        split = S.Reshape(x, shape=(1, tokens, heads, width // heads))
        return S.Reshape(S.transpose(split, axes=(0, 2, 1, 3)), shape=(heads, tokens, width // heads))

    def dense(x: S.Symbol, n: int) -> S.Symbol:
        return S.FullyConnected(x, num_hidden=n, flatten=False)

    net = S.Variable("data")
    q, k, v = (apart(dense(net, width)) for _ in "qkv")
    mixed = S.batch_dot(S.softmax(S.batch_dot(q, k, transpose_b=True) / 4), v)
    mixed = S.transpose(S.Reshape(mixed, shape=(1, heads, tokens, width // heads)), axes=(0, 2, 1, 3))
    net = S.LayerNorm(net + dense(S.Reshape(mixed, shape=(1, tokens, width)), width))
    wide = S.LeakyReLU(dense(net, 4 * width), act_type="gelu")
    return S.LayerNorm(net + dense(wide, width))


def error(symbol: S.Symbol, shape: tuple[int, ...]) -> tuple[float, str]:
    """max |symc's - NumPy's| / max |NumPy's|, and which kernels there were."""
    weights, states = models.init_params(symbol, {"data": shape})
    data = np.random.default_rng(0).standard_normal(shape).astype("float32")
    want = in_float64(symbol.tojson(), {n: a.asnumpy() for n, a in (weights | states).items()} | {"data": data})
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=shape)
    executor.copy_params_from(weights, states)
    (got,) = executor.forward(data=data)
    return np.abs(got.asnumpy() - want).max() / np.abs(want).max(), executor.explain()


def test_a_residual_network_by_all_algorithms():
    found, kernels = error(built_in("resnet-18"), (1, 3, 64, 64))
    assert "F(2x2, 3x3)" in kernels and "F(4x4, 3x3)" in kernels
    assert found < BOUND


def test_an_inception_block():
    assert error(inception_block(), (2, 32, 15, 14))[0] < BOUND


def test_a_transformers_layer():
    assert error(transformer_layer(), (1, 33, 64))[0] < BOUND


@pytest.mark.slow
@pytest.mark.parametrize("name", [*models.names(), *ZOO])
def test_whole_networks(name):
    """`python -m pytest -m slow tests/models/test_rounding.py`: twenty networks at their own sizes, minutes."""
    is_built_in = name in models.names()
    extent = 299 if name == "inceptionv3" else 224
    shape = models.get(name).shapes["data"] if is_built_in else (1, 3, extent, extent)
    assert error((built_in if is_built_in else of_the_zoo)(name), shape)[0] < BOUND
