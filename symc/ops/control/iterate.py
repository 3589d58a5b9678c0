"""A loop over the rows of arrays: what foreach, while_loop, cond and recurrent layers become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace

from symc.core.errors import DTypeError, ShapeError
from symc.core.lazy import lazy
from symc.core.params import param
from symc.core.shapes import FullShape, Shape, is_known, mx_text, unify
from symc.ir.builder import GraphBuilder, finish
from symc.ir.graph import Graph, Output, Value
from symc.ir.infer import dtypes_through, shapes_through
from symc.ir.op import DTypes, Op, Shapes, op, same_dtype

Step = Callable[
    [GraphBuilder, list[Value], list[Value], list[Value]], tuple[Sequence[Value], Sequence[Value]]
]  # (builder of the body, rows, states, free values) -> (results of the round, next states)


@op("_iterate")
class Iterate(Op):
    """Runs its body once for each row of its data, and hands states from round to round.

    inputs    `n_data` arrays (T, *row); `n_states` first states; free values, which every round reads as they are
    body      its inputs are the rows of one round, its states, the free values, in this order; its heads the results
              of the round, then the next states
    outputs   the results of all rounds, (T, *result) each; the last states

    The body's inputs for free values have the role "parameter": what depends on them alone is computed once, in front
    of the loop. `iterate` builds one.
    """

    is_internal = True
    n_bodies = 1

    bodies: tuple[Graph, ...] = field(default=())
    n_data: int = param(0, low=0, doc="how many inputs are read row by row")
    n_states: int = param(0, low=0, doc="how many inputs are first states")
    length: int | None = param(None, low=0, doc="the number of rounds where there is no data")
    is_reversed: bool = param(False, doc="the last row comes first; results of a row still lie in its place")

    @property
    def body(self) -> Graph:
        """The graph of one round."""
        return self.bodies[0]

    @property
    def n_results(self) -> int:
        """How many results a round has."""
        return len(self.body.outputs) - self.n_states

    def n_rounds(self, in_shapes: Sequence[FullShape]) -> int:
        """How many rounds there are for inputs of these shapes."""
        if self.n_data:
            return in_shapes[0][0]
        assert self.length is not None
        return self.length

    @lazy
    def is_random(self) -> bool:  # type: ignore[override]
        return any(node.operator.is_random for node in self.body.nodes if not node.is_input)

    @lazy
    def trained(self) -> frozenset[str]:  # type: ignore[override]
        """Free values all of whose uses in the body are slots that hold trained values."""
        free = list(self.body.inputs)[self.n_data + self.n_states :]
        users = {node: [(u.operator, k) for u, k in self.body.users.get(node[0], ())] for node in free}
        return frozenset(
            node.name for node in free if users[node] and all(o.input_names()[k] in o.trained for o, k in users[node])
        )

    def argument_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.body.inputs)

    def result_names(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.body.outputs)

    def infer_shape(self, ins: Shapes, outs: Shapes) -> tuple[Shapes, Shapes]:
        n_fed, n_results = self.n_data + self.n_states, self.n_results
        stacks = [*ins[: self.n_data], *outs[:n_results]]
        length: Shape | None = None if self.length is None else (self.length,)
        for stack in stacks:
            if stack is not None:
                if not stack:
                    raise ShapeError("a scalar has no rows to loop over")
                length = unify(length, stack[:1])
        rows = [None if s is None else s[1:] for s in stacks]
        states = self._states(ins, outs, unify)
        # Where a state is known before a round, what comes after it is compared, so that the error can tell of both.
        after = [None if is_known(s) else s for s in states]
        fed, made = shapes_through(
            self.body, [*rows[: self.n_data], *states, *ins[n_fed:]], [*rows[self.n_data :], *after]
        )
        pairs = zip(fed[self.n_data : n_fed], made[n_results:])
        states = [self._kept(k, before, after) for k, (before, after) in enumerate(pairs)]

        def stacked(row: Shape | None) -> Shape | None:
            return None if row is None else (*(length or (None,)), *row)

        new_ins = [*map(stacked, fed[: self.n_data]), *states, *fed[n_fed:]]
        return new_ins, [*map(stacked, made[:n_results]), *states]

    def _states(self, ins: Sequence, outs: Sequence, merge: Callable) -> list:
        """What is known about each state, before and after a round."""
        first, last = ins[self.n_data : self.n_data + self.n_states], outs[self.n_results :]
        return [merge(a, b) for a, b in zip(first, last)]

    def _kept(self, k: int, before: Shape | None, after: Shape | None) -> Shape | None:
        try:
            return unify(before, after)
        except ShapeError:
            name = self.argument_names()[self.n_data + k]
            raise ShapeError(
                f"state {name} has shape {mx_text(before)} before a round and {mx_text(after)} after it; "
                "expected the same"
            ) from None

    def infer_dtype(self, ins: DTypes, outs: DTypes) -> tuple[DTypes, DTypes]:
        n_fed, n_results = self.n_data + self.n_states, self.n_results
        states = self._states(ins, outs, lambda a, b: same_dtype((a, b)))
        unknown = [None] * self.n_states
        fed, made = dtypes_through(
            self.body, [*ins[: self.n_data], *states, *ins[n_fed:]], [*outs[:n_results], *unknown]
        )
        for k, (a, b) in enumerate(zip(fed[self.n_data : n_fed], made[n_results:])):
            if a is not None and b is not None and a != b:
                name = self.argument_names()[self.n_data + k]
                raise DTypeError(f"state {name} is {a} before a round and {b} after it; expected the same")
            states[k] = a or b
        return [*fed[: self.n_data], *states, *fed[n_fed:]], [*made[:n_results], *states]

    def checks(self, g: GraphBuilder, x: Sequence[Value]) -> list[tuple[str, Value]]:
        """Those of its body, added up by another loop over what the checks need."""
        inner = GraphBuilder.over(self.body)
        found = [c for node in self.body.nodes if not node.is_input for c in node.operator.checks(inner, node.inputs)]
        if not found:
            return []
        heads = [Output("head", f"check{k}", v) for k, (_, v) in enumerate(found)]
        states = self.body.outputs[self.n_results :]
        body = finish(inner, [*heads, *states], inputs=self.body.inputs)
        counts = g.apply(replace(self, bodies=(body,)), x)
        return [(text, g("sum", counts[k], axis=(0,))) for k, (text, _) in enumerate(found)]


def iterate(
    g: GraphBuilder,
    step: Step,
    data: Sequence[Value] = (),
    states: Sequence[Value] = (),
    free: Sequence[Value] = (),
    length: int | None = None,
    is_reversed: bool = False,
) -> tuple[list[Value], list[Value]]:
    """Adds a loop over the rows of `data`, (T, *row) each; gives the stacked results, (T, *result), and last states.

    `step(b, rows, states, free)` builds one round with the builder `b`, out of its own values for the rows, the states
    and the free values, and gives its results and the next states, which must have the shapes and dtypes of `states`:

        def step(b, rows, states, free):                  # a recurrent layer of relus
            h = b("relu", b("elemwise_add", rows[0], b("FullyConnected", states[0], free[0], no_bias=True, ...)))
            return [h], [h]

        (outputs,), (last,) = iterate(g, step, [inputs], [first], [weight])
    """
    inner = GraphBuilder(training=g.training)
    rows = [inner.input(f"data{k}", g.shape(v)[1:], g.dtype(v)) for k, v in enumerate(data)]
    before = [inner.input(f"state{k}", g.shape(v), g.dtype(v)) for k, v in enumerate(states)]
    fixed = [inner.input(f"free{k}", g.shape(v), g.dtype(v), "parameter") for k, v in enumerate(free)]
    results, after = step(inner, rows, before, fixed)
    heads = [Output("head", f"output{k}", v) for k, v in enumerate(results)]
    heads += [Output("head", f"state{k}", v) for k, v in enumerate(after)]
    body = finish(inner, heads, inputs=[v.node for v in (*rows, *before, *fixed)])
    made = Iterate(bodies=(body,), n_data=len(rows), n_states=len(before), length=length, is_reversed=is_reversed)
    node = g.apply(made, [*data, *states, *free])
    return [node[k] for k in range(len(results))], [node[len(results) + k] for k in range(len(after))]
