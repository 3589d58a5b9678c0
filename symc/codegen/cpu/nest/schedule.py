"""Nest -> kernel calls: stores that can share loops are grouped, planned, and described."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from symc.codegen.cpu.abilities import abilities_of
from symc.codegen.cpu.target import Target
from symc.codegen.kernel import Chunks, KernelCall, KernelCode
from symc.codegen.nest.form import forms_of
from symc.codegen.nest.group import group_stores, shares_of, stores_text
from symc.codegen.nest.layout import lay_out
from symc.codegen.nest.plan import NestPlan
from symc.loopir.kernel import Buffer, Nest, Store
from symc.loopir.work import Work

from .plan import plan_stores, split
from .source import build_function, source_text


def schedule_nest(nest: Nest, target: Target) -> list[KernelCall]:
    """The calls that carry out a nest, in order; none for a nest without elements.

    In-place guarantee: within a call, every element is read before it is overwritten as long as all loads of the
    overwritten memory are at exactly the index of the store. A nest that becomes several calls runs them in order,
    so an output of an earlier call must not share memory with an input of a later one.

    Raises CodegenError when a store overwrites a buffer that its own expression reads at other places.
    """
    buffers = {b.name: b for b in nest.buffers}
    groups = group_stores(nest.stores)
    plans = [plan_stores(forms_of(group, buffers), target, nest.distance_bytes) for group in groups]
    calls = [_call(plan, group, buffers, target) for plan, group in zip(plans, groups)]
    saved = [plan.slide.flops_saved(plan.form) if plan.slide else 0 for plan in plans]
    if len(calls) == 1 and not any(saved):
        return calls
    shares = zip(shares_of(nest, groups), saved)
    return [replace(c, share=replace(s, work=s.work - Work(n, 0))) for c, (s, n) in zip(calls, shares)]


def _call(plan: NestPlan, stores: list[Store], buffers: Mapping[str, Buffer], target: Target) -> KernelCall:
    block, n_blocks, n_chunks = split(plan, plan.lanes * plan.unroll, target)
    layout = lay_out(plan, block, n_blocks)
    structure = f"{layout.structure}\nvector_bits {target.vector_bits}"

    def describe() -> str:
        return source_text(plan, layout, stores_text(stores, buffers))

    def build() -> Callable[..., None]:
        return build_function(plan, layout, abilities_of(target), code.name, code.source)

    code = KernelCode("nest", structure, describe, build)
    return KernelCall(code, layout.words, Chunks(n_chunks), f"{plan.kind}: {plan.reason}")
