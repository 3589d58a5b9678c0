"""Random operators: moments and distribution functions in closed form, seeds, shapes, dtypes, gradients and errors.

Every comparison is of 10^5 numbers under a fixed seed; distances of distribution functions stay below 1.95 / sqrt(n),
which an equal distribution exceeds once in 1000 (Kolmogorov).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ParameterError, ShapeError

N = 100_000
LIMIT = 1.95 / math.sqrt(N)
R, S = mx.sym.random, mx.sym


def numbers(symbol: Any, seed: int = 1, **arrays: np.ndarray) -> list[np.ndarray]:
    """The outputs of one run after seeding."""
    mx.random.seed(seed)
    executor = symbol.bind(mx.cpu(), {n: mx.nd.array(a, dtype=a.dtype) for n, a in arrays.items()})
    return [o.asnumpy() for o in executor.forward()]


def distance(drawn: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    """The largest difference of the distribution function that was drawn and the one expected."""
    x = np.sort(drawn.astype("float64").ravel())
    steps = np.arange(len(x) + 1) / len(x)
    want = cdf(x)
    return float(max((steps[1:] - want).max(), (want - steps[:-1]).max()))


def discrete_distance(drawn: np.ndarray, probability: Callable[[int], float]) -> float:
    """The same for integers from 0 on."""
    assert (drawn == np.floor(drawn)).all() and drawn.min() >= 0
    found = np.bincount(drawn.astype(int).ravel()) / drawn.size
    want = np.array([probability(k) for k in range(len(found))])
    return float(np.abs(np.cumsum(found) - np.cumsum(want)).max())


def normal_cdf(loc: float, scale: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: 0.5 * np.vectorize(math.erfc)((loc - x) / scale / math.sqrt(2))


def exponential_cdf(lam: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: -np.expm1(-lam * x)


def gamma_cdf(alpha: float, beta: float) -> Callable[[np.ndarray], np.ndarray]:
    """The series of the lower incomplete gamma function (Abramowitz & Stegun 6.5.29)."""

    def cdf(x: np.ndarray) -> np.ndarray:
        z, n = x / beta, alpha
        term = total = np.full_like(z, 1 / alpha)
        while (term > 1e-12 * total).any():
            n += 1
            term = term * z / n
            total = total + term
        with np.errstate(divide="ignore"):  # of 0
            return total * np.exp(alpha * np.log(z) - z - math.lgamma(alpha))

    return cdf


def poisson_probability(lam: float) -> Callable[[int], float]:
    return lambda k: math.exp(k * math.log(lam) - lam - math.lgamma(k + 1))


def binomial_probability(k: float, p: float) -> Callable[[int], float]:
    """Of n failures before the k-th success."""
    return lambda n: math.exp(
        math.lgamma(n + k) - math.lgamma(n + 1) - math.lgamma(k) + k * math.log(p) + n * math.log(1 - p)
    )


CONTINUOUS = [
    ("uniform", (-1.0, 3.0), lambda low, high: lambda x: (x - low) / (high - low)),
    ("normal", (1.0, 2.5), normal_cdf),
    ("exponential", (2.5,), exponential_cdf),
    ("gamma", (3.0, 0.5), gamma_cdf),
    ("gamma", (0.4, 2.0), gamma_cdf),
    ("gamma", (60.0, 1.0), gamma_cdf),
]
DISCRETE = [
    ("poisson", (0.3,), poisson_probability),
    ("poisson", (9.5,), poisson_probability),
    ("poisson", (10.5,), poisson_probability),
    ("poisson", (400.0,), poisson_probability),
    ("negative_binomial", (4, 0.3), binomial_probability),
    ("generalized_negative_binomial", (3.0, 0.5), lambda mu, a: binomial_probability(1 / a, 1 / (1 + a * mu))),
    ("generalized_negative_binomial", (3.0, 0.0), lambda mu, a: poisson_probability(mu)),
]
MEASURES: list[tuple[str, tuple[float, ...], Callable[[np.ndarray], float]]] = [
    *((name, p, lambda x, p=p, cdf=cdf: distance(x, cdf(*p))) for name, p, cdf in CONTINUOUS),
    *((name, p, lambda x, p=p, f=f: discrete_distance(x, f(*p))) for name, p, f in DISCRETE),
]


@pytest.mark.parametrize("name, parameters, measure", MEASURES)
def test_distribution_of_numbers(name, parameters, measure):
    draw = getattr(S, f"random_{name}")
    assert measure(numbers(draw(*parameters, shape=(N // 4, 4)))[0]) < LIMIT
    assert measure(numbers(draw(*parameters, shape=(N,), dtype="float64"), seed=2)[0]) < LIMIT


@pytest.mark.parametrize("name, parameters, measure", MEASURES)
def test_distribution_of_arrays_and_like(name, parameters, measure):
    arrays = {f"p{k}": np.array([[1.0, p], [p, p]], "float32") for k, p in enumerate(parameters)}
    symbol = getattr(S, f"sample_{name}")(*(S.Variable(n) for n in arrays), shape=(N // 4, 2))
    (drawn,) = numbers(symbol, **arrays)
    assert drawn.shape == (2, 2, N // 4, 2) and drawn.dtype == np.float32
    assert measure(drawn[1]) < LIMIT
    data = np.zeros((N // 4, 4))
    (drawn,) = numbers(getattr(R, f"{name}_like")(S.Variable("data"), *parameters), data=data)
    assert drawn.shape == data.shape and drawn.dtype == np.float64
    assert measure(drawn) < LIMIT


def test_measures_notice_a_wrong_distribution():
    x = numbers(R.normal(0, 1, shape=(N,)))[0]
    assert distance(x, normal_cdf(0, 1)) < LIMIT < distance(x, normal_cdf(0.02, 1))
    assert LIMIT < distance(x, normal_cdf(0, 1.05))
    k = numbers(R.poisson(9.5, shape=(N,)))[0]
    assert LIMIT < discrete_distance(k, poisson_probability(9.6))


@pytest.mark.parametrize(
    "dtype, low, high", [("int32", -5, 6), ("int64", -(2**61), 2**61), ("int64", 2**40, 2**40 + 7)]
)
def test_integers(dtype, low, high):
    (x,) = numbers(R.randint(low, high, shape=(N,), dtype=dtype))
    assert x.dtype == dtype and x.min() >= low and x.max() < high
    assert distance((x - low) + 0.5, lambda v: v / (high - low)) < LIMIT + (0.5 / 7 if high - low < 100 else 0)
    if high - low < 100:
        counts = np.unique(x, return_counts=True)[1]
        assert len(counts) == high - low and np.abs(counts / N * (high - low) - 1).max() < 0.05


def test_uniform_stays_below_its_bound():
    spans = ((0, 1), (-3, -1), (2, 2), (0, 100))
    for dtype, (low, high) in itertools.product(("float16", "float32", "float64"), spans):
        (x,) = numbers(R.uniform(low, high, shape=(N,), dtype=dtype))
        assert x.dtype == dtype and x.min() >= low and (x.max() < high or low == high)
        a = S.Variable("a")
        (x,) = numbers(R.uniform(a + low, a + high, shape=(N,), dtype=dtype), a=np.zeros(1, "float32"))
        assert x.dtype == dtype and x.min() >= low and (x.max() < high or low == high)


def test_nodes_runs_and_seeds():
    one, other = R.gamma(2, 3, shape=(50,)), R.gamma(2, 3, shape=(50,))
    pair = S.Group([one, other, R.uniform(shape=(50,)), R.uniform(shape=(50,))])
    a, b, c, d = numbers(pair)
    assert not np.isclose(a, b).any() and not np.isclose(c, d).any()  # equal parameters, other numbers
    assert abs(np.corrcoef(*numbers(S.Group([R.normal(shape=(N,)), R.normal(shape=(N,))])))[0, 1]) < 0.02
    mx.random.seed(7)
    executor = pair.bind(mx.cpu(), {})
    first, second = ([o.asnumpy() for o in executor.forward()] for _ in range(2))
    assert not np.isclose(first, second).any()
    mx.random.seed(7)
    again = [o.asnumpy() for o in executor.forward()]
    np.testing.assert_array_equal(first, again)
    # The same graph under other names draws the same numbers.
    renamed = S.Group([R.gamma(2, 3, shape=(50,)), R.gamma(2, 3, shape=(50,)), *[R.uniform(shape=(50,))] * 2])
    np.testing.assert_array_equal(numbers(renamed, seed=7)[0], first[0])


def test_results_do_not_depend_on_threads(monkeypatch):
    symbol = S.Group([R.poisson(30, shape=(N,)), R.normal(shape=(N,)), R.gamma(2, shape=(N,))])
    with_threads = numbers(symbol)
    monkeypatch.setenv("SYMC_THREADS", "1")
    np.testing.assert_array_equal(with_threads, numbers(symbol))


def test_parameters_without_meaning_give_nan_and_end():
    bad = np.array([-1.0, np.nan, np.inf, 0.0], "float32")
    a = S.Variable("a")
    both = S.Group([S.sample_gamma(a, a * 0 + 1, shape=(2,)), S.sample_poisson(a, shape=(2,))])
    gamma, poisson = numbers(both, a=bad)
    assert np.isnan(gamma[[0, 1, 3]]).all() and np.isnan(poisson[:2]).all()
    assert np.isinf(poisson[2]).all() and (poisson[3] == 0).all()


def test_multinomial():
    p = np.array([[0.2, 0.0, 0.8], [1.0, 0.0, 0.0]], "float32")
    data = S.Variable("data")
    indices, logs = numbers(R.multinomial(data, shape=(N // 2, 2)), data=p)
    assert indices.shape == logs.shape == (2, N // 2, 2) and indices.dtype == np.int32 and not indices[1].any()
    assert set(np.unique(indices[0])) == {0, 2} and abs((indices[0] == 2).mean() - 0.8) < LIMIT
    np.testing.assert_allclose(logs[0], np.log(p[0][indices[0]]), rtol=1e-6)
    assert numbers(R.multinomial(data, get_prob=False, dtype="float32"), data=p)[0].dtype == np.float32
    assert R.multinomial(data).infer_shape(data=(3,))[1] == [(1,), (1,)]
    assert R.multinomial(data, get_prob=False).list_outputs()[0].endswith("_output")


def test_multinomial_gradient():
    p = mx.nd.array([0.5, 0.2, 0.3])
    symbol = R.multinomial(S.Variable("data"), shape=(20,))
    executor = symbol.bind(mx.cpu(), {"data": p}, {"data": mx.nd.zeros(3)})
    indices, _ = executor.forward(is_train=True)
    heads = np.arange(1.0, 21.0, dtype="float32")
    executor.backward([mx.nd.zeros((20,), dtype="int32"), mx.nd.array(heads)])
    want = np.bincount(indices.asnumpy(), heads, 3) / p.asnumpy()
    np.testing.assert_allclose(executor.grad_dict["data"].asnumpy(), want, rtol=1e-5)


def test_distinct_zipfian_numbers():
    """Two of three: the second one is drawn until it differs from the first."""
    p = np.diff(np.log([1, 1.5, 2.5, 3])) / math.log(3)
    samples, trials = numbers(S._internal._sample_unique_zipfian(3, shape=(N // 5, 2)))
    assert samples.dtype == trials.dtype == np.int64 and (samples[:, 0] != samples[:, 1]).all()
    for first, second in itertools.permutations(range(3), 2):
        found = (samples == (first, second)).all(1).mean()
        assert abs(found - p[first] * p[second] / (1 - p[first])) < 3 * LIMIT
    for n in range(2, 6):
        assert abs((trials == n).mean() - (p ** (n - 1) * (1 - p)).sum()) < 3 * LIMIT
    with pytest.raises(ShapeError, match="expected at most range_max=3 samples, got 4"):
        S._internal._sample_unique_zipfian(3, shape=(1, 4)).infer_shape()


@pytest.mark.parametrize("face", ["nd", "sym"])
def test_zipfian_numbers(face):
    mx.random.seed(5)
    true = mx.nd.array([0, 3], dtype="int32")
    if face == "nd":
        found = mx.nd.contrib.rand_zipfian(true, N, 4)
    else:
        found = S.Group(S.contrib.rand_zipfian(S.var("true"), N, 4)).bind(mx.cpu(), {"true": true}).forward()
    samples, of_true, of_samples = (x.asnumpy() for x in found)
    expected = np.log(np.arange(2, 6) / np.arange(1, 5)) / np.log(5) * N
    np.testing.assert_allclose(np.bincount(samples), expected, atol=3 * LIMIT * N)
    np.testing.assert_allclose(of_true, expected[[0, 3]], rtol=1e-12)
    np.testing.assert_allclose(of_samples, expected[samples], rtol=1e-12)


def test_shuffle():
    rows = np.arange(3000.0).reshape(1000, 3)
    (mixed,) = numbers(R.shuffle(S.Variable("data")), data=rows)
    assert not np.array_equal(mixed, rows)
    np.testing.assert_array_equal(mixed[np.argsort(mixed[:, 0])], rows)
    executor, orders = R.shuffle(S.Variable("data")).bind(mx.cpu(), {"data": mx.nd.arange(3)}), []
    for seed in range(600):
        mx.random.seed(seed)
        orders.append(tuple(executor.forward()[0].asnumpy()))
    counts = [orders.count(o) for o in itertools.permutations(range(3))]
    assert min(counts) > 60 and sum(counts) == 600


def test_parameters_have_gradients_of_zero():
    mu, sigma = S.Variable("mu"), S.Variable("sigma")
    executor = R.normal(mu, sigma, shape=(3,)).simple_bind(mx.cpu(), mu=(4,))
    executor.grad_dict["mu"][:] = 5
    executor.forward(is_train=True)
    executor.backward(mx.nd.ones((4, 3)))
    assert not executor.grad_dict["mu"].asnumpy().any() and not executor.grad_dict["sigma"].asnumpy().any()


def test_shapes_and_dtypes():
    x = S.Variable("x")
    assert (R.uniform() + x).infer_shape(x=(2, 3))[1] == [(2, 3)]
    assert (R.uniform(shape=(0, 3)) + x).infer_shape(x=(2, 3))[1] == [(2, 3)]
    assert R.uniform().infer_type()[1] == [np.float32] and R.randint(0, 5).infer_type()[1] == [np.int32]
    assert R.normal(x, x).infer_type(x="float64")[1] == [np.float32]
    assert S.random.uniform_like(x).infer_type(x="int32")[1] == [np.int32]
    (y,) = numbers(R.uniform(-2, 3) + x, x=np.full((4, 5), 10, "float32"))
    assert y.shape == (4, 5) and y.min() >= 8 and y.max() < 13


@pytest.mark.parametrize("attempt, text", [
    (lambda: R.uniform(3, 1), "expected low <= high, got low=3.0, high=1.0"),
    (lambda: R.normal(0, -1), "scale > 0"),
    (lambda: R.gamma(0, 1), "alpha > 0"),
    (lambda: S.random_exponential(-1), "lam > 0"),
    (lambda: R.poisson(-1), "lam >= 0"),
    (lambda: R.negative_binomial(1, 0), "0 < p <= 1"),
    (lambda: R.generalized_negative_binomial(-1, 1), "mu >= 0"),
    (lambda: R.randint(5, 5), "low < high"),
    (lambda: R.randint(-(2**62), 2**62), "2\\*\\*63"),
    (lambda: R.uniform(dtype="int32"), "dtype"),
    (lambda: R.uniform_like(S.Variable("x"), low=3), "low <= high"),
])  # fmt: skip
def test_errors(attempt, text):
    with pytest.raises(ParameterError, match=text):
        attempt().infer_type()


def test_eager_operators_follow_the_seed():
    def draw():
        mx.random.seed(3)
        return [
            mx.nd.random_normal(loc=1, shape=(40,)),
            mx.nd.sample_gamma(mx.nd.ones((2,)), mx.nd.ones((2,)), shape=(20,)).reshape((-1,)),
            mx.nd.shuffle(mx.nd.arange(40)),
        ]

    first, again = draw(), draw()
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())
    assert not np.array_equal(first[0].asnumpy(), mx.nd.random_normal(loc=1, shape=(40,)).asnumpy())
    assert abs(mx.nd.random_exponential(4.0, shape=(5000,)).asnumpy().mean() - 0.25) < 0.02  # a rate, as in MXNet
    assert abs(mx.nd.random.exponential(4.0, shape=(5000,)).asnumpy().mean() - 4) < 0.3  # a mean, as in MXNet


def test_shapes_of_densities():
    x, mu, sigma = (S.Variable(n) for n in ("x", "mu", "sigma"))
    normal = S.random_pdf_normal(x, mu, sigma)
    assert normal.infer_shape(x=(2, 3, 4), mu=(2, 3), sigma=(2, 3))[1] == [(2, 3, 4)]
    with pytest.raises(ShapeError, match=r"Provided = \[3,2\], inferred shape=\(?\[?2,3"):
        normal.infer_shape(x=(2, 3, 4), mu=(3, 2), sigma=(3, 2))
    with pytest.raises(ShapeError, match=r"samples \(1\) must be at least dimension of distribution parameters \(2"):
        normal.infer_shape(x=(2,), mu=(2, 3), sigma=(2, 3))
    with pytest.raises(ShapeError, match="Shape inconsistent"):
        S.random_pdf_dirichlet(x, mu).infer_shape(x=(2, 5, 4), mu=(2, 3))


def test_a_density_is_the_slope_of_its_distribution_function():
    x = np.linspace(0.3, 4, 7)
    step = 1e-5
    cdf = gamma_cdf(2.5, 1 / 1.7)
    one = {"x": x, "a": np.full(7, 2.5), "b": np.full(7, 1.7)}
    (density,) = numbers(S.random_pdf_gamma(*(S.Variable(n) for n in one)), **one)
    np.testing.assert_allclose(density, [(cdf(v + step) - cdf(v - step)) / (2 * step) for v in x], rtol=1e-6)
