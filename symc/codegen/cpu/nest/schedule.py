"""Nest -> kernel calls: stores that can share loops are grouped, planned, and described."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from symc.codegen.cpu.target import Target
from symc.codegen.kernel import KernelCall, KernelCode
from symc.core.errors import CodegenError
from symc.loopir.expr import Expr, free_axes, walk
from symc.loopir.kernel import Buffer, Nest, Store, loads_of

from .form import form_of, private_axes
from .layout import lay_out
from .plan import plan_form, split
from .source import build_function, source_text

MAX_STORES = 64  # of one call: the parts of a value cut into thousands would make one kernel that never compiles


def schedule_nest(nest: Nest, target: Target) -> list[KernelCall]:
    """The calls that carry out a nest, in order; none for a nest without elements.

    In-place guarantee: within a call, every element is read before it is overwritten as long as all loads of the
    overwritten memory are at exactly the index of the store. A nest that becomes several calls runs them in order,
    so an output of an earlier call must not share memory with an input of a later one.

    Raises CodegenError when a store overwrites a buffer that its own expression reads at other places.
    """
    buffers = {b.name: b for b in nest.buffers}
    return [_call(group, buffers, target) for group in group_stores(nest.stores)]


def group_stores(stores: tuple[Store, ...]) -> list[list[Store]]:
    """Consecutive stores that may share loops; stores over empty axes are left out."""
    groups: list[list[Store]] = []
    for store in stores:
        if any(a.extent == 0 for a in store.axes):
            continue
        _check_in_place(store)
        if groups and len(groups[-1]) < MAX_STORES and _can_join(groups[-1], store):
            groups[-1].append(store)
        else:
            groups.append([store])
    return groups


def _can_join(group: list[Store], store: Store) -> bool:
    """Equal loops (reductions decide them where there are any), and no order between the stores that matters."""
    together = [*group, store]
    if any(s.mode == "add" or _is_ordered(s) for s in together):
        return False
    for earlier in group:
        if earlier.buffer == store.buffer or earlier.buffer in _buffers_read(store):
            return False
        if any(e.data[1] != store.index for e in loads_of(earlier.value) if e.data[0] == store.buffer):
            return False
    reduces = [e for s in together for e in walk(s.value) if e.op == "reduce"]
    bound = set().union(*(s.axes for s in together))
    shared = {a for e in reduces for a in free_axes(e) if a in bound}
    if not reduces:
        return all(set(s.axes) == set(store.axes) for s in group)
    return bool(shared) and all(shared <= set(s.axes) for s in together)


def _is_ordered(store: Store) -> bool:
    """Whether two iterations may write one element."""
    private = private_axes(store)
    return any(a.extent > 1 and a.name not in private for a in store.axes)


def _buffers_read(store: Store) -> set[str]:
    exprs = [store.value, *(i for i in store.index if isinstance(i, Expr))]
    return {e.data[0] for root in exprs for e in loads_of(root)}


def _check_in_place(store: Store) -> None:
    """Raises CodegenError when the result would depend on the order of the elements."""
    reduced = {x for e in walk(store.value) if e.op == "reduce" for x in loads_of(e.args[0])}
    for e in loads_of(store.value):
        if e.data[0] == store.buffer and (e.data[1] != store.index or e in reduced):
            raise CodegenError(
                f"scheduling {store}: it overwrites {store.buffer}, which it also reads at "
                f"{e}; expected reads at the stored index only; store into another buffer"
            )


def _call(stores: list[Store], buffers: Mapping[str, Buffer], target: Target) -> KernelCall:
    form = form_of(stores, buffers)
    plan = plan_form(form, target)
    block, n_blocks, n_chunks = split(plan, plan.lanes * plan.unroll)
    layout = lay_out(plan, block, n_blocks)
    structure = f"{layout.structure}\nvector_bits {target.vector_bits}"

    def describe() -> str:
        used = dict.fromkeys([s.buffer for s in stores] + [b for s in stores for b in sorted(_buffers_read(s))])
        text = "\n".join([*(str(buffers[b]) for b in used), *map(str, stores)])
        return source_text(plan, layout, text)

    def build() -> Callable[..., None]:
        return build_function(plan, layout, target.vector_bits, code.name, code.source)

    code = KernelCode("nest", structure, describe, build)
    return KernelCall(code, layout.words, n_chunks, f"{plan.kind}: {plan.reason}")
