"""A simulated GPU keeps the driver protocol, and says where a real one would leave things undefined."""

from __future__ import annotations

import numpy as np
import pytest

from symc.codegen.cuda.image import KernelImage
from symc.core.errors import AllocationError, DeviceError
from symc.runtime.cuda.driver import Launch
from symc.testing.driver import SimDriver
from symc.testing.ptx.faults import KernelFault

from .ptx.kernels import text_of


@pytest.fixture
def driver() -> SimDriver:
    return SimDriver(total_bytes=1 << 20)


def image(name: str, **facts: int) -> KernelImage:
    return KernelImage(text_of(name).encode(), name, **facts)


def put(driver: SimDriver, array: np.ndarray) -> int:
    address = driver.allocate(array.nbytes)
    driver.copy_in(address, array)
    return address


def get(driver: SimDriver, address: int, shape: int, dtype: str = "f4") -> np.ndarray:
    data = np.empty(shape, dtype)
    driver.copy_out(data, address)
    return data


def waves(driver: SimDriver, x: int, y: int, n: int, n_threads: int = 64) -> Launch:
    return Launch(driver.load(image("waves")), (2, 1, 1), (n_threads, 1, 1), 0, (x, y, np.int32(n)))


def test_memory_is_counted_and_given_back(driver):
    first, second = driver.allocate(1000), driver.allocate(1 << 19)
    assert first % 256 == second % 256 == 0
    assert driver.memory_info() == ((1 << 20) - 1000 - (1 << 19), 1 << 20)
    assert driver.allocations() == ["allocation 1 of 1000 bytes", "allocation 2 of 524288 bytes"]
    with pytest.raises(AllocationError, match=r"600000 bytes on simulated GPU 0: 523288 of its 1048576 bytes are free"):
        driver.allocate(600000)
    driver.free(second)
    driver.free(driver.allocate(600000))
    driver.free(first)
    assert driver.allocations() == [] and driver.memory_info()[0] == 1 << 20


def test_copies_within_and_across(driver):
    x = np.arange(100, dtype="f4")
    a, b = put(driver, x), driver.allocate(400)
    x[:] = 0  # it may be changed as soon as the call returns
    driver.copy(b + 40, a, 360)
    driver.clear(b, 40)
    assert np.array_equal(get(driver, b, 100), np.r_[np.zeros(10), np.arange(90)])


def test_launches_and_graphs(driver):
    v = np.linspace(-3, 3, 100).astype("f4")
    x, y = put(driver, v), driver.allocate(400)
    once = waves(driver, x, y, 100)
    driver.launch(once)
    first = get(driver, y, 100)
    assert np.abs(first - (np.exp(v) + np.sin(v) * np.cos(v))).max() < 1e-5
    graph = driver.graph([once, once._replace(arguments=(y, x, np.int32(100)))])
    graph.launch()
    second = get(driver, x, 100)
    assert np.abs(second - (np.exp(first) + np.sin(first) * np.cos(first)))[:50].max() < 1e-5
    driver.copy_in(x, v)
    graph.launch()
    driver.synchronise()
    assert np.array_equal(get(driver, x, 100), second)
    assert driver.counts["launch"] == 1 and driver.counts["graph"] == 2


def test_devices_have_addresses_of_their_own():
    a, b = SimDriver(0), SimDriver(1)
    x = put(a, np.ones(4, "f4"))
    y = b.allocate(16)
    assert x != y
    with pytest.raises(DeviceError, match="on simulated GPU 1: nothing was allocated there"):
        b.copy_in(x, np.ones(4, "f4"))
    start = waves(b, x, y, 4)
    with pytest.raises(KernelFault, match=f"at {x:#x}") as found:
        b.launch(start)
    assert found.value.kind == "bounds"


def test_memory_that_was_freed(driver):
    x, y = put(driver, np.ones(100, "f4")), driver.allocate(400)
    graph = driver.graph([waves(driver, x, y, 100)])
    driver.free(x)
    with pytest.raises(KernelFault, match=r"kernel waves, .*in allocation 1, which was freed") as found:
        graph.launch()
    assert found.value.kind == "freed"
    with pytest.raises(DeviceError, match="allocation 1 was freed before"):
        driver.free(x)
    with pytest.raises(KernelFault, match=r"copying from .*allocation 1 was freed"):
        get(driver, x, 100)
    with pytest.raises(DeviceError, match="nothing was allocated there"):
        driver.free(y + 4)


@pytest.mark.parametrize(
    "use, says",
    [
        (lambda d, a: d.copy_in(a, np.zeros(101, "f4")), "4 bytes lie behind the end of allocation 1"),
        (lambda d, a: d.copy_in(a, np.zeros((10, 10), "f4").T), "is not contiguous"),
        (lambda d, a: d.clear(a + 4, 400), "4 bytes lie behind the end"),
        (lambda d, a: d.copy(a, a + 40, 200), "the ranges overlap"),
        (lambda d, a: get(d, a, 100), "nothing was written at its byte 0"),
        (lambda d, a: d.allocate(0), "at least one is needed"),
        (lambda d, a: d.load(KernelImage(b"\x7fELF...", "k")), "runs PTX, and this is a cubin"),
        (lambda d, a: d.load(image("waves")._replace(entry="k")), "loading k: the kernels of its image are waves"),
        (lambda d, a: d.launch(Launch(77, (1, 1, 1), (1, 1, 1), 0, ())), "kernel 77 is not loaded"),
        (lambda d, a: d.launch(waves(d, a, a, 0)._replace(arguments=(a, a))), "takes 3 arguments and got 2"),
        (lambda d, a: d.launch(waves(d, a, a, 0)._replace(arguments=(a, a, 5))), "has 4 bytes, its argument 8"),
    ],
)
def test_what_is_refused(driver, use, says):
    with pytest.raises(DeviceError, match=says):
        use(driver, driver.allocate(400))


def test_kernels_are_unloaded_with_their_variables(driver):
    before = driver.used_bytes
    handle = driver.load(image("waves"))
    assert driver.used_bytes > before and driver.allocations() == []
    driver.unload(handle)
    assert driver.used_bytes == before
    with pytest.raises(DeviceError, match="is not loaded"):
        driver.unload(handle)


def test_registers_of_a_block(driver):
    handle = driver.load(image("softmax", registers=255))
    x = put(driver, np.ones((1, 8), "f4"))
    start = Launch(handle, (1, 1, 1), (128, 1, 1), 0, (x, driver.allocate(32), np.int32(8)))
    driver.launch(start)
    with pytest.raises(KernelFault, match=r"16 warps with 255 registers a thread needs 131072 registers"):
        driver.launch(start._replace(block=(512, 1, 1)))
    assert driver.properties().capability == (9, 0)


def test_a_fault_leaves_the_kernel_as_it_was(driver):
    v = np.linspace(-3, 3, 64).astype("f4")
    x, y = put(driver, v), driver.allocate(256)
    in_the_callee = "trap;".join(text_of("calls").rsplit("ret;", 1))
    failing = image("calls")._replace(code=in_the_callee.encode())
    start = Launch(driver.load(failing), (1, 1, 1), (64, 1, 1), 0, (x, y, np.int32(64)))
    for _ in range(2):
        with pytest.raises(KernelFault, match="the kernel stopped itself"):
            driver.launch(start)
    driver.launch(start._replace(kernel=driver.load(image("calls"))))
    assert np.abs(get(driver, y, 64) - np.where(v > 0, (2 * v + 3) * v + 1, (v + 0.5) * -v + 1)).max() < 1e-5
