"""Object code by name: given in advance by somebody trusted, kept on disk, or built now."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from symc.core.config import setting
from symc.loopir.kernel import LoopKernel

from .backend import Backend
from .cache import kernel_cache
from .kernel import KernelCode
from .workers import Task, Team

Build = Callable[[], bytes]  # can be pickled

_preloaded: dict[str, bytes] = {}  # by cache key


@dataclass(frozen=True)
class ObjectCode:
    """Of kernels and of other functions, by name; and the seconds spent on each kernel that nobody had."""

    kernels: Mapping[str, bytes]
    functions: Mapping[str, bytes]
    spent_s: Mapping[str, float]


@dataclass(frozen=True)
class ObjectStore:
    """The object code that is made for one backend: kernels, and what its runner is made of."""

    backend: Backend

    def preload(self, objects: Mapping[str, bytes]) -> None:
        """Object code that shall be used; trusted, and made by a backend of the same identity."""
        _preloaded.update({self.key(name): data for name, data in objects.items()})

    def find(self, names: Iterable[str]) -> dict[str, bytes] | None:
        """Object code by name, preloaded or from the cache; None when one is missing."""
        found = {name: self._find(name) for name in names}
        return None if None in found.values() else found  # type: ignore[return-value]

    def begin(self, functions: Mapping[str, Build], n_expected: int) -> Team[tuple[bytes, float]]:
        """A team for `compile` that builds these functions meanwhile, if they are missing and some `n_expected` kernels
        are going to be."""
        team: Team[tuple[bytes, float]] = Team()
        team.begin(self._missing(functions), n_expected)
        return team

    def compile(
        self,
        codes: Mapping[KernelCode, LoopKernel],
        functions: Mapping[str, Build],
        team: Team[tuple[bytes, float]] | None = None,
    ) -> ObjectCode:
        """Object code of kernels, each with what it was scheduled from, and of functions: preloaded, taken from the
        cache, or built, by several processes when many are missing."""
        kernels = {code.name: code for code in codes}
        found = {name: self._find(name) for name in (*functions, *kernels)}
        tasks = self._missing(functions)
        tasks |= {n: self._kernel_task(code, codes[code]) for n, code in kernels.items() if found[n] is None}
        with team or Team() as at_work:
            built = at_work.perform(tasks)
        for name, (data, spent) in built.items():
            self._keep(name, kernels.get(name), data, spent)
        # The programs that use kernels hold them; functions are wanted again by every graph, cache or not.
        self.preload({name: built[name][0] for name in functions if name in built})
        objects = {name: data or built[name][0] for name, data in found.items()}
        return ObjectCode(
            {name: objects[name] for name in kernels},
            {name: objects[name] for name in functions},
            {name: spent for name, (_, spent) in built.items() if name in kernels},
        )

    def _missing(self, functions: Mapping[str, Build]) -> dict[str, Task[tuple[bytes, float]]]:
        tasks = {name: partial(_timed, build) for name, build in functions.items() if self._find(name) is None}
        return {name: Task(task, task) for name, task in tasks.items()}

    def _kernel_task(self, code: KernelCode, kernel: LoopKernel) -> Task[tuple[bytes, float]]:
        return Task(partial(_built, self.backend, code), partial(_built_from, self.backend, kernel, code.name))

    def _find(self, name: str) -> bytes | None:
        key = self.key(name)
        return _preloaded.get(key) or kernel_cache().get(key)

    def key(self, name: str) -> str:
        """What the kernel cache knows it by."""
        return f"{name} {self.backend.identity()}"

    def _keep(self, name: str, code: KernelCode | None, data: bytes, spent: float) -> None:
        about = {"function": name} if code is None else {"kernel": name, "structure": code.structure}
        kernel_cache().put(self.key(name), data, about)
        if setting("SYMC_DEBUG") >= 2:
            print(f"symc: compiled {name} in {spent * 1e3:.0f} ms", file=sys.stderr)


def _timed(build: Build) -> tuple[bytes, float]:
    """What is built, and the seconds it took."""
    start = time.perf_counter()
    return build(), time.perf_counter() - start


def _built(backend: Backend, code: KernelCode) -> tuple[bytes, float]:
    """The object code of a kernel, and the seconds it took."""
    return _timed(lambda: backend.build(code))


def _built_from(backend: Backend, kernel: LoopKernel, name: str) -> tuple[bytes, float]:
    """The same where nobody has the code yet: scheduling a kernel again gives equal code."""
    return _built(backend, next(call.code for call in backend.schedule(kernel) if call.code.name == name))
