"""mx.nd.random: seeds, shapes, dtypes, moments, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentError, ConflictError

nd = mx.nd
N = 40_000

# name, parameters, mean, variance
DISTRIBUTIONS = [
    ("uniform", (2.0, 5.0), 3.5, 9 / 12),
    ("normal", (3.0, 4.0), 3.0, 16.0),
    ("exponential", (4.0,), 4.0, 16.0),
    ("gamma", (3.0, 4.0), 12.0, 48.0),
    ("poisson", (3.5,), 3.5, 3.5),
    ("negative_binomial", (3, 0.4), 4.5, 11.25),
    ("generalized_negative_binomial", (3.0, 0.4), 3.0, 6.6),
    ("generalized_negative_binomial", (3.0, 0.0), 3.0, 3.0),
]


@pytest.mark.parametrize("name, parameters, mean, variance", DISTRIBUTIONS)
def test_moments(name, parameters, mean, variance):
    mx.random.seed(7)
    function = getattr(nd.random, name)
    draws = function(*parameters, shape=(N,))
    assert draws.dtype == np.float32
    blocks = function(*(nd.array([p, p]) for p in parameters), shape=(N,))
    assert blocks.shape == (2, N)
    of_operator = (1 / parameters[0],) if name == "exponential" else parameters  # which takes a rate, not a mean
    flat = getattr(nd, f"random_{name}")(*of_operator, shape=(N,))
    for x in (draws.asnumpy(), *blocks.asnumpy(), flat.asnumpy()):
        spread = math.sqrt(variance / N)
        assert abs(x.mean(dtype=np.float64) - mean) < 5 * spread
        assert abs(x.var(dtype=np.float64) / variance - 1) < 0.1
    assert function(*parameters).shape == (1,)
    like = getattr(nd.random, f"{name}_like")(nd.zeros((2, 3)), *parameters)
    assert like.shape == (2, 3)


def test_seeds_repeat():
    mx.random.seed(3)
    first = [nd.random.normal(shape=(3,)).asnumpy(), nd.random.randint(0, 100, shape=4).asnumpy()]
    mx.random.seed(3, ctx=mx.cpu())
    second = [nd.random.normal(shape=(3,)).asnumpy(), nd.random.randint(0, 100, shape=4).asnumpy()]
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="seed_state must be int"):
        mx.random.seed("a")


def test_uniform_stays_below_its_limit():
    for dtype in ("float16", "float32", "float64"):
        x = nd.random.uniform(0, 1, shape=(200_000,), dtype=dtype).asnumpy()
        assert x.min() >= 0 and x.max() < 1 and x.dtype == dtype
    assert nd.random.uniform(2, 2, shape=(3,)).asnumpy().tolist() == [2, 2, 2]


def test_randint_multinomial_shuffle_randn():
    mx.random.seed(1)
    x = nd.random.randint(-2, 3, shape=(5000,))
    assert x.dtype == np.int32 and sorted(set(x.asnumpy().tolist())) == [-2, -1, 0, 1, 2]
    assert nd.random.randint(0, 5, dtype="int64").dtype == np.int64
    p = nd.array([[0.2, 0.8], [1, 0]])
    picks, logs = nd.random.multinomial(p, shape=(2000,), get_prob=True)
    assert picks.shape == logs.shape == (2, 2000) and picks.dtype == np.int32 and not picks.asnumpy()[1].any()
    assert abs(picks.asnumpy()[0].mean() - 0.8) < 0.05
    np.testing.assert_allclose(logs.asnumpy()[0], np.log(np.where(picks.asnumpy()[0], 0.8, 0.2)), rtol=1e-5)
    assert nd.random.multinomial(nd.array([0.5, 0.5])).shape == (1,)
    assert nd.sample_multinomial(p).shape == (2,)
    rows = nd.arange(20).reshape((10, 2))
    mixed = nd.shuffle(rows).asnumpy()
    assert not np.array_equal(mixed, rows.asnumpy()) and np.array_equal(np.sort(mixed, axis=0), rows.asnumpy())
    assert nd.random.randn(2, 3).shape == (2, 3) and nd.random.randn(2, loc=3, dtype="float64").dtype == np.float64


@pytest.mark.parametrize("size", [np.int64(3), np.uint8(3), np.array(3), np.array([3])], ids=repr)
def test_sizes_and_parameters_that_numpy_made(size):
    made = [nd.random.normal(shape=size), nd.random.randint(0, 9, shape=size), nd.zeros(size), nd.full(size, 2)]
    assert {x.shape for x in made} == {(3,)}
    assert nd.random.multinomial(nd.ones((2,)) / 2, shape=size).shape == nd.tile(nd.ones((1,)), size).shape == (3,)


def test_numbers_of_zero_dimensions_are_parameters():
    x = nd.arange(8).reshape((2, 4))
    assert nd.one_hot(x, np.array(9)).shape == (2, 4, 9) and nd.topk(x, k=np.array(2)).shape == (2, 2)
    assert nd.clip(x, np.array(2.5), 3).asnumpy().min() == 2.5


@pytest.mark.parametrize("shape", [(2, 0), (0,)])
def test_multinomial_without_categories(shape):
    with pytest.raises(ArgumentError, match=r"expected categories along the last axis of data, got shape \("):
        mx.nd.random.multinomial(mx.nd.zeros(shape))


def test_multinomial_without_lines():
    assert mx.nd.random.multinomial(mx.nd.zeros((0, 3)), shape=4).shape == (0, 4)


def test_out_and_tensors():
    out = nd.zeros((3,))
    assert nd.random.uniform(shape=3, out=out) is out and out.asnumpy().any()
    assert nd.random.normal(out=out).shape == (3,)
    low = nd.array([0.0, 10.0])
    x = nd.sample_uniform(low, low + 1, shape=(50,)).asnumpy()
    assert x[0].max() < 1 and x[1].min() >= 10


@pytest.mark.parametrize(
    "attempt, error, text",
    [
        (lambda: nd.random.uniform(2, 1), ArgumentError, "low <= high"),
        (lambda: nd.random.normal(0, -1), ArgumentError, "scale > 0"),
        (lambda: nd.random.exponential(-1), ArgumentError, "scale > 0"),
        (lambda: nd.random.gamma(0, 1), ArgumentError, "alpha > 0"),
        (lambda: nd.random.poisson(-1), ArgumentError, "0 <= lam"),
        (lambda: nd.random.poisson(float("inf")), ArgumentError, "0 <= lam"),
        (lambda: nd.random.poisson(nd.array([1e19])), ArgumentError, "0 <= lam"),
        (lambda: nd.random.negative_binomial(1, 0), ArgumentError, "0 < p"),
        (lambda: nd.random.generalized_negative_binomial(-1, 1), ArgumentError, "mu >= 0"),
        (lambda: nd.random.randint(3, 3), ArgumentError, "low < high"),
        (lambda: nd.random.randint(1, 2.5), ArgumentError, "high must be an integer"),
        (lambda: nd.random.uniform(dtype="int32"), ArgumentError, "dtype int32"),
        (lambda: nd.random.uniform(nd.zeros(2), 1), ConflictError, "same type"),
        (lambda: mx.sym.random.uniform(mx.sym.Variable("low"), 1), ConflictError, "same type"),
        (lambda: mx.random.seed(1, ctx="zz"), ArgumentError, "unknown device type 'zz'"),
        (lambda: nd.random.uniform(nd.zeros(2), nd.ones(3)), ArgumentError, "different shapes"),
        (lambda: nd.random.multinomial(nd.array([-1.0, 2.0])), ArgumentError, "negative"),
        (lambda: nd.random.uniform(shape=(2,), out=nd.zeros(3)), ArgumentError, "out=, which has shape"),
    ],
)
def test_errors(attempt, error, text):
    with pytest.raises(error, match=text):
        attempt()


@pytest.mark.parametrize("name", ["normal", "gamma", "poisson", "negative_binomial", "randint", "zeros", "ones"])
def test_unknown_keywords_are_refused(name):
    function = getattr(nd, name) if name in ("zeros", "ones") else getattr(nd.random, name)
    given = (0, 4) if name == "randint" else ()
    assert function(*given, shape=(2,), name="x", __layout__="NC").shape == (2,)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dtpye'"):
        function(*given, shape=(2,), dtpye="float64")
