"""What a device's backend does: answers what passes ask, and makes kernels into code that its runner can call.

Nobody but the device itself names a backend: `Context.device` has the one of a context.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from symc.loopir.kernel import LoopKernel
from symc.passes.base import Machine

from .kernel import KernelCall, KernelCode


@dataclass
class CompiledKernels:
    """Object code by kernel name, and the seconds spent on each kernel that was not cached."""

    objects: dict[str, bytes] = field(default_factory=dict)
    compiled: dict[str, float] = field(default_factory=dict)


class Backend(Machine, Protocol):
    """Schedules, compiles and loads kernels for one target; a value, made anew whenever it is asked for."""

    def schedule(self, kernel: LoopKernel) -> list[KernelCall]:
        """The calls that compute a kernel, in order."""

    def identity(self) -> str:
        """Target, compilers and generator: object code of equal names and equal identities is interchangeable."""

    def facts(self) -> Mapping[str, str]:
        """What the target is, for people who read an artifact."""

    def compile(self, codes: Iterable[KernelCode]) -> CompiledKernels:
        """Object code of kernels: preloaded, taken from the cache, or compiled."""

    def find(self, names: Iterable[str]) -> Mapping[str, bytes] | None:
        """Object code of kernels, preloaded or from the cache; None when one is missing."""

    def preload(self, objects: Mapping[str, bytes]) -> None:
        """Object code by kernel name that `compile` and `find` shall use; trusted, of the same identity."""

    def load(self, objects: Mapping[str, bytes]) -> Mapping[str, int]:
        """What the runner calls each kernel by: the address of its code, or a handle."""
