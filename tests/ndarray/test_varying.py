"""Numbers that are others at every call: nothing is prepared for each of them, and nothing else changes."""

import numpy as np
import pytest

import symc as mx
from symc import autograd
from symc.ndarray import backward, invoke, operators, varying
from symc.util import np_shape

NUMBERS = [float(x) for x in np.random.default_rng(0).uniform(0.5, 2, 3 * varying.SEVERAL)]


@pytest.fixture(autouse=True)
def nothing_met():
    varying._met.clear()
    invoke._prepared.clear()
    backward._prepared.clear()


def test_many_numbers_are_prepared_a_few_times():
    x = mx.nd.array([[1.0, 2.0, 3.0]])
    for number in NUMBERS:
        np.testing.assert_allclose((x - number).asnumpy(), x.asnumpy() - np.float32(number), rtol=1e-6)
        np.testing.assert_allclose((number / x).asnumpy(), np.float32(number) / x.asnumpy(), rtol=1e-6)
    assert len(invoke._prepared) == 2 * (varying.SEVERAL + 1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", operators.FUNCTIONS)
def test_an_array_in_place_of_a_number_gives_the_same_bits(name, dtype):
    function = getattr(mx.nd, name)
    x = mx.nd.array(np.random.default_rng(1).uniform(0.5, 2, (3, 4)), dtype=dtype)
    x[0, 0] = NUMBERS[-1]
    numbers = [*NUMBERS, 1e30, float("inf")]
    first = []
    for number in numbers:
        varying._met.clear()
        first.append([function(x, number), function(number, x)])
    for number in NUMBERS:
        function(x, number + 1), function(number + 1, x)
    invoke._prepared.clear()
    for number, expected in zip(numbers, first):
        for made, wanted in zip([function(x, number), function(number, x)], expected):
            assert made.dtype == wanted.dtype
            np.testing.assert_array_equal(made.asnumpy(), wanted.asnumpy())
    assert len(invoke._prepared) <= 2  # a + b is one function, whichever is the number


def test_kernels_take_the_number_as_an_array():
    x = mx.nd.array(np.random.default_rng(2).uniform(0.5, 2, (300, 300)))
    for number in NUMBERS:
        np.testing.assert_allclose((number - x).asnumpy(), np.float32(number) - x.asnumpy(), rtol=1e-6)
    assert len(invoke._prepared) == varying.SEVERAL + 1
    assert all(prepared.run.is_compiled for prepared in invoke._prepared.values())


def test_an_array_without_axes_may_meet_many_numbers():
    with np_shape(True):
        x = mx.nd.array(3.0)
        for number in NUMBERS:
            made = x * number
            assert made.shape == ()
            np.testing.assert_allclose(made.asnumpy(), np.float32(3 * number), rtol=1e-6)


def test_an_integer_array_cuts_every_number():
    x = mx.nd.array([1, 2, 3], dtype="int32")
    for number in NUMBERS:
        np.testing.assert_array_equal((x + number).asnumpy(), x.asnumpy() + int(number))


def test_an_array_is_written_in_place():
    x, expected = mx.nd.ones((2, 3)), np.ones((2, 3), np.float32)
    for number in NUMBERS:
        alias = x
        x += number
        assert x is alias
        expected += np.float32(number)
    np.testing.assert_allclose(x.asnumpy(), expected, rtol=1e-5)


def test_a_way_back_is_made_a_few_times_however_often_its_numbers_change():
    x = mx.nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    for number in NUMBERS:
        with autograd.record():
            y = (x * number) ** 2 + number / x
        y.backward()
        host = x.asnumpy().astype("float64")
        np.testing.assert_allclose(x.grad.asnumpy(), 2 * number**2 * host - number / host**2, rtol=1e-5)
    assert len(backward._prepared) <= varying.SEVERAL + 2


def test_gradients_of_gradients_know_the_number():
    x = mx.nd.array([1.0, 2.0])
    x.attach_grad()
    for number in NUMBERS:
        with autograd.record():
            (first,) = autograd.grad(number * x * x * x, [x], create_graph=True)
            first.backward()
        np.testing.assert_allclose(x.grad.asnumpy(), 6 * number * x.asnumpy(), rtol=1e-5)


def test_a_recording_as_a_symbol_has_the_number_not_an_array():
    x = mx.nd.array([1.0, 2.0])
    x.attach_grad()
    for number in NUMBERS:
        with autograd.record():
            y = x - number
    symbol = autograd.get_symbol(y)
    assert symbol.list_arguments() == ["var0"]
    assert float(symbol.get_internals()["node_0_output"].attr("scalar")) == pytest.approx(NUMBERS[-1])
