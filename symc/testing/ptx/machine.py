"""Some blocks of a grid, all of their threads as lanes: what instructions read and change beside registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .agents import LAST_AGENT, Agents, Level
from .copies import Copies
from .faults import KernelFault, PtxError
from .memory import WINDOW_BYTES, GlobalMemory, Region
from .products import Products
from .program import Function, Instruction, Module
from .tracked import Tracked
from .traffic import Traffic
from .types import Type

WARP = 32
Dim3 = tuple[int, int, int]


@dataclass(frozen=True)
class Shape:
    """How many blocks run together, of how many threads; block and grid count x, y, z."""

    n_blocks: int
    block: Dim3
    grid: Dim3
    dynamic_bytes: int

    @property
    def n_threads(self) -> int:
        """Of a block."""
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def block_lanes(self) -> int:
        """Lanes of a block: its last warp is filled up with threads that never run."""
        return -(-self.n_threads // WARP) * WARP


class Machine:
    """The state of one batch of blocks; used anew for every batch of a launch.

    live      lanes whose threads have not ended
    waiting   lanes at a barrier
    """

    def __init__(self, module: Module, kernel: Function, shape: Shape, symbols: Mapping[str, int]) -> None:
        self.module, self.kernel, self.shape, self.symbols = module, kernel, shape, symbols
        self.n_lanes = shape.n_blocks * shape.block_lanes
        lanes = np.arange(self.n_lanes)
        self.block_of = lanes // shape.block_lanes
        self.thread_of = lanes % shape.block_lanes
        self.exists = self.thread_of < shape.n_threads
        self.shared_at, self.shared_bytes = place_shared(module, shape.dynamic_bytes)
        self.shared_stride = -(-self.shared_bytes // 16) * 16
        self.shared = Tracked(self.shared_stride * shape.n_blocks)
        self.shared_base = (self.block_of * self.shared_stride).astype(np.uint64)
        of_warps, of_threads = (Agents(self.shared.size_bytes) for _ in range(2))
        self.warps = Level.of(of_warps, self.thread_of // WARP + 1, "another warp was since the last barrier")
        self.threads = Level.of(
            of_threads, self.thread_of % WARP + 1, "another thread of its warp was since they were last together", True
        )
        self.local_bytes = 0
        self.local: Tracked | None = None
        self.carry = np.zeros(self.n_lanes, bool)  # the condition code register
        self.products = Products(self)
        self.copies = Copies(self.shared, (self.warps, self.threads), self.n_lanes, self.products)
        self.param_at, self.params_bytes = place_params(kernel)
        self._specials = self._fixed_specials()

    def begin(
        self,
        memory: GlobalMemory,
        params: np.ndarray,
        first_block: int,
        is_racing: bool,
        is_backwards: bool = False,
        traffic: Traffic | None = None,
    ) -> None:
        """Makes it blocks first_block, first_block + 1, ..., or these backwards; blocks behind the grid's last never
        run."""
        self.memory, self.params, self.is_racing, self.traffic = memory, params, is_racing, traffic
        gx, gy, gz = self.shape.grid
        of_batch = self.shape.n_blocks - 1 - self.block_of if is_backwards else self.block_of
        self.number_of = first_block + of_batch
        self.alive_at_first = self.exists & (self.number_of < gx * gy * gz)
        self.live = self.alive_at_first.copy()
        self.waiting = np.zeros(self.n_lanes, bool)

        self.waits_at = np.full(self.n_lanes, -1)  # the block that ends with the barrier
        self.waits_for = np.zeros(self.n_lanes, np.int64)  # the barrier's number
        # Blocks 250 apart look like one: a race between them alone is not found.
        self.blocks = Level.of(Agents(0), self.number_of % LAST_AGENT + 1, "another block was")
        self.did_atomics = np.zeros(self.n_lanes, bool)
        self.knows = np.zeros(self.n_lanes, bool)  # lanes of blocks that saw an atom and a fence
        self.does_know = False
        self.site: Instruction | None = None
        self.shared.data.bytes[:] = 0xFF
        self.shared.state.bytes[:] = 0
        self.forget_shared()
        if self.local is not None:
            self.local.state.bytes[:] = 0
        self.copies.begin()
        self.products.begin()
        for axis, value in zip("xyz", self._block_indices()):
            self._specials[f"ctaid.{axis}"][:] = value

    def _block_indices(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        gx, gy, _ = self.shape.grid
        return self.number_of % gx, self.number_of // gx % gy, self.number_of // (gx * gy)

    # what instructions read

    def _fixed_specials(self) -> dict[str, np.ndarray]:
        bx, by, _ = self.shape.block
        thread, lane = self.thread_of, self.thread_of % WARP
        bit = np.left_shift(1, lane)
        found = {
            "tid.x": thread % bx,
            "tid.y": thread // bx % by,
            "tid.z": thread // (bx * by),
            "laneid": lane,
            "warpid": thread // WARP,
            "nwarpid": np.array(self.shape.block_lanes // WARP),
            "lanemask_eq": bit,
            "lanemask_lt": bit - 1,
            "lanemask_le": 2 * bit - 1,
            "lanemask_ge": (1 << 32) - bit,
            "lanemask_gt": (1 << 32) - 2 * bit,
            "dynamic_smem_size": np.array(self.shape.dynamic_bytes),
            "total_smem_size": np.array(self.shared_bytes),
            "smid": np.array(0),
            "nsmid": np.array(1),
            "gridid": np.array(0),
        }
        for axis, block, grid in zip("xyz", self.shape.block, self.shape.grid):
            found[f"ntid.{axis}"] = np.array(block)
            found[f"nctaid.{axis}"] = np.array(grid)
            found[f"ctaid.{axis}"] = np.zeros(self.n_lanes, np.int64)
        return {name: value.astype(np.uint32) for name, value in found.items()}

    def special(self, name: str, type_: Type) -> np.ndarray:
        """A register of the machine as a type; clocks stand still, so that runs are equal."""
        if name in ("clock", "clock64", "globaltimer"):
            return np.zeros((), type_.dtype)
        if name not in self._specials or type_.size_bytes != 4:
            raise PtxError(f"kernel {self.kernel.name} reads %{name} as .{type_.name}, which the interpreter has not")
        return self._specials[name].view(type_.dtype)

    def place_local(self, function: Function) -> dict[str, int]:
        """Gives a function's local variables their places behind those of others."""
        places = {}
        for v in function.variables:
            if v.space == "local":
                self.local_bytes = -(-self.local_bytes // v.align) * v.align
                places[v.name] = self.local_bytes
                self.local_bytes += v.size_bytes
        return places

    def local_memory(self) -> tuple[Tracked, int]:
        """All threads' local memory, and how much of it one has."""
        stride = -(-self.local_bytes // 16) * 16
        if self.local is None or self.local.size_bytes != stride * self.n_lanes:
            self.local = Tracked(stride * self.n_lanes)
        return self.local, stride

    def levels(self, space: str, piece: Tracked) -> tuple[Level, ...]:
        """The ways to see lanes as agents in a piece of memory."""
        if space == "shared":
            return self.warps, self.threads
        assert isinstance(piece, Region)
        return (self.blocks._replace(agents=piece.agents),)

    def forget_shared(self) -> None:
        """All threads of all blocks were at a barrier."""
        self.warps.agents.forget()
        self.threads.agents.forget()

    def meet(self, lanes: np.ndarray, has_barrier: bool) -> None:
        """The warps of these lanes were together: at a barrier of some warps, or each by itself."""
        for block in np.unique(self.block_of[lanes]).tolist():
            warps = np.unique(self.warps.tags[lanes & (self.block_of == block)])
            rows = slice(block * self.shared_stride, (block + 1) * self.shared_stride)
            bytes_ = np.zeros(self.shared.size_bytes, bool)
            if has_barrier and not (self.alive_at_first & (self.block_of == block) & ~lanes).any():
                bytes_[rows] = True  # those that several warps have read, too
            for plane in self.warps.agents.planes():
                bytes_[rows] |= np.isin(plane.bytes[rows], warps)
            self.threads.agents.forget_where(bytes_)
            if has_barrier:
                self.warps.agents.forget_where(bytes_)

    def learn(self, lanes: np.ndarray | bool) -> None:
        """The blocks of these lanes may see from now on what others have released."""
        found = np.zeros(self.shape.n_blocks, bool)
        found[self.block_of[lanes]] = True
        self.knows |= found[self.block_of]
        self.does_know = bool(self.knows.any())

    # what goes wrong

    def fault(self, kind: str, lane: int, what: str) -> KernelFault:
        """The fault of one lane at the current instruction."""
        bx, by, _ = self.shape.block
        thread = int(self.thread_of[lane])
        tid = (thread % bx, thread // bx % by, thread // (bx * by))
        ctaid = tuple(int(v[lane]) for v in self._block_indices())
        where = f"line {self.site.line} `{self.site.text}`" if self.site else "its end"
        return KernelFault(kind, f"kernel {self.kernel.name}, PTX {where}, thread {tid} of block {ctaid}: {what}")


def place_params(kernel: Function) -> tuple[dict[str, int], int]:
    """Where a kernel's parameters lie, and how many bytes they are together."""
    places, top = {}, 0
    for v in kernel.params:
        top = -(-top // v.align) * v.align
        places[v.name] = top
        top += v.size_bytes
    return places, top


def place_shared(module: Module, dynamic_bytes: int) -> tuple[dict[str, int], int]:
    """Where shared variables lie in a block's memory, extern ones behind all others; and how much there is."""
    variables = [v for v in module.variables.values() if v.space == "shared"]
    variables += [v for f in module.functions.values() for v in f.variables if v.space == "shared"]
    places, top = {}, 0
    for v in sorted(variables, key=lambda v: v.size_bytes == 0):
        top = -(-top // v.align) * v.align
        places[v.name] = top
        top += v.size_bytes
    if top + dynamic_bytes >= WINDOW_BYTES:
        raise PtxError(f"{top + dynamic_bytes} bytes of shared memory")
    return places, top + dynamic_bytes
