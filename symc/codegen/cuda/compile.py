"""Kernels as numba.cuda functions to PTX, without a driver; the one module that imports numba.cuda.

The calls below numba.cuda.compile are private to it, because that leaves no choice about fused multiplications: numbers
shall be those of the CPU, so nothing is fused but what asks for it.  The version is pinned (`symc[cuda]`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from symc.core.errors import CodegenError, DeviceError
from symc.core.undisturbed import imported

from .image import KernelImage
from .target import Target

PACKAGES = ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")
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
def toolchain() -> str | None:
    """The compilers whose versions decide what a kernel's code is; None where they are missing."""
    try:
        require_packages()
    except DeviceError:
        return None
    return " ".join(f"{name} {version(name)}" for name in ("numba", *PACKAGES))


def cuda() -> Any:
    """numba.cuda, as kernels name it."""
    require_packages()
    return imported("numba.cuda")


def compile_kernel(function: Callable[..., Any], name: str, target: Target) -> KernelImage:
    """PTX of `function(desc, bufs)`, both pointers to int64, for blocks as `function.launch_bounds` tells."""
    (image,) = compile_for((target,), function, name)
    return image


def compile_for(targets: Sequence[Target], function: Callable[..., Any], name: str) -> list[KernelImage]:
    """The same for several targets, lowered to LLVM's language once."""
    numba_cuda = cuda()
    compiler = imported("numba.cuda.compiler")
    types = numba_cuda.types
    words = types.CPointer(types.int64)
    with compiler.global_compiler_lock, _as_if_current(targets[0]):
        result = compiler.compile_cuda(
            function, types.void, (words, words), nvvm_options=dict(_OPTIONS), cc=targets[0].capability
        )
        library, entry = result.library, result.fndesc.llvm_func_name
        kernel = library.get_function(entry)
        library._entry_name = entry
        compiler.kernel_fixup(kernel, False)
        compiler.nvvm.set_launch_bounds(kernel, function.launch_bounds)  # type: ignore[attr-defined]
        texts: list[str] = [library.get_asm_str(cc=target.architecture) for target in targets]
    return [assembled(KernelImage(_ptx(text, entry, name), name), target) for text, target in zip(texts, targets)]


def _ptx(text: str, entry: str, name: str) -> bytes:
    """What numba gives, without what it keeps for exceptions, and with the kernel's own name."""
    lines = [line for line in text.splitlines() if "NumbaEnv" not in line]
    return "\n".join(lines).replace(entry, name).encode("ascii")


class _Gpu(NamedTuple):
    """What numba asks of the current GPU when a kernel calls a function: what to compile that for."""

    compute_capability: tuple[int, int]


@contextlib.contextmanager
def _as_if_current(target: Target) -> Iterator[None]:
    """Lets numba compile functions that kernels call without a GPU, for the target of the kernel."""
    dispatcher = imported("numba.cuda.dispatcher")
    real = dispatcher.get_current_device
    dispatcher.get_current_device = lambda: _Gpu(target.capability)
    try:
        yield
    finally:
        dispatcher.get_current_device = real


def assembled(image: KernelImage, target: Target) -> KernelImage:
    """The image with its cubin, and what the assembler tells of it; raises CodegenError where it refuses the PTX."""
    linker = imported("cuda.bindings.nvjitlink")
    options = [f"-arch={target.name}", "-verbose", "-Xptxas=-v"]
    handle = linker.create(len(options), options)
    try:
        linker.add_data(handle, linker.InputType.PTX, image.code, len(image.code), image.entry)
        linker.complete(handle)
        cubin = bytearray(linker.get_linked_cubin_size(handle))
        linker.get_linked_cubin(handle, cubin)
        log = bytearray(linker.get_info_log_size(handle))
        linker.get_info_log(handle, log)
    except linker.nvJitLinkError as error:
        text = bytearray(linker.get_error_log_size(handle))
        linker.get_error_log(handle, text)
        raise CodegenError(f"assembling {image.entry} for {target.name}: {text.decode().strip()}") from error
    finally:
        linker.destroy(handle)
    told = log.decode()
    spilled = sum(int(_told(told, rf"(\d+) bytes spill {what}")) for what in ("stores", "loads"))
    shared = re.search(r"Used .*?(\d+) bytes smem", told)
    return image._replace(
        cubin=bytes(cubin),
        registers=int(_told(told, r"Used (\d+) registers")),
        shared_bytes=int(shared[1]) if shared else 0,
        spilled_bytes=spilled,
    )


def _told(log: str, pattern: str) -> str:
    found = re.search(pattern, log)
    if found is None:
        raise CodegenError(f"reading the assembler's log: no {pattern!r} in {log!r}")
    return found[1]
