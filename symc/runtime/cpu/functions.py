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
    """Functions of a module of `codegen/cpu`, which return nothing, or a word where they have a result."""

    def __init__(
        self, module: str, names: Sequence[str], arguments: Sequence[ArgType], has_result: bool = False
    ) -> None:
        self._names = tuple(names)
        self._compiled = partial(_compiled, module, arguments=tuple(arguments), has_result=has_result)

    def builds(self) -> dict[str, Build]:
        """What compiles each, by its symbol."""
        target = CpuBackend.host().target
        return {f"symc_{name}": partial(self._compiled, name, target) for name in self._names}

    def addresses(self) -> list[int]:
        """Where they are, for good."""
        return list(load_objects(ObjectStore(CpuBackend.host()).compile({}, self.builds()).functions).values())


def _compiled(module: str, name: str, target: Target, arguments: Sequence[ArgType], has_result: bool) -> bytes:
    def compiled() -> bytes:
        functions = import_module(f"symc.codegen.cpu.{module}")  # imports numba
        function = getattr(functions, name)
        return compile_function(function, f"symc_{name}", target, arguments, has_result=has_result)

    return alone(compiled)
