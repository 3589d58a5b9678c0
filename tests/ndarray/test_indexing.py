"""Parts of arrays against what MXNet 1.9.1 answered: which share memory, what keys select, what is written where."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import symc.ndarray as nd
from symc import autograd
from symc.core.errors import MXNetError
from symc.ndarray.indexing import numpy_index
from symc.ndarray.storage import WriteCounter

from .arrays import check, grid


def test_views_share_memory_and_version():
    x = grid()
    for view in (x[0], x[1:2], x.reshape((3, 2)), x[:, :], x[0, 1], x.detach(), x.flatten(inplace=True), x[0:1, 1:3]):
        assert view._storage is x._storage
    for made in (x[:, 1], x[[0]], x[:, ::-1], x.T, x.copy(), x.astype("float32"), x.flatten(), x.expand_dims(0)):
        assert made._storage is not x._storage and not np.shares_memory(made._host, x._host)
    x[0][:] = 5
    x[1, 2][:] = 9
    check(x, [[5, 5, 5], [3, 4, 9]])
    assert x[1]._address == x._address + 12


WRITES = {
    "assign": lambda x: x.__setitem__(slice(None), 1),
    "assign element": lambda x: x.__setitem__((0, 0), 1),
    "assign through a view": lambda x: x[0].__setitem__(0, 1),
    "assign by index array": lambda x: x.__setitem__([0], 1),
    "+=": lambda x: x.__iadd__(1),
    "-=": lambda x: x.__isub__(1),
    "*=": lambda x: x.__imul__(x),
    "/=": lambda x: x.__itruediv__(2),
    "%=": lambda x: x.__imod__(2),
    "+= on a view": lambda x: x.reshape(-1).__iadd__(1),
    "copyto": lambda x: nd.zeros((2, 3)).copyto(x),
    "copyto a view": lambda x: nd.zeros(3).copyto(x[1]),
    "full": lambda x: nd.full((2, 3), 7, out=x),
    "touch": lambda x: x._touch(),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_write_moves_version_and_epoch(write):
    x, other = grid(), grid()
    view = x.reshape((3, 2))
    before = (x._version, WriteCounter.write_epoch, other._version)
    WRITES[write](x)
    assert x._version > before[0] and WriteCounter.write_epoch > before[1]
    assert view._version == x._version and other._version == before[2]


def test_reading_moves_nothing():
    x = grid()
    version = x._version
    x.asnumpy(), x + 1, x[0], x[[1]], x.T, np.asarray(x), repr(x), x == 1, x.copy(), nd.sum(x), x.astype("int8")
    assert x._version == version


READS = [
    (np.s_[0], [0, 1, 2]),
    (np.s_[-1], [3, 4, 5]),
    (np.s_[1, 2], [5]),
    (np.s_[0:1], [[0, 1, 2]]),
    (np.s_[5:7], np.empty((0, 3))),
    (np.s_[:, 1], [1, 4]),
    (np.s_[:, ::-1], [[2, 1, 0], [5, 4, 3]]),
    (np.s_[None], [[[0, 1, 2], [3, 4, 5]]]),
    (np.s_[:, None, 1], [[1], [4]]),
    (np.s_[..., 0], [0, 3]),
    (True, [3, 4, 5]),
    (np.s_[True, 0], [0, 1, 2]),
    (np.s_[..., True], [[0, 1, 2], [3, 4, 5]]),
    (np.s_[True, None], [[[0, 1, 2], [3, 4, 5]]]),
    (np.s_[[0, 1], True], [[0, 1, 2], [3, 4, 5]]),
    (np.s_[True, 1, True, 2], [5]),
    (np.s_[[0, 1], [1, 2]], [1, 5]),
    (np.s_[[1, 0]], [[3, 4, 5], [0, 1, 2]]),
    (np.s_[[-1]], [[3, 4, 5]]),
    (np.s_[nd.array([1.7, 0])], [[3, 4, 5], [0, 1, 2]]),
    (np.s_[range(2)], [[0, 1, 2], [3, 4, 5]]),
    (np.s_[0:2, [0, 2]], [[0, 2], [3, 5]]),
    (np.s_[[0, 1], None, [0, 2]], [[0], [5]]),
    (np.s_[np.int64(1)], [3, 4, 5]),
]


@pytest.mark.parametrize("key, values", READS, ids=str)
def test_reading_parts(key, values):
    check(grid()[key], values)


def test_the_whole_is_the_array_itself():
    x = grid()
    assert x[:] is x and x[()] is x and x[...] is x


@pytest.mark.parametrize(
    "key, error",
    [
        (2, IndexError),
        (-3, IndexError),
        ([5], IndexError),
        ((0, 0, 0), IndexError),
        (1.5, ValueError),
        ("a", ValueError),
        (nd.array([1, 0], dtype="bool"), ValueError),
    ],
    ids=str,
)
def test_bad_keys(key, error):
    with pytest.raises(error):
        grid()[key]
    with pytest.raises(error):
        grid()[key] = 1


ASSIGNMENTS = [
    (np.s_[:, 1], nd.array([7, 8]), [[0, 7, 2], [3, 8, 5]]),
    (np.s_[[0, 1], [1, 2]], np.array([7, 8]), [[0, 7, 2], [3, 4, 8]]),
    (nd.array([1]), 9, [[0, 1, 2], [9, 9, 9]]),
    (np.s_[1, 2], nd.array([9]), [[0, 1, 2], [3, 4, 9]]),
    (np.s_[0:0], 9, [[0, 1, 2], [3, 4, 5]]),
    (np.s_[::-1], [[1, 2, 3], [4, 5, 6]], [[4, 5, 6], [1, 2, 3]]),
    (np.s_[..., 0], 9, [[9, 1, 2], [9, 4, 5]]),
    (np.s_[None, 0], 9, [[9, 9, 9], [3, 4, 5]]),
    (np.s_[[1, 1]], nd.array([[1, 1, 1], [2, 2, 2]]), [[0, 1, 2], [2, 2, 2]]),
    (np.s_[:], nd.ones((1, 1, 2, 3)), [[1, 1, 1], [1, 1, 1]]),
    (np.s_[:], nd.array([1, 2, 3]), [[1, 2, 3], [1, 2, 3]]),
    (True, 9, [[9, 9, 9], [9, 9, 9]]),
    (True, nd.array([[1, 2, 3], [4, 5, 6]]), [[1, 2, 3], [4, 5, 6]]),
    ((True, 1), 9, [[0, 1, 2], [9, 9, 9]]),
]


@pytest.mark.parametrize("key, value, values", ASSIGNMENTS, ids=str)
def test_writing_parts(key, value, values):
    x = grid()
    x[key] = value
    check(x, values)


def test_writing_overlapping_memory():
    x = nd.arange(5)
    x[1:] = x[:4]
    check(x, [0, 0, 1, 2, 3])


@pytest.mark.parametrize("value", [300, 300.5, [300], np.array([300]), nd.array([300])], ids=str)
def test_assignment_casts_as_c_does(value):
    x = nd.zeros(1, dtype="uint8")
    x[:] = value
    check(x, [44], "uint8")
    x[:] = -1
    check(x, [255], "uint8")


def test_assignment_errors():
    for key in (False, np.s_[0, False]):
        with pytest.raises(ValueError, match="False in an index"):
            grid()[key] = 1
    with pytest.raises(ValueError, match="False in an index"):
        grid()[0, False]
    with pytest.raises(ValueError, match="broadcast"):
        grid()[:] = [1, 2]
    with pytest.raises(TypeError, match="expected real numbers, got str"):
        grid()[:] = "a"


@pytest.mark.parametrize(
    "key", [0, (slice(None), 3), slice(2, 9, 3), (None, 5), (nd.array([1, 3]), 2), [7, 7]], ids=str
)
def test_recorded_indexing_takes_memory_for_what_it_picks(key):
    x = nd.zeros((1 << 10, 1 << 12))
    x.attach_grad()
    with autograd.record():
        x[key]  # kernels and imports
        tracemalloc.start()
        try:
            recorded_shape = x[key].shape
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    index = numpy_index(key, nd.NDArray)
    want = np.zeros((1 << 10, 1 << 12), "i1")[tuple(k._host.astype(int) if hasattr(k, "_host") else k for k in index)]
    assert recorded_shape == (want.shape or (1,)) and peak_bytes < 1.2 * x._host.nbytes + 16 * want.size


def test_recorded_parts_and_shapes_share_memory_as_unrecorded_ones_do():
    x = grid()
    x.attach_grad()
    with autograd.record():
        views = [x[0], x[1:2], x[0, 1], x.reshape((3, 2)), x.reshape((3, 2))[1], x.flatten(inplace=True), x[1, None]]
        copies = [x[:, 1], x[[0]], x[::-1], x.flatten(), x.expand_dims(0), x[None, :, 1]]
    assert all(view._storage is x._storage for view in views)
    assert not any(np.shares_memory(made._host, x._host) for made in copies)


@pytest.mark.parametrize("key", [slice(1, 1), (slice(None), slice(2, 1)), (0, slice(3, 3))], ids=str)
def test_nothing_flows_from_a_part_without_elements(key):
    x = grid()
    x.attach_grad()
    with autograd.record():
        part = x[key]
        y = (part * 2).sum() + x.sum()
    y.backward()
    assert part.size == 0
    check(x.grad, np.ones((2, 3)))


def test_places_outside_and_values_that_do_not_fit_are_errors_of_symc():
    x = nd.zeros((3, 4))
    outside = r"index \d is out of bounds for axis 0 with size 3; the shape is \(3, 4\)"
    for key in (5, (3, slice(None)), [0, 7], nd.array([0, 7])):
        with pytest.raises(IndexError, match=outside) as e:
            x[key]
        assert isinstance(e.value, MXNetError)
        with pytest.raises(IndexError, match=outside) as e:
            x[key] = 1
        assert isinstance(e.value, MXNetError)
    for key in (slice(0, 2), slice(None)):
        with pytest.raises(ValueError, match=r"could not broadcast .*; the shape is") as error:
            x[key] = np.ones((3, 3))
        assert isinstance(error.value, MXNetError)
    x.attach_grad()
    with autograd.record(), pytest.raises(MXNetError, match="out of bounds"):
        x[5]
    with pytest.raises(MXNetError, match="not support slicing with key"):
        x[1.5] = 1
