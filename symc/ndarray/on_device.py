"""NDArrays of a device that does not see the host's memory, which stands there for the device's."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

import numpy as np

from symc.context import Context
from symc.ir.op import lookup
from symc.runtime.device import Memory, Shadow

from . import tape
from .capsules import CPU, CUDA, capsule
from .casting import store
from .ndarray import NDArray, as_numpy
from .storage import WriteCounter, address_of, empty_aligned

_ADDITION = lookup("elemwise_add").create({})  # type: ignore[union-attr]
_memories: WeakSet[Memory] = WeakSet()


class ShadowCounter(WriteCounter):
    """The write counter of memory that stands for a device's."""

    def __init__(self, shadow: Shadow) -> None:
        self.shadow = shadow

    def touch(self) -> None:
        """Records a write, and shows it to other libraries that share the memory."""
        super().touch()
        self.shadow.flush()


class DeviceNDArray(NDArray):
    """An NDArray whose contents are copied between host and device where somebody wants them (Shadow).

    `_memory` may hold old contents; reading `_host` brings the new ones there.
    """

    __slots__ = ()
    _storage: ShadowCounter

    @property
    def _host(self) -> np.ndarray:  # type: ignore[override]
        return self._seen(self._memory)

    def _seen(self, part: np.ndarray) -> np.ndarray:
        return self._storage.shadow.seen(part)

    def _on(self, context: Context) -> np.ndarray:
        return self._memory if self._context == context else self._host

    def _address_on(self, context: Context) -> int:
        return self._address if self._context == context else address_of(self._host)

    def _is_seen_by(self, context: Context) -> bool:
        return self._context == context

    def _writable(self) -> np.ndarray:
        self._storage.shadow.open()
        return self._memory

    def _filled(self) -> None:
        self._take(self._memory)

    def _write(self, index: Any, value: np.ndarray) -> None:
        store(self._writable(), index, value)
        self._touch()

    def _take(self, source: NDArray | np.ndarray) -> None:
        if not self._is_taken_there(source):
            store(self._writable(), ..., as_numpy(source))
        self._touch()

    def _is_taken_there(self, source: NDArray | np.ndarray) -> bool:
        """Whether the device could be given the contents straight: of an array of this shape and dtype."""
        if source.shape != self._shape or source.dtype != self._dtype:
            return False
        shadow = self._storage.shadow
        if isinstance(source, DeviceNDArray) and shadow.copy(self._memory, source._storage.shadow, source._memory):
            return True
        return shadow.upload(self._memory, as_numpy(source))

    def _room(self) -> NDArray:
        made = super()._room()
        made._storage.shadow.written()  # nobody wants what the host has there
        return made

    def _plus(self, other: NDArray) -> NDArray:
        from .invoke import apply

        with tape.scope(False, None):
            return apply(_ADDITION, [self, other])[0]

    def _add(self, other: NDArray) -> None:
        self._take(self._plus(other))

    def _copied(self, context: Context) -> NDArray:
        made = NDArray(empty_aligned(self._shape, self._dtype), context)
        made._take(self)
        return made

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule of the memory itself on the device, complete for any stream.

        Of a copy where one is asked for, or the host's memory: `np.from_dlpack(x, device="cpu")`. After writing to the
        memory elsewhere, call `_touch()`.

        Raises BufferError for any other device, and for the host's without a copy.
        """
        here = self.__dlpack_device__()
        if dl_device is not None and tuple(dl_device) == (CPU, 0) and copy is not False:
            return self.asnumpy().__dlpack__(max_version=max_version)
        if dl_device is not None and tuple(dl_device) != here:
            raise BufferError(f"an array on {self._context} cannot be shared with DLPack's device {tuple(dl_device)}")
        if copy:
            return self.copy().__dlpack__(stream=stream)
        address, owner = self._shared()
        return capsule(address, self._shape, self._dtype, self._context.device_id, owner)

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self._context.device_id

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory itself on the device, complete for any stream, for CuPy, Numba and PyTorch."""
        address, _ = self._shared()
        return {
            "version": 3,
            "shape": self._shape,
            "typestr": self._dtype.str,
            "data": (address, False),
            "stream": None,
        }

    def _shared(self) -> tuple[int, object]:
        """Where the memory lies, with all that was asked of the device done, and what keeps it."""
        found = self._storage.shadow.share(self._memory)
        self.wait_to_read()
        return found

    def wait_to_read(self) -> None:
        """Returns when all that was asked of the device is done."""
        self._storage.shadow.wait()


def placed(data: np.ndarray, context: Context, storage: WriteCounter | None) -> tuple[type[NDArray], WriteCounter]:
    """The class and the write counter of an array on a device; a view brings its counter.

    Raises SymcError where the device is missing.
    """
    if storage is None:
        memory = context.device.memory
        shadow = memory.shadow(data)
        if shadow is None:
            return NDArray, WriteCounter()
        _memories.add(memory)
        storage = ShadowCounter(shadow)
    return DeviceNDArray if isinstance(storage, ShadowCounter) else NDArray, storage


def wait_for_all() -> None:
    """Returns when all that was asked of devices that arrays lie on is done."""
    for memory in list(_memories) if _memories else ():
        memory.wait()
