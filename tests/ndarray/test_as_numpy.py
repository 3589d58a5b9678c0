"""Arrays given with a call are read where they lie: through DLPack, `__array__` and the buffer protocol."""

from __future__ import annotations

import array

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


@pytest.mark.parametrize("value", [object(), 1j, "one", {"a": 1}, np.array(["2020-01-01"], "M8[D]")], ids=repr)
def test_what_holds_no_real_numbers_is_refused(value):
    with pytest.raises(ArgumentTypeError, match="argument x: expected"):
        as_numpy(value, "argument x")


def test_objects_and_texts_are_read_as_float64():
    found = as_numpy([None, "1.5"])
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [np.nan, 1.5])
