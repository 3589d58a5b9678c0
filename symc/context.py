"""Devices by name: `cpu()`, `gpu(1)`, and the default one that a `with` block changes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex

from symc.core.config import setting
from symc.core.errors import ArgumentError, ArgumentTypeError, SymcError

from .scope import InForce

if TYPE_CHECKING:
    from symc.runtime.device import Device


class _DefaultContext(type):
    """Gives `Context.default_ctx`, the deprecated class property of MXNet."""

    @property
    def default_ctx(cls) -> Context:
        _warn_default_ctx()
        return current_context()

    @default_ctx.setter
    def default_ctx(cls, context: Context) -> None:
        _warn_default_ctx()
        _in_force.stack[-1] = context


class Context(metaclass=_DefaultContext):
    """A device: its type ("cpu", "gpu", "cpu_pinned" or "cpu_shared") and its number.

    Contexts compare and hash by value and print as `cpu(0)`. `with Context("gpu", 1):` makes it the thread's default.
    Any device can be named; only those with a backend hold arrays and run anything. Raises ArgumentError for an unknown
    device type, ArgumentTypeError for a number that is none.
    """

    devtype2str: ClassVar[dict[int, str]] = {1: "cpu", 2: "gpu", 3: "cpu_pinned", 5: "cpu_shared"}
    devstr2type: ClassVar[dict[str, int]] = {name: code for code, name in devtype2str.items()}

    device_typeid: int
    device_id: int

    def __init__(self, device_type: str | Context, device_id: int = 0) -> None:
        if isinstance(device_type, Context):
            device_id = device_type.device_id
            device_type = device_type.device_type
        if device_type not in self.devstr2type:
            known = ", ".join(self.devstr2type)
            raise ArgumentError(f"unknown device type {device_type!r}; expected one of {known}")
        if not isinstance(device_id, SupportsIndex):
            raise ArgumentTypeError(f"the number of a device must be an integer, got {device_id!r}")
        self.device_typeid = self.devstr2type[device_type]
        self.device_id = device_id.__index__()

    @property
    def device_type(self) -> str:
        """The name of the device type."""
        return self.devtype2str[self.device_typeid]

    @property
    def device(self) -> Device:
        """What compiles and runs for this context; raises SymcError where symc has no backend."""
        self.require_device()
        found = DEVICES[self.device_typeid](self.device_id)
        if not self.is_host:
            _of_memory[id(found.memory)] = self
        return found

    def require_device(self) -> None:
        """Raises SymcError for a device that this machine lacks, or that symc has no backend for."""
        if self.device_typeid in DEVICES:
            return
        reason = f"symc has a backend for {', '.join(self.devtype2str[k] for k in DEVICES)} alone"
        if self.device_type == "gpu":
            if num_gpus():
                DEVICES[self.device_typeid] = _gpu
                return
            from symc.runtime.cuda.nvidia import found

            reason = found()[1]
        raise SymcError(f"there is no device {self} to hold arrays or run on: {reason}; use mx.cpu()")

    @property
    def is_host(self) -> bool:
        """Whether kernels see the host's memory because they run there."""
        return DEVICES.get(self.device_typeid) is host

    def is_same_device(self, other: Context) -> bool:
        """Whether both name one device: all contexts of the CPU do."""
        return (self.is_host and other.is_host) or self == other

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Context)
            and self.device_typeid == other.device_typeid
            and self.device_id == other.device_id
        )

    def __hash__(self) -> int:
        return hash((self.device_typeid, self.device_id))

    def __repr__(self) -> str:
        return f"{self.device_type}({self.device_id})"

    def __enter__(self) -> Context:
        _in_force.stack.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _in_force.stack.pop()

    def empty_cache(self) -> None:
        """Does nothing: symc keeps no pool of freed memory."""


def register_device(device_type: str, open_device: Callable[[int], Device]) -> None:
    """Makes `Context(device_type, k)` the device that `open_device(k)` gives; the type may be a new one.

    Raises ArgumentError where the type has a device already.
    """
    typeid = Context.devstr2type.setdefault(device_type, max(Context.devtype2str) + 1)
    Context.devtype2str[typeid] = device_type
    if typeid in DEVICES:
        raise ArgumentError(f"device type {device_type!r} has a backend already; unregister_device takes it out")
    DEVICES[typeid] = open_device


def unregister_device(device_type: str) -> None:
    """Takes a device out again; its contexts can still be named. Raises ArgumentError when it is not in."""
    if DEVICES.pop(Context.devstr2type.get(device_type, 0), None) is None:
        raise ArgumentError(f"device type {device_type!r} is not registered")
    for memory in [key for key, context in _of_memory.items() if context.device_type == device_type]:
        del _of_memory[memory]


def context_of(memory: Any) -> Context:
    """The context whose device has this memory; of the host's the thread's default, where that is one of the host."""
    found = _of_memory.get(id(memory))
    if found is not None:
        return found
    place = current_context()
    return place if place.is_host else cpu()


def host(device_id: int) -> Device:
    """The CPU, whatever the number: what `register_device` is given where another type shall mean the host."""
    from symc.runtime.cpu import device

    return device.host()


def _gpu(device_id: int) -> Device:
    if setting("SYMC_SIMULATED_GPUS"):
        from symc.testing.gpus import simulated

        return simulated(device_id)
    from symc.runtime.cuda.device import gpu as opened

    return opened(device_id)


# How the device of a type is opened, from its number; types without an entry have no backend. A GPU gets one when one
# is asked for and there.
DEVICES: dict[int, Callable[[int], Device]] = dict.fromkeys((1, 3, 5), host)
_in_force = InForce(lambda: Context("cpu", 0))
_of_memory: dict[int, Context] = {}  # of devices that were asked for, beside the host


def _warn_default_ctx() -> None:
    warnings.warn("Context.default_ctx is deprecated; use current_context()", DeprecationWarning, stacklevel=3)


def cpu(device_id: int = 0) -> Context:
    """The host; the number is kept but means nothing."""
    return Context("cpu", device_id)


def cpu_pinned(device_id: int = 0) -> Context:
    """Host memory meant for transfers to a GPU; plain host memory in symc."""
    return Context("cpu_pinned", device_id)


def gpu(device_id: int = 0) -> Context:
    """GPU number `device_id`."""
    return Context("gpu", device_id)


def num_gpus() -> int:
    """The number of GPUs that NVIDIA's driver finds; of simulated ones where SYMC_SIMULATED_GPUS asks for them."""
    from symc.runtime.cuda.nvidia import found

    return setting("SYMC_SIMULATED_GPUS") or found()[0]


def gpu_memory_info(device_id: int = 0) -> tuple[int, int]:
    """(free, total) bytes of a GPU's memory; raises SymcError where it is missing."""
    memory: Any = Context("gpu", device_id).device.memory
    return memory.info()


def current_context() -> Context:
    """The thread's default context: `cpu(0)` unless a `with` block says otherwise."""
    return _in_force.stack[-1]
