"""What the threads of a warp do together: shfl, vote, activemask, match, redux, bar.warp."""

from __future__ import annotations

from typing import Any

import numpy as np

from .frame import Frame, Mask, Step
from .machine import WARP
from .program import Instruction, Vector
from .registry import binds
from .types import TYPES

U32, PRED = TYPES["u32"], TYPES["pred"]


def _all_lanes(frame: Frame, mask: Mask) -> np.ndarray:
    return np.ones(frame.n, bool) if isinstance(mask, bool) else mask


def _as_words(mask: np.ndarray) -> np.ndarray:
    """For every lane, the bits of its warp's mask, uint32."""
    words = np.packbits(mask.reshape(-1, WARP), axis=1, bitorder="little").view(np.uint32)[:, 0]
    return np.repeat(words, WARP)


def _members(frame: Frame, i: Instruction, members: np.ndarray, mask: Mask) -> np.ndarray:
    """The lanes that take part; a fault where those of a warp are not those that the member mask names."""
    machine = frame.machine
    active = _all_lanes(frame, mask)
    named, here = np.broadcast_to(members, frame.n), _as_words(active)
    if machine.shape.n_threads % WARP == 0 and isinstance(mask, bool) and members.ndim == 0 and members == 0xFFFFFFFF:
        return active
    exists = _as_words(machine.exists)
    wrong = active & ((named & exists) != here)
    if wrong.any():
        machine.site = i
        lane = int(np.argmax(wrong))
        what = f"its member mask is {int(named[lane]):#010x}; of its warp come here {int(here[lane]):#010x}"
        raise machine.fault("warp", lane, what)
    return active


def whole_warps(frame: Frame, i: Instruction, mask: Mask) -> np.ndarray | None:
    """The warps that run an instruction which takes all 32 threads (None: all warps); a fault for part of one."""
    if isinstance(mask, bool):
        return None
    rows = mask.reshape(-1, WARP)
    n_active = rows.sum(1)
    partial = (n_active > 0) & (n_active < WARP)
    if partial.any():
        frame.machine.site = i
        warp = int(np.argmax(partial))
        lane = warp * WARP + int(np.argmax(rows[warp]))
        raise frame.machine.fault("warp", lane, f"only {int(n_active[warp])} of the 32 threads of its warp come here")
    return np.flatnonzero(n_active)


@binds("shfl")
def _shfl(frame: Frame, i: Instruction) -> Step:
    target = i.operands[0]
    first, *second = target.items if isinstance(target, Vector) else (target,)
    out = frame.target(first, U32)
    says = frame.target(second[0], PRED) if second else None
    x, (b, c) = frame.lanes(i.operands[1], U32), (frame.source(o, U32) for o in i.operands[2:4])
    members = frame.source(i.operands[4], U32)
    mode, machine = i.first(("up", "down", "bfly", "idx")), frame.machine
    lane = np.arange(frame.n) % WARP
    base = np.arange(frame.n) - lane

    def step(mask: Mask) -> None:
        active = _members(frame, i, members, mask)
        by, limit = (b & np.uint32(31)).astype(np.int64), (c & np.uint32(31)).astype(np.int64)
        segment = ((c >> np.uint32(8)) & np.uint32(31)).astype(np.int64)
        last = (lane & segment) | (limit & ~segment)
        source = {
            "up": lane - by,
            "down": lane + by,
            "bfly": lane ^ by,
            "idx": (lane & segment) | (by & ~segment),
        }[mode]
        is_inside = source >= last if mode == "up" else source <= last
        source = base + np.where(is_inside, source, lane)
        lost = active & ~active.take(source)
        if np.count_nonzero(lost):
            machine.site = i
            k = int(np.argmax(lost))
            raise machine.fault("warp", k, f"reads a register of lane {int(source[k] % WARP)}, which is not here")
        np.copyto(out, x.take(source), where=mask)
        if says is not None:
            np.copyto(says, is_inside, where=mask)

    return step


@binds("vote")
def _vote(frame: Frame, i: Instruction) -> Step:
    mode = i.first(("ballot", "all", "any", "uni"))
    holds, members = frame.predicate(i.operands[1]), frame.source(i.operands[2], U32)
    out = frame.target(i.operands[0], U32 if mode == "ballot" else PRED)

    def step(mask: Mask) -> None:
        active = _members(frame, i, members, mask)
        yes, all_ = _as_words(active & holds()), _as_words(active)
        found = {
            "ballot": yes,
            "all": yes == all_,
            "any": yes != 0,
            "uni": (yes == all_) | (yes == 0),
        }[mode]
        np.copyto(out, found, where=mask)

    return step


@binds("activemask")
def _activemask(frame: Frame, i: Instruction) -> Step:
    out = frame.target(i.operands[0], U32)
    return lambda mask: np.copyto(out, _as_words(_all_lanes(frame, mask)), where=mask)


@binds("match")
def _match(frame: Frame, i: Instruction) -> Step:
    if i.first(("any", "all")) != "any":
        raise i.unsupported()
    out, x = frame.target(i.operands[0], U32), frame.source(i.operands[1], i.type)
    members = frame.source(i.operands[2], U32)

    def step(mask: Mask) -> None:
        active = _members(frame, i, members, mask).reshape(-1, WARP)
        values = np.broadcast_to(x, frame.n).reshape(-1, WARP)
        equal = (values[:, :, None] == values[:, None, :]) & active[:, None, :]
        words = np.packbits(equal, axis=2, bitorder="little").view(np.uint32)[:, :, 0]
        np.copyto(out, words.ravel(), where=mask)

    return step


@binds("redux")
def _redux(frame: Frame, i: Instruction) -> Step:
    type_ = i.type
    functions: dict[str, Any] = {"add": np.add, "min": np.minimum, "max": np.maximum}
    functions |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
    name = i.first(functions)
    function = functions[name]
    if type_.is_float:
        raise i.unsupported()
    out, x = frame.target(i.operands[0], type_), frame.source(i.operands[1], type_)
    members = frame.source(i.operands[2], U32)
    ends = np.iinfo(type_.dtype)
    neutral = {"min": ends.max, "max": ends.min, "and": -1 if type_.kind == "s" else ends.max}

    def step(mask: Mask) -> None:
        active = _members(frame, i, members, mask)
        values = np.where(active, x, type_.dtype.type(neutral.get(name, 0))).reshape(-1, WARP)
        found = function.reduce(values, axis=1, dtype=type_.dtype)
        np.copyto(out, np.repeat(found, WARP), where=mask)

    return step


@binds("bar")
def _bar_warp(frame: Frame, i: Instruction) -> Step:
    """`bar.warp.sync`: lanes run in step and have nothing to wait for, but see now what the others of a warp wrote."""
    machine = frame.machine

    def step(mask: Mask) -> None:
        if isinstance(mask, bool):
            machine.threads.agents.forget()
        else:
            machine.meet(mask, has_barrier=False)

    return step
