"""Nest -> kernel calls: stores that can share loops are grouped, planned, and described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from symc.codegen.cuda.launch import MOST_BLOCKS, Grid
from symc.codegen.kernel import KernelCall, KernelCode
from symc.codegen.nest.form import forms_of
from symc.codegen.nest.group import group_stores, shares_of, stores_text
from symc.codegen.nest.header import header_text
from symc.codegen.nest.layout import lay_out
from symc.loopir.kernel import Buffer, Nest, Store

from .grid import GridPlan
from .plan import plan_stores
from .source import build_function, function_text


def schedule_nest(nest: Nest) -> list[KernelCall]:
    """The calls that carry out a nest, in order; none for a nest without elements.

    In-place guarantee: that of the CPU's `schedule_nest`. Raises CodegenError when a store overwrites a buffer that its
    own expression reads at other places.
    """
    return [call for _, call in planned(nest)]


def planned(nest: Nest) -> list[tuple[GridPlan, KernelCall]]:
    """The same with the plan of each call."""
    buffers = {b.name: b for b in nest.buffers}
    groups = group_stores(nest.stores)
    plans = [plan_stores(forms_of(group, buffers)) for group in groups]
    calls = [_call(plan, group, buffers) for plan, group in zip(plans, groups)]
    if len(calls) > 1:
        calls = [replace(c, share=s) for c, s in zip(calls, shares_of(nest, groups))]
    return [*zip(plans, calls)]


def _call(plan: GridPlan, stores: list[Store], buffers: Mapping[str, Buffer]) -> KernelCall:
    layout = lay_out(plan, plan.lanes, 1)

    def describe() -> str:
        return f"{header_text(plan, layout, stores_text(stores, buffers))}\n\n{function_text(plan, layout)}"

    def build() -> Callable[..., None]:
        return build_function(plan, layout, code.name, function_text(plan, layout))

    threads = f"{plan.n_threads} threads, {plan.team} a unit, {plan.rounds} rounds"
    code = KernelCode("nest", f"gpu {threads} {layout.structure}", describe, build)
    return KernelCall(code, layout.words, grid_of(plan), plan.reason)


def grid_of(plan: GridPlan) -> Grid:
    """A team of threads, or one, for each unit, until there are enough of them: then they take several."""
    n_blocks = -(-plan.n_units * plan.team // plan.n_threads)
    return Grid(max(1, min(n_blocks, MOST_BLOCKS)), plan.n_threads)
