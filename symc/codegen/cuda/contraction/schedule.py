"""Contraction -> kernel call: what its plan decided, in terms of matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from symc.codegen.contraction.epilogue import Epilogue, epilogue_of
from symc.codegen.contraction.geometry import Geometry, source_offsets
from symc.codegen.cuda.launch import Grid, bounded
from symc.codegen.descriptor import Descriptor
from symc.codegen.kernel import KernelCall, KernelCode, Ref, Share, Table
from symc.core.dtypes import ITEM_SIZE
from symc.core.shapes import size_of
from symc.loopir.kernel import ACCUMULATOR, Buffer, Contraction, buffer_of, loads_of
from symc.loopir.work import Work, work_of

from .cost import n_tiles, steps_of
from .parts import part_bytes
from .plan import TilePlan, first_of_stack, geometry_of, pixel_stride
from .problem import problem_of

SOURCE = '''
def kernel(desc, bufs):
    """Sums of products over windows, a tile of {tile} by a block{parts}.

    {epilogue}
    """
    {words}
    {numbers}
    row = row_tile * {rows}
    column = panel * {width}
    number = ((member * n_groups + group) * n_row_tiles + row_tile) * n_panels + panel
    tile(desc, bufs, {left}, {right}, offsets, row, column, group, member, part, {shared})
'''
LEVELS = {"panel": "n_panels", "row_tile": "n_row_tiles", "group": "n_groups", "part": "n_parts", "member": ""}
STREAMED = "lhs + member * lhs_member_bytes + group * lhs_group_bytes"
PACKED = "rhs + ((member * n_groups + group) * n_panels + panel) * panel_bytes"
SHARED = "scratch + number * {tile_bytes}, counters + number * 4"
GRADIENT = "rhs + member * rhs_member_bytes + group * rhs_group_bytes"


def schedule_tiles(c: Contraction, plan: TilePlan) -> list[KernelCall]:
    """The call that carries out the plan of `c`."""
    call = _call(c, plan)
    if plan.n_parts == 1:
        return [call]
    loaded = {e.data[0] for store in c.stores for e in loads_of(store.value)} - {ACCUMULATOR}
    stored = {store.buffer: None for store in c.stores}
    needed = work_of(c) - Work(0, sum(buffer_of(c, name).size_bytes for name in c.written))  # whatever it is made of
    share = Share("", needed, (*c.operands, *sorted(loaded - set(c.operands))), (*c.written, *stored))
    return [replace(call, share=share)]


def _call(c: Contraction, plan: TilePlan) -> KernelCall:
    tile, p, g, epilogue = plan.tile, problem_of(c), geometry_of(c), epilogue_of(c)
    is_gradient = c.kind == "weight_gradient"
    n_panels, n_row_tiles = -(-p.n_columns // tile.columns), -(-p.n_rows // tile.rows)
    lhs, rhs = first_of_stack(c, c.lhs), buffer_of(c, c.rhs)
    item_bytes = ITEM_SIZE[lhs.dtype]
    d = Descriptor()
    d.add("lhs", _ref(lhs))
    d.add("rhs", _ref(rhs))
    d.add("offsets", Table(source_offsets(g)))
    d.add("n_panels", n_panels)
    d.add("n_row_tiles", n_row_tiles)
    d.add("n_groups", c.groups)
    d.add("n_parts", plan.n_parts)
    d.add("lhs_member_bytes", _member_stride(c, c.lhs) * item_bytes)
    d.add("lhs_group_bytes", g.channels * item_bytes)
    if is_gradient:
        d.add("rhs_member_bytes", _member_stride(c, c.rhs) * item_bytes)
        d.add("rhs_group_bytes", p.n_rows * item_bytes)
        dy = first_of_stack(c, c.rhs)
        d.add("rhs_image_bytes", dy.strides[0] * item_bytes, is_printed=False)
        d.add("rhs_pixel_bytes", pixel_stride(c, dy) * item_bytes, is_printed=False)
    else:
        d.add("panel_bytes", p.depth * tile.columns * item_bytes)
    if plan.n_parts > 1:
        (scratch,) = c.written
        d.add("scratch", _ref(buffer_of(c, scratch)))
        # Of kernels that run one after the other it is one table; no constant one is uint32, so none is the same.
        d.add("counters", Table(np.zeros(n_tiles(p, tile), np.uint32)))
    for name, number in _sizes(c, g, plan).items():
        d.add(name, number, is_printed=False)
    epilogue.add_to(d)
    grid = Grid(n_tiles(p, tile) * plan.n_parts, tile.n_threads, tile.shared_bytes(is_gradient))
    return KernelCall(
        _code(plan, epilogue, d, is_gradient, _levels(c, plan), c.sections), tuple(d.words), grid, plan.why
    )


def _levels(c: Contraction, plan: TilePlan) -> dict[str, str]:
    """What a block's number consists of, the fastest first: name -> the word that says how many there are."""
    is_there = {"group": c.groups > 1, "part": plan.n_parts > 1, "member": c.stack is not None}
    return {name: word for name, word in LEVELS.items() if is_there.get(name, True)}


def _numbers(levels: dict[str, str]) -> str:
    """The lines by which a block finds its numbers; divisions are long, so that nothing is divided by a certain 1."""
    *others, last = levels
    lines = ["unit = cuda.blockIdx.x"]
    for name in others:
        lines += [f"{name} = remainder(unit, {levels[name]})", f"unit = quotient(unit, {levels[name]})"]
    return "\n    ".join([*lines, f"{last} = unit", *(f"{name} = 0" for name in LEVELS if name not in levels)])


def _sizes(c: Contraction, g: Geometry, plan: TilePlan) -> dict[str, int]:
    """Numbers that the tile's code reads, by name."""
    p, n_steps = problem_of(c), steps_of(plan.tile, problem_of(c))
    return {
        "image_bytes": g.image_stride * ITEM_SIZE[buffer_of(c, c.lhs).dtype],
        "pixels": size_of(g.row_extents),
        "taps": g.n_taps,
        "channels": g.channels // plan.tile.n_together,
        "n_rows": p.n_rows,
        "n_columns": p.n_columns // c.sections,
        "depth": p.depth // (plan.tile.n_together if p.run else 1),
        "steps": n_steps,
        "part_steps": -(-n_steps // plan.n_parts),
        "member_rows": p.n_rows * (c.groups if c.kind == "weight_gradient" else 1),
        "group_rows": p.n_rows if c.kind == "weight_gradient" else 0,
        "group_columns": 0 if c.kind == "weight_gradient" else p.n_columns,
    }


def _member_stride(c: Contraction, name: str) -> int:
    return 0 if c.stack is None else buffer_of(c, name).strides[0]


def _ref(buffer: Buffer) -> Ref:
    return Ref(buffer.name, buffer.offset * ITEM_SIZE[buffer.dtype])


def _code(
    plan: TilePlan, epilogue: Epilogue, d: Descriptor, is_gradient: bool, levels: dict[str, str], n_sections: int
) -> KernelCode:
    tile, stores = plan.tile, epilogue.structure()
    parts = " in parts" if plan.is_long else ""
    shared = f" shared by {plan.n_parts} blocks" if plan.n_parts > 1 else ""
    kind = f"{' gradient' if is_gradient else ''}{parts} copies of {plan.widths}{shared}"
    kind += f" of {n_sections} sections" if n_sections > 1 else ""
    structure = f"gpu tile {tile} {tile.n_threads} threads{kind} by {' '.join(levels)}: {stores}"
    source = SOURCE.format(
        tile=tile,
        parts=(f", its sums{parts}" if parts else "") + (shared and f",{shared}"),
        epilogue=stores,
        words="\n    ".join(d.lines()),
        numbers=_numbers(levels),
        rows=tile.rows,
        width=tile.columns // n_sections,
        left=STREAMED,
        right=GRADIENT if is_gradient else PACKED,
        shared=SHARED.format(tile_bytes=plan.n_parts * part_bytes(tile)) if shared else "0, 0",
    ).lstrip()

    def build() -> Callable[..., Any]:
        from symc.codegen.cuda.compile import cuda

        from .emit import quotient, remainder, tile_intrinsic

        tile_of_block = tile_intrinsic(
            tile, plan.widths, epilogue, d, is_gradient, plan.is_long, plan.n_parts, n_sections
        )
        scope = {"cuda": cuda(), "quotient": quotient, "remainder": remainder, "tile": tile_of_block}
        exec(compile(source, f"<{code.name}>", "exec"), scope)
        return bounded(scope["kernel"], tile.n_threads, tile.n_blocks)

    code = KernelCode("tile", structure, lambda: source, build)
    return code
