"""Arithmetic on arrays against what MXNet 1.9.1 answered (or, where it crashed, what symc decided)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import symc as mx
import symc.ndarray as nd
from symc.base import MXNetError
from symc.core.errors import ArgumentError, DTypeError

from .arrays import check, grid, ints


def binary_cases():
    x, inf, nan = ints(), math.inf, math.nan
    f = nd.array([7.0, -7, 0, 5])
    return {
        "int / fraction": (x / 2.5, [3, -3, 0, 2], "int32"),
        "int / int": (nd.array([-7, 7], dtype="int64") / nd.array([2, -2], dtype="int64"), [-3, -3], "int64"),
        "int / 0": (x / 0, [0, 0, 0, 0], "int32"),
        "fraction / int": (7.9 / ints([2, -2]), [3, -3], "int32"),
        "uint8 / int": (ints([200, 7], "uint8") / 2, [100, 3], "uint8"),
        "int8 overflow": (ints([-128], "int8") / -1, [-128], "int8"),
        "int % 3": (x % 3, [1, 2, 0, 2], "int32"),
        "int % -3": (x % -3, [-2, -1, 0, -1], "int32"),
        "int % 0": (x % 0, [0, 0, 0, 0], "int32"),
        "int % fraction": (x % 2.5, [1, 1, 0, 1], "int32"),
        "fraction % int": (5.5 % x, [5, -2, 0, 0], "int32"),
        "float % 0": (f % 0, [0, 0, 0, 0], "float32"),
        "float % array": (f % nd.array([0, 3, 2, -2.5]), [0, 2, 0, 0], "float32"),
        "float % inf": (nd.array([7.5, -7.5]) % inf, [7.5, inf], "float32"),
        "number % float": (7 % nd.array([0, -3, 2, -2.5]), [0, -2, 1, -0.5], "float32"),
        "float / 0": (f / 0, [inf, -inf, nan, inf], "float32"),
        "int ** 2": (x**2, [49, 49, 0, 25], "int32"),
        "int ** fraction": (x**0.5, [1, 1, 1, 1], "int32"),
        "2 ** int": (2**x, [128, 0, 1, 32], "int32"),
        "int64 ** 33": (ints([3], "int64") ** 33, [5559060459945984], "int64"),
        "uint8 ** 8": (ints([2, 3], "uint8") ** 8, [0, 161], "uint8"),
        "fraction * int": (2.5 * x, [14, -14, 0, 10], "int32"),
        "int + fraction": (x + 1.7, [8, -6, 1, 6], "int32"),
        "fraction - int": (1.7 - x, [-6, 8, 1, -4], "int32"),
        "int == fraction": (ints([1, 4]) == 1.5, [1, 0], "int32"),
        "int >= fraction": (ints([1, 4]) >= 4.5, [0, 1], "int32"),
        "int < fraction": (ints([1, 4]) < 4.5, [1, 0], "int32"),
        "reflected <": (1 < nd.array([1, 2]), [0, 1], "float32"),
        "!=": (x != ints([7, 1, 0, 0]), [0, 1, 0, 1], "int32"),
        "nan > 0": (nd.array([nan, 1]) > 0, [0, 1], "float32"),
        "negative": (-x, [-7, 7, 0, -5], "int32"),
        "negative uint8": (-ints([1, 2], "uint8"), [255, 254], "uint8"),
        "absolute": (abs(x), [7, 7, 0, 5], "int32"),
        "uint8 wraps": (ints([200, 100], "uint8") + ints([100, 100], "uint8"), [44, 200], "uint8"),
        "uint8 + 300": (ints([1, 2], "uint8") + 300, [45, 46], "uint8"),
        "int64 exact": (ints([2**53 + 1], "int64") + 1, [2**53 + 2], "int64"),
        "float16 overflow": (ints([60000], "float16") * 2, [inf], "float16"),
        "float64 stays": (ints([0.1], "float64") + 0.1, [0.2], "float64"),
        "bool and number": (ints([1, 0], "bool") + 1.5, [2, 1], "int64"),
        "numpy number": (np.float64(1.5) + nd.array([1, 2]), [2.5, 3.5], "float32"),
        "python bool": (nd.array([1, 2]) + True, [2, 3], "float32"),
        "broadcast": (nd.array([1, 2]) + nd.array([[1], [2]]), [[2, 3], [3, 4]], "float32"),
        "shape ()": (nd.array(3) + 1, 4, "float32"),
        "maximum nan": (nd.maximum(nd.array([nan, 1]), 0.5), [nan, 1], "float32"),
        "minimum nan": (nd.minimum(nd.array([nan, 1]), nd.array([1, nan])), [nan, nan], "float32"),
        "maximum fraction": (nd.maximum(x, 1.5), [7, 1, 1, 5], "int32"),
        "function reflected": (nd.power(base=2, exp=nd.array([1, 3])), [2, 8], "float32"),
        "logical_xor": (nd.logical_xor(nd.array([1.5, 0]), nd.array([1, 0])), [0, 0], "float32"),
        "logical_or int": (nd.logical_or(ints([1, 0]), 0.5), [1, 0], "int32"),
        "lesser_equal": (nd.lesser_equal(1, nd.array([1, 0])), [1, 0], "float32"),
    }


BINARY = binary_cases()


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    check(*BINARY[name])


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "modulo", "maximum", "minimum", "power"])
@pytest.mark.parametrize("shapes", [((1,), (1,)), ((7, 1), (1, 33)), ((2, 3, 5), (3, 1)), ((4,), (3, 1, 4))], ids=str)
def test_float_arithmetic_is_numpys(name, shapes):
    draw = np.random.default_rng(0)
    a, b = (draw.uniform(0.5, 2, shape).astype("float32") for shape in shapes)
    wide = (v.astype("float64") for v in (a, b))  # each result is the exact one, rounded once
    expected = getattr(np, {"modulo": "mod"}.get(name, name))(*wide).astype("float32")
    result = getattr(nd, name)(nd.array(a), nd.array(b))
    np.testing.assert_array_equal(result.asnumpy(), expected)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_integer_division_against_exact_arithmetic(dtype):
    draw = np.random.default_rng(1)
    low = 0 if dtype == "uint8" else -100
    a, b = draw.integers(low, 100, (2, 500))
    b[b == 0] = 3
    x, y = (nd.array(v, dtype=dtype) for v in (a, b))
    check(x / y, [int(p / q) for p, q in zip(a.tolist(), b.tolist())], dtype)
    check(x % y, [p % q for p, q in zip(a.tolist(), b.tolist())], dtype)


def test_quotients_of_large_integers_are_exact():
    values = [4 * 10**18 + 12345, -(4 * 10**18 + 12345), 2**53 + 1, -(2**63)]
    x = nd.array(values, dtype="int64")
    check(x / 2, [2 * 10**18 + 6172, -(2 * 10**18 + 6172), 2**52, -(2**62)], "int64")
    check(x / nd.array([19, -7, 1, -1], dtype="int64"), [210526315789474333, 571428571428573192, *values[2:]], "int64")
    check(nd.mean(x[::2]), [(values[0] + values[2]) // 2], "int64")
    check(nd.contrib.div_sqrt_dim(x), [v // 2 if v > 0 else -(-v // 2) for v in values], "int64")


@pytest.mark.parametrize("n_copies", [1, 30000])  # by NumPy, and compiled
@pytest.mark.parametrize(
    "name, function, values",
    [
        ("sqrt", math.sqrt, [3, 123456789, 2**50 + 1]),
        ("exp", math.exp, [3, 20, 33, -20]),
        ("sinh", math.sinh, [3, 20, -33]),
        ("tan", math.tan, [3, -21, 123456789]),
        ("gammaln", math.lgamma, [3, 16777217, 10**12 + 1]),
    ],
)
def test_functions_of_integers_are_computed_in_float64(name, function, values, n_copies):
    x = nd.array(np.repeat(values, n_copies), dtype="int64")
    check(getattr(nd, name)(x), np.repeat([int(function(v)) for v in values], n_copies), "int64")


@pytest.mark.parametrize(
    "name, values",
    [("negative", [True, False, True]), ("sign", [True, False, True]), ("elemwise_sub", [False, True, True])],
)
def test_bools_are_computed_as_numbers_where_mxnet_refuses_them(name, values):
    x, y = nd.array([1, 0, 1], dtype="bool"), nd.array([1, 1, 0], dtype="bool")
    operands = (x, y) if name == "elemwise_sub" else (x,)
    check(getattr(nd, name)(*operands), values, "bool")
    symbol = getattr(mx.sym, name)(*map(mx.sym.Variable, "xy"[: len(operands)]))
    check(symbol.eval(**dict(zip("xy", operands)))[0], values, "bool")


def test_in_place_forms_keep_the_array():
    x = same = grid()
    x += 1
    x *= nd.array([1, 2, 3])
    x -= 1
    x /= 2
    check(x, [[0, 1.5, 4], [1.5, 4.5, 8.5]])
    x %= x
    check(x, np.zeros((2, 3)))
    assert x is same
    y = ints([1, 2])
    y += 1.7
    check(y, [2, 3], "int32")
    x **= 2  # MXNet has no in-place power: a new array
    assert x is not same


def test_two_numbers_give_a_number():
    assert nd.divide(7, 2) == 3.5 and nd.modulo(-7, 3) == 2 and nd.maximum(2, 3) == 3 and nd.power(2, 3) == 8
    assert nd.equal(2, 2) == 1 and nd.logical_xor(1, 0) == 1 and nd.lesser(3, 2) == 0


@pytest.mark.parametrize("other", ["a", None, [1, 2], np.array([1, 2])], ids=str)
def test_other_operands_are_type_errors(other):
    x = nd.array([1, 2])
    for attempt in (lambda: x + other, lambda: other - x, lambda: x == other, lambda: x.__iadd__(other)):
        with pytest.raises(TypeError, match="not supported"):
            attempt()


def test_arrays_that_do_not_fit():
    with pytest.raises(MXNetError, match=r"broadcast together with shapes \[2\] \[3\]"):
        nd.ones(2) + nd.ones(3)
    with pytest.raises(DTypeError, match="expected one dtype, got float32, int32"):
        ints() + nd.ones(4)
    with pytest.raises(DTypeError, match="bool"):
        nd.equal(nd.zeros(2, dtype="bool"), nd.zeros(2, dtype="bool"))
    x = nd.ones(3)
    with pytest.raises(ArgumentError, match=r"\(2, 3\)"):
        x += nd.ones((2, 3))
    for attempt in (lambda: x // 2, lambda: x @ x, lambda: ~x):
        with pytest.raises(TypeError):
            attempt()
