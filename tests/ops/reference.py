"""Runs graphs without the compiler: every node is lowered alone and interpreted on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

import symc.ops  # noqa: F401  (registers the operators)
from symc.core.dtypes import compute_dtype
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Node, Output, Value
from symc.ir.op import Op, lookup
from symc.loopir.expr import Axis
from symc.loopir.interpret import interpret
from symc.loopir.kernel import SEED, Buffer, Contraction, LoopKernel, Nest, Store, Template, accumulator, verify
from symc.loopir.tensor import Lowering, Tensor
from symc.ops.control.iterate import Iterate

Arrays = dict[Value, np.ndarray]
Run = Callable[[Arrays], None]  # computes a node's outputs


def make_op(name: str, params: Mapping[str, object] | None = None) -> Op:
    """An operator instance by MXNet name."""
    cls = lookup(name)
    assert cls is not None, f"{name} is not registered"
    return cls.create(params or {})


def single_node(
    op: Op, shapes: Sequence[tuple[int, ...] | None], dtypes: Sequence[str], training: bool = False
) -> Graph:
    """The graph of one operator over inputs named as its arguments, with all facts inferred."""
    g = GraphBuilder(training=training)
    ins, _ = op.infer_shape(list(shapes), [None] * len(op.result_names()))
    inputs = [g.input(n, s, d) for n, s, d in zip(op.input_names(), ins, dtypes)]
    node = g.apply(op, inputs)
    return finish(g, [Output("head", n, node[k]) for k, n in enumerate(op.result_names()[: op.n_visible()])])


def with_gradients(graph: Graph, wanted: Sequence[str]) -> Graph:
    """The graph with the gradients of the inputs named: heads get inputs `head0`, `head1`, ... where they need one.

    A training graph also gives the new values of auxiliary states, as outputs of kind "update".
    """
    g = GraphBuilder(graph.facts, graph.training)
    flowing: dict[Value, list[Value]] = {}
    updates: list[Output] = []
    for k, o in enumerate(graph.outputs):
        if o.value.node.op is not None and not o.value.node.op.is_loss:
            head = g.input(f"head{k}", g.shape(o.value), g.dtype(o.value), "head_gradient")
            flowing.setdefault(o.value, []).append(head)
    for node in reversed(graph.nodes):
        if node.op is None:
            continue
        dy = [g.add(flowing[node[k]]) if node[k] in flowing else None for k in range(node.n_outputs)]
        if all(d is None for d in dy) and not node.op.is_loss:
            continue
        g.serving = node
        results = [node[k] for k in range(node.n_outputs)]
        if graph.training:
            found = node.op.update_aux(g, node.inputs, results)
            updates += [Output("update", name, v) for name, v in found.items()]
        if not wanted:
            continue
        for v, dx in zip(node.inputs, node.op.gradient(g, node.inputs, results, dy)):
            if dx is not None:
                assert g.shape(dx) == g.shape(v), f"{node}: gradient of {v} has shape {g.shape(dx)}, not {g.shape(v)}"
                assert g.dtype(dx) == g.dtype(v), f"{node}: gradient of {v} has dtype {g.dtype(dx)}, not {g.dtype(v)}"
                flowing.setdefault(v, []).append(dx)
    asked = [n for n in graph.inputs if n.name in wanted]
    totals = [(n.name, g.add(flowing[n[0]]) if n[0] in flowing else g.like(n[0], 0)) for n in asked]
    return finish(g, [*graph.outputs, *updates, *(Output("gradient", name, v) for name, v in totals)])


def run_graph(graph: Graph, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs of a graph in order."""
    return prepared_graph(graph)(feeds)


def prepared_graph(graph: Graph) -> Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]:
    """What gives the outputs of a graph in order, for any feeds."""
    runs = [prepared(graph, node) for node in graph.nodes if not node.is_input]

    def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        arrays: Arrays = {node[0]: np.asarray(feeds[node.name]) for node in graph.nodes if node.is_input}
        for run_one in runs:
            run_one(arrays)
        return [arrays[o.value] for o in graph.outputs]

    return run


def run_node(graph: Graph, node: Node, arrays: Arrays) -> None:
    """Computes one node's outputs; what a view gives is also compared with a reshape of its first input."""
    prepared(graph, node)(arrays)


def prepared(graph: Graph, node: Node) -> Run:
    """What `run_node` does with a node, to be done with many arrays: it is lowered once."""
    assert node.op is not None
    g = GraphBuilder(graph.facts, graph.training)
    g.serving = node
    values = node.op.expand(g, node.inputs, graph.training)
    if values is not None:
        return _prepared_expansion(graph, node, finish(g, [Output("head", str(k), v) for k, v in enumerate(values)]))
    if isinstance(node.op, Iterate):
        return _prepared_loop(node, node.op)
    kernel, buffers = kernel_of(graph, node)
    verify(kernel)
    is_view = node.op.is_view

    def run(arrays: Arrays) -> None:
        held = {f"in{k}": arrays[v] for k, v in enumerate(node.inputs)} | {SEED: np.array([1], "int64")}
        for k, b in enumerate(buffers):
            held[b.name] = arrays[node[k]] = poisoned(b)
        interpret(kernel, held)
        if is_view:
            assert np.array_equal(arrays[node[0]].ravel(), arrays[node.inputs[0]].ravel(), equal_nan=True), node

    return run


def _prepared_expansion(graph: Graph, node: Node, inner: Graph) -> Run:
    """Of a node that is computed by simpler operators."""
    known = set(graph.nodes)
    runs = [prepared(inner, part) for part in inner.nodes if part not in known]

    def run(arrays: Arrays) -> None:
        for run_one in runs:
            run_one(arrays)
        arrays.update((node[k], arrays[o.value]) for k, o in enumerate(inner.outputs))

    return run


def _prepared_loop(node: Node, op: Iterate) -> Run:
    """Of a loop, whose rounds are computed one after the other."""
    runs = [prepared(op.body, part) for part in op.body.nodes if not part.is_input]

    def run(arrays: Arrays) -> None:
        ins = [arrays[v] for v in node.inputs]
        data, states, free = ins[: op.n_data], ins[op.n_data : op.n_data + op.n_states], ins[op.n_data + op.n_states :]
        rounds: list[list[np.ndarray]] = []
        for k in range(op.n_rounds([a.shape for a in ins]))[:: -1 if op.is_reversed else 1]:
            inner = dict(zip((n[0] for n in op.body.inputs), (*(a[k] for a in data), *states, *free)))
            for run_one in runs:
                run_one(inner)
            heads = [inner[o.value] for o in op.body.outputs]
            rounds.append(heads[: op.n_results])
            states = heads[op.n_results :]
        stacks = [np.stack(rows[:: -1 if op.is_reversed else 1]) for rows in zip(*rounds)]
        arrays.update((node[k], a) for k, a in enumerate((*stacks, *states)))

    return run


def kernel_of(graph: Graph, node: Node) -> tuple[LoopKernel, list[Buffer]]:
    """The node's kernel over buffers in0, in1, ..., out0, ... and its output buffers."""
    assert node.op is not None
    outs = [node[k] for k in range(node.n_outputs)]
    ins = [Buffer.dense(f"in{k}", graph.shape(v), graph.dtype(v)) for k, v in enumerate(node.inputs)]
    made = [Buffer.dense(f"out{k}", graph.shape(v), graph.dtype(v)) for k, v in enumerate(outs)]
    t = Lowering(
        ins=[Tensor(b.name, b.shape, compute_dtype(b.dtype)) for b in ins],
        out_shapes=[b.shape for b in made],
        out_dtypes=[b.dtype for b in made],
        prefix=f"{node.name}.",
    )
    node.op.lower(t)
    if t.routine is not None:
        names = tuple(b.name for b in ins), tuple(b.name for b in made)
        return Template(t.routine, *names, (), (*ins, *made)), made
    stores: list[Store] = []
    functions = dict(t.functions)
    for p in t.products.values():
        total = accumulator(compute_dtype(made[0].dtype))
        functions[0] = lambda *i, p=p, total=total: p.finish(total, *i)
    for k, b in enumerate(made):
        if k in functions:
            axes = tuple(Axis(f"i{a}", n) for a, n in enumerate(b.shape))
            stores.append(Store(b.name, axes, functions[k](*axes), axes))  # type: ignore[arg-type]
        for r in t.regions.get(k, ()):
            stores.append(Store(b.name, r.index, r.value, r.axes, r.mode))  # type: ignore[arg-type]
    buffers = (*ins, *made, Buffer.dense(SEED, (1,), "int64"))
    if not t.products:
        return Nest(buffers, tuple(stores)), made
    p = t.products[0]
    lhs, rhs = f"in{p.lhs}", f"in{p.rhs}"
    return Contraction(p.kind, *p.sizes, p.groups, p.window, lhs, rhs, buffers, tuple(stores), stack=p.stack), made  # type: ignore[arg-type]


def poisoned(b: Buffer) -> np.ndarray:
    """An output array holding garbage that a forgotten element would show."""
    garbage = np.nan if b.dtype.startswith("float") else 77
    return np.full(b.shape, garbage).astype(b.dtype)
