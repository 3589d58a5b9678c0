"""The machine this process runs on, as a device."""

from __future__ import annotations

from symc.codegen.cpu.backend import CpuBackend
from symc.runtime.device import Device

from .memory import HostMemory
from .native import NativeRunner


def host() -> Device:
    """The CPU with as much of its abilities as the settings allow."""
    return Device(CpuBackend.host(), HostMemory(), NativeRunner())
