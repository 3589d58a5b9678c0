"""NVIDIA's driver: whether there is one, and a GPU through cuda.bindings."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from symc.codegen.cuda.image import KernelImage
from symc.core.errors import AllocationError, DeviceError
from symc.core.undisturbed import imported

from .driver import Argument, Graph, Launch, Properties

LIBRARY = "libcuda.so.1"
MAJOR, MINOR = "COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR"
SHARED_WITHOUT_ASKING = 48 << 10  # bytes of a block
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
C_TYPES: dict[type, Any] = {int: ctypes.c_uint64, np.int32: ctypes.c_int32, np.float32: ctypes.c_float}


@cache
def found() -> tuple[int, str]:
    """(number of GPUs, why there is none); asks the driver's library alone."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return 0, f"NVIDIA's driver ({LIBRARY}) is not installed"
    number = ctypes.c_int()
    for name, arguments in (("cuInit", (ctypes.c_uint(0),)), ("cuDeviceGetCount", (ctypes.byref(number),))):
        status = getattr(library, name)(*arguments)
        if status:
            return 0, f"{name} of NVIDIA's driver gave error {status}"
    return number.value, "" if number.value else "NVIDIA's driver finds no GPU"


class NvidiaDriver:
    """One GPU, with a stream of its own (see `driver.Driver`)."""

    def __init__(self, number: int) -> None:
        """Raises DeviceError where the GPU or the package cuda-bindings is missing."""
        count, reason = found()
        if number >= count:
            raise DeviceError(f"there is no gpu({number}): {reason or f'num_gpus() is {count}'}; use mx.cpu()")
        try:
            self._cu = imported("cuda.bindings.driver")
        except ModuleNotFoundError:
            raise DeviceError(
                f"gpu({number}): the package cuda-bindings is not installed; pip install 'symc[cuda]' brings it"
            ) from None
        self.number = number
        self._ask("cuInit", 0)
        self._device = self._ask("cuDeviceGet", number)
        self._context = self._ask("cuDevicePrimaryCtxRetain", self._device)
        self._ask("cuCtxSetCurrent", self._context)
        self._stream = self._ask("cuStreamCreate", self._cu.CUstream_flags.CU_STREAM_NON_BLOCKING.value)
        self._kernels: dict[int, tuple[Any, Any]] = {}  # module and function
        self._handles = itertools.count(1)

    def _ask(self, name: str, *arguments: Any) -> Any:
        """What a function of the driver gives; raises DeviceError or AllocationError where it fails."""
        status, *results = getattr(self._cu, name)(*arguments)
        if int(status):
            _, text = self._cu.cuGetErrorString(status)
            kind = AllocationError if int(status) == OUT_OF_MEMORY else DeviceError
            raise kind(f"gpu({self.number}): {name} failed: {(text or b'').decode()} ({int(status)})")
        return results[0] if len(results) == 1 else results

    def _do(self, name: str, *arguments: Any) -> Any:
        """The same with this GPU as the thread's current one."""
        self._ask("cuCtxSetCurrent", self._context)
        return self._ask(name, *arguments)

    def _attribute(self, name: str) -> int:
        attribute = getattr(self._cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._do("cuDeviceGetAttribute", attribute, self._device))

    def properties(self) -> Properties:
        """See Driver."""
        name = self._do("cuDeviceGetName", 256, self._device).partition(b"\0")[0].decode()
        return Properties(
            name,
            (self._attribute(MAJOR), self._attribute(MINOR)),
            self._attribute("MULTIPROCESSOR_COUNT"),
            int(self._do("cuDeviceTotalMem", self._device)),
            self._attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
        )

    def memory_info(self) -> tuple[int, int]:
        """See Driver."""
        free, total = self._do("cuMemGetInfo")
        return int(free), int(total)

    def allocate(self, size_bytes: int) -> int:
        """See Driver."""
        try:
            return int(self._do("cuMemAlloc", max(1, size_bytes)))
        except AllocationError as error:
            free, total = self.memory_info()
            raise AllocationError(
                f"allocating {size_bytes} bytes on gpu({self.number}): {free} of its {total} bytes are free; use a "
                f"smaller batch, or let go of arrays and executors ({error})"
            ) from None

    @property
    def stream(self) -> int:
        """See Driver."""
        return int(self._stream)

    def holds(self, address: int) -> bool:
        """See Driver."""
        attribute = self._cu.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        self._ask("cuCtxSetCurrent", self._context)
        status, number = self._cu.cuPointerGetAttribute(attribute, address)
        return not int(status) and int(number) == self.number

    def follow(self, stream: int) -> None:
        """See Driver."""
        self._do("cuStreamSynchronize", stream)

    def free(self, address: int) -> None:
        """See Driver; the driver waits for what uses the memory."""
        self._do("cuMemFree", address)

    def clear(self, address: int, size_bytes: int) -> None:
        """See Driver."""
        self._do("cuMemsetD8Async", address, 0, size_bytes, self._stream)

    def copy_in(self, address: int, data: np.ndarray) -> None:
        """See Driver."""
        self._do("cuMemcpyHtoDAsync", address, data.ctypes.data, data.nbytes, self._stream)
        self._ask("cuStreamSynchronize", self._stream)  # memory may be pinned, and is then read later

    def copy_out(self, data: np.ndarray, address: int) -> None:
        """See Driver."""
        self._do("cuMemcpyDtoHAsync", data.ctypes.data, address, data.nbytes, self._stream)
        self._ask("cuStreamSynchronize", self._stream)

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """See Driver."""
        self._do("cuMemcpyDtoDAsync", target, source, size_bytes, self._stream)

    def load(self, image: KernelImage) -> int:
        """See Driver."""
        module = self._do("cuModuleLoadData", image.cubin if self._runs(image) else image.code + b"\0")
        function = self._ask("cuModuleGetFunction", module, image.entry.encode())
        handle = next(self._handles)
        self._kernels[handle] = module, function
        return handle

    def _runs(self, image: KernelImage) -> bool:
        """Whether its cubin is for this generation of GPUs; any later one takes the PTX."""
        target = re.search(rb"^\.target sm_(\d+)\d", image.code, re.MULTILINE)
        return bool(image.cubin) and target is not None and int(target[1]) == self._attribute(MAJOR)

    def unload(self, kernel: int) -> None:
        """See Driver."""
        module, _ = self._kernels.pop(kernel)
        self.synchronise()
        self._do("cuModuleUnload", module)

    def _function(self, launch: Launch) -> Any:
        """The kernel of a launch, which may have the shared memory that it asks for."""
        function = self._kernels[launch.kernel][1]
        if launch.shared_bytes > SHARED_WITHOUT_ASKING:
            attribute = self._cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._do("cuFuncSetAttribute", function, attribute, launch.shared_bytes)
        return function

    def launch(self, launch: Launch) -> None:
        """See Driver."""
        with _packed(launch.arguments) as places:
            self._do(
                "cuLaunchKernel", self._function(launch), *launch.grid, *launch.block, launch.shared_bytes,
                self._stream, places, 0,
            )  # fmt: skip

    def graph(self, launches: Sequence[Launch]) -> Graph:
        """See Driver; a chain of nodes, so that nothing else that happens meanwhile becomes a part of it."""
        graph = self._do("cuGraphCreate", 0)
        before: list[Any] = []
        for launch in launches:
            params = self._cu.CUDA_KERNEL_NODE_PARAMS()
            params.func = self._function(launch)
            params.gridDimX, params.gridDimY, params.gridDimZ = launch.grid
            params.blockDimX, params.blockDimY, params.blockDimZ = launch.block
            params.sharedMemBytes = launch.shared_bytes
            with _packed(launch.arguments) as places:  # the graph keeps copies
                params.kernelParams = places
                before = [self._ask("cuGraphAddKernelNode", graph, before, len(before), params)]
        made = self._ask("cuGraphInstantiate", graph, 0)
        self._ask("cuGraphDestroy", graph)
        return NvidiaGraph(lambda: self._do("cuGraphLaunch", made, self._stream), lambda: self._destroy(made))

    def _destroy(self, graph: Any) -> None:
        self.synchronise()
        self._do("cuGraphExecDestroy", graph)

    def synchronise(self) -> None:
        """See Driver."""
        self._do("cuStreamSynchronize", self._stream)


@contextlib.contextmanager
def _packed(arguments: Sequence[Argument]) -> Iterator[int]:
    """The address of addresses of arguments, which are good as long as the block runs."""
    values = [C_TYPES[type(a)](a) for a in arguments]
    places = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
    yield ctypes.addressof(places)


class NvidiaGraph:
    """Launches that one call starts."""

    def __init__(self, launch: Callable[[], Any], destroy: Callable[[], None]) -> None:
        self.launch = launch
        weakref.finalize(self, destroy).atexit = False
