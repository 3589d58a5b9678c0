"""What a device's backend does: answers what passes ask, and makes kernels into code that its runner can call.

Nobody but the device itself names a backend: `Context.device` has the one of a context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from symc.codegen.contraction.plan import ContractionPlan
from symc.loopir.kernel import Contraction, LoopKernel
from symc.passes.base import Machine

from .kernel import KernelCall, KernelCode
from .tuned import Choices


class Backend(Machine, Protocol):
    """Schedules, builds and loads kernels for one target; a value, made anew whenever it is asked for."""

    def schedule(self, kernel: LoopKernel) -> list[KernelCall]:
        """The calls that compute a kernel, in order."""

    @property
    def tuned(self) -> Choices:
        """Names of the plans that take the place of its own, by problem: programs made with others differ."""

    def candidates(self, contraction: Contraction) -> Sequence[ContractionPlan]:
        """What a tuner may try in place of the plan of a contraction; nothing where there is no choice."""

    def identity(self) -> str:
        """Target, compilers and generator: object code of equal names and equal identities is interchangeable."""

    def takes(self, identity: str) -> bool:
        """Whether object code made by a backend of that identity can take the place of its own."""

    def facts(self) -> Mapping[str, str]:
        """What the target is, for people who read an artifact."""

    def build(self, code: KernelCode) -> bytes:
        """The object code of a kernel; what becomes of it (`codegen/objects.py`) is no concern of the backend."""

    def remark(self, kernel: LoopKernel, call: KernelCall, data: bytes) -> str:
        """What readers should know of a call of a kernel and its object code; "" where there is nothing."""

    def load(self, objects: Mapping[str, bytes]) -> Mapping[str, int]:
        """What the runner calls each kernel by: the address of its code, or a handle; good while the mapping lives."""
