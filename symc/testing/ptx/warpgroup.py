"""wgmma: products of four warps, from matrices in shared memory that descriptors tell of, or the left one in registers.

Without swizzling a matrix is made of cores, 8 rows of 16 bytes one behind the other (PTX ISA, "Shared Memory Matrix
Layout"); CUTLASS (cute/arch/mma_sm90_desc.hpp) has the same bits of a descriptor. Others are not here yet.
"""

from __future__ import annotations

import re

import numpy as np

from .access import Access
from .frame import Frame, Mask, Step
from .machine import WARP
from .matrix import COLUMN, ROW, elements, registers_of
from .program import Immediate, Instruction, Register
from .registry import binds
from .types import TYPES, Type
from .warp import whole_warps

U32, U64, F32 = TYPES["u32"], TYPES["u64"], TYPES["f32"]
GROUP = 4 * WARP
ROWS, CORE_ROWS, SLICE_BYTES = 64, 8, 32  # of a group; of a core; of products of a row
_FIELD = np.uint64((1 << 14) - 1)


def _groups(frame: Frame, i: Instruction, mask: Mask) -> np.ndarray:
    """The lanes of a mask, bool; a fault for part of a group of four warps."""
    whole_warps(frame, i, mask)
    active = np.full(frame.n, mask) if isinstance(mask, bool) else mask
    if frame.machine.shape.block_lanes % GROUP:
        raise frame.machine.fault("warp", 0, f"a block of {frame.machine.shape.n_threads} threads is no whole groups")
    n_here = active.reshape(-1, GROUP).sum(1)
    partial = (n_here > 0) & (n_here < GROUP)
    if partial.any():
        lane = int(np.argmax(np.repeat(partial, GROUP) & active))
        raise frame.machine.fault("warp", lane, f"only {int(n_here[lane // GROUP])} of the 128 threads of its group")
    return active


@binds("wgmma")
def _wgmma(frame: Frame, i: Instruction) -> Step:
    products = frame.machine.products
    if i.has("mma_async"):
        return _mma_async(frame, i)
    kind = i.first(("fence", "commit_group", "wait_group"))
    n_pending = 0
    if kind == "wait_group":
        (n,) = i.operands
        if not isinstance(n, Immediate):
            raise i.unsupported()
        n_pending = int(n.value)

    def step(mask: Mask) -> None:
        frame.machine.site = i
        lanes = _groups(frame, i, mask)
        if kind == "fence":
            products.fence(lanes)
        elif kind == "commit_group":
            products.commit(lanes)
        else:
            products.wait(lanes, n_pending)

    return step


def _mma_async(frame: Frame, i: Instruction) -> Step:
    """D = A B + D, or A B alone; products are exact, their sum with D is rounded once."""
    n_columns, k_extent, type_ = _shape(i)
    d, left, right, scale, *flags = i.operands
    totals, rows = registers_of(d), registers_of(left)
    is_known = all(isinstance(f, Immediate) and f.value == int(k < 2) for k, f in enumerate(flags))
    if not is_known or len(totals) * 2 != n_columns:  # of signs and of matrices that are transposed
        raise i.unsupported()
    fragments = [frame.lanes(o, U32).reshape(-1, WARP) for o in rows] if len(rows) == 4 else None
    sums, outs = ([f(o, F32) for o in totals] for f in (frame.lanes, frame.target))
    matrices = [(frame.lanes(right, U64), n_columns)]
    matrices += [(frame.lanes(left, U64), ROWS)] if fragments is None else []
    is_added = frame.predicate(scale)
    access, machine, products = Access(frame.machine, "shared", 16), frame.machine, frame.machine.products
    used = [o for o in (*totals, *(rows if fragments is not None else ())) if isinstance(o, Register)]
    names = [(frame.function.name, o.index) for o in used]

    def step(mask: Mask) -> None:
        machine.site = i
        lanes = _groups(frame, i, mask)
        groups, warps = np.flatnonzero(lanes[::GROUP]), np.flatnonzero(lanes[::WARP])
        found = [_matrix(access, _same(frame, descriptors, lanes), n, groups) for descriptors, n in matrices]
        y, *x = (_values(raw, type_) for raw, _ in found)
        if fragments is not None:
            x = [_of_fragments([words[warps] for words in fragments], type_, k_extent)]
        products.start(lanes, names, np.concatenate([at for _, at in found], 1))
        made = (x[0] @ y.transpose(0, 2, 1)).reshape(-1, 16, n_columns)
        added = np.broadcast_to(is_added(), frame.n).reshape(-1, WARP)[warps]
        for k, (total, out) in enumerate(zip(sums, outs)):
            part = made[:, ROW + 8 * (k >> 1 & 1), 8 * (k >> 2) + 2 * COLUMN + (k & 1)]
            before = total.reshape(-1, WARP)[warps].astype(np.float64)
            out.reshape(-1, WARP)[warps] = (part + np.where(added, before, 0)).astype(F32.dtype)

    return step


def _shape(i: Instruction) -> tuple[int, int, Type]:
    """Columns, products and the type of the operands."""
    shape = next((found for m in i.modifiers if (found := re.fullmatch(r"m64n(\d+)k(\d+)", m))), None)
    if shape is None or len(i.types) != 3 or i.types[0] != F32 or i.types[2].name not in ("tf32", "f16", "bf16"):
        raise i.unsupported()
    n_columns, k_extent = map(int, shape.groups())
    if k_extent * i.types[2].bits != 8 * SLICE_BYTES:
        raise i.unsupported()
    return n_columns, k_extent, i.types[2]


def _of_fragments(registers: list[np.ndarray], type_: Type, k_extent: int) -> np.ndarray:
    """The left matrix (groups, 64, products) of four registers (warps, 32), as those of m16n8k8 and m16n8k16."""
    found, per = np.zeros((len(registers[0]), 16, k_extent)), 32 // type_.bits
    for r, words in enumerate(registers):
        part = elements(words, type_, type_.name)
        for e in range(per):
            found[:, ROW + 8 * (r & 1), (COLUMN + 4 * (r >> 1)) * per + e] = part[..., e]
    return found.reshape(-1, ROWS, k_extent)


def _same(frame: Frame, descriptors: np.ndarray, lanes: np.ndarray) -> np.ndarray:
    """The descriptor of each group, which all of its threads have to give."""
    of_groups = descriptors[lanes].reshape(-1, GROUP)
    differs = (of_groups != of_groups[:, :1]).ravel()
    if differs.any():
        lane = int(np.flatnonzero(lanes)[np.argmax(differs)])
        raise frame.machine.fault("warp", lane, "gives another descriptor than the first thread of its group")
    return of_groups[:, 0]


def _matrix(access: Access, descriptors: np.ndarray, n: int, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of n rows of 32 (groups, n, 32), and where they lie in all shared memory, in sixteens."""
    machine = access.machine
    if (descriptors >> np.uint64(49)).any():
        lane = int(groups[np.argmax(descriptors >> np.uint64(49) != 0)]) * GROUP
        raise machine.fault("bounds", lane, "a descriptor of a swizzled matrix, which the interpreter has not")
    start, of_products, of_rows = (((descriptors >> np.uint64(at)) & _FIELD) << np.uint64(4) for at in (0, 16, 32))
    row, half = np.arange(n, dtype=np.uint64), np.arange(2, dtype=np.uint64)
    in_core = row // CORE_ROWS * of_rows[:, None] + row % CORE_ROWS * np.uint64(16)
    addresses = start[:, None, None] + in_core[:, :, None] + half * of_products[:, None, None]
    lanes = np.repeat(groups * GROUP, 2 * n)
    values, at = access.load_as_group(addresses.ravel(), lanes)
    machine.products.check_shown(at, int(lanes[0]))
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(groups), n, 32), at.reshape(len(groups), -1)


def _values(raw: np.ndarray, type_: Type) -> np.ndarray:
    """Rows of bytes as float64."""
    words = np.ascontiguousarray(raw).view(np.uint32)
    return elements(words, type_, type_.name).reshape(*raw.shape[:2], -1)
