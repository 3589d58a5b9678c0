"""cp.async of 4, 8 and 16 bytes, with zeros behind a shorter source; groups and waits."""

from __future__ import annotations

import numpy as np

from .access import Access
from .frame import Frame, Mask, Step
from .program import Immediate, Instruction
from .registry import binds
from .types import TYPES


@binds("cp")
def _cp(frame: Frame, i: Instruction) -> Step:
    if not i.has("async") or i.has("bulk", "mbarrier", "reduce"):
        raise i.unsupported()
    machine = frame.machine

    def commit(mask: Mask) -> None:
        machine.copies.commit(_numbers(frame, mask))

    def wait_for(n_pending: int) -> Step:
        def wait(mask: Mask) -> None:
            machine.copies.wait(np.ones(frame.n, bool) if isinstance(mask, bool) else mask, n_pending)

        return wait

    if i.has("commit_group"):
        return commit
    if i.has("wait_group"):
        (n,) = i.operands
        if not isinstance(n, Immediate):
            raise i.unsupported()
        return wait_for(int(n.value))
    if i.has("wait_all"):
        return wait_for(-1)
    return _start(frame, i)


def _numbers(frame: Frame, mask: Mask) -> np.ndarray:
    return np.arange(frame.n) if isinstance(mask, bool) else np.flatnonzero(mask)


def _start(frame: Frame, i: Instruction) -> Step:
    machine = frame.machine
    if not isinstance(i.operands[2], Immediate):
        raise i.unsupported()
    width = int(i.operands[2].value)
    to, of = frame.address(i, i.operands[0]), frame.address(i, i.operands[1])
    taken = frame.lanes(i.operands[3] if len(i.operands) > 3 else Immediate(width), TYPES["u32"])
    into, whole, single = (
        Access(machine, "shared", width),
        Access(machine, "global", width),
        Access(machine, "global", 1),
    )

    def step(mask: Mask) -> None:
        machine.site = i
        lanes = _numbers(frame, mask)
        n_bytes = taken[lanes]
        if (n_bytes > width).any():
            lane = int(lanes[np.argmax(n_bytes > width)])
            raise machine.fault("bounds", lane, f"takes {int(n_bytes.max())} bytes for a copy of {width}")
        values = np.zeros((len(lanes), width), np.uint8)
        full = n_bytes == width
        source = of(lanes)
        if (source & np.uint64(width - 1)).any():
            lane = int(lanes[np.argmax(source & np.uint64(width - 1) != 0)])
            raise machine.fault(
                "alignment", lane, f"a cp.async of {width} bytes from an address that is no multiple of it"
            )
        if full.any():
            found = whole.load(source[full], lanes[full])
            values[full] = np.ascontiguousarray(found).view(np.uint8).reshape(-1, width)
        for k in range(int(n_bytes[~full].max(initial=0))):
            has = ~full & (n_bytes > k)
            values[has, k] = single.load(source[has] + np.uint64(k), lanes[has])
        for _, piece, at, _, numbers in into.each(to(lanes), lanes):
            assert isinstance(at, np.ndarray) and numbers is not None
            machine.products.check_write(numbers, at, width)
            if machine.is_racing:
                into.note_write("shared", piece, at, numbers)
            unit = values.view(f"u{min(width, 8)}")
            machine.copies.start(numbers, at, width, unit if width == 16 else unit[:, 0])

    return step
