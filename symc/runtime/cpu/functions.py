"""Native functions that the run time itself needs, kept as kernels are: a warm start does not import numba."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module

from symc.codegen.cpu.backend import CpuBackend
from symc.codegen.cpu.compile import ArgType, compile_function
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import Target
from symc.codegen.objects import Build, ObjectStore
from symc.core.undisturbed import alone


class NativeFunctions:
    """Functions of a module of `codegen/cpu`."""

    def __init__(self, module: str, names: Sequence[str], arguments: Sequence[ArgType]) -> None:
        self._module, self._names, self._arguments = module, tuple(names), tuple(arguments)

    def builds(self) -> dict[str, Build]:
        """What compiles each, by its symbol."""
        target = CpuBackend.host().target
        return {f"symc_{name}": partial(_compiled, self._module, name, self._arguments, target) for name in self._names}

    def addresses(self) -> list[int]:
        """Where they are, for good."""
        return list(load_objects(ObjectStore(CpuBackend.host()).compile({}, self.builds()).functions).values())


def _compiled(module: str, name: str, arguments: Sequence[ArgType], target: Target) -> bytes:
    def compiled() -> bytes:
        functions = import_module(f"symc.codegen.cpu.{module}")  # imports numba
        return compile_function(getattr(functions, name), f"symc_{name}", target, arguments)

    return alone(compiled)
