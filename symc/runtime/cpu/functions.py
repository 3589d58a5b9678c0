"""Native functions that the run time itself needs, from the kernel cache: a warm start does not import numba."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path

from symc.codegen import cpu
from symc.codegen.cpu.compile import ArgType, compile_function, toolchain
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import Target, host_target
from symc.codegen.objects import Build, find, obtain
from symc.core.undisturbed import alone


class NativeFunctions:
    """Functions of a module of `codegen/cpu`; `uses` names what else there decides their code."""

    def __init__(self, module: str, names: Sequence[str], arguments: Sequence[ArgType], *uses: str) -> None:
        self._module, self._names, self._arguments = module, names, arguments
        self._sources = (module, *uses, "atomics")

    def missing(self) -> dict[str, Build]:
        """Those that nobody has compiled yet, by cache key."""
        return {key: build for key, build in self._builds().values() if find(key) is None}

    def addresses(self) -> list[int]:
        """Where they are, for good."""
        objects = {f"symc_{name}": obtain(*keyed_build) for name, keyed_build in self._builds().items()}
        return list(load_objects(objects).values())

    def _builds(self) -> dict[str, tuple[str, Build]]:
        """Cache key and build, by name."""
        target, folder = host_target(), Path(cpu.__file__).parent
        source = b"".join((folder / f"{name}.py").read_bytes() for name in self._sources)
        identity = f"{hashlib.sha256(source).hexdigest()} {target.fingerprint()} {toolchain()}"
        arguments = tuple(self._arguments)
        return {n: (f"{n} {identity}", partial(_compiled, self._module, n, arguments, target)) for n in self._names}


def _compiled(module: str, name: str, arguments: Sequence[ArgType], target: Target) -> bytes:
    functions = import_module(f"symc.codegen.cpu.{module}")  # imports numba
    return alone(lambda: compile_function(getattr(functions, name), f"symc_{name}", target, arguments))
