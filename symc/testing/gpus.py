"""Simulated GPUs as devices: what `mx.gpu(k)` is where SYMC_SIMULATED_GPUS says how many there are."""

from __future__ import annotations

from symc.core.config import setting
from symc.core.errors import DeviceError
from symc.core.locks import new_lock
from symc.runtime.cuda.device import device_of
from symc.runtime.device import Device

from .driver import SimDriver

_opened: dict[int, tuple[SimDriver, Device]] = {}
_opening = new_lock()


def driver(number: int) -> SimDriver:
    """The driver of simulated GPU `number`, which counts what was asked of it and knows what is allocated."""
    return _open(number)[0]


def simulated(number: int) -> Device:
    """Simulated GPU `number`; raises DeviceError where SYMC_SIMULATED_GPUS has fewer."""
    return _open(number)[1]


def _open(number: int) -> tuple[SimDriver, Device]:
    count = setting("SYMC_SIMULATED_GPUS")
    if not 0 <= number < count:
        raise DeviceError(f"there is no gpu({number}): SYMC_SIMULATED_GPUS has {count}; use mx.cpu()")
    with _opening:
        if number not in _opened:
            found = SimDriver(number)
            _opened[number] = found, device_of(found)
        return _opened[number]
