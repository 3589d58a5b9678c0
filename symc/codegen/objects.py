"""Object code by cache key: given in advance by somebody trusted, kept on disk, or built now."""

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
from .workers import Task, perform

Build = Callable[[], bytes]

_preloaded: dict[str, bytes] = {}  # by cache key


@dataclass(frozen=True)
class CompiledKernels:
    """Object code by kernel name, and the seconds spent on each kernel that was not cached."""

    objects: Mapping[str, bytes]
    compiled: Mapping[str, float]


@dataclass(frozen=True)
class ObjectStore:
    """The object code of one backend's kernels."""

    backend: Backend

    def preload(self, objects: Mapping[str, bytes]) -> None:
        """Object code that shall be used; trusted, and made by a backend of the same identity."""
        _preloaded.update({self._key(name): data for name, data in objects.items()})

    def find(self, names: Iterable[str]) -> dict[str, bytes] | None:
        """Object code of kernels, preloaded or from the cache; None when one is missing."""
        found = {name: self._find(name) for name in names}
        return None if None in found.values() else found  # type: ignore[return-value]

    def compile(self, codes: Mapping[KernelCode, LoopKernel], others: Mapping[str, Build]) -> CompiledKernels:
        """Object code of kernels, each with what it was scheduled from: preloaded, taken from the cache, or built, by
        several processes when many are missing.

        others   builds by cache key (they can be pickled), which share those processes: `obtain` finds what they give
        """
        unique = {code.name: code for code in codes}
        found = {name: self._find(name) for name in unique}
        tasks = {key: Task(partial(_timed, build), partial(_timed, build)) for key, build in others.items()}
        tasks |= {name: self._task(code, codes[code]) for name, code in unique.items() if found[name] is None}
        built = perform(tasks)
        for key in others:
            _preloaded[key], _ = built.pop(key)
            kernel_cache().put(key, _preloaded[key], {})
        for name, (data, spent) in built.items():
            self._keep(unique[name], data, spent)
        objects = {name: data or built[name][0] for name, data in found.items()}
        return CompiledKernels(objects, {name: spent for name, (_, spent) in built.items()})

    def _task(self, code: KernelCode, kernel: LoopKernel) -> Task[tuple[bytes, float]]:
        return Task(partial(_built, self.backend, code), partial(_built_from, self.backend, kernel, code.name))

    def _find(self, name: str) -> bytes | None:
        return find(self._key(name))

    def _key(self, name: str) -> str:
        return f"{name} {self.backend.identity()}"

    def _keep(self, code: KernelCode, data: bytes, spent: float) -> None:
        kernel_cache().put(self._key(code.name), data, {"kernel": code.name, "structure": code.structure})
        if setting("SYMC_DEBUG") >= 2:
            print(f"symc: compiled {code.name} in {spent * 1e3:.0f} ms", file=sys.stderr)


def find(key: str) -> bytes | None:
    """The object code of a cache key, preloaded or from the cache."""
    return _preloaded.get(key) or kernel_cache().get(key)


def obtain(key: str, build: Build) -> bytes:
    """The object code of a cache key, built now where nobody has it."""
    return _preloaded.get(key) or kernel_cache().obtain(key, build, {})


def _timed(build: Build) -> tuple[bytes, float]:
    """What is built, and the seconds it took."""
    start = time.perf_counter()
    return build(), time.perf_counter() - start


def _built(backend: Backend, code: KernelCode) -> tuple[bytes, float]:
    return _timed(lambda: backend.build(code))


def _built_from(backend: Backend, kernel: LoopKernel, name: str) -> tuple[bytes, float]:
    """The same where nobody has the code yet: scheduling a kernel again gives equal code."""
    return _built(backend, next(call.code for call in backend.schedule(kernel) if call.code.name == name))
