"""What instruction is made into a step by which function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .frame import Frame, Mask, Step
from .program import Instruction

Binder = Callable[[Frame, Instruction], Step]
BINDERS: dict[str, Binder] = {}


def binds(*opcodes: str) -> Callable[[Binder], Binder]:
    """Registers what binds these opcodes to the arrays of a frame."""

    def register(binder: Binder) -> Binder:
        for opcode in opcodes:
            assert opcode not in BINDERS
            BINDERS[opcode] = binder
        return binder

    return register


def bound(frame: Frame, i: Instruction) -> Step:
    """The step of an instruction, under its guard."""
    if i.opcode not in BINDERS:
        raise i.unsupported()
    step = frame.machine.products.watched(frame.function.name, i, BINDERS[i.opcode](frame, i))
    if i.guard is None:
        return step
    guard, is_negated = frame.registers[i.guard.index], i.is_guard_negated

    def guarded(mask: Mask) -> None:
        active = guarded_lanes(guard, is_negated, mask)
        n_active = np.count_nonzero(active)
        if n_active:
            step(True if n_active == len(active) else active)

    return guarded


def guarded_lanes(guard: np.ndarray, is_negated: bool, mask: Mask) -> np.ndarray:
    """Lanes of a mask whose guard lets them."""
    if is_negated:
        return np.greater(mask, guard)
    return np.logical_and(mask, guard)
