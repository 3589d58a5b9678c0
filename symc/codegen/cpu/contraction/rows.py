"""A row or two times a matrix that serves them alone: as sums along its rows, with nothing packed.

Packing reads and writes the whole matrix before the product reads it again: three quarters of the time of 1x512 times
512x256 (32 us, in 8 with sums along rows; Zen 4, one thread).

    contraction forward batch=1 channels=512->256 ...  y[n, o] = @acc[] + b[o]
    ->
    y[n, o] = sum(k: x[n, k] * w[o, k]) + b[o]
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from symc.codegen.contraction.plan import ContractionPlan
from symc.codegen.contraction.tables import LONGEST_SUM
from symc.codegen.cpu.nest import schedule_nest
from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall
from symc.loopir.expr import Affine, Axis, Expr, reduce, substitute
from symc.loopir.kernel import ACCUMULATOR, Contraction, Nest, Store, buffer_of
from symc.loopir.tensor import Tensor

MOST_ROWS = 2  # each walks the whole matrix; four take as long as packing it
LEAST_DEPTH = 64  # shorter sums are mostly their own beginning and end
FLOPS_PER_CYCLE = 16  # as many as L2 gives operands for


@dataclass(frozen=True, kw_only=True)
class RowsPlan(ContractionPlan):
    """Sums along the rows of both operands, as they lie."""

    @staticmethod
    def of(c: Contraction) -> RowsPlan | None:
        """The plan for a product whose matrix serves no other run; None where packing it is better."""
        is_product = c.kind == "forward" and c.stack is None and c.groups == 1 and not c.window.kernel
        if not is_product or c.batch > MOST_ROWS or not LEAST_DEPTH <= c.in_channels <= LONGEST_SUM:
            return None
        if buffer_of(c, c.rhs).strides[-1] != 1:
            return None
        return RowsPlan(
            algorithm="sums along rows",
            cycles=c.work_flops / FLOPS_PER_CYCLE,
            why=f"sums along rows of {c.in_channels}: the matrix serves {c.batch} rows, packing it would take longer",
        )


def schedule_rows(c: Contraction, target: Target) -> list[KernelCall]:
    """The kernel calls that carry out a RowsPlan."""
    assert isinstance(c.plan, RowsPlan)
    return [replace(call, schedule=f"{c.plan.why}; {call.schedule}") for call in schedule_nest(_nest(c), target)]


def _nest(c: Contraction) -> Nest:
    x, w = (Tensor(b.name, b.shape, b.dtype) for b in (buffer_of(c, c.lhs), buffer_of(c, c.rhs)))
    k, width = Axis("k", c.in_channels), c.out_channels // c.sections

    def summed(store: Store) -> Store:
        n, o = store.axes

        def total(*index: Affine) -> Expr:
            (section,) = index or (Affine(),)
            return reduce("sum", (k,), x(n, k) * w(section * width + o, k))

        return replace(store, value=substitute(store.value, ACCUMULATOR, total))

    return Nest(c.buffers, tuple(summed(store) for store in c.stores))
