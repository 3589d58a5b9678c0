"""Devices by name: `cpu()`, `gpu(1)`, and the default one that a `with` block changes."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import ClassVar

from symc.core.errors import ArgumentError

from .scope import InForce


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
    Any device can be named; only memory on a device that exists can be allocated. Raises ArgumentError for an unknown
    device type.
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
        self.device_typeid = self.devstr2type[device_type]
        self.device_id = device_id

    @property
    def device_type(self) -> str:
        """The name of the device type."""
        return self.devtype2str[self.device_typeid]

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


_in_force = InForce(lambda: Context("cpu", 0))


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
    """The number of GPUs that can hold NDArrays: 0, since NDArrays live in host memory."""
    return 0


def current_context() -> Context:
    """The thread's default context: `cpu(0)` unless a `with` block says otherwise."""
    return _in_force.stack[-1]
