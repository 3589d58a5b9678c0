"""NVIDIA's driver, by a stand-in for cuda.bindings: what is asked of it, and what becomes of its errors."""

from __future__ import annotations

import gc
import types
from enum import IntEnum

import numpy as np
import pytest

import symc as mx
from symc.codegen.cuda.image import KernelImage
from symc.core.errors import AllocationError, DeviceError, SymcError
from symc.runtime.cuda import nvidia
from symc.runtime.cuda.driver import Launch
from symc.runtime.cuda.nvidia import NvidiaDriver


class Status(IntEnum):
    SUCCESS = 0
    OUT_OF_MEMORY = 2
    ILLEGAL_ADDRESS = 700


class Bindings:
    """Every function succeeds and gives the number of its call; `failing` and `given` have the others."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.failing: dict[str, Status] = {}
        self.given = {"cuDeviceGetAttribute": 9}  # an H200's compute capability
        self.CUdevice_attribute = types.SimpleNamespace(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75)
        self.CUstream_flags = types.SimpleNamespace(CU_STREAM_NON_BLOCKING=types.SimpleNamespace(value=1))
        self.CUDA_KERNEL_NODE_PARAMS = types.SimpleNamespace

    def cuGetErrorString(self, status: Status) -> tuple:
        return Status.SUCCESS, status.name.encode()

    def __getattr__(self, name: str):
        def function(*arguments):
            self.calls.append((name, *arguments))
            return self.failing.get(name, Status.SUCCESS), self.given.get(name, len(self.calls))

        return function

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self.calls if name != "cuCtxSetCurrent"]


@pytest.fixture
def bindings(monkeypatch) -> Bindings:
    made = Bindings()
    monkeypatch.setattr(nvidia, "found", lambda: (1, ""))
    monkeypatch.setattr(nvidia, "imported", lambda name: made)
    return made


def test_a_machine_without_a_gpu_says_what_is_missing(monkeypatch):
    nvidia.found.cache_clear()
    monkeypatch.setattr(nvidia, "LIBRARY", "libcuda-that-nobody-has.so")
    try:
        assert mx.context.num_gpus() == 0
        with pytest.raises(DeviceError, match=r"there is no gpu\(0\): NVIDIA's driver \(libcuda-that.*use mx.cpu\(\)"):
            NvidiaDriver(0)
        with pytest.raises(SymcError, match=r"no device gpu\(0\) .*: NVIDIA's driver .* is not installed; use mx.cpu"):
            mx.nd.zeros((2,), mx.gpu(0))
    finally:
        nvidia.found.cache_clear()


def test_a_gpu_beyond_the_last_one_is_refused(bindings):
    with pytest.raises(DeviceError, match=r"there is no gpu\(3\): num_gpus\(\) is 1; use mx.cpu\(\)"):
        NvidiaDriver(3)


def test_missing_bindings_are_one_clear_error(bindings, monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(nvidia, "imported", missing)
    with pytest.raises(DeviceError, match=r"cuda-bindings is not installed; pip install 'symc\[cuda\]'"):
        NvidiaDriver(0)


def test_a_graph_is_a_chain_made_once_and_given_back(bindings):
    driver = NvidiaDriver(0)
    kernel = driver.load(KernelImage(b"// PTX", "symc_nest_0"))
    launch = Launch(kernel, (2, 1, 1), (64, 1, 1), 0, (1 << 40, np.int32(3), np.float32(0.5)))
    bindings.calls.clear()
    graph = driver.graph([launch, launch])
    for _ in range(3):
        graph.launch()
    assert bindings.names == [
        "cuGraphCreate", *["cuGraphAddKernelNode"] * 2, "cuGraphInstantiate", "cuGraphDestroy", *["cuGraphLaunch"] * 3
    ]  # fmt: skip
    first, second = [c for c in bindings.calls if c[0] == "cuGraphAddKernelNode"]
    assert first[2:4] == ([], 0) and second[3] == 1  # one after the other
    assert first[4].gridDimX == 2 and first[4].blockDimX == 64 and first[4].sharedMemBytes == 0
    driver.launch(launch)
    assert bindings.calls[-1][2:9] == (2, 1, 1, 64, 1, 1, 0)
    bindings.calls.clear()
    del graph
    gc.collect()
    driver.unload(kernel)
    assert bindings.names == ["cuStreamSynchronize", "cuGraphExecDestroy", "cuStreamSynchronize", "cuModuleUnload"]


def test_much_shared_memory_is_asked_for(bindings):
    bindings.CUfunction_attribute = types.SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    driver = NvidiaDriver(0)
    kernel = driver.load(KernelImage(b"// PTX", "symc_tile_0"))
    little, much = (Launch(kernel, (2, 1, 1), (64, 1, 1), n, ()) for n in (48 << 10, 75 << 10))
    for start in (driver.launch, lambda launch: driver.graph([launch])):
        bindings.calls.clear()
        start(little)
        assert "cuFuncSetAttribute" not in bindings.names
        start(much)
        assert [c[2:] for c in bindings.calls if c[0] == "cuFuncSetAttribute"] == [(8, 75 << 10)]


def test_errors_of_the_driver_name_the_gpu_and_the_function(bindings):
    driver = NvidiaDriver(0)
    bindings.failing = {"cuMemAlloc": Status.OUT_OF_MEMORY, "cuStreamSynchronize": Status.ILLEGAL_ADDRESS}
    bindings.given["cuMemGetInfo"] = 3 << 30, 1 << 37
    what = (
        r"allocating 4294967296 bytes on gpu\(0\): 3221225472 of its 137438953472 bytes are free; use a smaller batch"
    )
    with pytest.raises(AllocationError, match=what + r".*\(gpu\(0\): cuMemAlloc failed: OUT_OF_MEMORY \(2\)\)"):
        driver.allocate(1 << 32)
    with pytest.raises(DeviceError, match=r"gpu\(0\): cuStreamSynchronize failed: ILLEGAL_ADDRESS \(700\)"):
        driver.synchronise()


def test_memory_and_streams_of_other_libraries(bindings):
    bindings.CUpointer_attribute = types.SimpleNamespace(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL=9)
    bindings.given |= {"cuStreamCreate": 77, "cuPointerGetAttribute": 0}
    driver = NvidiaDriver(0)
    assert driver.stream == 77 and driver.holds(1 << 40)
    assert bindings.calls[-1] == ("cuPointerGetAttribute", 9, 1 << 40)
    bindings.given["cuPointerGetAttribute"] = 1  # on another GPU
    assert not driver.holds(1 << 40)
    bindings.failing = {"cuPointerGetAttribute": Status.ILLEGAL_ADDRESS}
    assert not driver.holds(1 << 40)
    driver.follow(2)
    assert bindings.calls[-1] == ("cuStreamSynchronize", 2)


@pytest.mark.parametrize("target, is_ours", [("sm_90", True), ("sm_100", False), ("sm_80", False)])
def test_a_cubin_is_loaded_on_its_generation_and_ptx_on_others(bindings, target, is_ours):
    ptx = f".version 9.0\n.target {target}\n".encode()
    NvidiaDriver(0).load(KernelImage(ptx, "symc_nest_0", cubin=b"\x7fELF"))
    NvidiaDriver(0).load(KernelImage(ptx, "symc_nest_0"))
    loaded = [data for name, data, *_ in bindings.calls if name == "cuModuleLoadData"]
    assert loaded == [b"\x7fELF" if is_ours else ptx + b"\0", ptx + b"\0"]
