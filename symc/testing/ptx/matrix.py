"""ldmatrix and mma: matrices whose elements lie spread over the registers of a warp."""

from __future__ import annotations

import re

import numpy as np

from .access import Access
from .frame import Frame, Mask, Step
from .machine import WARP
from .program import Instruction, Operand, Vector
from .registry import binds
from .rounding import bfloat16_values
from .types import TYPES, Type
from .warp import whole_warps

U32 = TYPES["u32"]
_LANE = np.arange(WARP)
ROW, COLUMN = _LANE // 4, _LANE % 4  # of a fragment: 8 rows of four registers


def registers_of(operand: Operand) -> tuple[Operand, ...]:
    """Those of a vector, or the one that it is."""
    if not isinstance(operand, Vector):
        return (operand,)
    return operand.items


@binds("ldmatrix")
def _ldmatrix(frame: Frame, i: Instruction) -> Step:
    """8 x 8 matrices of 16-bit elements from rows of 16 bytes: lanes 8 k to 8 k + 7 say where those of matrix k lie."""
    if not i.has("m8n8") or not i.has("b16"):
        raise i.unsupported()
    machine = frame.machine
    outs = [frame.target(o, U32) for o in registers_of(i.operands[0])]
    address, access = frame.address(i, i.operands[1]), Access(machine, "shared", 16)
    is_transposed = i.has("trans")

    def step(mask: Mask) -> None:
        warps = whole_warps(frame, i, mask)
        machine.site = i
        first = (np.arange(frame.n // WARP) if warps is None else warps) * WARP
        addresses = address(None)
        for k, out in enumerate(outs):
            lanes = (first[:, None] + np.arange(8 * k, 8 * k + 8)).ravel()
            rows = access.load(addresses[lanes], lanes)
            halves: np.ndarray = np.ascontiguousarray(rows).view(np.uint16).reshape(-1, 8, 8)
            if is_transposed:
                halves = np.ascontiguousarray(halves.transpose(0, 2, 1))
            words = halves.view(np.uint32).reshape(-1, WARP)
            out.reshape(-1, WARP)[first // WARP] = words

    return step


def elements(words: np.ndarray, type_: Type, name: str) -> np.ndarray:
    """Registers (..., 32) as their elements (..., 32, elements), float64; integers are exact in it."""
    words = np.ascontiguousarray(words)[..., None]
    if name == "tf32":
        return (words & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)
    if name == "bf16":
        return bfloat16_values(words.view(np.uint16))
    return words.view(type_.dtype).astype(np.float64)


@binds("mma")
def _mma(frame: Frame, i: Instruction) -> Step:
    """D = A B + C of a warp; products are exact, their sum with C is rounded once."""
    shape = next((m for m in i.modifiers if re.fullmatch(r"m\d+n\d+k\d+", m)), "")
    types = i.types
    if not shape.startswith("m16n8") or len(types) != 4 or not (i.has("row") and i.has("col")) or i.has("sp"):
        raise i.unsupported()
    k_extent = int(shape.rpartition("k")[2])
    result, a_type, b_type = types[0], types[1], types[2]
    operands = [registers_of(o) for o in i.operands]
    is_half = result.bits == 16
    per = 4 // (a_type.bits // 8)  # elements of A and B in a register
    a = [frame.lanes(o, U32).reshape(-1, WARP) for o in operands[1]]
    b = [frame.lanes(o, U32).reshape(-1, WARP) for o in operands[2]]
    c_type = TYPES["u32"] if is_half else result
    c = [frame.lanes(o, c_type).reshape(-1, WARP) for o in operands[3]]
    outs = [frame.target(o, c_type) for o in operands[0]]
    is_integer, is_clamped = not result.is_float, i.has("satfinite")
    if len(a) * per * WARP != 16 * k_extent:
        raise i.unsupported()

    def rows(values: list[np.ndarray], warps: np.ndarray | None) -> np.ndarray:
        return np.stack(values if warps is None else [v[warps] for v in values])

    def step(mask: Mask) -> None:
        warps = whole_warps(frame, i, mask)
        left, right, plus = rows(a, warps), rows(b, warps), rows(c, warps)
        n_warps = left.shape[1]
        x, y = np.zeros((n_warps, 16, k_extent)), np.zeros((n_warps, k_extent, 8))
        for r, words in enumerate(left):
            part = elements(words, a_type, a_type.name)
            for e in range(per):
                x[:, ROW + 8 * (r & 1), (COLUMN + 4 * (r >> 1)) * per + e] = part[..., e]
        for r, words in enumerate(right):
            part = elements(words, b_type, b_type.name)
            for e in range(per):
                y[:, (COLUMN + 4 * r) * per + e, ROW] = part[..., e]
        found = x @ y + _accumulator(plus, is_half)
        _put(outs, _narrow(found, result, is_integer, is_clamped), is_half, warps)

    return step


def _accumulator(registers: np.ndarray, is_half: bool) -> np.ndarray:
    """C or D (n_warps, 16, 8) of registers (n, n_warps, 32): pairs of neighbours, 8 rows apart."""
    if is_half:
        pairs = np.ascontiguousarray(registers)[..., None].view(np.float16)
        registers = np.concatenate([pairs[k][None, ..., e] for k in range(len(pairs)) for e in range(2)])
    found = np.zeros((registers.shape[1], 16, 8))
    for r, values in enumerate(registers):
        found[:, ROW + 8 * (r >> 1), 2 * COLUMN + (r & 1)] = values
    return found


def _narrow(found: np.ndarray, type_: Type, is_integer: bool, is_clamped: bool) -> np.ndarray:
    if not is_integer:
        return found.astype(type_.dtype)
    if is_clamped:
        return np.clip(found, -(2.0**31), 2.0**31 - 1).astype(np.int32)
    return found.astype(np.int64).astype(np.int32)


def _put(outs: list[np.ndarray], found: np.ndarray, is_half: bool, warps: np.ndarray | None) -> None:
    at = slice(None) if warps is None else warps
    parts = [found[:, ROW + 8 * (r >> 1), 2 * COLUMN + (r & 1)] for r in range(4)]
    if is_half:
        parts = [np.ascontiguousarray(np.stack(parts[k : k + 2], -1)).view(np.uint32)[..., 0] for k in (0, 2)]
    for out, part in zip(outs, parts):
        out.reshape(-1, WARP)[at] = part
