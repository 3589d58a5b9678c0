"""Contractions of 8-bit integers on a simulated GPU: sums of tensor cores are exact, whatever computes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from symc.codegen.contraction.panels import panels_of
from symc.codegen.cuda.contraction.cost import n_tiles
from symc.codegen.cuda.contraction.plan import TilePlan, candidates, plan_contraction
from symc.codegen.cuda.contraction.problem import problem_of
from symc.codegen.cuda.contraction.tile import FLAT, LARGE, LEAN, MIDDLE, NARROW, SMALL, WIDE
from symc.loopir.interpret import interpret
from symc.loopir.kernel import Buffer, Contraction, buffer_of, verify
from symc.testing.driver import SimDriver
from tests.codegen.contractions import packed_weight
from tests.codegen.integers import GUARD, POISON, contraction, numbers, poisoned, strided, surroundings

from .packages import needs_compiler
from .simulate import BACKEND, image_of, run_calls

pytestmark = needs_compiler

FLAT_SHAPE = dict(inputs=(), kernel=(), stride=())


def shared(c: Contraction, plan: TilePlan, n_parts: int) -> TilePlan:
    """The plan with another number of blocks that share a tile."""
    words = n_parts * n_tiles(problem_of(c), plan.tile) * plan.tile.rows * plan.tile.columns
    return replace(plan, n_parts=n_parts, scratch=(4 * words,) if n_parts > 1 else ())


def check(c: Contraction, plan: TilePlan | None, is_backwards: bool = False, **given_numbers: np.ndarray) -> None:
    """Both stores of `c` against the interpreter, to the bit, and that nothing else was touched."""
    logical = numbers(c) | given_numbers
    wanted = {name: a.copy() for name, a in logical.items()}
    interpret(c, wanted)
    buffers, given = c.buffers, dict(logical)
    if plan is not None:
        packing = panels_of(c, "int8", plan.tile.columns, plan.tile.n_together)
        plan, given["w"] = replace(plan, packing=packing), packed_weight(packing, logical["w"])
        buffers = tuple(Buffer.dense("w", packing.shape, "int8") if b.name == "w" else b for b in c.buffers)
        if plan.scratch:
            buffers += (Buffer.dense("scratch", plan.scratch, buffer_of(c, "x").dtype),)
        c = replace(c, plan=plan, buffers=buffers, written=("scratch",) if plan.scratch else ())
        verify(c)
    raws = {b.name: poisoned(b) for b in buffers}
    for b in buffers:
        if b.name in ("x", "w", "scale"):
            strided(raws[b.name], b)[...] = given[b.name]
    calls = BACKEND.schedule(c)
    run_calls(calls, {name: raw[GUARD:] for name, raw in raws.items()}, SimDriver(is_backwards=is_backwards))
    for b in buffers:
        if b.name in ("y", "small"):
            np.testing.assert_array_equal(strided(raws[b.name], b), wanted[b.name], err_msg=b.name)
            assert (surroundings(raws[b.name], b) == POISON).all(), b.name
    asked = b"mma.sync.aligned.m16n8k32.row.col.s32."
    assert (plan is not None) == any(asked in image_of(call).code for call in calls)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    "how, widths",
    [
        ({"channels": (4, 17)}, (1, 4)),
        ({"channels": (64, 70), "inputs": (5, 5), "slack": 3}, None),
        ({"channels": (64, 70), "inputs": (5, 5), "slack": 4}, (1, 4)),
        ({"channels": (64, 72), "inputs": (5, 6), "slack": 16, "offset": 16, "pad": 2}, (4, 4)),
        ({"channels": (64, 72), "inputs": (5, 6), "offset": 4, "dilate": 2, "pad": 2}, (1, 4)),
        ({"channels": (48, 36), "groups": 3, "stride": (2, 3)}, None),
        ({"channels": (24, 40), "groups": 2, "stride": (2, 1)}, (1, 4)),
        ({"channels": (12, 40), "inputs": (19,), "kernel": (4,), "stride": (1,)}, (1, 4)),
        ({"channels": (16, 20), "inputs": (4, 5, 3), "kernel": (2, 3, 2), "stride": (1, 2, 1)}, (4, 4)),
        ({"channels": (36, 17), "batch": 16, **FLAT_SHAPE}, (1, 4)),
        ({"channels": (256, 33), "batch": 35, **FLAT_SHAPE}, (4, 4)),
    ],
)
def test_geometry(dtype, how, widths):
    """Where no word of four lies at a multiple of 4 bytes, or matrices are small, a loop nest adds up the same."""
    c = contraction(dtype, **how)
    plan = plan_contraction(c)
    assert (plan and plan.widths) == widths and (plan is None or plan.tile.kind == dtype)
    check(c, plan)


@pytest.mark.parametrize("tile", [WIDE, LARGE, NARROW, MIDDLE, LEAN, FLAT, SMALL], ids=str)
def test_every_tile(tile):
    c = contraction("int8", channels=(144, tile.columns + 6), batch=tile.rows + 2, **FLAT_SHAPE)
    check(c, replace(plan_contraction(c), tile=replace(tile, kind="int8"), n_parts=1, scratch=()))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("is_backwards", [False, True])
def test_blocks_share_the_products_of_a_tile(dtype, is_backwards):
    c = contraction(dtype, channels=(1100, 33), batch=40, **FLAT_SHAPE)
    check(c, shared(c, plan_contraction(c), 3), is_backwards)
    c = contraction(dtype, channels=(64, 40), groups=2, stride=(2, 1), offset=32)
    check(c, shared(c, plan_contraction(c), 2), is_backwards)


def test_sums_of_any_length_are_exact():
    """float32 holds some beyond 2^24 only rounded; those of more products than these may not fit into int32."""
    c = contraction("uint8", channels=(65_792, 16), batch=16, **FLAT_SHAPE)
    assert not any(plan.is_long for plan in candidates(c))
    data, weight = (buffer_of(c, name).shape for name in (c.lhs, c.rhs))
    largest = np.full(data, 255, "uint8")
    largest[1:] -= np.arange(15, dtype="uint8")[:, None]
    check(c, plan_contraction(c), x=largest, w=np.full(weight, 127, "int8"))
