"""atom and red: one lane after the other where they meet, in the order of the lanes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .access import Access
from .frame import Frame, Mask, Step, lanes_of
from .memory import Region
from .program import Instruction, Operand
from .registry import binds
from .rounding import narrowed, odd_sum, widened
from .tracked import FULL, Tracked, pattern
from .transfer import space_named
from .types import Type, unsigned

Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _combine(i: Instruction, type_: Type) -> Combine:
    """What an atom makes of what was there and its operand."""
    name = i.first(("add", "min", "max", "exch", "and", "or", "xor", "inc", "dec"))

    def add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if type_.is_float and type_.bits == 16:
            return narrowed(odd_sum(widened(x, type_), widened(y, type_)), type_)
        return x + y

    one = type_.dtype.type(1)
    functions: dict[str, Combine] = {
        "add": add,
        "min": np.fmin if type_.kind == "f" else np.minimum,
        "max": np.fmax if type_.kind == "f" else np.maximum,
        "exch": lambda x, y: y,
        "and": lambda x, y: x & y,
        "or": lambda x, y: x | y,
        "xor": lambda x, y: x ^ y,
        "inc": lambda x, y: np.where(x >= y, type_.dtype.type(0), x + one),
        "dec": lambda x, y: np.where((x == 0) | (x > y), y, x - one),
    }
    return functions[name]


@binds("atom", "red")
def _atom(frame: Frame, i: Instruction) -> Step:
    machine, type_ = frame.machine, i.type
    operands = list(i.operands)
    target: Operand | None = operands.pop(0) if i.opcode == "atom" else None
    address, values = frame.address(i, operands[0]), [frame.lanes(o, type_) for o in operands[1:]]
    out = None if target is None else frame.target(target, type_)
    bits = unsigned(type_.size_bytes * 8).dtype
    access = Access(machine, space_named(i), type_.size_bytes)
    is_cas = i.has("cas")
    combine = None if is_cas else _combine(i, type_)

    def step(mask: Mask) -> None:
        machine.site = i
        lanes = lanes_of(mask)
        for space, piece, at, _, numbers in access.each(address(lanes), lanes):
            where = np.arange(at.start, at.stop) if isinstance(at, slice) else at
            numbers = np.arange(frame.n) if numbers is None else numbers
            _check(access, space, piece, where, numbers)
            for chosen in _rounds(where):
                place, mine = where[chosen], numbers[chosen]
                old = piece.data.get(place, type_.size_bytes).view(type_.dtype)
                if type_.parts == 2:
                    old = old.reshape(-1, 2)
                if combine is None:
                    new = np.where(old == values[0][mine], values[1][mine], old)
                else:
                    new = np.asarray(combine(old, values[0][mine]), type_.dtype)
                piece.data.put(place, type_.size_bytes, np.ascontiguousarray(new).view(bits).reshape(-1))
                if out is not None:
                    out[mine] = old
            piece.state.put(where, type_.size_bytes, pattern(FULL, type_.size_bytes))
        if i.has("acquire", "acq_rel") and machine.is_racing:
            machine.learn(mask)
        machine.did_atomics[mask] = True

    return step


def _check(access: Access, space: str, piece: Tracked, at: np.ndarray, lanes: np.ndarray) -> None:
    machine = access.machine
    if isinstance(piece, Region) and piece.is_read_only:
        raise machine.fault("read-only", int(lanes[0]), f"an atom on {piece.name}, which is only to be read")
    empty = piece.empty_lanes(at, access.width)
    if empty is not None:
        raise machine.fault("uninitialised", int(lanes[empty[0][0]]), "an atom on memory where nothing was written")
    if machine.is_racing and space != "local":
        for level in machine.levels(space, piece):
            racing = level.agents.note_atomics(at, access.width, level.tags[lanes])
            if len(racing):
                what = "an atom on memory that somebody reads or writes without one"
                raise machine.fault("race", int(lanes[racing[0]]), what)


def _rounds(at: np.ndarray) -> list[np.ndarray]:
    """Positions into `at`, in groups that have no place twice; one place's in order."""
    if len(at) == 1:
        return [np.zeros(1, np.int64)]
    order = np.argsort(at, kind="stable")
    ranked = at[order]
    is_first = np.r_[True, ranked[1:] != ranked[:-1]]
    if is_first.all():
        return [order]
    begins = np.flatnonzero(is_first)
    turn = np.arange(len(at)) - np.repeat(begins, np.diff(np.r_[begins, len(at)]))
    by_turn = np.argsort(turn, kind="stable")
    counts = np.bincount(turn)
    return np.split(order[by_turn], np.cumsum(counts)[:-1])
