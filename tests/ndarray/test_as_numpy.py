"""Arrays given with a call are read where they lie: through DLPack, `__array__` and the buffer protocol."""

from __future__ import annotations

import array
import warnings
from fractions import Fraction

import numpy as np
import pytest

import symc as mx
from symc.core.errors import ArgumentTypeError
from symc.ndarray.ndarray import as_numpy

SOURCE = np.arange(6, dtype="f4").reshape(2, 3)


class ByDlpack:
    def __dlpack__(self, **options):
        return SOURCE.__dlpack__(**options)

    def __dlpack_device__(self):
        return SOURCE.__dlpack_device__()


class ByArray:
    def __array__(self, dtype=None, copy=None):
        return SOURCE


@pytest.mark.parametrize("value", [SOURCE, ByDlpack(), ByArray(), memoryview(SOURCE)], ids=lambda v: type(v).__name__)
def test_no_copy_is_made(value):
    found = as_numpy(value, "argument x")
    assert np.shares_memory(found, SOURCE)
    np.testing.assert_array_equal(found, SOURCE)


def test_an_ndarray_is_its_memory():
    given = mx.nd.array(SOURCE)
    assert np.shares_memory(as_numpy(given, "argument x"), given._host)


def test_other_sequences_are_copied():
    assert as_numpy(array.array("i", [1, 2]), "argument x").tolist() == as_numpy([1, 2]).tolist() == [1, 2]


def test_a_failing_exporter_is_one_error():
    class Broken:
        def __dlpack__(self, **options):
            raise BufferError("on another device")

        def __dlpack_device__(self):
            return (1, 0)

    text = "argument x: expected a number or an array, got Broken: on another device"
    with pytest.raises(ArgumentTypeError, match=text):
        as_numpy(Broken(), "argument x")


@pytest.mark.parametrize(
    "value",
    [object(), 1j, "one", "1.5", None, {"a": 1}, ["1", "2"], np.array(["1.5"]), np.array([b"1"]), [None, 1.5],
     np.array(["2020-01-01"], "M8[D]")],
    ids=lambda value: "object" if type(value) is object else repr(value),  # no address in a name: they must not change
)  # fmt: skip
def test_what_holds_no_real_numbers_is_refused(value):
    with pytest.raises(ArgumentTypeError, match="argument x: expected"):
        as_numpy(value, "argument x")


def test_objects_that_are_numbers_are_read_as_float64():
    found = as_numpy([Fraction(1, 4), 10**30, 1.5])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [0.25, 1e30, 1.5])


@pytest.mark.parametrize("how", ["raise", "warn", "ignore"])
def test_what_becomes_infinite_is_said_whatever_numpy_is_told(how):
    data = mx.sym.var("x") * 1
    small, large = data.simple_bind(mx.cpu(), x=(2,)), data.simple_bind(mx.cpu(), x=(1 << 15,))
    x, far = mx.nd.zeros(2), np.full(1 << 15, 1e300)
    with np.errstate(all=how):
        for write in (
            lambda: small(x=[1e300, 1])[0],
            lambda: large(x=far)[0],
            lambda: small.forward(x=np.array([1e300, 1]))[0],
            lambda: mx.nd.array([1e300]),
            lambda: x.__setitem__(0, 1e300) or x,
            lambda: mx.nd.full((2,), 1e300),
        ):
            with pytest.warns(RuntimeWarning, match="overflow"):
                assert write().asnumpy()[0] == np.inf


def test_infinities_and_meant_casts_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mx.nd.array([np.inf, -np.inf, np.nan])
        assert mx.nd.array([70000.0]).astype("float16").asscalar() == np.inf
        mx.nd.array(np.array([1e10, -1.0]), dtype="uint8")
