"""Memory on a GPU that other libraries share, by DLPack and `__cuda_array_interface__`, on a simulated one."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import symc as mx
from symc.context import register_device, unregister_device
from symc.core.errors import ArgumentError
from symc.ndarray import capsules
from symc.runtime.cuda.device import device_of
from symc.testing.driver import SimDriver


@pytest.fixture
def gpu():
    driver = SimDriver()
    device = device_of(driver)
    register_device("gpu", lambda number: device)
    try:
        yield driver
    finally:
        unregister_device("gpu")


class Foreign:
    """An array of another library: what it holds on a GPU, and whether it was given back."""

    def __init__(self, driver: SimDriver, data: np.ndarray) -> None:
        self.driver, self.shape, self.dtype, self.size_bytes = driver, data.shape, data.dtype, data.nbytes
        self.address = driver.allocate(max(1, data.nbytes))
        driver.copy_in(self.address, data)
        self.streams: list[int | None] = []

    def numpy(self) -> np.ndarray:
        found = np.empty(self.shape, self.dtype)
        self.driver.copy_out(found, self.address)
        return found


class ByDLPack(Foreign):
    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream=None):
        self.streams.append(stream)
        return capsules.capsule(self.address, self.shape, self.dtype, 0, self)


class ByInterface(Foreign):
    @property
    def __cuda_array_interface__(self) -> dict:
        return {
            "version": 3,
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "stream": 7,
        }


@pytest.mark.parametrize("kind", [ByDLPack, ByInterface])
def test_memory_of_others_is_read_and_written_where_it_lies(gpu, kind):
    other = kind(gpu, np.arange(6, dtype=np.float32).reshape(2, 3))
    before = gpu.counts["allocate"]
    x = mx.nd.from_dlpack(other)
    assert x.context == mx.gpu() and x.shape == (2, 3) and x.dtype == np.float32
    np.testing.assert_array_equal(x.asnumpy(), other.numpy())
    x[1] = 7
    np.testing.assert_array_equal(other.numpy(), [[0, 1, 2], [7, 7, 7]])
    gpu.copy_in(other.address, np.full((2, 3), 9, np.float32))  # the other one writes
    np.testing.assert_array_equal(x[0].asnumpy(), [9, 9, 9])
    assert gpu.counts["allocate"] == before
    assert other.streams == ([1] if kind is ByDLPack else []) and gpu.counts["follow"] == (kind is ByInterface)


@pytest.mark.parametrize("kind", [ByDLPack, ByInterface])
def test_it_is_given_back_when_nobody_uses_it_any_more(gpu, kind):
    other = kind(gpu, np.zeros(3, np.int64))
    x = mx.nd.from_dlpack(other)
    part, owner = x[1:], weakref.ref(other)
    del other, x
    gc.collect()
    assert owner() is not None and part.asnumpy().tolist() == [0, 0]
    del part
    gc.collect()
    assert owner() is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"])
def test_others_are_given_the_memory_itself(gpu, dtype):
    x = mx.nd.array([[0, 1, 2], [3, 4, 5]], mx.gpu(), dtype)
    part = x[1]
    assert part.__dlpack_device__() == (2, 0)
    told = part.__cuda_array_interface__
    assert told["shape"] == (3,) and np.dtype(told["typestr"]) == dtype and told["stream"] is None
    y = mx.nd.from_dlpack(part)
    assert y.__cuda_array_interface__["data"] == told["data"] and y.dtype == np.dtype(dtype)
    x[1, 2] = 0
    assert y.asnumpy()[2] == 0 and y.asnumpy().tolist() == x.asnumpy()[1].tolist()
    y[:] = mx.nd.ones((3,), mx.gpu(), dtype)
    assert x.asnumpy().tolist()[1] == [1, 1, 1]
    address = told["data"][0]
    del x, part, told
    gc.collect()
    assert gpu.holds(address) and y.asnumpy().tolist() == [1, 1, 1]  # the memory outlives the array it was made for
    del y
    gc.collect()
    assert not gpu.holds(address)


def test_capsules_are_taken_once_and_those_that_nobody_takes_are_given_back(gpu):
    x = mx.nd.ones((2, 2), mx.gpu())
    found = x.to_dlpack_for_write()
    y = mx.nd.from_dlpack(found)
    y[:] = 3
    assert x.asnumpy().tolist() == [[3, 3], [3, 3]]
    with pytest.raises(ArgumentError, match="cannot take over a PyCapsule"):
        mx.nd.from_dlpack(found)
    address = x.__cuda_array_interface__["data"][0]
    untaken = x.to_dlpack_for_read()
    del x, y, found
    gc.collect()
    assert gpu.holds(address)
    del untaken
    gc.collect()
    assert not gpu.holds(address)


def test_the_host_is_given_a_copy_where_it_asks_for_one(gpu):
    x = mx.nd.array([1, 2], mx.gpu())
    found = np.from_dlpack(x, device="cpu")
    np.testing.assert_array_equal(found, [1, 2])
    x[:] = 5
    np.testing.assert_array_equal(found, [1, 2])
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(x)
    with pytest.raises(BufferError, match=r"cannot be shared with DLPack's device \(2, 1\)"):
        x.__dlpack__(dl_device=(2, 1))
    copied = mx.nd.from_dlpack(x.__dlpack__(copy=True))
    copied[:] = 0
    assert x.asnumpy().tolist() == [5, 5]


@pytest.mark.parametrize(
    "told, says",
    [
        ({"strides": (4, 8)}, r"shape \(2, 3\) has strides of \(4, 8\) bytes, expected a dense array"),
        ({"typestr": "<c8"}, "dtype <c8, expected one of MXNet's"),
        ({"typestr": ">f4"}, "dtype >f4, expected one of MXNet's"),
        ({"data": (0x7F00_0000_0000, False)}, r"an address that is not on gpu\(0\); `with mx.gpu\(k\):` says"),
        ({"data": (0, False)}, "data is NULL"),
        ({"data": (1 << 40, True)}, "it is read-only; copy it first"),
    ],
)
def test_what_cannot_be_shared_is_refused(gpu, told, says):
    class Told:
        __cuda_array_interface__ = ByInterface(gpu, np.zeros((2, 3), np.float32)).__cuda_array_interface__ | told

    with pytest.raises(ArgumentError, match="sharing memory on a GPU: .*" + says):
        mx.nd.from_dlpack(Told())


def test_arrays_without_elements_are_shared_too(gpu):
    x = mx.nd.from_dlpack(ByDLPack(gpu, np.zeros((0, 3), np.float32)))
    assert x.shape == (0, 3) and x.context == mx.gpu()
