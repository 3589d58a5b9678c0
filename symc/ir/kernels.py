"""The graph after lowering: kernels in execution order over named storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import FullShape
from symc.loopir.kernel import LoopKernel

# Where storage lives: `arena` is reused by liveness; `prepared` holds what parameters alone decide; the others are
# arrays that the caller owns, one slot each.
Place = Literal[
    "arena",
    "prepared",
    "argument",
    "parameter",
    "aux",
    "head",
    "gradient",
    "update",
    "check",
    "head_gradient",
    "accumulator",
    "seed",
]
HELD: tuple[Place, ...] = ("parameter", "aux")  # arrays that most runs leave as they are: `prepared` comes from them


_HEAD_GRADIENT = "head_gradient"


def head_gradient_name(k: int) -> str:
    """Name of the input that receives the gradient of head `k`."""
    return f"{_HEAD_GRADIENT}{k}"


def head_number(name: str) -> int:
    """The head whose gradient an input receives."""
    return int(name.removeprefix(_HEAD_GRADIENT))


@dataclass(frozen=True)
class Storage:
    """A piece of memory: `key` names the caller's array (argument name, head index) where it is not ours."""

    name: str
    size: int  # elements
    dtype: str
    place: Place
    key: str = ""

    @property
    def size_bytes(self) -> int:
        return self.size * ITEM_SIZE[self.dtype]


@dataclass(frozen=True)
class KernelLoop:
    """A loop around kernels that follow each other: `count` rounds, or as many as begin while the flag is not 0."""

    name: str
    count: int
    flag: str | None = None  # the buffer of one number

    def __str__(self) -> str:
        return f"{self.name} x {self.count}" + (f" while {self.flag}" if self.flag else "")


class Move(NamedTuple):
    """How far a view moves in each round of the loop of that name; where there is a period, it is back after that."""

    loop: str
    stride: int  # elements
    period: int = 0  # rounds; 0: none

    def moved(self, n_rounds: int) -> int:
        """How far it has moved, in elements, when so many rounds are done."""
        return self.stride * (n_rounds % self.period if self.period else n_rounds)


@dataclass(frozen=True)
class View:
    """A kernel's buffer: a place inside a storage, in loops the one of their first rounds."""

    storage: str
    offset: int = 0  # elements
    moves: tuple[Move, ...] = ()  # of loops, the outermost first


@dataclass(frozen=True)
class KernelNode:
    """One kernel of the program: what it computes, when, and for which nodes of the user's graph."""

    kernel: LoopKernel
    phase: str
    nodes: tuple[str, ...]  # names of the fused nodes
    operators: tuple[str, ...]
    reason: str  # why these nodes form one kernel
    reads: tuple[str, ...]  # buffer names
    writes: tuple[str, ...]
    loops: tuple[KernelLoop, ...] = ()  # around it, the outermost first

    @property
    def flags(self) -> list[str]:
        """The buffers that may end a loop around it."""
        return [loop.flag for loop in self.loops if loop.flag is not None]


@dataclass(frozen=True)
class HeadInfo:
    """A head as callers see it."""

    name: str
    shape: FullShape
    dtype: str


@dataclass(frozen=True)
class KernelGraph:
    """Kernels in order, the storage they use, and the views through which they see it."""

    kernels: tuple[KernelNode, ...]
    storages: dict[str, Storage]
    views: dict[str, View]  # buffer name -> storage
    heads: tuple[HeadInfo, ...]
    training: bool = False
    arena: ArenaPlan | None = None

    def storage_of(self, buffer: str) -> Storage:
        """The storage behind a kernel's buffer."""
        return self.storages[self.views[buffer].storage]

    def _moves(self, buffer: str) -> str:
        return ", ".join(
            f"{move.stride} in {move.loop}" + (f", back after {move.period}" if move.period else "")
            for move in self.views[buffer].moves
        )

    def text(self) -> str:
        """The printed form: storage, then kernels."""
        lines = []
        for s in self.storages.values():
            at = f" at {self.arena.offsets[s.name]}" if self.arena and s.name in self.arena.offsets else ""
            lines.append(f"{s.place:>13} {s.name}: {s.dtype} x {s.size}{at}{'  ' + s.key if s.key else ''}")
        for k in self.kernels:
            loops = "".join(f", {loop}" for loop in k.loops)
            lines.append(f"\n{k.phase}{loops}: {' + '.join(k.nodes)}   ({k.reason})")
            lines += ["  " + line for line in k.kernel.text().splitlines()]
            lines += [
                f"  {b.name} moves by {self._moves(b.name)}" for b in k.kernel.buffers if self.views[b.name].moves
            ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class ArenaPlan:
    """Where arena storage lies, and how good the plan is; all sizes in bytes."""

    offsets: dict[str, int]
    size_bytes: int
    naive_bytes: int  # every storage on its own
    lower_bound_bytes: int  # the largest sum of simultaneously live storage
    in_place: dict[str, str] = field(default_factory=dict)  # storage -> the storage whose memory it takes over
