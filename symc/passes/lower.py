"""Turns groups into kernels: composes the definitions of their nodes into stores and contractions over buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from symc.core.dtypes import compute_dtype
from symc.core.errors import GraphError, ShapeError
from symc.core.required import required
from symc.core.shapes import size_of
from symc.ir.graph import Graph, Node, Value
from symc.ir.kernels import HELD, HeadInfo, KernelGraph, KernelLoop, KernelNode, Place, View
from symc.loopir.expr import Affine, Axis, Expr, rounded, substitute, unrounded
from symc.loopir.kernel import (
    ACCUMULATOR,
    SEED,
    Buffer,
    Contraction,
    LoopKernel,
    Nest,
    Packing,
    Store,
    Template,
    accumulator,
    loads_of,
    verify,
)
from symc.loopir.routine import Routine
from symc.loopir.tensor import Function, Lowering, Product, Tensor

from .base import PassContext
from .meaning import define, meaning_of, memoised
from .phases import PHASES, Phase, phases
from .placement import lies_already
from .prepared import arranged
from .storage_assignment import StorageAssignment

networkx = required("networkx")


@dataclass(frozen=True)
class Around:
    """What is around a body that is lowered: the lowering of its node's graph, and the loops."""

    outer: Lowerer
    node: Node
    phase: Phase
    loops: tuple[KernelLoop, ...]
    free: Mapping[Value, Value]  # inputs of the body that no round changes, and the values outside they stand for


class Lowerer(StorageAssignment):
    """One lowering: emits the kernels group by group, over the storage that their values are assigned.

    A body has a lowering of its own.
    """

    def __init__(self, graph: Graph, context: PassContext, around: Around | None = None) -> None:
        if around:
            outer, prefix = around.outer, f"{around.outer.prefix}{around.node.name}."
            super().__init__(graph, dict.fromkeys(graph.nodes, around.phase), context.backend, outer, prefix)
        else:
            super().__init__(graph, phases(graph), context.backend)
        self.context = context
        self.backend = context.backend
        self.rounds_float16 = context.rounds_float16
        self.around = around
        self.packed: dict[tuple[Value, Packing], Buffer] = {}
        self.kernels: list[KernelNode] = []

    def run(self) -> KernelGraph:
        heads = tuple(
            HeadInfo(o.name, self.graph.shape(o.value), self.graph.dtype(o.value))
            for o in self.graph.outputs
            if o.kind == "head"
        )
        self._place_inputs()
        copies = self._place_outputs()
        for nodes in self._ordered_groups():
            self._lower_group(nodes)
        for source, target in copies:
            self._copy(source, target)
        # Phases run one after the other, whatever the order in which groups asked for packed operands and copies.
        kernels = sorted(arranged(self.kernels, self.storages, self.views), key=lambda k: PHASES.index(k.phase))
        return KernelGraph(tuple(kernels), self.storages, self.views, heads, self.graph.training)

    # -- order --------------------------------------------------------------------------------------------------------

    def _ordered_groups(self) -> Iterator[list[Node]]:
        """Groups in an order their dependences allow: by phase, then as the user's graph lists them."""
        members: dict[int, list[Node]] = {}
        position = {node: k for k, node in enumerate(self.graph.nodes)}
        for node in self.graph.nodes:
            if node in self.graph.facts.group:
                members.setdefault(self.graph.facts.group[node], []).append(node)
        waits = networkx.DiGraph()
        waits.add_nodes_from(members)
        for source, user in self.graph.nx.edges():
            before, after = self._group_behind(source), self.graph.facts.group.get(user)
            if before is not None and after is not None and before != after:
                waits.add_edge(before, after)
        updates = {o.value.node for o in self.graph.outputs if o.kind == "update"}

        def key(g: int) -> tuple[int, bool, int]:
            nodes = members[g]
            phase = max(PHASES.index(self.phases[n]) for n in nodes)
            return phase, any(n in updates for n in nodes), position[nodes[-1]]

        try:
            yield from (members[g] for g in networkx.lexicographical_topological_sort(waits, key))
        except networkx.NetworkXUnfeasible:
            raise GraphError("lowering: groups wait for each other; fusion made a group that is not convex") from None

    def _group_behind(self, node: Node) -> int | None:
        """The group that computes a node's value, seen through memory views; None for an input."""
        return self.graph.facts.group.get(self._viewed(node[0]).node)

    # -- kernels ------------------------------------------------------------------------------------------------------

    def _lower_group(self, nodes: Sequence[Node]) -> None:
        phase = max((self.phases[n] for n in nodes), key=PHASES.index)
        inside = set(nodes)
        functions: dict[Value, Function] = {}
        reads: dict[str, Buffer] = {}

        def read(v: Value) -> Tensor:
            dtype = compute_dtype(self.graph.dtype(v))
            if v in functions:
                return Tensor(str(v), self.graph.shape(v), dtype, functions[v])
            buffer = self._buffer(v, phase)
            reads[buffer.name] = buffer
            return Tensor(buffer.name, buffer.shape, dtype)

        product: tuple[Node, Lowering, int] | None = None
        stores: list[tuple[Value, Store]] = []
        for node in nodes:
            t = define(self.graph, node, read)
            if t.routine is not None:
                self._emit(self._template(node, t.routine, phase), phase, nodes)
                return  # never fused
            for k, function in t.functions.items():
                functions[node[k]] = memoised(self._rounding(node[k], function, reads))
            if t.products:
                product = (node, t, self._n_sections(t.products[0], node, nodes[-1]))
                functions[node[0]] = memoised(self._finished(*product))
            stores += self._stores_of_parts(node, t, read, phase)
        for node in nodes:
            for k in range(node.n_outputs):
                v = node[k]
                if v in functions and v not in self.slices and self._is_needed_outside(v, inside):
                    stores.append((v, self._store(v, functions[v], phase)))
        if not stores:
            return  # every part was written in place
        writes = {s.buffer: self.buffers[v] for v, s in stores}
        buffers = self._read_by([s for _, s in stores], reads)
        if product is None:
            kernel: LoopKernel = Nest((*buffers, *writes.values()), tuple(s for _, s in stores))
        else:
            written = list(writes.values())
            before = self._upstream(product[0], nodes)
            kernel = self._contraction(
                *product, before, functions, reads, written, [s for _, s in stores], nodes[-1][0], phase
            )
            nodes = [n for n in nodes if n not in before]
        self._emit(kernel, phase, nodes)

    def _stores_of_parts(
        self, node: Node, t: Lowering, read: Callable[[Value], Tensor], phase: Phase
    ) -> list[tuple[Value, Store]]:
        """Stores of outputs that are computed part by part, without the parts that lie there already."""
        stores: list[tuple[Value, Store]] = []
        for k, regions in t.regions.items():
            buffer = self._buffer(node[k], phase)
            found = {v: self.placed.get(self._viewed(v)) for v in node.inputs}
            in_place = {read(v).name: i.offset(buffer) for v, i in found.items() if i and i.whole == node[k]}
            stores += [
                (node[k], Store(buffer.name, r.index, r.value, r.axes, r.mode))  # type: ignore[arg-type]
                for r in regions
                if not lies_already(r, in_place, buffer)
            ]
        return stores

    def _n_sections(self, p: Product, node: Node, last: Node) -> int:
        """How many sections the channels of a product fall into, over one of which the last node of its group runs."""
        whole, one = self.graph.shape(node[0]), self.graph.shape(last[0])
        return 1 if whole == one else whole[p.channel_axis] // one[p.channel_axis]

    def _n_read_sections(self, v: Value, axis: int) -> int:
        """Into how many equal sections an axis falls for all that reads a value, the same element of each; else 1."""
        found: set[int] = set()
        for user, position in self.graph.users.get(v, ()):
            meaning = meaning_of(self.graph, user)
            if meaning.kind != "map" or not meaning.reads_section(position, axis):
                return 1
            found.add(self.graph.shape(v)[axis] // self.graph.shape(user[0])[axis])
        return found.pop() if len(found) == 1 else 1

    def _finished(self, node: Node, t: Lowering, n_sections: int) -> Function:
        """The definition of a product by its finished sums."""
        p, dtype = t.products[0], compute_dtype(self.graph.dtype(node[0]))
        if n_sections == 1:
            return lambda *i: p.finish(accumulator(dtype), *i)
        width = self.graph.shape(node[0])[p.channel_axis] // n_sections
        return lambda *i: p.finish(accumulator(dtype, Affine.of(i[p.channel_axis]).constant // width), *i)

    def _rounding(self, v: Value, function: Function, reads: Mapping[str, Buffer]) -> Function:
        """The definition of a value as those who read it see it: a float16 is rounded, whether it is stored or not."""
        if self.graph.dtype(v) != "float16" or not self.rounds_float16:
            return function

        def is_half(buffer: str) -> bool:
            return buffer in reads and reads[buffer].dtype == "float16"

        return lambda *i: rounded(function(*i), is_half)

    def _read_by(self, stores: Sequence[Store], reads: Mapping[str, Buffer]) -> list[Buffer]:
        """The buffers among `reads` that stores load from, and the seed's where they draw random numbers."""
        used = loaded_by(stores)
        return [b for name, b in reads.items() if name in used] + ([self._seed()] if SEED in used else [])

    def _template(self, node: Node, routine: Routine, phase: Phase) -> Template:
        """A routine on the node's inputs and outputs, with memory of its own for as long as it runs."""
        ins = [self._buffer(v, phase) for v in node.inputs]
        outs = [self._buffer(node[k], phase) for k in range(node.n_outputs)]
        wanted = self.backend.scratch(routine, ins)
        scratch = [self._scratch(node, shape, dtype, phase) for shape, dtype in wanted]
        buffers = {b.name: b for b in (*ins, *outs, *scratch)}
        read, made, used = (tuple(b.name for b in part) for part in (ins, outs, scratch))
        return Template(routine, read, made, used, tuple(buffers.values()))

    def _upstream(self, node: Node, group: Sequence[Node]) -> list[Node]:
        """The nodes of a group that a node depends on, in order: what is fused into the packing of its operand."""
        found: set[Node] = set()
        stack = [node]
        while stack:
            for v in stack.pop().inputs:
                if v.node in group and v.node not in found:
                    found.add(v.node)
                    stack.append(v.node)
        return [n for n in group if n in found]

    def _is_needed_outside(self, v: Value, inside: set[Node]) -> bool:
        return v in self.graph.output_values or any(user not in inside for user, _ in self.graph.users.get(v, ()))

    def _store(self, v: Value, function: Function, phase: Phase) -> Store:
        buffer = self._buffer(v, phase)
        axes = tuple(Axis(f"i{k}", n) for k, n in enumerate(buffer.shape))
        value = function(*axes)
        return Store(buffer.name, axes, unrounded(value) if buffer.dtype == "float16" else value, axes)  # type: ignore[arg-type]

    def _contraction(
        self,
        node: Node,
        t: Lowering,
        n_sections: int,
        before: list[Node],
        functions: dict[Value, Function],
        reads: dict[str, Buffer],
        written: list[Buffer],
        stores: list[Store],
        last: Value,
        phase: Phase,
    ) -> Contraction:
        p = t.products[0]
        left, right = node.inputs[p.lhs], node.inputs[p.rhs]
        lhs = self._buffer(left, phase)
        rhs = self._operand(right, functions, phase)
        again = loaded_by(stores)
        operands = {b.name: b for b in (lhs, rhs, *self._read_by(stores, reads), *written)}
        names, buffers = (lhs.name, rhs.name), tuple(operands.values())
        made = Contraction(
            p.kind,
            *p.sizes,
            p.groups,
            p.window,
            *names,
            buffers,
            tuple(stores),
            stack=p.stack,
            sections=n_sections,
            read_sections=self._n_read_sections(last, p.channel_axis),
        )
        is_prepared = not self.graph.training and self._packing_phase(right, phase) == "prepare"
        is_reused = is_prepared or (self.around is not None and right in self.around.free)
        plan = self.backend.plan(made, is_reused)
        if plan is None or plan.packing is None:
            made = self._with_stored_operand(made, rhs, before, right, functions, reads, phase)
        else:
            if plan.is_in_place and not is_reused and right not in functions:
                packed = self._seen_packed(rhs, plan.packing)
            else:
                packed = self._pack(rhs, plan.packing, [*before, node], right, functions, reads, phase)
            if rhs.name not in again and rhs.name != lhs.name:
                operands.pop(rhs.name)
            made = replace(made, rhs=packed.name, buffers=(packed, *operands.values()))
        if plan is not None and plan.scratch:
            scratch = self._scratch(node, plan.scratch, lhs.dtype, phase)
            made = replace(made, buffers=(*made.buffers, scratch), written=(scratch.name,))
        return replace(made, plan=plan)

    def _with_stored_operand(
        self,
        made: Contraction,
        rhs: Buffer,
        before: list[Node],
        v: Value,
        functions: dict[Value, Function],
        reads: dict[str, Buffer],
        phase: Phase,
    ) -> Contraction:
        """The contraction reading its right operand as it lies; an operand whose producer is fused is stored first."""
        if v not in functions:
            return made
        phase = self._packing_phase(v, phase)
        store = self._store(v, functions[v], phase)
        stored = self.buffers[v]
        self._emit(Nest((*self._read_by([store], reads), stored), (store,)), phase, before)
        buffers = tuple(stored if b.name == rhs.name else b for b in made.buffers)
        return replace(made, rhs=stored.name, buffers=buffers)

    def _operand(self, v: Value, functions: dict[Value, Function], phase: Phase) -> Buffer:
        """The buffer of a contraction's right operand; a name without storage when its producer is fused."""
        if v in functions:
            return Buffer.dense(f"{v}.fused", self.graph.shape(v), self.graph.dtype(v))
        return self._buffer(v, phase)

    def _packing_phase(self, v: Value, phase: Phase) -> Phase:
        """When an operand is packed: once, when parameters decide it, else just before its use in `phase`."""
        v = self._viewed(v)
        if v.node.is_input:
            return "prepare" if v.node.role in HELD else phase
        return "prepare" if self.phases[v.node] == "prepare" else phase

    def _seen_packed(self, rhs: Buffer, packing: Packing) -> Buffer:
        """A right operand that lies as its packing says."""
        name = self._unique(f"{rhs.name}.packed")
        self.views[name] = self.views[rhs.name]
        return Buffer.dense(name, packing.shape, rhs.dtype)

    def _pack(
        self,
        rhs: Buffer,
        packing: Packing,
        nodes: list[Node],
        v: Value,
        functions: dict[Value, Function],
        reads: dict[str, Buffer],
        phase: Phase,
    ) -> Buffer:
        """The packed right operand; parameters are packed once, activations before every use."""
        if self.around and v in self.around.free:  # once, in front of the loop
            around = self.around
            return around.outer._pack(rhs, packing, [around.node], around.free[v], {}, {}, around.phase)
        phase = self._packing_phase(v, phase)
        key = (v, packing)
        if key in self.packed:
            return self.packed[key]
        place: Place = "prepared" if phase == "prepare" else "arena"
        storage = self._new_storage(f"{nodes[-1].name}.packed", size_of(packing.shape), rhs.dtype, place)
        name = self._unique(f"{nodes[-1].name}.packed.buf")
        self.views[name] = View(storage.name)
        packed = self.packed[key] = Buffer.dense(name, packing.shape, rhs.dtype)
        nest = packing.nest(rhs, packed)
        if v in functions:
            stores = tuple(replace(s, value=substitute(s.value, rhs.name, functions[v])) for s in nest.stores)
            nest = Nest((*self._read_by(stores, reads), nest.buffers[-1]), stores)
        self._emit(nest, phase, nodes, "pack for the register tile")
        if packing.routine is not None:
            finish = Template(packing.routine, (), (packed.name,), (), (packed,))
            self._emit(finish, phase, nodes[-1:], "transform for the register tile")
        return packed

    def _copy(self, v: Value, target: Buffer) -> None:
        """A head that is an input, a head already or prepared, or a gradient that is a view: an explicit copy."""
        storage = self.storages[self.views[target.name].storage]
        phase: Phase = "forward" if storage.place in ("head", "check") else "backward"
        self._copy_buffer(self._buffer(v), target, phase, v.node, "copy out")

    def _copy_buffer(self, source: Buffer, target: Buffer, phase: Phase, node: Node, reason: str) -> None:
        axes = tuple(Axis(f"i{k}", n) for k, n in enumerate(source.shape))
        value = Tensor(source.name, source.shape, compute_dtype(source.dtype))(*axes)
        nest = Nest((source, target), (Store(target.name, axes, value, axes),))  # type: ignore[arg-type]
        self._emit(nest, phase, [node], reason)

    def _emit(self, kernel: LoopKernel, phase: Phase, nodes: Sequence[Node], reason: str = "") -> None:
        try:
            verify(kernel)
        except ShapeError as e:
            raise ShapeError(f"Error in operator {', '.join(n.name for n in nodes)}: {e}") from e
        read = loaded_by(kernel.stores) - {ACCUMULATOR} | set(kernel.operands)
        written = {s.buffer for s in kernel.stores} | set(kernel.written)
        self.kernels.append(
            KernelNode(
                kernel,
                phase,
                tuple(self.prefix + n.name for n in nodes),
                tuple(n.op.name if n.op else "copy" for n in nodes),
                reason or ("fused" if len(nodes) > 1 else "alone"),
                tuple(sorted(read)),
                tuple(sorted(written)),
                self.around.loops if self.around else (),
            )
        )


def loaded_by(stores: Iterable[Store]) -> set[str]:
    """The names of the buffers that stores load from, in their values or to compute where they store."""
    parts = (part for s in stores for part in (s.value, *s.index) if isinstance(part, Expr))
    return {load.data[0] for part in parts for load in loads_of(part)}
