"""Which stores of a nest may share loops, and whether a store may overwrite what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from symc.codegen.kernel import Share
from symc.core.errors import CodegenError
from symc.loopir.expr import Expr, free_axes, walk
from symc.loopir.kernel import Buffer, Nest, Store, loads_of
from symc.loopir.work import work_of

from .form import private_axes

MAX_STORES = 64  # of one call: the parts of a value cut into thousands would make one kernel that never compiles


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
        if earlier.buffer == store.buffer or earlier.buffer in buffers_read(store):
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


def buffers_read(store: Store) -> set[str]:
    exprs = [store.value, *(i for i in store.index if isinstance(i, Expr))]
    return {e.data[0] for root in exprs for e in loads_of(root)}


def _check_in_place(store: Store) -> None:
    """Raises CodegenError when the result would depend on the order of the elements."""
    reduced = {x for e in walk(store.value) if e.op == "reduce" for x in loads_of(e.args[0])}
    for e in loads_of(store.value):
        if e.data[0] == store.buffer and (not store.is_at(e.data[1]) or e in reduced):
            raise CodegenError(
                f"scheduling {store}: it overwrites {store.buffer}, which it also reads at "
                f"{e}; expected reads at the stored index only; store into another buffer"
            )


def shares_of(nest: Nest, groups: Sequence[Sequence[Store]]) -> Iterator[Share]:
    """What each group of stores does; what several compute or read counts in the first."""
    done: list[Store] = []
    for group in groups:
        before = work_of(Nest(nest.buffers, tuple(done)))
        done += group
        reads = tuple(sorted(set().union(*map(buffers_read, group))))
        yield Share(
            "", work_of(Nest(nest.buffers, tuple(done))) - before, reads, tuple({s.buffer: None for s in group})
        )


def stores_text(stores: Sequence[Store], buffers: Mapping[str, Buffer]) -> str:
    """The buffers of a group of stores, then the stores."""
    used = dict.fromkeys([s.buffer for s in stores] + [b for s in stores for b in sorted(buffers_read(s))])
    return "\n".join([*(str(buffers[b]) for b in used), *map(str, stores)])
