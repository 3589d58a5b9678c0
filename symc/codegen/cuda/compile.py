"""Kernels as numba.cuda functions to PTX, without a driver; the one module that imports numba.cuda.

The calls below numba.cuda.compile are private to it, because that leaves no choice about fused multiplications: numbers
shall be those of the CPU, so nothing is fused but what asks for it.  The version is pinned (`symc[cuda]`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from symc.core.errors import DeviceError
from symc.core.undisturbed import imported

from .image import KernelImage
from .target import Target

PACKAGES = ("numba-cuda", "nvidia-nvvm")
_OPTIONS = {"opt": 3, "fma": 0}


def require_packages() -> None:
    """Raises DeviceError where the packages that compile for GPUs are missing."""
    try:
        for name in PACKAGES:
            version(name)
    except PackageNotFoundError as error:
        raise DeviceError(
            f"compiling for a GPU: the package {error.name} is not installed; pip install 'symc[cuda]' brings it"
        ) from None


@cache
def toolchain() -> str:
    """The compilers whose versions decide what a kernel's code is."""
    require_packages()
    return " ".join(f"{name} {version(name)}" for name in ("numba", *PACKAGES))


def cuda() -> Any:
    """numba.cuda, as kernels name it."""
    require_packages()
    return imported("numba.cuda")


def compile_kernel(function: Callable[..., Any], name: str, target: Target) -> KernelImage:
    """PTX of `function(desc, bufs)`, both pointers to int64, for blocks of `function.n_threads` threads."""
    numba_cuda = cuda()
    compiler = imported("numba.cuda.compiler")
    types = numba_cuda.types
    words = types.CPointer(types.int64)
    with compiler.global_compiler_lock:
        result = compiler.compile_cuda(
            function, types.void, (words, words), nvvm_options=dict(_OPTIONS), cc=target.capability
        )
        library, entry = result.library, result.fndesc.llvm_func_name
        kernel = library.get_function(entry)
        library._entry_name = entry
        compiler.kernel_fixup(kernel, False)
        compiler.nvvm.set_launch_bounds(kernel, (function.n_threads, 1))  # type: ignore[attr-defined]
        ptx: str = library.get_asm_str(cc=target.capability)
    ptx = "\n".join(line for line in ptx.splitlines() if "NumbaEnv" not in line).replace(entry, name)
    shared = re.findall(r"^\s*\.shared .*\.b8 \S+\[(\d+)\];", ptx, re.MULTILINE)
    return KernelImage(ptx.encode("ascii"), name, shared_bytes=sum(map(int, shared)))
