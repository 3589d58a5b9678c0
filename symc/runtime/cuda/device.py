"""A GPU as a device."""

from __future__ import annotations

import weakref
from typing import Any

from symc.codegen.cuda.backend import CudaBackend
from symc.codegen.cuda.contraction.tile import Kind
from symc.codegen.cuda.image import KernelImage
from symc.codegen.cuda.target import Target
from symc.core.config import setting
from symc.core.locks import new_lock
from symc.runtime.device import Device

from .driver import Driver
from .memory import DeviceMemory
from .runner import DeviceRunner

_opened: dict[int, Device] = {}
_opening = new_lock()


def gpu(number: int) -> Device:
    """GPU `number` of this machine, opened once; raises DeviceError where it is missing."""
    from .nvidia import NvidiaDriver

    with _opening:
        if number not in _opened:
            _opened[number] = device_of(NvidiaDriver(number))
        return _opened[number]


def device_of(driver: Driver) -> Device:
    """What compiles for a GPU and runs on it; raises DeviceError where the GPU is too old."""
    target = Target.of(driver.properties().capability, setting("SYMC_WGMMA"))
    memory = DeviceMemory(driver)
    float32_by: Kind = "bfloat16" if setting("SYMC_BF16") else "tf32" if setting("SYMC_TF32") else "fma"
    return Device(CudaBackend(target, _Loader(driver), float32_by), memory, DeviceRunner(driver, memory))


class _Loader:
    """Loads images onto a GPU; kernels are unloaded when nobody holds what came with their handles."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __call__(self, image: KernelImage) -> tuple[int, Any]:
        handle = self._driver.load(image)
        return handle, _Kept(self._driver, handle)


class _Kept:
    def __init__(self, driver: Driver, handle: int) -> None:
        weakref.finalize(self, driver.unload, handle).atexit = False
