"""Native functions that the run time itself needs, from the kernel cache: a warm start does not import numba."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from symc.codegen import cpu
from symc.codegen.cache import kernel_cache
from symc.codegen.cpu.compile import ArgType, compile_function, toolchain
from symc.codegen.cpu.load import load_objects
from symc.codegen.cpu.target import host_target
from symc.core.undisturbed import alone


def native_functions(module: str, names: Sequence[str], arguments: Sequence[ArgType], *uses: str) -> list[int]:
    """The addresses of functions of a module of `codegen/cpu`; `uses` names what else there decides their code."""
    target, folder = host_target(), Path(cpu.__file__).parent
    source = b"".join((folder / f"{name}.py").read_bytes() for name in (module, *uses, "atomics"))
    identity = f"{hashlib.sha256(source).hexdigest()} {target.fingerprint()} {toolchain()}"

    def compiled(name: str) -> bytes:
        functions = import_module(f"symc.codegen.cpu.{module}")  # imports numba
        return compile_function(getattr(functions, name), f"symc_{name}", target, arguments)

    def obtained(name: str) -> bytes:
        return kernel_cache().obtain(
            f"{name} {identity}", lambda: alone(lambda: compiled(name)), {"symbol": f"symc_{name}"}
        )

    return list(load_objects({f"symc_{name}": obtained(name) for name in names}).values())
