"""Object code by kernel name: given in advance by somebody trusted, kept on disk, or built now."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from symc.core.config import setting

from .backend import Backend
from .cache import kernel_cache
from .kernel import KernelCode

_preloaded: dict[str, bytes] = {}  # by cache key


@dataclass
class CompiledKernels:
    """Object code by kernel name, and the seconds spent on each kernel that was not cached."""

    objects: dict[str, bytes] = field(default_factory=dict)
    compiled: dict[str, float] = field(default_factory=dict)


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

    def compile(self, codes: Iterable[KernelCode]) -> CompiledKernels:
        """Object code of kernels: preloaded, taken from the cache, or built."""
        result = CompiledKernels()
        unique = {code.name: code for code in codes}
        for name, code in unique.items():
            result.objects[name] = self._find(name) or self._built(code, result)
        return result

    def _find(self, name: str) -> bytes | None:
        key = self._key(name)
        return _preloaded.get(key) or kernel_cache().get(key)

    def _key(self, name: str) -> str:
        return f"{name} {self.backend.identity()}"

    def _built(self, code: KernelCode, result: CompiledKernels) -> bytes:
        start = time.perf_counter()
        data = self.backend.build(code)
        spent = result.compiled[code.name] = time.perf_counter() - start
        kernel_cache().put(self._key(code.name), data, {"kernel": code.name, "structure": code.structure})
        if setting("SYMC_DEBUG") >= 2:
            print(f"symc: compiled {code.name} in {spent * 1e3:.0f} ms", file=sys.stderr)
        return data
