"""ld and st: global, shared, local and constant memory, parameters, vectors; fences."""

from __future__ import annotations

import numpy as np

from .access import Access
from .frame import Frame, Mask, Step, lanes_of
from .program import Address, Instruction, Operand, Symbol, Vector
from .registry import binds
from .types import Type, unsigned

_SPACES = ("global", "shared", "local", "const")


def space_named(i: Instruction) -> str:
    """The space an instruction names; constants lie in global memory."""
    for m in i.modifiers:
        name, _, scope = m.partition("::")
        if name in _SPACES and scope in ("", "cta"):
            return "global" if name == "const" else name
    return "generic"


def _items(operand: Operand) -> tuple[Operand, ...]:
    return operand.items if isinstance(operand, Vector) else (operand,)


def _kept(type_: Type) -> Type:
    """What a value is moved as: its bits, with a sign if it may be widened."""
    return unsigned(type_.size_bytes * 8) if type_.kind != "s" else type_


@binds("ld", "ldu")
def _ld(frame: Frame, i: Instruction) -> Step:
    machine, type_ = frame.machine, _kept(i.type)
    outs = [frame.target(o, type_) for o in _items(i.operands[0])]
    if any(m.startswith("param") for m in i.modifiers):
        return _ld_param(frame, i, outs, type_)
    access = Access(machine, space_named(i), type_.size_bytes * len(outs), i.has("nc"))
    address = frame.address(i, i.operands[1])
    n_parts = len(outs)

    def step(mask: Mask) -> None:
        machine.site = i
        lanes = lanes_of(mask)
        found = access.load(address(lanes), lanes)
        parts = found.view(type_.dtype) if n_parts == 1 else found.view(type_.dtype).reshape(-1, n_parts)
        for k, out in enumerate(outs):
            value = parts if n_parts == 1 else parts[:, k]
            if lanes is None:
                out[:] = value
            else:
                out[lanes] = value

    return step


def _ld_param(frame: Frame, i: Instruction, outs: list[np.ndarray], type_: Type) -> Step:
    """A parameter of the kernel is one value for all lanes; others have a place for each in a frame."""
    address = i.operands[1]
    if not isinstance(address, Address) or not isinstance(address.base, Symbol):
        raise i.unsupported()
    name, size = address.base.name, type_.size_bytes
    places = frame.machine.param_at
    machine = frame.machine
    if frame.function.is_entry and name in places:
        start = places[name] + address.offset

        def uniform(mask: Mask) -> None:
            for k, out in enumerate(outs):
                value = machine.params[start + k * size : start + (k + 1) * size].view(type_.dtype)
                np.copyto(out, value, where=mask)

        return uniform
    rows = _param_rows(frame, i, address)

    def step(mask: Mask) -> None:
        for k, out in enumerate(outs):
            part = np.ascontiguousarray(rows[:, address.offset + k * size : address.offset + (k + 1) * size])
            np.copyto(out, part.view(type_.dtype)[:, 0], where=mask)

    return step


def _param_rows(frame: Frame, i: Instruction, address: Address) -> np.ndarray:
    if not isinstance(address.base, Symbol) or address.base.name not in frame.params:
        raise i.unsupported()
    return frame.params[address.base.name]


@binds("st")
def _st(frame: Frame, i: Instruction) -> Step:
    machine, type_ = frame.machine, _kept(i.type)
    items = _items(i.operands[1])
    values = [frame.lanes(o, type_) for o in items]
    if any(m.startswith("param") for m in i.modifiers):
        return _st_param(frame, i, values, type_)
    width = type_.size_bytes * len(items)
    access = Access(machine, space_named(i), width)
    address = frame.address(i, i.operands[0])
    unit = np.dtype(f"u{min(width, 8)}")

    def step(mask: Mask) -> None:
        machine.site = i
        lanes = lanes_of(mask)
        n = frame.n if lanes is None else len(lanes)
        if len(values) == 1:
            (x,) = values
            packed = np.ascontiguousarray(x if lanes is None else x[lanes]).view(unit)
        else:
            parts = np.empty((n, len(values)), type_.dtype)
            for k, x in enumerate(values):
                parts[:, k] = x if lanes is None else x[lanes]
            packed = parts.view(unit) if width == 16 else parts.view(unit)[:, 0]
        access.store(address(lanes), lanes, packed)

    return step


def _st_param(frame: Frame, i: Instruction, values: list[np.ndarray], type_: Type) -> Step:
    address = i.operands[0]
    if not isinstance(address, Address):
        raise i.unsupported()
    rows, size, offset = _param_rows(frame, i, address), type_.size_bytes, address.offset

    def step(mask: Mask) -> None:
        for k, value in enumerate(values):
            part = np.ascontiguousarray(value)[:, None].view(np.uint8)
            where = mask if isinstance(mask, bool) else mask[:, None]
            np.copyto(rows[:, offset + k * size : offset + (k + 1) * size], part, where=where)

    return step


@binds("membar", "fence")
def _fence(frame: Frame, i: Instruction) -> Step:
    """What the blocks have written may be seen by others who know; those that have done an atom know of them.

    fence.proxy shows what threads have written to the units that read it by themselves.
    """
    machine = frame.machine
    if i.has("proxy"):
        return machine.products.show
    is_device_wide = i.has("gl", "sys", "gpu")

    def step(mask: Mask) -> None:
        if not is_device_wide or not machine.is_racing:
            return
        tags = np.unique(machine.blocks.tags[mask])
        for region in machine.memory:
            region.agents.release(tags)
        machine.learn(machine.did_atomics & mask)

    return step


@binds("prefetch", "prefetchu", "griddepcontrol", "nanosleep", "discard", "applypriority", "createpolicy")
def _nothing(frame: Frame, i: Instruction) -> Step:
    """What changes nothing that a program can see."""
    return lambda mask: None
