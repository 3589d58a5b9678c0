"""The arrays of a call: what fits is pointed to, what does not is seen, by native code as by Python."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from symc.runtime.cpu.operands import can_be_read, pointing_natively
from symc.runtime.operands import NO_SLOT, Exactly, Operand
from symc.runtime.pointing import pointing_in_python

F4 = np.dtype(np.float32)
NAME = object()


def good() -> np.ndarray:
    return np.zeros((2, 3), F4)


def read_only() -> np.ndarray:
    array = good()
    array.flags.writeable = False
    return array


FITTING = {
    "new": good,
    "read-only": read_only,
    "part": lambda: np.zeros((5, 3), F4)[1:3],
    "dtype of its own": lambda: good().view(pickle.loads(pickle.dumps(F4))),
}
MISFITS = {
    "rank": lambda: np.zeros((2, 3, 1), F4),
    "extent": lambda: np.zeros((3, 2), F4),
    "strided": lambda: np.zeros((2, 6), F4)[:, ::2],
    "transposed": lambda: np.zeros((3, 2), F4).T,
    "unaligned": lambda: np.frombuffer(bytes(25), np.uint8)[1:].view(F4).reshape(2, 3),
    "float64": lambda: np.zeros((2, 3)),
    "int32": lambda: np.zeros((2, 3), np.int32),
    "big endian": lambda: np.zeros((2, 3), ">f4"),
    "structure": lambda: np.zeros((2, 3), [("x", F4)]),
    "subclass": lambda: good().view(np.matrix),
    "no array": lambda: [[0.0] * 3] * 2,
    "None": lambda: None,
}


def test_objects_of_this_python_are_read_by_native_code():
    assert can_be_read()


@pytest.fixture(params=[pointing_natively, pointing_in_python])
def pointed(request):
    """A function of two arrays and an object: whether they fit, and where the slots point."""
    bufs = np.zeros(4, np.int64)
    expected = [Operand(2, (2, 3), F4), Exactly(NAME), Operand(NO_SLOT, (), np.dtype(np.int64)), Operand(1, (0, 4), F4)]
    point = request.param(bufs, expected)

    def call(first: object, name: object = NAME, unread: object = np.array(5), empty: object = np.zeros((0, 4), F4)):
        return point([first, name, unread, empty]), bufs.tolist()

    return call


@pytest.mark.parametrize("make", FITTING.values(), ids=FITTING)
def test_what_fits_is_pointed_to(pointed, make):
    array, empty = make(), np.zeros((0, 4), F4)
    assert pointed(array, empty=empty) == (True, [0, empty.ctypes.data, array.ctypes.data, 0])


@pytest.mark.parametrize("make", MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_seen(pointed, make):
    assert not pointed(make())[0]
    assert pointed(good())[0]


def test_another_object_and_an_array_that_is_only_looked_at_do_not_fit(pointed):
    assert not pointed(good(), name=object())[0]
    assert not pointed(good(), name=good())[0]
    assert not pointed(good(), unread=np.zeros(1, np.int64))[0]
    assert not pointed(good(), unread=np.array(5, np.int32))[0]
