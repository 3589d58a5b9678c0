"""A GPU that is simulated: the driver protocol over the PTX interpreter, for machines without a device.

What a real one leaves undefined is an error here: use after free, reads of what nobody wrote, copies beyond the end.
Launches are complete when their call returns, and give the same bits each time.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.codegen.cuda.image import KernelImage
from symc.core.errors import AllocationError, DeviceError
from symc.core.locks import new_lock
from symc.runtime.cuda.driver import Argument, Launch, Properties
from symc.testing.ptx.faults import KernelFault
from symc.testing.ptx.launch import Limits, Loaded, launch, load, pack_arguments
from symc.testing.ptx.memory import GlobalMemory, Region
from symc.testing.ptx.program import Function
from symc.testing.ptx.tracked import FULL
from symc.testing.ptx.traffic import Traffic

DEVICE_BYTES = 1 << 40  # of the address space, for each device
SHARED_BYTES = {(8, 0): 163 << 10, (9, 0): 227 << 10, (10, 0): 227 << 10}
REGISTERS_TOGETHER = 256  # registers are given to a warp in such portions


@dataclass(frozen=True)
class _Kernel:
    """A kernel with the module that it came in."""

    image: KernelImage
    loaded: Loaded
    function: Function


class SimDriver:
    """One simulated GPU.

    number        of the device: its addresses are others than those of any other number
    total_bytes   of its memory
    is_racing     False: looks for no races, somewhat faster
    is_backwards  True: runs the blocks of a grid from the last to the first, one by one where a kernel has fences or
                  atoms; may change from launch to launch
    traffic       counts what warps ask of memory, of all launches
    counts        what was asked for so far, by the name of the method
    """

    def __init__(
        self,
        number: int = 0,
        total_bytes: int = 1 << 30,
        capability: tuple[int, int] = (9, 0),
        is_racing: bool = True,
        is_backwards: bool = False,
        traffic: Traffic | None = None,
    ) -> None:
        self.number, self.total_bytes, self.capability = number, total_bytes, capability
        self.is_racing, self.is_backwards, self.traffic = is_racing, is_backwards, traffic
        self.counts: Counter[str] = Counter()
        self._memory = GlobalMemory((number + 1) * DEVICE_BYTES)
        self._limits = Limits(shared_bytes=SHARED_BYTES[capability])
        self._kernels: dict[int, _Kernel] = {}
        self._handles = itertools.count(1)
        self._lock = new_lock()

    def properties(self) -> Properties:
        """What it pretends to be."""
        name = f"simulated GPU {self.number}"
        return Properties(name, self.capability, 132, self.total_bytes, self._limits.shared_bytes)

    # memory

    def memory_info(self) -> tuple[int, int]:
        """(free, total) bytes."""
        return self.total_bytes - self.used_bytes, self.total_bytes

    @property
    def used_bytes(self) -> int:
        """Of what was allocated and not freed."""
        return sum(region.size_bytes for region in self._memory)

    def allocations(self) -> list[str]:
        """What was allocated and not freed, in the order of allocation; variables of kernels are not among them."""
        variables = {address for kernel in self._kernels.values() for address in kernel.loaded.symbols.values()}
        return [f"{r.name} of {r.size_bytes} bytes" for r in self._memory if r.start not in variables]

    def allocate(self, size_bytes: int) -> int:
        """See Driver."""
        with self._lock:
            if size_bytes < 1:
                raise DeviceError(f"allocating {size_bytes} bytes on {self.properties().name}: at least one is needed")
            free, total = self.memory_info()
            if size_bytes > free:
                raise AllocationError(
                    f"allocating {size_bytes} bytes on {self.properties().name}: {free} of its {total} bytes are free"
                )
            self.counts["allocate"] += 1
            return self._memory.allocate(size_bytes, f"allocation {self.counts['allocate']}").start

    stream = 1  # the default one: everything is complete when a call returns

    def holds(self, address: int) -> bool:
        """See Driver."""
        return self._memory.find(address) is not None

    def follow(self, stream: int) -> None:
        """See Driver; everything is complete already."""
        self.counts["follow"] += 1

    def free(self, address: int) -> None:
        """See Driver; raises DeviceError for an address that `allocate` did not give, or that was freed before."""
        with self._lock:
            try:
                self._memory.free(address)
            except KeyError:
                freed = self._memory.was_freed(address)
                why = f"{freed} was freed before" if freed else "nothing was allocated there"
                raise DeviceError(f"freeing {address:#x} on {self.properties().name}: {why}") from None
            self.counts["free"] += 1

    def clear(self, address: int, size_bytes: int) -> None:
        """See Driver."""
        with self._lock:
            region, start = self._range("clearing", address, size_bytes)
            region.write(start, np.zeros(size_bytes, np.uint8))

    def copy_in(self, address: int, data: np.ndarray) -> None:
        """See Driver."""
        with self._lock:
            region, start = self._range("copying to", address, data.nbytes)
            self._require_contiguous(data)
            region.write(start, data.reshape(-1).view(np.uint8))
            self.counts["copy_in"] += 1

    def copy_out(self, data: np.ndarray, address: int) -> None:
        """See Driver; raises KernelFault where nothing was written."""
        with self._lock:
            region, start = self._range("copying from", address, data.nbytes)
            self._require_contiguous(data)
            state = region.state.bytes[start : start + data.nbytes]
            if not region.is_full and (state != FULL).any():
                byte = start + int(np.argmax(state != FULL))
                raise KernelFault(
                    "uninitialised", f"copying {region.name} from the device: nothing was written at its byte {byte}"
                )
            data.reshape(-1).view(np.uint8)[:] = region.data.bytes[start : start + data.nbytes]
            self.counts["copy_out"] += 1

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """See Driver; what was not written in the source is not in the target."""
        with self._lock:
            to, at = self._range("copying to", target, size_bytes)
            of, start = self._range("copying from", source, size_bytes)
            if to is of and abs(at - start) < size_bytes:
                raise DeviceError(f"copying {size_bytes} bytes within {to.name}: the ranges overlap")
            to.data.bytes[at : at + size_bytes] = of.data.bytes[start : start + size_bytes]
            filled = of.state.bytes[start : start + size_bytes]
            to.state.bytes[at : at + size_bytes] = FULL if of.is_full else filled
            to.is_full = bool((to.state.bytes[: to.size_bytes] == FULL).all())
            self.counts["copy"] += 1

    def _range(self, doing: str, address: int, size_bytes: int) -> tuple[Region, int]:
        """The allocation that a range lies in, and where in it."""
        region = self._memory.find(address)
        what = f"{doing} {size_bytes} bytes at {address:#x} on {self.properties().name}"
        if region is None:
            freed = self._memory.was_freed(address)
            if freed:
                raise KernelFault("freed", f"{what}: {freed} was freed")
            raise DeviceError(f"{what}: nothing was allocated there")
        if address + size_bytes > region.end:
            raise DeviceError(f"{what}: {address + size_bytes - region.end} bytes lie behind the end of {region.name}")
        return region, address - region.start

    def _require_contiguous(self, data: np.ndarray) -> None:
        if not data.flags.c_contiguous:
            raise DeviceError(
                f"copying an array of shape {data.shape} and strides {data.strides}: it is not contiguous"
            )

    # kernels

    def load(self, image: KernelImage) -> int:
        """See Driver; raises DeviceError for an image that is no PTX, or lacks its entry."""
        with self._lock:
            if image.code[:4] == b"\x7fELF":
                raise DeviceError(f"loading {image.entry}: a simulated GPU runs PTX, and this is a cubin")
            loaded = load(image.code.rstrip(b"\0").decode("ascii"), self._memory)
            function = loaded.module.functions.get(image.entry)
            if function is None or not function.is_entry:
                names = ", ".join(f.name for f in loaded.module.kernels)
                raise DeviceError(f"loading {image.entry}: the kernels of its image are {names or 'none'}")
            handle = next(self._handles)
            self._kernels[handle] = _Kernel(image, loaded, function)
            self.counts["load"] += 1
            return handle

    def unload(self, kernel: int) -> None:
        """See Driver."""
        with self._lock:
            self._kernel(kernel).loaded.free()
            del self._kernels[kernel]

    def _kernel(self, handle: int) -> _Kernel:
        if handle not in self._kernels:
            raise DeviceError(f"kernel {handle} is not loaded on {self.properties().name}")
        return self._kernels[handle]

    def launch(self, launch: Launch) -> None:
        """See Driver; raises KernelFault for what no kernel may do."""
        with self._lock:
            self.counts["launch"] += 1
            self._run(launch)

    def _run(self, start: Launch) -> None:
        kernel = self._kernel(start.kernel)
        self._require_registers(kernel.image, start)
        launch(
            kernel.loaded,
            kernel.function,
            start.grid,
            start.block,
            pack_arguments(kernel.function, [_sized(a) for a in start.arguments]),
            start.shared_bytes,
            self._limits,
            self.is_racing,
            self.is_backwards,
            self.traffic,
        )

    def _require_registers(self, image: KernelImage, start: Launch) -> None:
        if image.registers is None:
            return
        n_warps = -(-start.block[0] * start.block[1] * start.block[2] // 32)
        warp = -(-image.registers * 32 // REGISTERS_TOGETHER) * REGISTERS_TOGETHER
        if n_warps * warp > self._limits.registers:
            raise KernelFault(
                "limits",
                f"kernel {image.entry}: a block of {n_warps} warps with {image.registers} registers a thread needs "
                f"{n_warps * warp} registers; allowed: {self._limits.registers}",
            )

    def graph(self, launches: Sequence[Launch]) -> SimGraph:
        """See Driver."""
        with self._lock:
            for start in launches:
                self._require_registers(self._kernel(start.kernel).image, start)
            return SimGraph(self, tuple(launches))

    def synchronise(self) -> None:
        """See Driver; everything is complete already."""


@dataclass(frozen=True)
class SimGraph:
    """Launches captured once."""

    driver: SimDriver
    launches: tuple[Launch, ...]

    def launch(self) -> None:
        """Runs all of them in order."""
        with self.driver._lock:
            self.driver.counts["graph"] += 1
            for start in self.launches:
                self.driver._run(start)


def _sized(argument: Argument) -> np.ndarray:
    """An argument as the bytes that a C function takes."""
    return np.array(argument & (1 << 64) - 1, np.uint64) if isinstance(argument, int) else np.asarray(argument)
