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
from symc.loopir.kernel import Buffer, Nest, Store

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
    calls = [_call(group, buffers, target, nest.distance_bytes) for group in groups]
    return calls if len(calls) == 1 else [replace(c, share=s) for c, s in zip(calls, shares_of(nest, groups))]


def _call(stores: list[Store], buffers: Mapping[str, Buffer], target: Target, distance_bytes: int) -> KernelCall:
    plan = plan_stores(forms_of(stores, buffers), target, distance_bytes)
    block, n_blocks, n_chunks = split(plan, plan.lanes * plan.unroll)
    layout = lay_out(plan, block, n_blocks)
    structure = f"{layout.structure}\nvector_bits {target.vector_bits}"

    def describe() -> str:
        return source_text(plan, layout, stores_text(stores, buffers))

    def build() -> Callable[..., None]:
        return build_function(plan, layout, abilities_of(target), code.name, code.source)

    code = KernelCode("nest", structure, describe, build)
    return KernelCall(code, layout.words, Chunks(n_chunks), f"{plan.kind}: {plan.reason}")
