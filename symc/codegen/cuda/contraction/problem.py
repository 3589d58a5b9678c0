"""Contractions as matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from symc.core.shapes import size_of
from symc.loopir.kernel import Contraction


@dataclass(frozen=True)
class Problem:
    """A contraction as matrix products: `n_sets` of (n_rows, depth) by (depth, n_columns).

    run   products whose left operands are neighbours in memory: the channels of a tap; 0 where none are
    """

    n_sets: int
    n_rows: int
    n_columns: int
    depth: int
    run: int

    @property
    def n_results(self) -> int:
        return self.n_sets * self.n_rows * self.n_columns


def problem_of(c: Contraction) -> Problem:
    """Its matrices; a set is a group of channels or a member of a stack."""
    inner, outer = c.in_channels // c.groups, c.out_channels // c.groups
    n_sets = c.groups * (c.stack or 1)
    pixels = size_of(c.window.out_extents)
    if c.kind == "weight_gradient":
        return Problem(n_sets, outer, c.window.n_taps * inner, c.batch * pixels, 0)
    if c.kind == "data_gradient":
        return Problem(n_sets, c.batch * size_of(c.window.in_extents), inner, c.window.n_taps * outer, outer)
    return Problem(n_sets, c.batch * pixels, outer, c.window.n_taps * inner, inner)
