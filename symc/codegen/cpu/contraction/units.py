"""The loops that matrix kernels share: units of a chunk, each a block of rows x a group of panels, and their panels."""

from __future__ import annotations

import textwrap

from symc.codegen.descriptor import Descriptor

from .blocking import Blocking

LOOPS = """
for unit in range(chunk * n_units // n_chunks, (chunk + 1) * n_units // n_chunks):
    if is_block_major:
        block = unit // n_panel_groups
        panel_group = unit - block * n_panel_groups
    else:
        panel_group = unit // n_blocks
        block = unit - panel_group * n_blocks{turns}
    first_{row} = block * block_{row}s
    last_{row} = first_{row} + block_{row}s
    if last_{row} > n_{row}s:
        last_{row} = n_{row}s
    first_panel = panel_group * group_panels
    last_panel = first_panel + group_panels
    if last_panel > n_panels:
        last_panel = n_panels
    for panel in range(first_panel, last_panel):
"""

# `skipped`: the panels between the last one of a group and the first one of the next unit's.
TURNS = """
        n_between = n_panel_groups // n_turns
        turn = panel_group % n_turns
        panel_group = turn * n_between + panel_group // n_turns
        skipped = ((n_between if turn + 1 < n_turns else n_between - n_panel_groups + 1) - 1) * group_panels"""


def unit_loops(row: str, has_turns: bool = False) -> str:
    """The head of the loops, to be indented like a kernel's body; `row` names the rows of the grid: tile, group."""
    return textwrap.indent(LOOPS.format(row=row, turns=TURNS if has_turns else ""), "    ").strip()


def add_units(d: Descriptor, blocking: Blocking, n_rows: int, n_panels: int, row: str) -> None:
    """The words that the loops read, besides `group_panels` and `n_panels`."""
    n_blocks = -(-n_rows // blocking.block_tiles)
    n_panel_groups = -(-n_panels // blocking.group_panels)
    d.add("n_units", n_blocks * n_panel_groups)
    d.add("n_blocks", n_blocks)
    d.add("n_panel_groups", n_panel_groups)
    d.add("is_block_major", int(blocking.is_block_major))
    if blocking.turns > 1:
        d.add("n_turns", blocking.turns)
    d.add(f"block_{row}s", blocking.block_tiles)
    d.add(f"n_{row}s", n_rows)
