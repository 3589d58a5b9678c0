"""Lowers a fused graph to kernels; a node that holds a body becomes a loop around the kernels of its body.

Rows of stacked arrays are views that move by one row in each round. A state has one buffer, that of the last state: the
first one is copied there, and each round overwrites it, in place where no kernel of the round reads it any more. Where
kernels still do, present and next state lie side by side and change places in each round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from symc.core.dtypes import compute_dtype
from symc.core.lazy import lazy
from symc.core.shapes import size_of
from symc.ir.graph import Graph, Node, Value
from symc.ir.kernels import KernelGraph, KernelLoop, KernelNode, Move, Place, Storage, View
from symc.loopir.expr import Affine, Axis, Expr, const, index_value, load, param, substitute
from symc.loopir.kernel import SEED, Buffer, LoopKernel, Nest, Store
from symc.ops.control.iterate import Iterate

from .base import PassContext
from .in_place import is_in_place_legal, reads_of
from .lower import Around, Lowerer, loaded_by
from .phases import PHASES, Phase

# Odd numbers without pattern: sums of a few multiples of their powers (modulo 2^64) differ, whatever the rounds, depths
# and loops.
ROUND_KEY = 0xD1342543DE82EF95
LOOP_KEY = 0x2545F4914F6CDD1D


def _wrapped(number: int) -> int:
    """A number modulo 2^64, as an int64."""
    return (number + 2**63) % 2**64 - 2**63


def lower(graph: Graph, context: PassContext) -> KernelGraph:
    """The kernels of a fused graph in execution order, over named storage.

    before:  group 0 = {%a = Convolution(%x, %w), %y = Activation(%a)}
    after:   contraction forward ... lhs=x rhs=w.packed;  for n, c, h, w: y[n, c, h, w] = maximum(@acc[], 0.0)
    """
    return LoopLowerer(graph, context).run()


class LoopLowerer(Lowerer):
    """The lowering of a graph, or of the body of a loop in the lowering `around` it."""

    def __init__(self, graph: Graph, context: PassContext, around: Around | None = None) -> None:
        super().__init__(graph, context, around)
        self.own: set[str] = set()  # storages that nothing around the body knows
        # By kernel: buffers of its stores that lie in the place of a state, which has that name.
        self.overwritten: dict[int, dict[str, str]] = {}
        self.pairs: dict[str, str] = {}  # by state: the storage of two in which it changes places with the next one

    def _new_storage(self, base: str, size: int, dtype: str, place: Place, key: str = "") -> Storage:
        storage = super()._new_storage(base, size, dtype, place, key)
        self.own.add(storage.name)
        return storage

    def _lower_group(self, nodes: Sequence[Node]) -> None:
        if nodes[0].bodies:
            self._lower_loop(nodes[0], max((self.phases[n] for n in nodes), key=PHASES.index))
        else:
            super()._lower_group(nodes)

    def _lower_loop(self, node: Node, phase: Phase) -> None:
        op = node.operator
        assert isinstance(op, Iterate)
        n_fed = op.n_data + op.n_states
        ins = [self._buffer(v, phase) for v in node.inputs]
        outs = [self._buffer(node[k], phase) for k in range(node.n_outputs)]
        states = outs[op.n_results :]
        n_rounds = op.n_rounds([b.shape for b in ins])
        flag = None if op.flag is None else states[op.flag].name
        loop = KernelLoop(self._unique(node.name), n_rounds, flag)
        for stack in outs[: op.n_results] if flag else ():
            self._fill(stack, phase, node)
        fed = [n[0] for n in op.body.inputs]
        around = Around(self, node, phase, (*self._loops, loop), dict(zip(fed[n_fed:], node.inputs[n_fed:])))
        body = LoopLowerer(op.body, self.context, around)
        stacks = (*ins[: op.n_data], *outs[: op.n_results])
        rows = [body.row(stack, n_rounds - 1 if op.is_reversed else 0, -1 if op.is_reversed else 1) for stack in stacks]
        lasting = [self.views[state.name] for state in states]
        body.run_round([*rows[: op.n_data], *states, *ins[n_fed:]], rows[op.n_data :], states)
        for first, state in zip(ins[op.n_data : n_fed], states):
            self._copy_buffer(first, self._in_pair(body, state, 0), phase, node, "first state")
        self.kernels += body.kernels
        for k, (state, view) in enumerate(zip(states, lasting), op.n_results):
            if state.name in body.pairs:
                self._leave_pair(node[k], self._in_pair(body, state, n_rounds % 2), view, phase)

    def _in_pair(self, body: LoopLowerer, state: Buffer, number: int) -> Buffer:
        """One of the two places of a state; the only one of a state that does not change places."""
        if state.name not in body.pairs:
            return state
        buffer = replace(state, name=self._unique(f"{state.name}.{number}"))
        self.views[buffer.name] = View(body.pairs[state.name], number * size_of(state.shape))
        return buffer

    def _leave_pair(self, v: Value, last: Buffer, view: View, phase: Phase) -> None:
        """The last state stays where it is, or goes where it was meant to be, if that is an array of others."""
        is_own = view == View(view.storage) and self.storages[view.storage].place in ("arena", "prepared")
        if is_own and not any(other.storage == view.storage for other in self.views.values()):
            del self.storages[view.storage]
            self.buffers[v] = last
            return
        meant = replace(last, name=self._unique(f"{last.name}.out"))
        self.views[meant.name] = view
        self.buffers[v] = meant
        self._copy_buffer(last, meant, phase, v.node, "last state")

    def _fill(self, stack: Buffer, phase: Phase, node: Node) -> None:
        axes = tuple(Axis(f"i{k}", n) for k, n in enumerate(stack.shape))
        zero = const(0, compute_dtype(stack.dtype))
        store = Store(stack.name, tuple(map(Affine.of, axes)), zero, axes)
        self._emit(Nest((stack,), (store,)), phase, [node], "rounds that do not take place")

    # -- random numbers -----------------------------------------------------------------------------------------------

    def _emit(self, kernel: LoopKernel, phase: Phase, nodes: Sequence[Node], reason: str = "") -> None:
        if self.around and any(b.name == SEED for b in kernel.buffers):
            kernel = self._with_key(kernel, self._key)
        super()._emit(kernel, phase, nodes, reason)

    @lazy
    def _key(self) -> Buffer:
        """The key of a round: a row of as many as there are rounds, which are made of the key around the loop."""
        around = self.around
        assert around is not None
        outer, loop = around.outer, around.loops[-1]
        place: Place = "prepared" if around.phase == "prepare" else "arena"
        storage = outer._new_storage(f"{loop.name}.keys", loop.count, "int64", place)
        keys = Buffer.dense(self._unique(f"{loop.name}.keys.buf"), (loop.count, 1), "int64")
        self.views[keys.name] = View(storage.name)
        t, stream = Axis("t", loop.count), outer.graph.random_streams[around.node]
        factor, offset = (_wrapped(k) for k in (ROUND_KEY ** len(around.loops), stream * LOOP_KEY))
        key = load(SEED, (0,), "int64") + index_value(Affine.of(t)) * factor + param(offset, "int64")
        store = Store(keys.name, (Affine.of(t), Affine()), key, (t,))
        outer._emit(Nest((outer._seed(), keys), (store,)), around.phase, [around.node], "keys of the rounds")
        return self.row(keys, 0, 1)

    def _with_key(self, kernel: LoopKernel, key: Buffer) -> LoopKernel:
        """The kernel with another key for its random numbers."""

        def exchanged(expr: Expr) -> Expr:
            return substitute(expr, SEED, lambda *index: load(key.name, index, "int64"))

        stores = tuple(
            replace(
                s, value=exchanged(s.value), index=tuple(exchanged(i) if isinstance(i, Expr) else i for i in s.index)
            )
            for s in kernel.stores
        )
        buffers = tuple(key if b.name == SEED else b for b in kernel.buffers)
        return replace(kernel, buffers=buffers, stores=stores)  # type: ignore[arg-type]

    # -- one round ----------------------------------------------------------------------------------------------------

    def row(self, stack: Buffer, first: int, step: int) -> Buffer:
        """A row of a stacked array: row `first` in the first round of the loop, `step` more in each other."""
        assert self.around is not None
        name = self._unique(f"{stack.name}.row")
        view, stride = self.views[stack.name], stack.strides[0]
        moves = (*view.moves, Move(self.around.loops[-1].name, step * stride))
        self.views[name] = View(view.storage, view.offset + max(first, 0) * stride, moves)
        return Buffer(name, stack.shape[1:], stack.dtype, stack.strides[1:])

    def run_round(self, ins: Sequence[Buffer], rows: Sequence[Buffer], states: Sequence[Buffer]) -> None:
        """The kernels of a round that reads `ins`, stores its results in `rows` and the next states in `states`."""
        graph = self.graph
        self.buffers.update((node[0], buffer) for node, buffer in zip(graph.inputs, ins))
        results = [o.value for o in graph.outputs[: len(rows)]]
        copies: list[tuple[Value, Buffer]] = []
        for v, row in zip(results, rows):
            if v in self.buffers or self._is_view(v.node):
                copies.append((v, row))
            else:
                self.buffers[v] = row
        for nodes in self._ordered_groups():
            self._lower_group(nodes)
        for v, row in copies:
            self._copy_within(self._buffer(v), row, v.node, "result of the round")
        nexts = [o.value for o in graph.outputs[len(rows) :]]
        self._replace_states(nexts, states)

    def _copy_within(self, source: Buffer, target: Buffer, node: Node, reason: str) -> None:
        assert self.around is not None
        self._copy_buffer(source, target, self.around.phase, node, reason)

    def _replace_states(self, nexts: Sequence[Value], states: Sequence[Buffer]) -> None:
        """Puts the next states in the place of the present ones."""
        made: list[tuple[Buffer, Buffer, Node]] = []
        present = {self.views[s.name].storage for s in states}
        for v, state in zip(nexts, states):
            new = self._buffer(v)
            if self.views[new.name] == self.views[state.name]:
                continue  # it stays as it is
            if self.views[new.name].storage in present:  # another state, which may be overwritten before it is read
                kept = self._temporary(new, v.node)
                self._copy_within(new, kept, v.node, "kept state")
                new = kept
            made.append((new, state, v.node))
        for new, state, node in made:
            if not (self._takes_over(new, state) or self._stores_both(new, state) or self._alternates(new, state)):
                self._copy_within(new, state, node, "next state")

    def _temporary(self, like: Buffer, node: Node) -> Buffer:
        assert self.around is not None
        return self._scratch(node, like.shape, like.dtype, self.around.phase)

    def _touching(self, storage: str) -> list[int]:
        """The kernels of the round that touch a storage, by position."""
        return [
            k
            for k, kernel in enumerate(self.kernels)
            if any(self.views[b].storage == storage for b in (*kernel.reads, *kernel.writes, *kernel.flags))
        ]

    def _takes_over(self, new: Buffer, state: Buffer) -> bool:
        """Has the next state computed in the place of the present one, if no kernel misses that."""
        view, target = self.views[new.name], self.views[state.name]
        is_whole = view == View(view.storage) and size_of(new.shape) == self.storages[view.storage].size
        if not is_whole or view.storage not in self.own or new.strides != state.strides:
            return False
        touching = self._touching(view.storage)
        if not self._is_done_with(state, touching) and not self._stores_in_place(new, new, state):
            return False
        for name, other in self.views.items():
            if other.storage == view.storage:
                self.views[name] = replace(target, offset=target.offset + other.offset)
        del self.storages[view.storage]
        return True

    def _stores_both(self, new: Buffer, state: Buffer) -> bool:
        """Has the kernel that computes a result of the round, which is the next state too, store it twice."""
        return self._stores_in_place(new, state, state)

    def _alternates(self, new: Buffer, state: Buffer) -> bool:
        """Has the kernel that computes the next state, a result of the round perhaps, store it beside the present one,
        with which it changes places. False where nobody knows after how many rounds.
        """
        around, size, place = self.around, size_of(state.shape), self.views[state.name]
        assert around is not None
        loop, found = around.loops[-1], self._one_store(new)
        is_dense = 1 + sum((n - 1) * stride for n, stride in zip(state.shape, state.strides)) == size
        if found is None or loop.flag is not None or place.moves or not is_dense:
            return False
        both = around.outer._scratch(around.node, (2, *state.shape), state.dtype, around.phase)
        pair = self.pairs[state.name] = self.views[both.name].storage
        for name in {b.name for b in self.buffers.values()}.union(*(k.reads + k.writes for k in self.kernels)):
            view = self.views[name]
            if view.storage == place.storage and place.offset <= view.offset < place.offset + size:
                moves = (Move(loop.name, size, 2), *view.moves)
                self.views[name] = View(pair, view.offset - place.offset, moves)
        beside = replace(state, name=self._unique(f"{state.name}.next"))
        self.views[beside.name] = View(pair, size, (Move(loop.name, -size, 2),))
        k, store = found
        stores = list(self.kernels[k].kernel.stores)
        stores.insert(stores.index(store) + 1, replace(store, buffer=beside.name))
        self.kernels[k] = self._with_stores(k, beside, tuple(stores))
        return True

    def _one_store(self, new: Buffer) -> tuple[int, Store] | None:
        """Where a buffer has its content from: the one kernel, of this loop itself, and its store."""
        writing = [k for k, kernel in enumerate(self.kernels) if new.name in kernel.writes]
        if len(writing) != 1 or self.kernels[writing[0]].loops != self._loops:
            return None
        stores = [s for s in self.kernels[writing[0]].kernel.stores if s.buffer == new.name]
        return (writing[0], stores[0]) if len(stores) == 1 else None

    def _with_stores(self, k: int, target: Buffer, stores: tuple[Store, ...]) -> KernelNode:
        """A kernel with other stores, among them one in `target`."""
        node = self.kernels[k]
        buffers = (*(b for b in node.kernel.buffers if b != target), target)
        kernel: LoopKernel = replace(node.kernel, buffers=buffers, stores=stores)  # type: ignore[arg-type]
        return replace(node, kernel=kernel, writes=tuple(sorted({*node.writes, target.name})))

    def _is_done_with(self, state: Buffer, touching: Sequence[int]) -> bool:
        """Whether all kernels that read a state run before these."""
        reading = self._touching(self.views[state.name].storage)
        return not reading or self._span(max(reading))[1] < self._span(min(touching))[0]

    def _stores_in_place(self, new: Buffer, target: Buffer, state: Buffer) -> bool:
        """Has the one kernel that computes `new` store it in `target`, in the place of a state, when it has read that.

        False where it, or a later one, may read the state afterwards.
        """
        found, place = self._one_store(new), self.views[state.name].storage
        if found is None or max(self._touching(place), default=-1) > found[0]:
            return False
        k, store = found
        node = self.kernels[k]
        seen = {name for name in node.reads if self.views[name].storage == place}
        if seen and seen != {state.name}:
            return False
        others = [s for s in node.kernel.stores if s is not store or target != new]
        overwritten = {**self.overwritten.get(k, {}), target.name: state.name}
        ordered = _readers_first([*others, replace(store, buffer=target.name)], overwritten)
        if ordered is None:
            return False
        made = self._with_stores(k, target, ordered)
        reads = reads_of(made.kernel)
        if not all(is_in_place_legal(self.views, made, s, t, reads) for t, s in overwritten.items() if s in made.reads):
            return False
        self.kernels[k] = made
        self.overwritten[k] = overwritten
        return True

    @property
    def _loops(self) -> tuple[KernelLoop, ...]:
        return self.around.loops if self.around else ()

    def _span(self, k: int) -> tuple[int, int]:
        """The first and last kernel of the loop inside this one that a kernel lies in; of one in none, itself."""
        depth = len(self._loops)
        inner = self.kernels[k].loops[depth : depth + 1]
        if not inner:
            return k, k
        inside = [n for n, kernel in enumerate(self.kernels) if kernel.loops[depth : depth + 1] == inner]
        return inside[0], inside[-1]


def _readers_first(stores: Sequence[Store], overwritten: Mapping[str, str]) -> tuple[Store, ...] | None:
    """Stores in an order in which what overwrites a buffer comes after what loads it; None where there is none.

    overwritten   what is overwritten by the store in each buffer
    """
    loads = {s.buffer: loaded_by([s]) for s in stores}
    ordered: list[Store] = []
    waiting = list(stores)
    while waiting:
        free = [
            s for s in waiting if not any(overwritten.get(s.buffer) in loads[o.buffer] for o in waiting if o is not s)
        ]
        if not free:
            return None
        ordered.append(free[0])
        waiting.remove(free[0])
    return tuple(ordered)
